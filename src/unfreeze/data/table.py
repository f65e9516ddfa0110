"""data/split.csv as arrays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unfreeze.console import UserError
from unfreeze.files import read_csv


@dataclass(frozen=True)
class SplitTable:
    """Which image is where.

    `rows[part]` are the rows of train, valid and test, int64, ascending. `targets` holds the class of each of
    the `images` rows, int64, -1 where there is none; `folds` likewise the fold.
    """

    classes: list[str]
    rows: dict[str, np.ndarray]
    targets: np.ndarray
    folds: np.ndarray
    paths: dict[int, str]

    def labelled(self, part: str) -> np.ndarray:
        """The rows of `part` that have a label."""
        rows = self.rows[part]
        return rows[self.targets[rows] >= 0]


def read_split(path: Path, images: int | None) -> SplitTable:
    """Read a split table for an array of `images` rows (None: as many as the table names); classes are in order of
    their names."""
    table = read_csv(path)
    row = np.array([int(line["row"]) for line in table], dtype=np.int64)
    if images is None:
        images = row.max() + 1
    if len(row) and row.max() >= images:
        raise UserError(f"{path} names row {row.max()} of {images} images: run dvc repro")
    classes = sorted({line["label"] for line in table} - {""})
    index = {name: i for i, name in enumerate(classes)} | {"": -1}
    targets, folds = np.full(images, -1), np.full(images, -1)
    targets[row] = [index[line["label"]] for line in table]
    folds[row] = [int(line["fold"] or -1) for line in table]
    part = np.array([line["split"] for line in table])
    return SplitTable(
        classes,
        {name: row[part == name] for name in ("train", "valid", "test")},
        targets,
        folds,
        {int(line["row"]): line["path"] for line in table},
    )
