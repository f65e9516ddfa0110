"""data/split.csv as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unfreeze.console import UserError
from unfreeze.data.store import scratch_copy
from unfreeze.files import Texts, read_table, write_csv

NO_LABELS = "-"
"""The multi-label text of an image that is known to have none of the labels; "" is one that nobody labelled."""
PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class SplitTable:
    """Which image is where.

    `rows[part]` are the rows of train, valid and test, int64, ascending. `targets` holds the class of each of
    the `images` rows, int64, -1 where there is none; `folds` likewise the fold. If `multi`, an image can have
    any number of labels, even none: `targets` is then float32 `[images, C]`, 1 where it has the label and 0
    where not, and NaN all along the rows of images that have not been labelled. `paths` has one for each image,
    "" for those in no split. All of them need not fit into memory.
    """

    classes: list[str]
    rows: dict[str, np.ndarray]
    targets: np.ndarray
    folds: np.ndarray
    paths: Sequence[str]
    multi: bool = False

    @property
    def headline(self) -> str:
        """The metric that a model of these images is judged by first: accuracy, or f2 of several labels."""
        return "f2" if self.multi else "accuracy"

    def labelled(self, part: str) -> np.ndarray:
        """The rows of `part` that have a label."""
        return self.rows[part][self._has_label(part)]

    def unlabelled(self, part: str) -> np.ndarray:
        """The other rows of `part`."""
        return self.rows[part][~self._has_label(part)]

    def _has_label(self, part: str) -> np.ndarray:
        targets = self.targets[self.rows[part]]
        return ~np.isnan(targets).any(1) if self.multi else targets >= 0


def read_split(path: Path, images: int | None) -> SplitTable:
    """Read a split table for an array of `images` rows (None: as many as the table names).

    Classes are in order of their names. The heading of the third column tells the kind: `label` or `labels`.
    """
    table = read_table(path).columns
    row = scratch_copy(_numbers(table["row"]))
    if images is None:
        images = int(row.max()) + 1
    if len(row) and row.max() >= images:
        raise UserError(f"{path} names row {row.max()} of {images} images: run dvc repro")
    multi = "labels" in table
    classes, known = (_multi_hot if multi else _indices)(table["labels" if multi else "label"])
    targets = scratch_copy(np.full((images, *known.shape[1:]), np.nan if multi else -1, known.dtype))
    folds = scratch_copy(np.full(images, -1))
    targets[row] = known
    folds[row] = _numbers(table["fold"])
    index = {name: i for i, name in enumerate(PARTS)}
    part = np.fromiter((index.get(text, -1) for text in table["split"]), np.int8, len(row))
    line = np.full(images, -1)
    line[row] = np.arange(len(row))
    return SplitTable(
        classes,
        {name: scratch_copy(row[part == i]) for i, name in enumerate(PARTS)},
        targets,
        folds,
        Texts(table["path"][i] if i >= 0 else "" for i in line),
        multi,
    )


def _numbers(texts: Sequence[str]) -> np.ndarray:
    """Whole numbers, int64, -1 for ""."""
    return np.fromiter((int(text or -1) for text in texts), np.int64, len(texts))


def _indices(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The classes, and the class of each text: int64, -1 for ""."""
    classes = sorted(set(texts) - {""})
    index = {name: i for i, name in enumerate(classes)} | {"": -1}
    return classes, np.fromiter(map(index.__getitem__, texts), np.int64, len(texts))


def _multi_hot(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The labels, and which of them each text names: float32 `[len(texts), C]`, NaN for ""."""
    names = [[] if text == NO_LABELS else text.split(" ") if text else None for text in texts]
    classes = sorted({name for row in names for name in row or ()})
    index = {name: i for i, name in enumerate(classes)}
    hot = np.zeros((len(texts), len(classes)), dtype=np.float32)
    for i, row in enumerate(names):
        hot[i, [index[name] for name in row or ()]] = 1
    hot[[row is None for row in names]] = np.nan
    return classes, hot


def write_split(
    path: Path,
    images: Sequence[Mapping[str, str]],
    labels: Sequence[str],
    split: Sequence[str | None],
    fold: Sequence[int],
    kind: str,
) -> None:
    """Write a split table of the rows of images.csv that are in a split.

    `labels[row]` is a class (`kind` single), or label names in order with a space between each two (multi).
    """
    write_csv(
        path,
        ["row", "path", "labels" if kind == "multi" else "label", "split", "fold"],
        (
            [row, images[row]["path"], labels[row], split[row], "" if fold[row] < 0 else fold[row]]
            for row in range(len(images))
            if split[row]
        ),
    )
