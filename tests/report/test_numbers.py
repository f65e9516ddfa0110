import numpy as np
import pytest
from made_up_results import results, several
from sklearn.metrics import f1_score, matthews_corrcoef, precision_score, recall_score

from unfreeze.report.numbers import intervals


def test_intervals_of_the_confusion_matrix_are_those_of_drawing_images_again():
    given = results(["a", "b", "c"], 90, wrong=20)
    shown = given.predictions
    found = intervals(given.metrics["test"]["tta"], shown, 1)
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, 90, 90) for _ in range(400)]
    for name, score in {
        "precision": lambda t, p: precision_score(t, p, average="macro"),
        "recall": lambda t, p: recall_score(t, p, average="macro"),
        "f1": lambda t, p: f1_score(t, p, average="macro"),
        "matthews": matthews_corrcoef,
    }.items():
        wanted = np.percentile([score(shown.actual[i], shown.predicted[i]) for i in drawn], [2.5, 97.5])
        assert found[name] == pytest.approx(wanted, abs=0.03), name
    assert found["accuracy"][0] < 70 / 90 < found["accuracy"][1]
    assert found == intervals(given.metrics["test"]["tta"], shown, 1)


def test_a_perfect_model_has_a_perfect_interval_but_for_its_accuracy():
    given = results(["a", "b"], 20, wrong=0)
    found = intervals(given.metrics["test"]["tta"], given.predictions, 1)
    assert found["f1"] == pytest.approx((1, 1))
    assert found["matthews"] == pytest.approx((1, 1))
    assert 0.8 < found["accuracy"][0] < 0.9 and found["accuracy"][1] == pytest.approx(1)


def test_several_labels_have_intervals_of_f2_of_all_right_and_of_their_loss():
    given = several()
    found = intervals(given.metrics["test"]["tta"], given.predictions, 1)
    assert set(found) == {"f2", "subset_accuracy", "log_loss"}
    assert all(low < high for low, high in found.values())
