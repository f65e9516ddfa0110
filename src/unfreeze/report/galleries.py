"""Which images the report shows: pure functions on plain arrays.

Everywhere `probabilities` is float `[N, C]`. Where an image has one class, `actual` and `predicted` are integer
class indices `[N]`, and `actual` is -1 where the label is unknown. Where it has any number of labels, they are 0
or 1 `[N, C]`. A gallery is an int64 array of positions 0..N-1 in the order to show, as long as asked for or
shorter: a good model has few mistakes. Equals stand in the order of their positions.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from unfreeze.core import draws
from unfreeze.core.params import Section
from unfreeze.task.multi import Multi
from unfreeze.task.predictions import Predictions
from unfreeze.task.single import Single


class ReportParams(Section):
    """The `report` section."""

    per_gallery: Annotated[int, Field(ge=1, le=64)]
    """Images in each gallery, and for each class in the galleries by class."""


# --- One class an image


def sample_correct(actual: np.ndarray, predicted: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw `count` correctly classified images."""
    return _sample(np.flatnonzero(actual == predicted), count, seed, "report", "correct")


def sample_incorrect(actual: np.ndarray, predicted: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw `count` wrongly classified images."""
    return _sample(np.flatnonzero(_is_wrong(actual, predicted)), count, seed, "report", "incorrect")


def rank_correct(
    probabilities: np.ndarray, actual: np.ndarray, predicted: np.ndarray, index: int, count: int
) -> np.ndarray:
    """Rank the images of class `index` that are classified correctly, its highest probability first."""
    positions = np.flatnonzero((actual == index) & (predicted == index))
    return _rank(positions, -probabilities[positions, index], count)


def rank_incorrect(
    probabilities: np.ndarray, actual: np.ndarray, predicted: np.ndarray, index: int, count: int
) -> np.ndarray:
    """Rank the images of class `index` that are classified wrongly, its lowest probability first."""
    positions = np.flatnonzero((actual == index) & (predicted != index))
    return _rank(positions, probabilities[positions, index], count)


def rank_classes(actual: np.ndarray, predicted: np.ndarray, classes: int) -> list[tuple[int, int, int]]:
    """Return (class, its images, its mistakes) of the classes that have images, most mistakes first."""
    images = np.bincount(actual[actual >= 0], minlength=classes)
    mistakes = np.bincount(actual[_is_wrong(actual, predicted)], minlength=classes)
    order = np.argsort(-mistakes, kind="stable")
    return [(int(i), int(images[i]), int(mistakes[i])) for i in order if images[i]]


# --- Any number of labels an image


def rank_by_label(shown: Predictions, index: int, has: bool, gets: bool, count: int) -> np.ndarray:
    """Rank the images that have label `index` or not (`has`) and get it or not (`gets`).

    The highest probabilities of a label that is given come first, or the lowest of one that is not.
    """
    positions = np.flatnonzero((shown.actual[:, index] == has) & (shown.predicted[:, index] == gets))
    p = shown.probabilities[positions, index]
    return _rank(positions, -p if gets else p, count)


def rank_labels(actual: np.ndarray, predicted: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (label, images that have it, images that miss it or get it wrongly), most mistakes first."""
    images, mistakes = (actual == 1).sum(0), (actual != predicted).sum(0)
    order = np.argsort(-mistakes, kind="stable")
    return [(int(i), int(images[i]), int(mistakes[i])) for i in order]


# --- Both


def rank_uncertain(uncertainty: np.ndarray, count: int) -> np.ndarray:
    """Rank the images by their `uncertainty` `[N]`, the highest first."""
    return _rank(np.arange(len(uncertainty)), -uncertainty, count)


def count_mistakes(shown: Predictions) -> np.ndarray:
    """Count the mistakes of each labelled image, of one class an image 0 or 1: int64 `[N]`."""
    return (shown.actual != shown.predicted).reshape(len(shown.row), -1).sum(1)


def order_for_search(shown: Predictions) -> np.ndarray:
    """Order all labelled images as they get room among those to search: int64 `[N]`.

    Where an image has one class, some of every pair of true and predicted class, the surest first, come before
    more of any. Where it has several labels, the most mistakes come first.
    """
    return _SEARCH_ORDERS[shown.task.kind](shown)


def _order_by_pair(shown: Predictions) -> np.ndarray:
    n = np.arange(len(shown.row))
    pair = shown.actual * len(shown.classes) + shown.predicted
    order = np.lexsort((-shown.probabilities[n, shown.predicted], pair))
    starts = np.flatnonzero(np.diff(pair[order], prepend=-1))
    rank = np.empty_like(n)
    rank[order] = n - np.repeat(starts, np.diff(np.append(starts, len(n))))
    return np.lexsort((shown.actual == shown.predicted, rank))


def _order_by_mistakes(shown: Predictions) -> np.ndarray:
    return np.lexsort((-shown.uncertainty, -count_mistakes(shown)))


_SEARCH_ORDERS = {Single.kind: _order_by_pair, Multi.kind: _order_by_mistakes}


def _is_wrong(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return (actual != predicted) & (actual >= 0)


def _sample(positions: np.ndarray, count: int, *key: int | str) -> np.ndarray:
    return _rank(positions, draws.uniform(positions, 1, *key)[:, 0], count)


def _rank(positions: np.ndarray, ascending: np.ndarray, count: int) -> np.ndarray:
    return positions[np.argsort(ascending, kind="stable")[:count]]
