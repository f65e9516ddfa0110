"""95% intervals of metrics: Wilson's of shares, else by bootstrap over the images (Efron 1979).

Resamples repeat some images and leave others out, which by itself makes many metrics a little larger or smaller.
The percentiles are shifted so that the resamples' mean equals the observed value.

To draw images with replacement is to give each a weight: how often it was drawn. Sums of weights are whole
numbers, and so exact in whatever order they are added.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from unfreeze.core import draws
from unfreeze.core.arrays import scratch
from unfreeze.task.multi import Multi
from unfreeze.task.predictions import Predictions
from unfreeze.task.single import Single
from unfreeze.task.thresholds import f2_by_image

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RESAMPLES = 1000
FEWEST = 100
WORK = 2_000_000_000
"""Images x classes x resamples of a metric that ranks the images for each class, some seconds: beyond it there are
fewer resamples, at least FEWEST."""
RESAMPLES_AT_ONCE = 50
WEIGHTS_AT_ONCE = 2_000_000
"""Bound on images x resamples at once."""
BINS = 15
"""Of confidence, as in `unfreeze.task.metrics`."""
UNIT = 2**30
"""Turns gaps of confidence into whole numbers."""
SHARES = ("accuracy", "top5", "subset_accuracy")
RANGES = {"log_loss": (0, np.inf), "matthews": (-1, 1)}
"""Of metrics that are not within 0 to 1."""

Interval = tuple[float, float]


def compute_intervals(metrics: dict[str, Any], shown: Predictions, seed: int) -> dict[str, Interval]:
    """Return the interval of each metric that is defined, of the labelled predictions `shown`.

    Args:
        metrics: the observed values by name, and `count`; None where one is undefined.
    """
    defined = {name: value for name, value in metrics.items() if value is not None}
    shares = {name: wilson_interval(defined[name], defined["count"]) for name in SHARES if name in defined}
    resampled = _RESAMPLE[shown.task.kind](shown, seed, "report", "bootstrap")
    return shares | {
        name: _bootstrap_interval(defined[name], values, *RANGES.get(name, (0, 1)))
        for name, values in resampled.items()
        if name in defined
    }


def wilson_interval(share: float, count: int) -> Interval:
    """Return the interval of a share observed in `count` > 0 cases (Wilson 1927)."""
    z = 1.96
    centre = share + z * z / (2 * count)
    half = z * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, (centre - half) / (1 + z * z / count)), min(1.0, (centre + half) / (1 + z * z / count))


def count_rank_resamples(images: int, classes: int) -> int:
    """Return how many resamples there are of metrics that rank the images for each class."""
    return int(np.clip(WORK // max(1, images * classes), FEWEST, RESAMPLES))


def draw_weights(images: int, resamples: int, *key: int | str) -> Iterator[np.ndarray]:
    """Yield how often each image was drawn, a column a resample: int32 `[images, B]`, B at most RESAMPLES_AT_ONCE.

    Args:
        key: of the random draws.
    """
    generator = draws.generator(*key)
    batch = int(np.clip(WEIGHTS_AT_ONCE // max(1, images), 1, RESAMPLES_AT_ONCE))
    for start in range(0, resamples, batch):
        weights = np.empty((images, min(batch, resamples - start)), np.int32)
        for column in weights.T:
            column[:] = np.bincount(generator.integers(0, images, images), minlength=images)
        yield weights


def _write_weights(images: int, resamples: int, *key: int | str) -> list[np.ndarray]:
    """Write `draw_weights` to scratch files, to go over them for each class: uint8, for no image is ever drawn 256
    times."""
    batches = []
    for weights in draw_weights(images, resamples, *key):
        batches.append(scratch(weights.shape, np.uint8))
        np.copyto(batches[-1], weights, casting="unsafe")
    return batches


# --- Metrics in each resample, float64 `[RESAMPLES]` or `[count_rank_resamples]`


def _resample_single(shown: Predictions, *key: int | str) -> dict[str, np.ndarray]:
    """Return by name the metrics of one class an image."""
    p = _clip(shown.probabilities[np.arange(len(shown.row)), shown.actual])
    return {
        **_resample_confusion(shown.actual, shown.predicted, len(shown.classes), *key),
        "ece": _resample_calibration_error(shown, *key),
        "roc_auc": _resample_roc_auc(shown, *key),
        "log_loss": _resample_mean(-np.log(p), *key),
    }


def _resample_multi(shown: Predictions, *key: int | str) -> dict[str, np.ndarray]:
    """Return by name the metrics of any number of labels an image."""
    p = _clip(shown.probabilities)
    losses = -np.where(shown.actual > 0, np.log(p), np.log1p(-p)).mean(1)
    return {
        **_resample_labels(shown, *key),
        "f2": _resample_mean(f2_by_image(shown.predicted, shown.actual), *key),
        "log_loss": _resample_mean(losses, *key),
    }


_RESAMPLE = {Single.kind: _resample_single, Multi.kind: _resample_multi}


def _clip(probabilities: np.ndarray) -> np.ndarray:
    return np.clip(probabilities.astype(np.float64), 1e-15, 1 - 1e-15)


def _resample_mean(values: np.ndarray, *key: int | str) -> np.ndarray:
    """Return the mean of `values` `[N]` in each resample."""
    generator = draws.generator(*key)
    return np.array([values[generator.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)])


def _resample_confusion(
    actual: np.ndarray, predicted: np.ndarray, classes: int, *key: int | str
) -> dict[str, np.ndarray]:
    """Return the metrics of the confusion matrix: to draw images again is to draw its cells again."""
    pairs, counts = np.unique(actual * classes + predicted, return_counts=True)
    weights = draws.generator(*key).multinomial(len(actual), counts / counts.sum(), RESAMPLES).astype(np.float64)
    true, guess = np.divmod(pairs, classes)
    every = np.ones(len(pairs), bool)
    had, given, right = (
        np.ascontiguousarray((_sum_matrix(index, chosen, classes) @ weights.T).T)  # [RESAMPLES, C]
        for index, chosen in ((true, every), (guess, every), (true, true == guess))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = (len(actual) ** 2 - (given**2).sum(1)) * (len(actual) ** 2 - (had**2).sum(1))
        matthews = (right.sum(1) * len(actual) - (had * given).sum(1)) / np.sqrt(spread)
    return {
        "precision": _mean_ratio(right, given),
        "recall": _mean_ratio(right, had),
        "f1": _mean_ratio(2 * right, had + given),
        "matthews": np.nan_to_num(matthews),
    }


def _resample_calibration_error(shown: Predictions, *key: int | str) -> np.ndarray:
    from scipy.sparse import csr_array

    confidence = shown.probabilities.max(1).astype(np.float64)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.rint(UNIT * (confidence - (shown.actual == shown.predicted)))
    by_bin = csr_array((gaps, (bins, np.arange(len(bins)))), shape=(BINS, len(bins)))
    errors = [np.abs(by_bin @ weights).sum(0) for weights in draw_weights(len(bins), RESAMPLES, *key)]
    return np.concatenate(errors) / (UNIT * len(bins))


def _resample_roc_auc(shown: Predictions, *key: int | str) -> np.ndarray:
    """Return the ROC AUC: of two classes that of the second, else the mean of one against the rest."""
    classes = [1] if len(shown.classes) == 2 else np.unique(shown.actual).tolist()
    resamples = count_rank_resamples(len(shown.row), len(shown.classes))
    batches, areas = _write_weights(len(shown.row), resamples, *key), []
    for c in classes:
        ranks = _Ranks(shown.probabilities[:, c], shown.actual == c)
        areas.append(np.concatenate([ranks.roc_auc(weights.astype(np.int32)) for weights in batches]))
    return _mean_defined(areas)


def _resample_labels(shown: Predictions, *key: int | str) -> dict[str, np.ndarray]:
    """Return the metrics that are means over labels."""
    resamples = count_rank_resamples(len(shown.row), len(shown.classes))
    batches, precisions, counts = _write_weights(len(shown.row), resamples, *key), [], []
    for c in range(len(shown.classes)):
        had, given = shown.actual[:, c] > 0, shown.predicted[:, c] > 0
        ranks = _Ranks(shown.probabilities[:, c], had)
        cells = np.stack([had & given, had, given]).astype(np.float64)
        label_precisions, label_counts = [], []
        for batch in batches:
            weights = batch.astype(np.int32)
            label_precisions.append(ranks.average_precision(weights))
            label_counts.append(cells @ weights)
        precisions.append(np.concatenate(label_precisions))
        counts.append(np.concatenate(label_counts, axis=1))
    right, true, guess = np.stack(counts, axis=2)
    return {
        "map": _mean_defined(precisions),
        "precision": _mean_ratio(right, guess),
        "recall": _mean_ratio(right, true),
        "f1": _mean_ratio(2 * right * (true > 0), (true + guess) * (true > 0)),
    }


class _Ranks:
    """The order of the images by their probability of a class, the highest first.

    A level is a probability that an image of the class has. Places count from 0: above the first level, at it,
    between it and the second, at the second, and so on.

    Args:
        p: the probability `[N]`.
        has: bool `[N]`, which images are of the class.
    """

    def __init__(self, p: np.ndarray, has: np.ndarray) -> None:
        levels = np.unique(-p[has])
        places = sum(np.searchsorted(levels, -p, side) for side in ("left", "right"))
        self._own = _sum_matrix(places // 2, has, len(levels))
        self._others = _sum_matrix(places, ~has, 2 * len(levels) + 1)

    def _count(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return at each level the images of the class, the others above it, and the others above or at it: int64
        `[levels, B]`."""
        others = np.cumsum(self._others @ weights, axis=0)
        return self._own @ weights, others[:-1:2], others[1::2]

    def roc_auc(self, weights: np.ndarray) -> np.ndarray:
        """Return the area under the ROC curve of each resample, int32 `[N, B]` -> float64 `[B]`.

        It is nan where no image is of the class, or every one.
        """
        own, above, above_or_at = self._count(weights)
        count = own.sum(0, dtype=np.int64)
        others = len(weights) - count
        won = (own * (2 * others - above - above_or_at)).sum(0)  # a tie is half a win
        return _ratio(won, 2 * count * others)

    def average_precision(self, weights: np.ndarray) -> np.ndarray:
        """Return the average precision of each resample, int32 `[N, B]` -> float64 `[B]`.

        It is nan where no image is of the class.
        """
        own, _, others = self._count(weights)
        hits = np.cumsum(own, axis=0)
        return _ratio((own * hits / np.maximum(hits + others, 1)).sum(0), own.sum(0))


def _sum_matrix(places: np.ndarray, chosen: np.ndarray, count: int) -> csr_array:
    """Return a matrix `[count, N]` that sums the `chosen` of N images, or of N pairs, by their place."""
    from scipy.sparse import csr_array

    rows = np.flatnonzero(chosen)
    return csr_array((np.ones(len(rows), np.int32), (places[rows], rows)), shape=(count, len(places)))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.where(below > 0, above / np.maximum(below, 1), np.nan)


def _mean_ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return the mean over classes of `above / below` `[B, C]` where that is defined."""
    return (above / np.maximum(below, 1)).sum(1) / np.maximum((below > 0).sum(1), 1)


def _mean_defined(values: list[np.ndarray]) -> np.ndarray:
    """Return the mean over classes of `values` `[C][B]` that are not nan; nan where all are."""
    defined = ~np.isnan(values)
    return _ratio(np.nansum(values, axis=0), defined.sum(0))


def _bootstrap_interval(value: float, resampled: np.ndarray, lowest: float, highest: float) -> Interval:
    """Return the 95% bootstrap interval, shifted so that the resamples' mean equals the observed value.

    Resamples in which the metric is undefined, nan, are left out.
    """
    low, high = np.nanpercentile(resampled, [2.5, 97.5]) - np.nanmean(resampled) + value
    return max(lowest, float(low)), min(highest, float(high))


def mean_interval(values: np.ndarray, *key: int | str) -> Interval:
    """Return the interval of the mean of values in 0..1 `[N]`, one an image; `key` is of the random draws."""
    mean = float(values.mean())
    if np.isin(values, (0, 1)).all():
        return wilson_interval(mean, len(values))
    return _bootstrap_interval(mean, _resample_mean(values, *key), 0, 1)
