"""What was predicted, on disk: a table that people read, and beside it the probabilities as arrays.

`results/evaluate/predictions.csv` has a line for each image of the validation and test splits:
row, path, split, label (or labels), predicted, probability, uncertainty, then the five most probable classes.
`results/evaluate/probabilities.npy` has their probabilities, float32 `[N, C]`, in the order of the lines.
`results/train_head/out_of_fold.csv` and `.npy` say the same of the heads of a cross-validation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unfreeze.core import tables
from unfreeze.core.arrays import ArrayWriter, blocks, open_array, span
from unfreeze.core.console import UserError
from unfreeze.task.base import Task
from unfreeze.task.split_table import PARTS, SplitTable

if TYPE_CHECKING:
    import pandas as pd

MOST_PROBABLE = 5
"""Classes that the tables name beside each image."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of N images and C classes."""

    task: Task
    row: np.ndarray
    """int64 `[N]`: the image's row in pixels.npy."""
    path: np.ndarray
    """object `[N]`, text."""
    split: np.ndarray
    """int8 `[N]`: index into PARTS."""
    actual: np.ndarray
    """Targets `[N]` or `[N, C]`, as the task encodes them."""
    predicted: np.ndarray
    """The same of what was predicted."""
    uncertainty: np.ndarray
    """float32 `[N]` in 0..1."""
    probabilities: np.ndarray
    """float32 `[N, C]`, a memory map."""

    @property
    def classes(self) -> list[str]:
        """The names of the classes."""
        return self.task.classes

    @property
    def labelled(self) -> np.ndarray:
        """Which images have a label: bool `[N]`."""
        return self.task.is_labelled(self.actual)

    def take(self, positions: np.ndarray) -> "Predictions":
        """Return the predictions at ascending `positions` alone; if these are consecutive, without a copy."""
        at = span(positions)
        return Predictions(
            task=self.task,
            row=self.row[at],
            path=self.path[at],
            split=self.split[at],
            actual=self.actual[at],
            predicted=self.predicted[at],
            uncertainty=self.uncertainty[at],
            probabilities=self.probabilities[at],
        )


@dataclass(frozen=True)
class HeldOut:
    """What the heads of a cross-validation say of the images that they did not train on; M images."""

    row: np.ndarray
    """int64 `[M]`."""
    actual: np.ndarray
    """Targets, as the task encodes them."""
    probabilities: np.ndarray
    """float32 `[M, C]`."""


def write_probabilities(path: Path, probabilities: np.ndarray) -> None:
    """Write probabilities `[N, C]` as float32, a block of rows at a time."""
    with ArrayWriter(path, probabilities.shape[1:], np.float32) as writer:
        for block in blocks(len(probabilities), probabilities.shape[1]):
            writer.append(probabilities[block].astype(np.float32))


def write_predictions(
    path: Path,
    table: SplitTable,
    rows: np.ndarray,
    probabilities: np.ndarray,
    thresholds: Sequence[float] | None,
) -> None:
    """Write predictions.csv of the images `rows`, in their order.

    Args:
        probabilities: float64 `[len(rows), C]`.
        thresholds: of the task, if it uses any.
    """
    import pandas as pd

    task, tested = table.task, np.isin(rows, table.rows["test"])
    predicted = task.decide(probabilities, thresholds)
    frame = pd.DataFrame(
        {
            "row": rows,
            "path": [table.paths[row] for row in rows.tolist()],
            "split": np.where(tested, "test", "valid"),
            task.label_column: task.describe(table.targets[rows]),
            "predicted": task.describe(predicted),
            "probability": task.confidence(probabilities, predicted),
            "uncertainty": task.uncertainty(probabilities, thresholds),
        }
    )
    tables.write(path, _with_most_probable(frame, task, probabilities))


def write_held_out(path: Path, table: SplitTable, probabilities: np.ndarray | None = None) -> None:
    """Write out_of_fold.csv at `path` and its array beside it.

    Args:
        probabilities: `[M, C]` that the rows of the folds got from the heads of the other folds; None where there
            was no cross-validation.
    """
    import pandas as pd

    rows = np.flatnonzero(table.folds >= 0) if probabilities is not None else np.array([], np.int64)
    if probabilities is None:
        probabilities = np.empty((0, len(table.classes)))
    frame = pd.DataFrame(
        {
            "row": rows,
            "path": [table.paths[row] for row in rows.tolist()],
            "fold": table.folds[rows],
            table.task.label_column: table.task.describe(table.targets[rows]),
        }
    )
    tables.write(path, _with_most_probable(frame, table.task, probabilities))
    write_probabilities(path.with_suffix(".npy"), probabilities)


def _with_most_probable(frame: "pd.DataFrame", task: Task, probabilities: np.ndarray) -> "pd.DataFrame":
    """Add the columns top_1, p_1 ... of the most probable classes."""
    import pandas as pd

    from unfreeze.task.metrics import top_classes  # which imports scikit-learn

    count = min(MOST_PROBABLE, len(task.classes))
    top = top_classes(probabilities, count) if len(probabilities) else np.empty((0, count), np.int64)
    names = np.array(task.classes, object)
    columns = {}
    for i in range(count):
        columns[f"top_{i + 1}"] = names[top[:, i]]
        columns[f"p_{i + 1}"] = np.take_along_axis(probabilities, top[:, i : i + 1], axis=1)[:, 0]
    return pd.concat([frame, pd.DataFrame(columns)], axis=1)


def read_predictions(table_path: Path, array_path: Path, task: Task) -> Predictions:
    """Read what `write_predictions` and `write_probabilities` wrote for a task.

    Raises:
        UserError: a file is missing, the two do not fit each other, a cell is no class of the task, nothing is
            predicted, or a probability is not finite.
    """
    label = task.label_column
    frame = tables.read(
        table_path,
        {
            "row": "int",
            "path": "text",
            "split": "text",
            label: "text",
            "predicted": "text",
            "uncertainty": "float",
        },
    )
    probabilities = open_array(array_path)
    if probabilities.shape != (len(frame), len(task.classes)):
        raise UserError(
            f"{array_path} has the shape {list(probabilities.shape)}, and {table_path} has {len(frame):,} lines "
            f"for {len(task.classes):,} classes: run dvc repro tta-evaluate"
        )
    if not all(np.isfinite(probabilities[block]).all() for block in blocks(*probabilities.shape)):
        raise UserError(f"{array_path} holds a probability that is not finite: run dvc repro tta-evaluate")
    predicted = _encode(table_path, task, frame["predicted"].tolist())
    if not task.is_labelled(predicted).all():
        raise UserError(f"{table_path}: a cell under 'predicted' is empty: run dvc repro tta-evaluate")
    return Predictions(
        task=task,
        row=frame["row"].to_numpy(),
        path=frame["path"].to_numpy(object),
        split=_index_parts(table_path, frame["split"].tolist()),
        actual=_encode(table_path, task, frame[label].tolist()),
        predicted=predicted,
        uncertainty=frame["uncertainty"].to_numpy(np.float32),
        probabilities=probabilities,
    )


def read_held_out(table_path: Path, task: Task) -> HeldOut:
    """Read what `write_held_out` wrote; without folds it has no lines.

    Raises:
        UserError: as of `read_predictions`.
    """
    label = task.label_column
    frame = tables.read(table_path, {"row": "int", label: "text"})
    probabilities = open_array(table_path.with_suffix(".npy"))
    if probabilities.shape != (len(frame), len(task.classes)):
        raise UserError(f"{table_path} and the array beside it do not fit each other: run dvc repro train-head")
    return HeldOut(
        row=frame["row"].to_numpy(),
        actual=_encode(table_path, task, frame[label].tolist()),
        probabilities=probabilities,
    )


def _encode(path: Path, task: Task, labels: list[str]) -> np.ndarray:
    try:
        return task.encode(labels)
    except KeyError as error:
        raise UserError(f"{path} names the class {error}, which data/split.csv has not: run dvc repro") from None


def _index_parts(path: Path, names: list[str]) -> np.ndarray:
    """Return the index into PARTS of each name, int8."""
    index = {name: i for i, name in enumerate(PARTS)}
    try:
        return np.fromiter(map(index.__getitem__, names), np.int8, len(names))
    except KeyError as error:
        raise UserError(f"{path} names the split {error}; there are {', '.join(PARTS)}: run dvc repro") from None
