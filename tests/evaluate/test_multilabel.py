"""Against values worked out by hand and scikit-learn."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, log_loss, precision_recall_fscore_support
from torch import nn

from unfreeze.data import store
from unfreeze.data.table import read_split
from unfreeze.evaluate import multilabel
from unfreeze.evaluate.results import write_out_of_fold, write_results
from unfreeze.evaluate.tta import predict_views
from unfreeze.files import read_csv, write_csv
from unfreeze.thresholds import best_threshold
from unfreeze.train.augment import AugmentParams, Images

TARGETS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]], dtype=np.float32)  # nobody has the last label
PROBABILITIES = np.array([[0.9, 0.2, 0.1], [0.4, 0.8, 0.3], [0.3, 0.1, 0.2], [0.6, 0.4, 0.7]])
HALF = [0.5, 0.5, 0.5]  # predicted: 100, 010, 000, 101


def test_scores_by_hand():
    found = multilabel.scores(PROBABILITIES, TARGETS, HALF)
    assert found["count"] == 4
    assert found["f2"] == pytest.approx((1 + 5 / 9 + 1 + 0) / 4)
    assert found["subset_accuracy"] == 0.5
    assert found["map"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    assert found["precision"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert found["recall"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert found["f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["log_loss"] == pytest.approx(log_loss(TARGETS.ravel(), PROBABILITIES.ravel()))
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
    monkeypatch.setattr(store, "BLOCK", 8)
    for found, expected in zip(everything(), whole, strict=True):
        assert found == pytest.approx(expected, rel=1e-14)


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
    found = multilabel.fold_scores(PROBABILITIES, TARGETS, folds)
    halves = [slice(0, 2), slice(2, 4)]
    each = [
        multilabel.scores(PROBABILITIES[own], TARGETS[own], [best_threshold(PROBABILITIES[o], TARGETS[o])] * 3)
        for own, o in (halves, halves[::-1])
    ]
    assert found["folds"] == 2 and found["f2"]["mean"] == pytest.approx(np.mean([s["f2"] for s in each]))
    assert found["map"]["std"] == pytest.approx(np.std([s["map"] for s in each], ddof=1))
    each = multilabel.fold_scores(PROBABILITIES, np.zeros((4, 3)), folds)
    assert "map" not in each and each["f2"]["mean"] <= 1


def test_tta_is_the_mean_of_the_sigmoids(fabric):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 20, 20, 3), dtype=np.uint8)
    images, augment = Images(pixels, 16, torch.device("cpu")), AugmentParams(set="side_on", max_zoom=1.1, pad=0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3))
    plain, tta = predict_views(fabric, model, images, np.arange(4), 2, augment, 7, 2, multi=True)
    views = [images.plain(np.arange(4)), *(images.augmented(np.arange(4), v, augment, 7, "tta") for v in range(2))]
    each = np.stack([model(view).double().sigmoid().detach().numpy() for view in views])
    assert np.allclose(plain, each[0]) and np.allclose(tta, each.mean(0))


@pytest.fixture
def table(tmp_path):
    write_csv(
        tmp_path / "split.csv",
        ["row", "path", "labels", "split", "fold"],
        [[0, "0.png", "a b", "train", 0], [1, "1.png", "-", "train", 1], [2, "2.png", "a", "valid", 0],
         [3, "3.png", "-", "valid", 1], [5, "5.png", "", "test", ""], [6, "6.png", "a b", "test", ""]],
    )  # fmt: skip
    return read_split(tmp_path / "split.csv", 7)


@pytest.mark.parametrize("rule", ["global", "per_label"])
def test_results_of_several_labels(tmp_path, table, rule):
    rows = np.array([2, 3, 5, 6])
    final = np.array([[0.9, 0.6], [0.2, 0.1], [0.3, 0.7], [0.8, 0.2]])
    found = write_results(tmp_path, table, rows, {"plain": final[:, ::-1], "tta": final}, rule)
    assert json.loads((tmp_path / "metrics.json").read_text()) == found
    assert {part: list(ways) for part, ways in found.items()} == {
        part: ["prevalence", "plain", "tta"] for part in ("valid", "test")
    }
    assert (found["valid"]["tta"]["f2"], found["test"]["tta"]["count"]) == (1, 1)
    assert found["test"]["tta"]["f2"] == pytest.approx(5 / 9)  # one of two labels, at the threshold of valid
    assert found["valid"]["prevalence"]["map"] == pytest.approx(0.5)
    lines = read_csv(tmp_path / "per_class.csv")
    assert [(line["split"], line["class"], line["support"]) for line in lines] == [
        ("valid", "a", "1"), ("valid", "b", "0"), ("test", "a", "1"), ("test", "b", "1"),
    ]  # fmt: skip
    assert {float(line["threshold"]) for line in lines} == {0.75}  # b has no image to be tuned on
    predictions = read_csv(tmp_path / "predictions.csv")
    assert list(predictions[0]) == ["row", "path", "split", "labels", "predicted", "uncertainty", "p_a", "p_b"]
    assert [(p["labels"], p["predicted"]) for p in predictions] == [
        ("a", "a"), ("-", "-"), ("", "-"), ("a b", "a"),
    ]  # fmt: skip
    assert read_csv(tmp_path / "confusion.csv")[3] == {
        "split": "test", "class": "b", "tp": "0", "fp": "0", "fn": "1", "tn": "0",
    }  # fmt: skip
    assert [list(row.values()) for row in read_csv(tmp_path / "actual_predicted.csv")] == [["a", "a"], ["b", "-"]]


def test_out_of_fold_predictions_of_several_labels(tmp_path, table):
    write_out_of_fold(tmp_path / "oof.csv", table, np.full((4, 2), 0.5))
    assert [(row["row"], row["labels"]) for row in read_csv(tmp_path / "oof.csv")] == [
        ("0", "a b"), ("1", "-"), ("2", "a"), ("3", "-"),
    ]  # fmt: skip
