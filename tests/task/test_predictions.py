"""What was predicted: written, and read back."""

from pathlib import Path

import numpy as np
import pytest

from unfreeze.core import tables
from unfreeze.core.arrays import write_array
from unfreeze.core.console import UserError
from unfreeze.task.base import Task
from unfreeze.task.multi import Multi
from unfreeze.task.predictions import (
    read_held_out,
    read_predictions,
    write_held_out,
    write_predictions,
    write_probabilities,
)
from unfreeze.task.single import Single
from unfreeze.task.split_table import PARTS, SplitTable

LABELS = {Single: ["b", "", "a", "NA", ""], Multi: ["a b", "-", "NA", "", "a"]}
"""Of five images, some of which nobody labelled."""
ROWS = np.array([1, 2, 3, 4])
"""Of those that are predicted; the last two are of the test split."""
BOTH = pytest.mark.parametrize("kind", [Single, Multi])


def make_table(task: Task, labels: list[str]) -> SplitTable:
    """Five images: one trains, two validate, two test; folds of the first three."""
    rows = np.arange(5)
    return SplitTable(
        task=task,
        rows={"train": rows[:1], "valid": rows[1:3], "test": rows[3:]},
        targets=task.encode(labels),
        folds=np.array([0, 1, 0, -1, -1]),
        paths=[f"folder, one/{row}.png" for row in rows],
    )


def thresholds_of(task: Task) -> list[float] | None:
    return [0.5] * len(task.classes) if task.uses_thresholds else None


def write(folder: Path, kind: type[Task], extra_classes: int = 0) -> tuple[SplitTable, np.ndarray]:
    """Write both files; the table, and the probabilities `[4, C]` in them."""
    task = kind(["NA", "a", "b", *(f"c{i}" for i in range(extra_classes))])
    table = make_table(task, LABELS[kind])
    probabilities = np.random.default_rng(1).dirichlet(np.ones(len(task.classes)), 4)
    write_predictions(folder / "predictions.csv", table, ROWS, probabilities, thresholds_of(task))
    write_probabilities(folder / "probabilities.npy", probabilities)
    return table, probabilities


def read(folder: Path, task: Task):
    return read_predictions(folder / "predictions.csv", folder / "probabilities.npy", task)


@BOTH
def test_predictions_come_back(tmp_path, kind):
    table, probabilities = write(tmp_path, kind)
    task = table.task
    predictions = read(tmp_path, task)
    assert predictions.row.tolist() == ROWS.tolist()
    assert predictions.path.tolist() == [f"folder, one/{row}.png" for row in ROWS]
    assert [PARTS[i] for i in predictions.split] == ["valid", "valid", "test", "test"]
    np.testing.assert_array_equal(predictions.actual, table.targets[ROWS])
    decided = task.decide(probabilities, thresholds_of(task))
    np.testing.assert_array_equal(predictions.predicted, decided)
    uncertainty = task.uncertainty(probabilities, thresholds_of(task))
    np.testing.assert_array_equal(predictions.uncertainty, uncertainty.astype(np.float32))
    np.testing.assert_array_equal(predictions.probabilities, probabilities.astype(np.float32))
    assert isinstance(predictions.probabilities, np.memmap) and predictions.probabilities.dtype == np.float32
    assert predictions.labelled.tolist() == [label != "" for label in LABELS[kind][1:]]
    assert predictions.classes == table.classes


@BOTH
def test_the_table_is_for_people(tmp_path, kind):
    table, probabilities = write(tmp_path, kind)
    frame = tables.read(tmp_path / "predictions.csv")
    label = {Single: "label", Multi: "labels"}[kind]
    most_probable = [f"{name}_{i}" for i in (1, 2, 3) for name in ("top", "p")]
    assert list(frame) == [
        *("row", "path", "split", label, "predicted", "probability", "uncertainty"),
        *most_probable,
    ]
    assert frame[label].tolist() == LABELS[kind][1:]
    order = np.argsort(-probabilities, axis=1)
    names = frame[["top_1", "top_2", "top_3"]].to_numpy().tolist()
    assert names == [[table.classes[c] for c in row] for row in order]
    values = frame[["p_1", "p_2", "p_3"]].astype(float).to_numpy()
    assert np.array_equal(values, -np.sort(-probabilities, axis=1))  # to the bit
    if kind is Single:
        assert frame["predicted"].tolist() == frame["top_1"].tolist()
        assert frame["probability"].tolist() == frame["p_1"].tolist()


@BOTH
@pytest.mark.parametrize(("extra", "most"), [(0, 3), (2, 5), (9, 5)])
def test_it_names_five_classes_or_all_of_fewer(tmp_path, kind, extra, most):
    write(tmp_path, kind, extra)
    header = tables.read_header(tmp_path / "predictions.csv")
    assert [name for name in header if name.startswith("top_")] == [f"top_{i + 1}" for i in range(most)]
    assert header[-1] == f"p_{most}" and len(header) == 7 + 2 * most


@BOTH
def test_the_same_predictions_give_the_same_bytes(tmp_path, kind):
    for folder in ("one", "two"):
        write(tmp_path / folder, kind)
    for name in ("predictions.csv", "probabilities.npy"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@BOTH
def test_a_part_of_the_predictions(tmp_path, kind):
    table, probabilities = write(tmp_path, kind)
    predictions = read(tmp_path, table.task)
    part = predictions.take(np.array([0, 2, 3]))
    assert part.row.tolist() == [1, 3, 4] and [PARTS[i] for i in part.split] == ["valid", "test", "test"]
    np.testing.assert_array_equal(part.probabilities, probabilities[[0, 2, 3]].astype(np.float32))
    np.testing.assert_array_equal(part.actual, predictions.actual[[0, 2, 3]])
    assert len(part.path) == len(part.predicted) == len(part.uncertainty) == 3
    consecutive = predictions.take(np.array([1, 2]))
    assert np.shares_memory(consecutive.probabilities, predictions.probabilities)  # no copy


@BOTH
def test_no_images_give_empty_files(tmp_path, kind):
    task = kind(["a", "b"])
    table, nothing = make_table(task, [""] * 5), np.empty((0, 2))
    write_predictions(tmp_path / "predictions.csv", table, np.arange(0), nothing, thresholds_of(task))
    write_probabilities(tmp_path / "probabilities.npy", nothing)
    predictions = read(tmp_path, task)
    assert len(predictions.row) == len(predictions.split) == 0
    assert predictions.actual.shape == task.blank_targets(0).shape
    assert predictions.probabilities.shape == (0, 2)


@BOTH
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (4,)])
def test_files_that_do_not_fit_each_other_are_refused(tmp_path, kind, shape):
    table, _ = write(tmp_path, kind)
    write_array(tmp_path / "probabilities.npy", np.zeros(shape, np.float32))
    with pytest.raises(UserError, match=r"has 4 lines for 3 classes: run dvc repro tta-evaluate"):
        read(tmp_path, table.task)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@BOTH
@pytest.mark.parametrize("column", [3, 4])
def test_a_class_that_the_split_lacks_is_refused(tmp_path, kind, column):
    table, _ = write(tmp_path, kind)
    rows = tables.read(tmp_path / "predictions.csv").to_numpy().tolist()
    rows[0][column] = "cow"
    header = tables.read_header(tmp_path / "predictions.csv")
    tables.write_rows(tmp_path / "predictions.csv", header, rows)
    with pytest.raises(UserError, match=r"names the class 'cow', which data/split.csv has not: run dvc repro"):
        read(tmp_path, table.task)


@BOTH
def test_an_image_of_which_nothing_is_predicted_is_refused(tmp_path, kind):
    table, _ = write(tmp_path, kind)
    rows = tables.read(tmp_path / "predictions.csv").to_numpy().tolist()
    rows[1][4] = ""
    header = tables.read_header(tmp_path / "predictions.csv")
    tables.write_rows(tmp_path / "predictions.csv", header, rows)
    with pytest.raises(UserError, match=r"predictions.csv: a cell under 'predicted' is empty"):
        read(tmp_path, table.task)


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_probability_that_is_not_finite_is_refused(tmp_path, kind, value):
    table, probabilities = write(tmp_path, kind)
    probabilities[2, 1] = value
    write_probabilities(tmp_path / "probabilities.npy", probabilities)
    with pytest.raises(UserError, match=r"probabilities.npy holds a probability that is not finite"):
        read(tmp_path, table.task)


@BOTH
def test_an_unknown_split_is_refused(tmp_path, kind):
    table, _ = write(tmp_path, kind)
    change(tmp_path / "predictions.csv", ",valid,", ",somewhere,")
    with pytest.raises(UserError, match=r"names the split 'somewhere'; there are train, valid, test"):
        read(tmp_path, table.task)


@BOTH
def test_files_of_another_task_or_of_none_are_refused(tmp_path, kind):
    table, _ = write(tmp_path, kind)
    other = {Single: Multi, Multi: Single}[kind](table.classes)
    with pytest.raises(UserError, match=f"has no column '{other.label_column}'"):
        read(tmp_path, other)
    (tmp_path / "probabilities.npy").unlink()
    with pytest.raises(UserError, match=r"probabilities\.npy is missing"):
        read(tmp_path, table.task)
    (tmp_path / "predictions.csv").unlink()
    with pytest.raises(UserError, match=r"predictions\.csv is missing"):
        read(tmp_path, table.task)


# Of a cross-validation


@BOTH
def test_held_out_predictions_come_back(tmp_path, kind):
    task = kind(["NA", "a", "b"])
    table = make_table(task, LABELS[kind])
    probabilities = np.random.default_rng(2).dirichlet(np.ones(3), 3)
    write_held_out(tmp_path / "out_of_fold.csv", table, probabilities)
    frame = tables.read(tmp_path / "out_of_fold.csv")
    assert list(frame)[:4] == ["row", "path", "fold", task.label_column] and list(frame)[-1] == "p_3"
    assert frame["fold"].tolist() == ["0", "1", "0"] and frame[task.label_column].tolist() == LABELS[kind][:3]
    assert frame["top_1"].tolist() == [task.classes[c] for c in probabilities.argmax(1)]
    held_out = read_held_out(tmp_path / "out_of_fold.csv", task)
    assert held_out.row.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(held_out.actual, table.targets[:3])
    np.testing.assert_array_equal(held_out.probabilities, probabilities.astype(np.float32))


@BOTH
def test_without_folds_nothing_is_held_out(tmp_path, kind):
    task = kind(["NA", "a", "b"])
    table = make_table(task, LABELS[kind])
    write_held_out(tmp_path / "out_of_fold.csv", table)
    held_out = read_held_out(tmp_path / "out_of_fold.csv", task)
    assert held_out.row.tolist() == [] and held_out.probabilities.shape == (0, 3)
    assert tables.read_header(tmp_path / "out_of_fold.csv")[:4] == ["row", "path", "fold", task.label_column]


@BOTH
def test_held_out_files_that_do_not_fit_are_refused(tmp_path, kind):
    table = make_table(kind(["NA", "a", "b"]), LABELS[kind])
    write_held_out(tmp_path / "out_of_fold.csv", table, np.full((3, 3), 1 / 3))
    write_array(tmp_path / "out_of_fold.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(UserError, match=r"do not fit each other: run dvc repro train-head"):
        read_held_out(tmp_path / "out_of_fold.csv", table.task)
    write_held_out(tmp_path / "out_of_fold.csv", table, np.full((3, 3), 1 / 3))
    with pytest.raises(UserError, match=r"shape|fit each other"):
        read_held_out(tmp_path / "out_of_fold.csv", kind(["a"]))
