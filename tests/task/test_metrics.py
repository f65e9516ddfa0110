"""Against values worked out by hand or in plain NumPy."""

import tracemalloc

import numpy as np
import pytest

from unfreeze.core import arrays
from unfreeze.task import metrics

TARGETS = np.array([0, 0, 1, 1, 2, 2])
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.1, 0.8, 0.1], [0.2, 0.6, 0.2], [0.1, 0.3, 0.6], [0.5, 0.3, 0.2]]
)  # predicted 0 1 1 1 2 0


def test_scores_by_hand():
    result = metrics.scores(PROBABILITIES, TARGETS)
    assert result["count"] == 6
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["log_loss"] == pytest.approx(-np.mean(np.log([0.7, 0.4, 0.8, 0.6, 0.6, 0.2])))
    assert result["precision"] == pytest.approx(np.mean([1 / 2, 2 / 3, 1]))
    assert result["recall"] == pytest.approx(np.mean([1 / 2, 1, 1 / 2]))
    assert result["f1"] == pytest.approx(np.mean([1 / 2, 4 / 5, 2 / 3]))
    assert "top5" not in result


def test_matthews_is_scikit_learn_s_and_nothing_for_a_single_prediction():
    from sklearn.metrics import matthews_corrcoef

    score = metrics.scores(PROBABILITIES, TARGETS)["matthews"]
    assert score == pytest.approx(matthews_corrcoef(TARGETS, PROBABILITIES.argmax(1)))
    always = np.tile([0.6, 0.3, 0.1], (6, 1))
    assert metrics.scores(always, TARGETS)["matthews"] == 0
    assert metrics.scores(np.eye(3)[TARGETS], TARGETS)["matthews"] == 1


def test_matthews_of_a_million_images_is_that_of_a_thousand():
    matrix = np.array([[200, 30, 1], [40, 300, 9], [0, 20, 400]])
    pairs, counts = np.argwhere(matrix), matrix[matrix > 0]
    thousand, million = (metrics.matthews(pairs, times * counts, 3) for times in (1, 1000))
    assert 0.8 < thousand == pytest.approx(million)


def test_roc_auc_counts_ordered_pairs():
    def auc(scores, positive):
        return np.mean([(p > n) + 0.5 * (p == n) for p in scores[positive] for n in scores[~positive]])

    expected = np.mean([auc(PROBABILITIES[:, c], c == TARGETS) for c in range(3)])
    assert metrics.roc_auc(PROBABILITIES, TARGETS) == pytest.approx(expected)
    two = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
    assert metrics.roc_auc(two, np.array([0, 0, 1, 1])) == 0.75


def test_calibration_error_in_plain_numpy():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4) * 0.5, 500)
    targets = rng.integers(0, 4, 500)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == targets
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence >= low) & (confidence < low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert metrics.calibration_error(probabilities, targets) == pytest.approx(expected, abs=1e-12)
    assert metrics.calibration_error(np.eye(4)[targets], targets) == 0


def test_what_is_undefined_is_none_and_takes_no_part_in_a_mean():
    targets = np.array([0, 0, 1, 1])  # no image of class 2
    table = metrics.per_class(PROBABILITIES[:4], targets)
    assert table[2] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert metrics.scores(PROBABILITIES[:4], targets)["recall"] == pytest.approx(np.mean([1 / 2, 1]))
    one_class = metrics.scores(PROBABILITIES[:2], TARGETS[:2])
    assert one_class["roc_auc"] is None and one_class["accuracy"] == 0.5


def test_top5_with_many_classes():
    probabilities = np.tile(np.arange(120) / 7140, (3, 1))
    result = metrics.scores(probabilities, np.array([119, 115, 114]))
    assert result["top5"] == pytest.approx(2 / 3) and result["accuracy"] == pytest.approx(1 / 3)


def test_of_equal_probabilities_the_first_class_counts():
    assert metrics.top_classes(np.array([[0.2, 0.4, 0.4]]), 2).tolist() == [[1, 2]]


def test_confused_pairs_are_the_cells_of_the_confusion_matrix_that_are_not_empty():
    pairs, counts = metrics.confused_pairs(PROBABILITIES, TARGETS)
    matrix = np.zeros((3, 3), int)
    matrix[tuple(pairs.T)] = counts
    assert matrix.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]  # the truth in rows
    assert pairs.tolist() == [[0, 0], [0, 1], [1, 1], [2, 0], [2, 2]] and counts.dtype == pairs.dtype == np.int64


def test_ten_thousand_classes_have_no_confusion_matrix():
    rng, classes = np.random.default_rng(0), 10_000
    probabilities, targets = rng.random((50, classes)), rng.integers(0, classes, 50)
    tracemalloc.start()
    pairs, counts = metrics.confused_pairs(probabilities, targets)
    metrics.matthews(pairs, counts, classes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pairs[:, 0].tolist() == sorted(targets.tolist()) and counts.sum() == 50
    assert peak < 2**20  # the matrix would take 800 MB


def test_uncertainty_is_one_less_the_margin():
    assert metrics.uncertainty(PROBABILITIES[:2]) == pytest.approx([0.5, 0.9])
    assert metrics.uncertainty(np.array([[0.5, 0.5]])) == pytest.approx([1.0])


def test_fold_scores():
    folds = np.array([0, 0, 1, 1, -1, -1])
    probabilities = np.where((folds >= 0)[:, None], PROBABILITIES, np.nan)
    result = metrics.fold_scores(probabilities, TARGETS, folds)
    assert result["folds"] == 2
    assert result["accuracy"] == {"mean": 0.75, "std": pytest.approx(np.std([0.5, 1], ddof=1))}


def test_more_images_than_fit_into_a_block_have_the_same_numbers(monkeypatch):
    rng = np.random.default_rng(0)
    probabilities, targets = rng.dirichlet(np.ones(7), 50), rng.integers(0, 7, 50)
    whole = metrics.scores(probabilities, targets), metrics.uncertainty(probabilities)
    monkeypatch.setattr(arrays, "BLOCK", 8)
    assert metrics.scores(probabilities, targets) == pytest.approx(whole[0], rel=1e-14)
    assert np.array_equal(metrics.uncertainty(probabilities), whole[1])
    assert np.array_equal(metrics.top_classes(probabilities, 3), np.argsort(-probabilities, axis=1)[:, :3])


@pytest.mark.parametrize("function", [lambda p: metrics.top_classes(p, 1), metrics.uncertainty])
def test_no_more_is_held_of_a_block_than_its_result(monkeypatch, function):
    monkeypatch.setattr(arrays, "BLOCK", 1000)
    probabilities = np.full((100_000, 20), 1 / 20)
    tracemalloc.start()
    function(probabilities)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < probabilities.nbytes / 4
