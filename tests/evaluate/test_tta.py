import numpy as np
import pytest
import torch
from torch import nn

from unfreeze.data import store
from unfreeze.data.table import SplitTable, read_split
from unfreeze.evaluate.results import write_out_of_fold, write_results
from unfreeze.evaluate.tta import predict_views, stored
from unfreeze.files import read_csv, write_csv
from unfreeze.train.augment import AugmentParams, Images
from unfreeze.train.loop import probabilities


class Brightness(nn.Module):
    """Logits that depend on where the light is, so that every view differs."""

    def forward(self, images):
        return (
            torch.stack([images[:, 0].mean((1, 2)), images[:, 0, :4].mean((1, 2)), images[:, 1, :, 3].mean(1)], 1)
            * 5
        )


@pytest.fixture
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 20, 20, 3), dtype=np.uint8)
    return Images(pixels, 16, torch.device("cpu"))


def test_tta_is_the_mean_of_the_probabilities_of_all_views(fabric, images):
    augment = AugmentParams(set="side_on", max_zoom=1.1, pad=0)
    rows, model = np.array([4, 1, 5]), Brightness()
    plain, tta = predict_views(fabric, model, images, rows, 3, augment, 7, 2)
    views = [images.plain(rows), *(images.augmented(rows, view, augment, 7, "tta") for view in range(3))]
    each = np.stack([model(view).double().softmax(1).numpy() for view in views])
    assert np.allclose(plain, each[0])
    assert np.allclose(tta, each.mean(0))
    assert np.allclose(tta.sum(1), 1)
    assert not np.allclose(each[0], each[1], atol=1e-4)
    again = predict_views(fabric, model, images, rows, 3, augment, 7, 2)[1]
    assert np.array_equal(again, tta)


def test_without_views_or_augmentation_tta_is_the_plain_prediction(fabric, images):
    for views, name in ((0, "side_on"), (4, "none")):
        plain, tta = predict_views(
            fabric, Brightness(), images, np.arange(6), views, AugmentParams(set=name, max_zoom=1.0, pad=0), 1, 4
        )
        assert np.allclose(plain, tta, atol=1e-12)


@pytest.fixture
def table(tmp_path):
    write_csv(
        tmp_path / "split.csv",
        ["row", "path", "label", "split", "fold"],
        [[0, "a/0.png", "a", "train", 0], [1, "a/1.png", "a", "valid", 1], [2, "b/2.png", "b", "valid", 0],
         [4, "b/4.png", "b", "train", 1], [5, "x/5.png", "", "test", ""]],
    )  # fmt: skip
    return read_split(tmp_path / "split.csv", 6)


def test_the_split_table_as_arrays(table: SplitTable):
    assert table.classes == ["a", "b"]
    assert {part: rows.tolist() for part, rows in table.rows.items()} == {
        "train": [0, 4],
        "valid": [1, 2],
        "test": [5],
    }
    assert table.targets.tolist() == [0, 0, 1, -1, 1, -1]
    assert table.folds.tolist() == [0, 1, 0, -1, 1, -1]
    assert table.labelled("test").tolist() == []


def test_results_of_labelled_and_unlabelled_images(tmp_path, table):
    final = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    metrics = write_results(tmp_path, table, np.array([1, 2, 5]), {"plain": final[:, ::-1], "tta": final})
    assert metrics.keys() == {"valid"}
    assert (metrics["valid"]["plain"]["accuracy"], metrics["valid"]["tta"]["accuracy"]) == (0.5, 0.5)
    predictions = read_csv(tmp_path / "predictions.csv")
    assert list(predictions[0]) == ["row", "path", "split", "label", "predicted", "uncertainty", "p_a", "p_b"]
    assert [(p["row"], p["split"], p["label"], p["predicted"]) for p in predictions] == [
        ("1", "valid", "a", "a"), ("2", "valid", "b", "a"), ("5", "test", "", "b"),
    ]  # fmt: skip
    assert read_csv(tmp_path / "confusion.csv") == [
        {"split": "valid", "actual": "a", "predicted": "a", "count": "1"},
        {"split": "valid", "actual": "b", "predicted": "a", "count": "1"},
    ]
    assert [list(row.values()) for row in read_csv(tmp_path / "actual_predicted.csv")] == [["a", "a"], ["b", "a"]]


def test_out_of_fold_predictions(tmp_path, table):
    write_out_of_fold(tmp_path / "oof.csv", table, np.full((4, 2), 0.5))
    assert [(row["row"], row["fold"], row["label"]) for row in read_csv(tmp_path / "oof.csv")] == [
        ("0", "0", "a"), ("1", "1", "a"), ("2", "0", "b"), ("4", "1", "b"),
    ]  # fmt: skip


@pytest.mark.parametrize("multi", [False, True])
def test_probabilities_made_in_blocks_are_those_of_all_at_once(multi, monkeypatch):
    monkeypatch.setattr(store, "BLOCK", 3)
    logits = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    # Where a vector of the CPU ends, torch's sigmoid differs by the last bit: no block ends there but the tests'.
    np.testing.assert_allclose(
        stored(lambda rows: logits[rows], np.arange(10), multi), probabilities(logits, multi), rtol=1e-15
    )
