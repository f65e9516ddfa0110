"""95% intervals of the numbers: Wilson's of shares, else by bootstrap over the images (Efron 1979).

Resamples repeat images and leave others out, which makes many numbers of them a little larger or smaller as such:
their percentiles are moved so that the mean of the resamples is the number itself.

To draw the images again with replacement is to give each a weight: how often it was drawn. Sums of weights are
whole numbers, and so exact in whatever order they are added.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from unfreeze import draws
from unfreeze.data.store import scratch
from unfreeze.report.galleries import Predictions
from unfreeze.thresholds import f2_by_image

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RESAMPLES = 1000
FEWEST = 100
WORK = 2_000_000_000
"""Images x classes x resamples of what must rank the images for each class, some seconds: beyond it there are
fewer resamples, at least FEWEST."""
BLOCK = 50  # resamples at a time,
DRAWN = 2_000_000  # or fewer, with so many images in all
BINS = 15  # of confidence, as in unfreeze.evaluate
UNIT = 2**30  # makes whole numbers of gaps of confidence
SHARES = ("accuracy", "top5", "subset_accuracy")
RANGES = {"log_loss": (0, np.inf), "matthews": (-1, 1)}  # of the others 0 to 1

Interval = tuple[float, float]


def intervals(metrics: dict[str, Any], shown: Predictions, seed: int) -> dict[str, Interval]:
    """By metric, of the predictions `shown`; one that is undefined has none."""
    key = (seed, "report", "bootstrap")
    if shown.multi:
        p = _within(shown.probabilities)
        found = _labels(shown, *key)
        found["f2"] = _means(f2_by_image(shown.predicted, shown.actual), *key)
        losses = -np.where(shown.actual > 0, np.log(p), np.log1p(-p)).mean(1)
    else:
        found = _confusion(shown.actual, shown.predicted, len(shown.classes), *key)
        found["ece"] = _calibration_errors(shown, *key)
        found["roc_auc"] = _roc_auc(shown, *key)
        losses = -np.log(_within(shown.probabilities[np.arange(len(shown.row)), shown.actual]))
    found["log_loss"] = _means(losses, *key)
    known = {name: number for name, number in metrics.items() if number is not None}
    shares = {name: wilson_interval(known[name], known["count"]) for name in SHARES if name in known}
    return shares | {
        name: _around(known[name], each, *RANGES.get(name, (0, 1)))
        for name, each in found.items()
        if name in known
    }


def _within(probabilities: np.ndarray) -> np.ndarray:
    return np.clip(probabilities.astype(np.float64), 1e-15, 1 - 1e-15)


def wilson_interval(share: float, count: int) -> Interval:
    """That of a share observed in `count` > 0 cases (Wilson 1927)."""
    z = 1.96
    centre = share + z * z / (2 * count)
    half = z * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, (centre - half) / (1 + z * z / count)), min(1.0, (centre + half) / (1 + z * z / count))


def resamples_of_ranks(images: int, classes: int) -> int:
    """How many resamples there are of what must rank the images for each class."""
    return int(np.clip(WORK // max(1, images * classes), FEWEST, RESAMPLES))


def weights(images: int, resamples: int, *key: int | str) -> Iterator[np.ndarray]:
    """How often each image was drawn, a column a resample: int32 `[images, at most BLOCK]` at a time."""
    generator = draws.generator(*key)
    block = int(np.clip(DRAWN // max(1, images), 1, BLOCK))
    for start in range(0, resamples, block):
        drawn = np.empty((images, min(block, resamples - start)), np.int32)
        for column in drawn.T:
            column[:] = np.bincount(generator.integers(0, images, images), minlength=images)
        yield drawn


def _kept_weights(images: int, resamples: int, *key: int | str) -> list[np.ndarray]:
    """`weights` in files, to go over them for each class: uint8, for no image is ever drawn 256 times."""
    kept = []
    for drawn in weights(images, resamples, *key):
        kept.append(scratch(drawn.shape, np.uint8))
        np.copyto(kept[-1], drawn, casting="unsafe")
    return kept


def _means(values: np.ndarray, *key: int | str) -> np.ndarray:
    """Of `values` `[N]` in each resample."""
    generator = draws.generator(*key)
    return np.array([values[generator.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)])


def _confusion(actual: np.ndarray, predicted: np.ndarray, classes: int, *key: int | str) -> dict[str, np.ndarray]:
    """What the confusion matrix tells, in each resample: to draw images again is to draw its cells again."""
    pairs, counts = np.unique(actual * classes + predicted, return_counts=True)
    drawn = draws.generator(*key).multinomial(len(actual), counts / counts.sum(), RESAMPLES).astype(np.float64)
    true, guess = np.divmod(pairs, classes)
    each = np.eye(classes)
    had, given = drawn @ each[true], drawn @ each[guess]
    right = drawn @ (each[true] * (true == guess)[:, None])
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = (len(actual) ** 2 - (given**2).sum(1)) * (len(actual) ** 2 - (had**2).sum(1))
        matthews = (right.sum(1) * len(actual) - (had * given).sum(1)) / np.sqrt(spread)
    return {
        "precision": _mean_of_defined(right, given),
        "recall": _mean_of_defined(right, had),
        "f1": _mean_of_defined(2 * right, had + given),
        "matthews": np.nan_to_num(matthews),
    }


def _calibration_errors(shown: Predictions, *key: int | str) -> np.ndarray:
    """In each resample."""
    from scipy.sparse import csr_array

    confidence = shown.probabilities.max(1).astype(np.float64)
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.rint(UNIT * (confidence - (shown.actual == shown.predicted)))
    by_bin = csr_array((gaps, (which, np.arange(len(which)))), shape=(BINS, len(which)))
    errors = [np.abs(by_bin @ drawn).sum(0) for drawn in weights(len(which), RESAMPLES, *key)]
    return np.concatenate(errors) / (UNIT * len(which))


def _roc_auc(shown: Predictions, *key: int | str) -> np.ndarray:
    """In each resample: of two classes that of the second, else the mean of one against the rest."""
    classes = [1] if len(shown.classes) == 2 else np.unique(shown.actual).tolist()
    resamples = resamples_of_ranks(len(shown.row), len(shown.classes))
    blocks, areas = _kept_weights(len(shown.row), resamples, *key), []
    for c in classes:
        ranks = _Ranks(shown.probabilities[:, c], shown.actual == c)
        areas.append(np.concatenate([ranks.roc_auc(drawn.astype(np.int32)) for drawn in blocks]))
    return _mean_of_known(areas)


def _labels(shown: Predictions, *key: int | str) -> dict[str, np.ndarray]:
    """The means over labels in each resample."""
    resamples = resamples_of_ranks(len(shown.row), len(shown.classes))
    blocks, precisions, counts = _kept_weights(len(shown.row), resamples, *key), [], []
    for c in range(len(shown.classes)):
        had, given = shown.actual[:, c] > 0, shown.predicted[:, c] > 0
        ranks = _Ranks(shown.probabilities[:, c], had)
        cells = np.stack([had & given, had, given]).astype(np.float64)
        each = [(ranks.average_precision(drawn), cells @ drawn) for drawn in (b.astype(np.int32) for b in blocks)]
        precisions.append(np.concatenate([precision for precision, _ in each]))
        counts.append(np.concatenate([count for _, count in each], axis=1))
    right, true, guess = np.stack(counts, axis=2)
    return {
        "map": _mean_of_known(precisions),
        "precision": _mean_of_defined(right, guess),
        "recall": _mean_of_defined(right, true),
        "f1": _mean_of_defined(2 * right * (true > 0), (true + guess) * (true > 0)),
    }


class _Ranks:
    """Where the images stand by their probability of a class, the highest first.

    A level is a probability that an image of the class has. Places count from 0: above the first level, at it,
    between it and the second, at the second, and so on.

    Args:
        p: the probability `[N]`.
        has: bool `[N]`, which images are of the class.
    """

    def __init__(self, p: np.ndarray, has: np.ndarray) -> None:
        levels = np.unique(-p[has])
        places = sum(np.searchsorted(levels, -p, side) for side in ("left", "right"))
        self._own = _sums_by(places // 2, has, len(levels))
        self._others = _sums_by(places, ~has, 2 * len(levels) + 1)

    def _counted(self, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """At each level the drawn images of the class, the others above it, and these with those at it: int64
        `[levels, B]`."""
        others = np.cumsum(self._others @ drawn, axis=0)
        return self._own @ drawn, others[:-1:2], others[1::2]

    def roc_auc(self, drawn: np.ndarray) -> np.ndarray:
        """The area under the ROC curve of each resample: float64 `[B]`, nan where the class is nobody's or
        everybody's."""
        own, above, upto = self._counted(drawn)
        count = own.sum(0, dtype=np.int64)
        others = len(drawn) - count
        won = (own * (2 * others - above - upto)).sum(0)  # a tie is half a win
        return _ratio(won, 2 * count * others)

    def average_precision(self, drawn: np.ndarray) -> np.ndarray:
        """The average precision of each resample: float64 `[B]`, nan where the class is nobody's."""
        own, _, others = self._counted(drawn)
        found = np.cumsum(own, axis=0)
        return _ratio((own * found / np.maximum(found + others, 1)).sum(0), own.sum(0))


def _sums_by(places: np.ndarray, counted: np.ndarray, count: int) -> csr_array:
    """A matrix that sums the images that are `counted` by their place."""
    from scipy.sparse import csr_array

    rows = np.flatnonzero(counted)
    return csr_array((np.ones(len(rows), np.int32), (places[rows], rows)), shape=(count, len(places)))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.where(below > 0, above / np.maximum(below, 1), np.nan)


def _mean_of_defined(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The mean over classes of `above / below` `[B, C]` where that is defined."""
    return (above / np.maximum(below, 1)).sum(1) / np.maximum((below > 0).sum(1), 1)


def _mean_of_known(values: list[np.ndarray]) -> np.ndarray:
    """The mean over classes of `values` `[C][B]` that are not nan; nan where all are."""
    known = ~np.isnan(values)
    return _ratio(np.nansum(values, axis=0), known.sum(0))


def _around(number: float, resampled: np.ndarray, lowest: float, highest: float) -> Interval:
    """The middle 95% of what it is in the resamples that define it, moved to it."""
    low, high = np.nanpercentile(resampled, [2.5, 97.5]) - np.nanmean(resampled) + number
    return max(lowest, float(low)), min(highest, float(high))
