"""Against values worked out by hand and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss, precision_recall_fscore_support

from unfreeze.core import arrays
from unfreeze.task import multilabel
from unfreeze.task.thresholds import best_threshold

TARGETS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]], dtype=np.float32)  # nobody has the last label
PROBABILITIES = np.array([[0.9, 0.2, 0.1], [0.4, 0.8, 0.3], [0.3, 0.1, 0.2], [0.6, 0.4, 0.7]])
HALF = [0.5, 0.5, 0.5]  # predicted: 100, 010, 000, 101


def test_scores_by_hand():
    result = multilabel.scores(PROBABILITIES, TARGETS, HALF)
    assert result["count"] == 4
    assert result["f2"] == pytest.approx((1 + 5 / 9 + 1 + 0) / 4)
    assert result["subset_accuracy"] == 0.5
    assert result["map"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    assert result["precision"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert result["recall"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert result["f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert result["log_loss"] == pytest.approx(log_loss(TARGETS.ravel(), PROBABILITIES.ravel()))
    best = multilabel.scores(PROBABILITIES, TARGETS)
    assert best == multilabel.scores(PROBABILITIES, TARGETS, [best_threshold(PROBABILITIES, TARGETS)] * 3)


def test_rows_in_blocks_give_what_all_of_them_give(monkeypatch):
    rng = np.random.default_rng(0)
    targets, p = (rng.random((50, 4)) < 0.3).astype(np.float32), rng.random((50, 4))

    def everything():
        return [
            multilabel.scores(p, targets, [0.3, 0.5, 0.4, 0.5]),
            *({"bin": i, **row} for i, row in enumerate(multilabel.reliability(p, targets))),
            dict(enumerate(multilabel.uncertainty(p, [0.3, 0.5, 0.4, 0.5]))),
            dict(enumerate(multilabel.confusion(p, targets, HALF[:1] * 4).ravel().tolist())),
        ]

    whole = everything()
    monkeypatch.setattr(arrays, "BLOCK", 8)
    for in_blocks, expected in zip(everything(), whole, strict=True):
        assert in_blocks == pytest.approx(expected, rel=1e-14)


def test_each_label_is_scikit_learn_s():
    rng = np.random.default_rng(0)
    targets, p = (rng.random((60, 4)) < 0.3).astype(np.float32), rng.random((60, 4)).round(2)
    thresholds = [0.2, 0.5, 0.7, 0.9]
    columns = precision_recall_fscore_support(targets, p >= thresholds, zero_division=np.nan)
    for c, row in enumerate(multilabel.per_label(p, targets, thresholds)):
        expected = [column[c] for column in columns]
        assert [row[key] for key in ("precision", "recall", "f1", "support")] == pytest.approx(expected)
        assert row["ap"] == pytest.approx(average_precision_score(targets[:, c], p[:, c]))
        assert row["threshold"] == thresholds[c]


def test_a_label_without_images_is_undefined_and_takes_no_part_in_a_mean():
    last = multilabel.per_label(PROBABILITIES, TARGETS, [0.5, 0.5, 0.9])[2]
    assert last == {
        "precision": None, "recall": None, "f1": None, "ap": None, "threshold": 0.9, "support": 0,
    }  # fmt: skip
    nothing = multilabel.scores(PROBABILITIES, np.zeros((4, 3)))
    assert (nothing["f2"], nothing["map"], nothing["recall"]) == (1, None, None)


def test_confusion_counts_each_label():
    assert multilabel.confusion(PROBABILITIES, TARGETS, HALF).tolist() == [
        [1, 1, 1, 1],
        [1, 0, 1, 2],
        [0, 1, 0, 3],
    ]


def test_reliability_is_of_all_labels():
    rows = multilabel.reliability(PROBABILITIES, TARGETS)
    assert sum(row["count"] for row in rows) == 12
    assert rows[-1] == {"confidence": 0.9, "accuracy": 1.0, "count": 1}


def test_uncertainty_is_the_nearness_of_the_nearest_threshold():
    p = np.array([[0.2, 0.9], [0.1, 0.9], [0.0, 1.0], [0.6, 0.0]])
    assert multilabel.uncertainty(p, [0.2, 0.5]).tolist() == pytest.approx([1, 0.5, 0, 0.5])
    assert multilabel.uncertainty(np.array([[1.0, 0.0]]), [1.0, 0.0]).tolist() == [1]


def test_a_fold_s_threshold_is_tuned_on_the_other_folds():
    folds = np.array([0, 0, 1, 1])
    result = multilabel.fold_scores(PROBABILITIES, TARGETS, folds)
    halves = [slice(0, 2), slice(2, 4)]
    each = [
        multilabel.scores(PROBABILITIES[own], TARGETS[own], [best_threshold(PROBABILITIES[o], TARGETS[o])] * 3)
        for own, o in (halves, halves[::-1])
    ]
    assert result["folds"] == 2 and result["f2"]["mean"] == pytest.approx(np.mean([s["f2"] for s in each]))
    assert result["map"]["std"] == pytest.approx(np.std([s["map"] for s in each], ddof=1))
    each = multilabel.fold_scores(PROBABILITIES, np.zeros((4, 3)), folds)
    assert "map" not in each and each["f2"]["mean"] <= 1
