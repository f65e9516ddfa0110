"""What the report reads is what the stages write."""

from pathlib import Path

import numpy as np
import pytest
from made_up_results import params, pixels

from unfreeze.core import paths, tables
from unfreeze.core.arrays import write_array
from unfreeze.core.console import UserError
from unfreeze.core.files import write_json
from unfreeze.report.page import render
from unfreeze.report.results import read_results
from unfreeze.task.kinds import TASKS
from unfreeze.task.predictions import write_held_out, write_predictions, write_probabilities
from unfreeze.task.split_table import read_split, write_split

LABELS = {
    "single": ["NA", "01", "NA", "01", "NA", "01", "", "NA"],
    "multi": ["NA", "01 NA", "NA", "-", "NA", "01", "", "NA"],
}
PARTS = ["train", "train", "train", "valid", "test", "test", "test", "test"]


def write_results(kind: str) -> None:
    """Write the files of eight images as the stages do."""
    names = [f"{i}, a.png" for i in range(8)]
    folds = [0, 1, 0, -1, -1, -1, -1, -1]
    write_split(paths.SPLIT_CSV, TASKS[kind], names, LABELS[kind], PARTS, folds)
    table = read_split(paths.SPLIT_CSV)
    task, rows = table.task, np.arange(3, 8)
    p = np.array([[0.75, 0.25], [0.125, 0.875], [0.625, 0.375], [0.25, 0.75], [0.0, 1.0]])
    write_predictions(paths.EVALUATE / "predictions.csv", table, rows, p, [0.5, 0.5])
    write_probabilities(paths.EVALUATE / "probabilities.npy", p)
    write_held_out(paths.TRAIN_HEAD / "out_of_fold.csv", table, p[:3])
    chosen = np.array([1, 2, 4])  # of the test images those with a label
    scores = task.scores(p[chosen], table.targets[rows[chosen]], [0.5, 0.5])
    write_json(paths.EVALUATE / "details.json", {"test": {"plain": scores, "tta": scores}})
    per_class = task.per_class(p[chosen], table.targets[rows[chosen]], [0.5, 0.5])
    tables.write_rows(
        paths.EVALUATE / "per_class.csv",
        ["split", "class", *task.per_class_columns],
        (["test", name, *line.values()] for name, line in zip(task.classes, per_class, strict=True)),
    )
    confusion = task.confusion(p[chosen], table.targets[rows[chosen]], [0.5, 0.5])
    tables.write_rows(
        paths.EVALUATE / "confusion.csv",
        ["split", *task.confusion_columns],
        (["test", *line.values()] for line in confusion),
    )
    reliability = task.reliability(p[chosen], table.targets[rows[chosen]])
    tables.write_rows(
        paths.EVALUATE / "reliability.csv",
        ["split", "confidence", "accuracy", "count"],
        (["test", *line.values()] for line in reliability),
    )
    curve = [[0, 1e-5, 2.5, 2.5], [1, 1e-3, float("nan"), 2.0], [2, 1e-1, 1.5, 1.75]]
    steps, epochs = ["step", "epoch", "lr", "loss"], ["epoch", "phase", "train_loss", "valid_loss", "valid_score"]
    for folder, phase in ((paths.TRAIN_HEAD, "head"), (paths.FINETUNE, "frozen")):
        tables.write_rows(folder / "steps.csv", steps, [[0, 0, 0.1, 1.5], [1, 0, 0.05, 1.25]])
        tables.write_rows(folder / "epochs.csv", epochs, [[0, phase, 1.5, None, None], [1, phase, 1.25, 1.5, 0.5]])
        write_json(folder / "details.json", {"lr": 0.1, "steepest": None, "minimum_tenth": 0.01})
    for file in (paths.FIND_LR / "curve.csv", paths.FINETUNE / "lr_curve.csv"):
        tables.write_rows(file, ["step", "lr", "loss", "smoothed"], curve)
    write_json(paths.FIND_LR / "details.json", {"steepest": 0.01, "minimum_tenth": None})
    header = ["row", "path", "width", "height", "mode", "pixels_sha256", "format"]
    lines = ([i, name, 40 + i, 30, "RGB", "0" * 64, "JPEG"] for i, name in enumerate(names))
    tables.write_rows(paths.IMAGES_CSV, header, lines)
    tables.write_rows(paths.REJECTED_CSV, ["path", "reason"], [["null", "empty file"]])
    tables.write_rows(paths.DUPLICATES_CSV, ["path", "same_as", "action"], [])
    write_json(paths.SUMMARY, {"lines": ["labels from folders"]})
    write_array(paths.FEATURES / "plain.npy", np.random.default_rng(0).random((8, 5), np.float32))
    write_array(paths.EVALUATE / "gradcam.npy", np.full((1, 2, 4, 4), 9, np.uint8))
    tables.write_rows(paths.EVALUATE / "gradcam.csv", ["row", "first", "second"], [[5, "NA", "01"]])


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", TASKS)
def test_what_the_stages_write_is_read_with_its_types_and_shown(kind, folder):
    write_results(kind)
    results = read_results(seed=1)
    task = results.predictions.task
    assert (task.kind, task.classes) == (kind, ["01", "NA"])
    assert results.split["label"].tolist() == LABELS[kind] and results.split.index.tolist() == list(range(8))
    assert results.predictions.labelled.tolist() == [True, True, True, False, True]
    assert results.per_class["class"].tolist() == ["01", "NA"] and results.per_class["support"].dtype == np.int64
    assert results.head.lr_suggestions == {"steepest": 0.01, "minimum_tenth": None}
    assert np.isnan(results.head.lr_curve["loss"][1]) and np.isnan(results.head.epochs["valid_loss"][0])
    assert results.rejected.to_dict("records") == [{"path": "null", "reason": "empty file"}]
    assert len(results.problems["outliers"]) == 8
    html = render(results, pixels(8), params())
    assert html == render(read_results(seed=1), pixels(8), params())
    assert (
        "on 3 test images" in html and "7, a.png" in html and "6, a.png" not in html.split("<h2>Data problems")[0]
    )


@pytest.mark.parametrize("file", ["evaluate/details.json", "find_lr/curve.csv", "evaluate/probabilities.npy"])
def test_a_missing_file_is_named(file, folder):
    write_results("single")
    Path("results", file).unlink()
    with pytest.raises(UserError, match=rf"results/{file}.*dvc repro"):
        read_results(seed=1)


def test_without_folds_there_is_nothing_held_out(folder):
    write_results("single")
    write_held_out(paths.TRAIN_HEAD / "out_of_fold.csv", read_split(paths.SPLIT_CSV))
    assert not {0, 1, 2} & set(read_results(seed=1).problems["label_errors"]["row"])
