"""data/split.csv: which image trains, validates or tests, and what it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unfreeze.core import tables
from unfreeze.core.console import UserError
from unfreeze.task.base import Task
from unfreeze.task.kinds import TASKS

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class SplitTable:
    """Which image is where, and what it is; N images, those in no split included."""

    task: Task
    rows: dict[str, np.ndarray]
    """By part of PARTS, its images: int64, ascending."""
    targets: np.ndarray
    """Of all N images, as the task encodes them."""
    folds: np.ndarray
    """int64 `[N]`, -1 of an image in no fold."""
    paths: Sequence[str]
    """Of all N images, "" for those in no split."""

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the targets."""
        return self.task.classes

    def labelled(self, part: str) -> np.ndarray:
        """Return the rows of `part` that have a label."""
        rows = self.rows[part]
        return rows[self.task.is_labelled(self.targets[rows])]

    def unlabelled(self, part: str) -> np.ndarray:
        """Return the other rows of `part`."""
        rows = self.rows[part]
        return rows[~self.task.is_labelled(self.targets[rows])]


def read_split(path: Path, images: int | None = None) -> SplitTable:
    """Read a split table for an array of `images` rows (None: as many as the table names).

    The heading of the labels tells the task. Classes are in order of their names.

    Raises:
        UserError: the table is missing or damaged, its rows are not in order, or it names a row or a split that
            there is not.
    """
    task_type = _read_task_type(path)
    label = task_type.label_column
    frame = tables.read(path, {"row": "int", "path": "text", label: "text", "split": "category", "fold": "int"})
    row = frame["row"].to_numpy()
    if (wrong := np.diff(row, prepend=-1) <= 0).any():  # a row twice would have two labels
        line = 2 + int(wrong.argmax())
        raise UserError(f"{path}, line {line}: row {row[line - 2]} is out of order: delete it and run dvc repro")
    if unknown := set(frame["split"].cat.categories) - set(PARTS):
        raise UserError(f"{path} names the split {min(unknown)!r}; there are {', '.join(PARTS)}: run dvc repro")
    if images is None:
        images = int(row.max()) + 1 if len(row) else 0
    if len(row) and row.max() >= images:
        raise UserError(f"{path} names row {row.max()} of {images} images: run dvc repro")
    labels = frame[label].tolist()
    task = task_type.of_labels(labels)
    targets = task.blank_targets(images)
    targets[row] = task.encode(labels)
    folds = np.full(images, -1)
    folds[row] = frame["fold"].to_numpy()
    paths = np.full(images, "", object)
    paths[row] = frame["path"].to_numpy(object)
    part = frame["split"].to_numpy(object)
    return SplitTable(
        task=task,
        rows={name: row[part == name] for name in PARTS},
        targets=targets,
        folds=folds,
        paths=paths,
    )


def _read_task_type(path: Path) -> type[Task]:
    header = tables.read_header(path)
    for task in TASKS.values():
        if task.label_column in header:
            return task
    raise UserError(f"{path} has no column of labels: run dvc repro, which makes it anew")


def write_split(
    path: Path,
    task: type[Task],
    paths: Sequence[str],
    labels: Sequence[str],
    split: Sequence[str | None],
    fold: Sequence[int],
) -> None:
    """Write a split table of the images that are in a split, in the order of their rows.

    Args:
        paths: of each image.
        labels: of each image, as the task writes them.
        split: of each image its part, or None.
        fold: of each image, -1 for none.
    """
    rows = (
        [row, name, label, part, "" if place < 0 else place]
        for row, (name, label, part, place) in enumerate(zip(paths, labels, split, fold, strict=True))
        if part
    )
    tables.write_rows(path, ["row", "path", task.label_column, "split", "fold"], rows)
