from dataclasses import replace

import numpy as np
import pytest
from made_up_results import results, several
from sklearn.metrics import f1_score, matthews_corrcoef, precision_score, recall_score

from unfreeze.core import draws
from unfreeze.report import intervals as module
from unfreeze.report.intervals import compute_intervals, count_rank_resamples, draw_weights, wilson_interval
from unfreeze.task import metrics, multilabel
from unfreeze.task.multi import Multi
from unfreeze.task.predictions import Predictions

KEY = (1, "report", "bootstrap")


def test_wilson_interval() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662, 0 of 20 gives 0 to 0.1611.
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)


def moved(resampled: list[float], number: float) -> np.ndarray:
    """The interval of a number that is this in the resamples, by another way."""
    return np.clip(np.percentile(np.array(resampled) - np.mean(resampled) + number, [2.5, 97.5]), 0, 1)


def known(shown: Predictions) -> dict:
    """The numbers of predictions of one class an image."""
    p = shown.probabilities.astype(np.float64)
    exact = {"roc_auc": metrics.roc_auc(p, shown.actual), "ece": metrics.calibration_error(p, shown.actual)}
    return metrics.scores(p / p.sum(1, keepdims=True), shown.actual) | exact


def test_intervals_of_the_confusion_matrix_are_those_of_drawing_images_again() -> None:
    shown = results(["a", "b", "c"], 90, wrong=20).predictions
    found = compute_intervals(known(shown), shown, 1)
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, 90, 90) for _ in range(400)]
    for name, score in {
        "precision": lambda t, p: precision_score(t, p, average="macro"),
        "recall": lambda t, p: recall_score(t, p, average="macro"),
        "f1": lambda t, p: f1_score(t, p, average="macro"),
        "matthews": matthews_corrcoef,
    }.items():
        again = [score(shown.actual[i], shown.predicted[i]) for i in drawn]
        wanted = moved(again, score(shown.actual, shown.predicted))
        assert found[name] == pytest.approx(wanted, abs=0.03), name
    assert found["accuracy"][0] < 70 / 90 < found["accuracy"][1]


def guessed(count: int, classes: int) -> Predictions:
    """Images whose probabilities tell something of their class; many are equal."""
    rng = np.random.default_rng(0)
    actual = rng.integers(0, classes, count)
    rough = np.round(rng.random((count, classes)) + 0.3 * np.eye(classes)[actual] + 0.1, 1)
    probabilities = (rough / rough.sum(1, keepdims=True)).astype(np.float32)
    given = results([f"class {i}" for i in range(classes)], count).predictions
    return replace(given, actual=actual, predicted=probabilities.argmax(1), probabilities=probabilities)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 4])
def test_those_of_roc_auc_and_calibration_are_those_of_a_plain_loop(classes) -> None:
    shown = guessed(40, classes)
    p, given = shown.probabilities.astype(np.float64), known(shown)
    found = compute_intervals(given, shown, 1)
    drawn = np.concatenate(list(draw_weights(40, 1000, *KEY)), axis=1)
    again = [np.repeat(np.arange(40), column) for column in drawn.T]
    areas = [metrics.roc_auc(p[i], shown.actual[i]) for i in again]
    assert found["roc_auc"] == pytest.approx(moved(areas, given["roc_auc"]), abs=1e-9)
    errors = [metrics.calibration_error(p[i], shown.actual[i]) for i in again]
    assert found["ece"] == pytest.approx(moved(errors, given["ece"]), abs=1e-7)
    assert all(found[name][0] < given[name] < found[name][1] for name in ("roc_auc", "ece"))
    assert found == compute_intervals(given, shown, 1)


def test_those_of_means_over_labels_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    actual = (rng.random((30, 5)) < [0.5, 0.3, 0.1, 0.03, 0]).astype(
        np.int8
    )  # the fourth is rare, the last nobody's
    p = np.round(0.6 * rng.random((30, 5)) + 0.4 * actual, 1)
    assert 0 < actual[:, 3].sum() < 3 and not actual[:, 4].any()
    shown = replace(
        several().predictions, task=Multi(list("abcde")), row=np.arange(30), actual=actual.astype(np.float32),
        predicted=(p >= 0.5).astype(np.float32), probabilities=p.astype(np.float32),
    )  # fmt: skip
    numbers = multilabel.scores(p, actual, [0.5] * 5)
    found = compute_intervals(numbers, shown, 1)
    drawn = np.concatenate(list(draw_weights(30, 1000, *KEY)), axis=1)
    again = [multilabel.scores(p[i], actual[i], [0.5] * 5) for i in (np.repeat(np.arange(30), w) for w in drawn.T)]
    for name in ("map", "precision", "recall", "f1"):
        assert found[name] == pytest.approx(moved([each[name] for each in again], numbers[name]), abs=1e-6), name
    assert set(found) == set(numbers) - {"count"}
    assert all(low < high for low, high in found.values())


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    shown = guessed(400, 3)
    losses = -np.log(shown.probabilities[np.arange(400), shown.actual].astype(np.float64))
    found = compute_intervals({"count": 400, "log_loss": losses.mean()}, shown, 1)["log_loss"]
    half = 1.96 * losses.std() / 20
    assert found == pytest.approx((losses.mean() - half, losses.mean() + half), abs=0.2 * half)
    assert found != compute_intervals({"count": 400, "log_loss": losses.mean()}, shown, 2)["log_loss"]


def test_weights_count_draws_with_replacement() -> None:
    blocks = list(draw_weights(7, 120, *KEY))
    assert [block.shape for block in blocks] == [(7, 50), (7, 50), (7, 20)]
    assert all((block.sum(0) == 7).all() for block in blocks)
    first = draws.generator(*KEY).integers(0, 7, 7)
    assert blocks[0][:, 0].tolist() == [np.count_nonzero(first == i) for i in range(7)]


def test_there_are_fewer_resamples_of_many_images_and_classes() -> None:
    assert [count_rank_resamples(*size) for size in ((153, 2), (100_000, 2), (100_000, 120), (10**7, 120))] == [
        1000, 1000, 166, 100,
    ]  # fmt: skip


def test_a_perfect_model_has_a_perfect_interval_but_for_its_accuracy() -> None:
    shown = results(["a", "b"], 20, wrong=0).predictions
    found = compute_intervals(known(shown), shown, 1)
    for name in ("f1", "matthews", "roc_auc"):
        assert found[name] == pytest.approx((1, 1)), name
    assert 0.8 < found["accuracy"][0] < 0.9 and found["accuracy"][1] == pytest.approx(1)


def test_what_is_undefined_has_none() -> None:
    shown = replace(guessed(20, 3), actual=np.zeros(20, dtype=np.int64))
    given = known(shown)
    assert given["roc_auc"] is None
    assert set(compute_intervals(given, shown, 1)) == set(given) - {"count", "roc_auc"}


@pytest.mark.parametrize("made", [lambda: results(["a", "b", "c"], 90, wrong=20), several])
def test_with_fewer_resamples_at_a_time_intervals_are_the_same(made, monkeypatch) -> None:
    shown = made().predictions
    given = {"count": 1, **dict.fromkeys(("roc_auc", "ece", "map", "f1", "precision", "recall"), 0.5)}
    whole = compute_intervals(given, shown, 1)
    blocks = len(list(draw_weights(len(shown.row), 20, 1)))
    monkeypatch.setattr(module, "WEIGHTS_AT_ONCE", 3 * len(shown.row))
    assert len(list(draw_weights(len(shown.row), 20, 1))) > blocks
    assert compute_intervals(given, shown, 1) == whole
