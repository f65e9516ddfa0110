"""Which images the report shows: pure functions on plain arrays.

Everywhere `probabilities` is float `[N, C]`; `actual` and `predicted` are integer class indices `[N]`, and
`actual` is -1 where the label is unknown. A gallery is an int64 array of positions 0..N-1 in the order to
show, as long as asked for or shorter: a good model has few mistakes. Equals stand in the order of their
positions.

Where an image can have several labels, `actual` and `predicted` are 0 or 1 `[N, C]`, and a row of -1 in `actual`
is an image of unknown labels.
"""

import csv
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from unfreeze import draws
from unfreeze.console import UserError
from unfreeze.data.store import span
from unfreeze.data.table import NO_LABELS, PARTS
from unfreeze.files import BLOCK, Spool, Texts
from unfreeze.params import Section

_COLUMNS = ["row", "path", "split", "label", "predicted", "uncertainty"]
_MULTI = ["row", "path", "split", "labels", "predicted", "uncertainty"]


class ReportParams(Section):
    """The `report` section."""

    per_gallery: Annotated[int, Field(ge=1, le=64)]
    """Images in each gallery, and for each class in the galleries by class."""


@dataclass(frozen=True)
class Predictions:
    """predictions.csv as arrays in files; N images, C classes."""

    classes: list[str]
    row: np.ndarray
    """int64 `[N]`: the image's row in pixels.npy."""
    path: Sequence[str]
    split: np.ndarray
    """int8 `[N]`: index into `data.table.PARTS`."""
    actual: np.ndarray
    """int64 `[N]`: index into `classes`, -1 for an unlabelled image; or int8 `[N, C]` of several labels."""
    predicted: np.ndarray
    """int64 `[N]`: index into `classes`; or int8 `[N, C]`."""
    uncertainty: np.ndarray
    """float32 `[N]`: 1 - (largest probability - second largest); or 1 less the distance of the nearest probability
    to its threshold."""
    probabilities: np.ndarray
    """float32 `[N, C]`."""

    @property
    def multi(self) -> bool:
        """Whether an image can have several labels."""
        return self.actual.ndim == 2

    @property
    def labelled(self) -> np.ndarray:
        """bool `[N]`."""
        return (self.actual >= 0).all(1) if self.multi else self.actual >= 0

    def take(self, positions: np.ndarray) -> "Predictions":
        """The predictions at ascending `positions` alone; if these are consecutive, without a copy of them."""
        at, path = span(positions), Texts(self.path[i] for i in positions)
        return Predictions(
            self.classes, self.row[at], path, self.split[at], self.actual[at], self.predicted[at],
            self.uncertainty[at], self.probabilities[at],
        )  # fmt: skip


@dataclass(frozen=True)
class HeldOut:
    """out_of_fold.csv as arrays, of images with a label; as in `Predictions`."""

    row: np.ndarray
    actual: np.ndarray
    probabilities: np.ndarray


def read_predictions(path: Path) -> Predictions:
    """Read predictions.csv.

    Raises:
        UserError: if the table has no class column, or a line does not fit its header.
    """
    paths, names = Texts(), []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        classes = [name.removeprefix("p_") for name in header[6:]]
        if header[:6] not in (_COLUMNS, _MULTI) or not classes:
            raise UserError(f"{path}: the header must be {', '.join(_COLUMNS)}, p_<class>...; run tta_evaluate")
        multi = header[:6] == _MULTI
        index = {name: i for i, name in enumerate(classes)}

        def numbers() -> Iterator[tuple[Iterable[float], ...]]:
            for line in reader:
                try:
                    if not line[4]:
                        raise ValueError("nothing is predicted")
                    found = [float(cell) for cell in line[6:]]
                    if len(line) != len(header) or not all(map(isfinite, found)):
                        raise ValueError("a probability is missing or not finite")
                    actual, predicted = (_known(cell, index, multi) for cell in line[3:5])
                    yield [int(line[0])], [PARTS.index(line[2])], actual, predicted, [float(line[5])], found
                except (ValueError, KeyError, IndexError) as error:
                    raise UserError(f"{path}, line {reader.line_num}: {error!r}; run tta_evaluate") from None
                names.append(line[1])
                if len(names) == BLOCK:
                    paths.extend(names)
                    names.clear()

        label = "b" if multi else "q"
        row, split, actual, predicted, uncertainty, probabilities = _in_files(f"qb{label}{label}ff", numbers())
    paths.extend(names)
    each = (len(row), len(classes))
    shape = each if multi else len(row)
    return Predictions(
        classes, row, paths, split, actual.reshape(shape), predicted.reshape(shape), uncertainty,
        probabilities.reshape(each),
    )  # fmt: skip


def read_held_out(path: Path, classes: list[str]) -> HeldOut:
    """Read out_of_fold.csv, which has lines only if there are folds."""
    index = {name: i for i, name in enumerate(classes)}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        multi = "labels" in next(reader)
        lines = (([int(line[0])], _known(line[3], index, multi), map(float, line[4:])) for line in reader)
        row, actual, probabilities = _in_files("qbf" if multi else "qqf", lines)
    each = (len(row), len(classes))
    return HeldOut(row, actual.reshape(each if multi else len(row)), probabilities.reshape(each))


def _in_files(kinds: str, lines: Iterable[tuple[Iterable[float], ...]]) -> list[np.ndarray]:
    """The columns of `lines`, which may have several numbers each, flat: arrays of `kinds` (see `array`), whose
    numbers are read from files when they are used."""
    columns = [(array(kind), Spool()) for kind in kinds]
    for line in lines:
        for (values, spool), some in zip(columns, line, strict=True):
            values.extend(some)
            if len(values) >= BLOCK:
                spool.append(values)
                del values[:]
    for values, spool in columns:
        spool.append(values)
    return [np.frombuffer(spool.read(), values.typecode) for values, spool in columns]


def _known(text: str, index: dict[str, int], multi: bool) -> list[int]:
    """The class that `text` names, by `index`, or 0 or 1 for each label; -1, or all along, where it is empty."""
    if not multi:
        return [index[text] if text else -1]
    found = [0 if text else -1] * len(index)
    for name in text.split(" ") if text not in ("", NO_LABELS) else ():
        found[index[name]] = 1
    return found


def some_correct(actual: np.ndarray, predicted: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` correctly classified images at random."""
    return _some(np.flatnonzero(actual == predicted), count, seed, "report", "correct")


def some_incorrect(actual: np.ndarray, predicted: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` wrongly classified images at random."""
    return _some(np.flatnonzero(_wrong(actual, predicted)), count, seed, "report", "incorrect")


def most_correct(
    probabilities: np.ndarray, actual: np.ndarray, predicted: np.ndarray, index: int, count: int
) -> np.ndarray:
    """Images of class `index` that are classified correctly, the highest probability of that class first."""
    positions = np.flatnonzero((actual == index) & (predicted == index))
    return _ranked(positions, -probabilities[positions, index], count)


def most_incorrect(
    probabilities: np.ndarray, actual: np.ndarray, predicted: np.ndarray, index: int, count: int
) -> np.ndarray:
    """Images of class `index` that are classified wrongly, the lowest probability of that class first."""
    positions = np.flatnonzero((actual == index) & (predicted != index))
    return _ranked(positions, probabilities[positions, index], count)


def most_uncertain(uncertainty: np.ndarray, count: int) -> np.ndarray:
    """The images with the highest `uncertainty` `[N]` first: their two most probable classes are closest, or the
    probability of some label is nearest to its threshold."""
    return _ranked(np.arange(len(uncertainty)), -uncertainty, count)


def of_label(shown: Predictions, index: int, had: bool, given: bool, count: int) -> np.ndarray:
    """Of several labels an image: those images that have label `index` or not (`had`) and get it or not (`given`).
    First stand the highest probabilities of what is given, or the lowest of what is not."""
    positions = np.flatnonzero((shown.actual[:, index] == had) & (shown.predicted[:, index] == given))
    p = shown.probabilities[positions, index]
    return _ranked(positions, -p if given else p, count)


def explored(shown: Predictions) -> np.ndarray:
    """All images in the order in which they get room among those to search: some of every pair of true and
    predicted class, the surest first, before more of any; where images have several labels, the most mistakes
    first."""
    if shown.multi:
        return np.lexsort((-shown.uncertainty, -(shown.actual != shown.predicted).sum(1)))
    n = np.arange(len(shown.row))
    pair = shown.actual * len(shown.classes) + shown.predicted
    order = np.lexsort((-shown.probabilities[n, shown.predicted], pair))
    starts = np.flatnonzero(np.diff(pair[order], prepend=-1))
    rank = np.empty_like(n)
    rank[order] = n - np.repeat(starts, np.diff(np.append(starts, len(n))))
    return np.lexsort((shown.actual == shown.predicted, rank))


def labels_by_mistakes(actual: np.ndarray, predicted: np.ndarray) -> list[tuple[int, int, int]]:
    """(label, images that have it, images that miss it or get it wrongly), most mistakes first."""
    images, mistakes = (actual == 1).sum(0), (actual != predicted).sum(0)
    order = np.argsort(-mistakes, kind="stable")
    return [(int(i), int(images[i]), int(mistakes[i])) for i in order]


def by_mistakes(actual: np.ndarray, predicted: np.ndarray, classes: int) -> list[tuple[int, int, int]]:
    """(class, its images, its mistakes) for the classes that have images, most mistakes first."""
    images = np.bincount(actual[actual >= 0], minlength=classes)
    mistakes = np.bincount(actual[_wrong(actual, predicted)], minlength=classes)
    order = np.argsort(-mistakes, kind="stable")
    return [(int(i), int(images[i]), int(mistakes[i])) for i in order if images[i]]


def _wrong(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return (actual != predicted) & (actual >= 0)


def _some(positions: np.ndarray, count: int, *key: int | str) -> np.ndarray:
    return _ranked(positions, draws.uniform(positions, 1, *key)[:, 0], count)


def _ranked(positions: np.ndarray, ascending: np.ndarray, count: int) -> np.ndarray:
    return positions[np.argsort(ascending, kind="stable")[:count]]
