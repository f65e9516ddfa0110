"""From probabilities to labels where an image has any number of them: F2, and the thresholds that maximise it.

Everywhere `probabilities` is float64 `[N, C]` in 0..1, `targets` is 0 or 1 `[N, C]`, and a label counts as
predicted where its probability is at or above its threshold. The measure is F-beta with beta = 2, computed for
each image and averaged over images, as in the Planet competition (scikit-learn: `average="samples"`). An image
that has no label and gets none is right, and counts 1.
"""

import numpy as np

from unfreeze.core.arrays import blocks
from unfreeze.task.base import Rule

BETA2 = 4
"""beta^2: recall weighs twice as much as precision."""
SWEEPS = 10
"""Most rounds over all labels of the search for a threshold each; it ends when a round finds nothing better."""
TOLERANCE = 1e-9
"""Sums of F2 that differ by less are equal: it is the rounding of their sum."""


def f2_of(hits: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """F2 of images with so many labels predicted rightly, predicted at all, and had."""
    below = BETA2 * np.asarray(actual, dtype=np.float64) + predicted
    return np.where(below > 0, (1 + BETA2) * hits / np.maximum(below, 1), 1.0)


def f2_by_image(predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """F2 of each image, float64 `[N]`; `predicted` is 0 or 1 `[N, C]`."""
    return f2_of((targets * predicted).sum(1), predicted.sum(1), targets.sum(1))


def f2(probabilities: np.ndarray, targets: np.ndarray, thresholds: np.ndarray) -> float:
    """The mean F2 of the images at `thresholds` `[C]`."""
    return float(f2_by_image(probabilities >= thresholds, targets).mean())


def tune(probabilities: np.ndarray, targets: np.ndarray) -> dict[Rule, list[float]]:
    """The thresholds `[C]` that maximise F2, by rule: one for all labels, and one for each."""
    threshold = best_threshold(probabilities, targets)
    together = np.full(probabilities.shape[1], threshold)
    return {"global": together.tolist(), "per_label": best_per_label(probabilities, targets, threshold).tolist()}


def best_threshold(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """The one threshold for all labels with the highest F2: exact, every distinct probability is tried.

    It lies in the middle between two neighbouring probabilities; of equally good ones it is the highest.
    """
    values, gains = np.empty((2, *probabilities.shape))
    for block in blocks(*probabilities.shape):
        p, t = probabilities[block], targets[block]
        order = np.argsort(-p, axis=1, kind="stable")
        hits = np.cumsum(np.take_along_axis(t, order, axis=1), axis=1)
        actual = t.sum(1)[:, None]
        each = f2_of(hits, np.arange(1, p.shape[1] + 1), actual)  # with the k most probable labels
        gains[block] = np.diff(each, axis=1, prepend=f2_of(np.zeros_like(actual), 0, actual))
        values[block] = np.take_along_axis(p, order, axis=1)
    return _cut(values.ravel(), gains.ravel())


def best_per_label(probabilities: np.ndarray, targets: np.ndarray, start: float) -> np.ndarray:
    """A threshold for each label, float64 `[C]`, by coordinate ascent from `start` for all of them: label after
    label gets the threshold that maximises F2 (of all labels together), until none can be bettered.

    A label that no image has keeps `start`, because there is nothing to tell it by.
    """
    thresholds = np.full(probabilities.shape[1], start)
    present = np.flatnonzero(targets.any(0))
    # Counts by image: with them a label costs one column, and not all of them again.
    predicted = probabilities >= start
    hits, given, actual = (targets * predicted).sum(1), predicted.sum(1), targets.sum(1)
    best = float(f2_of(hits, given, actual).mean())
    for _ in range(SWEEPS):
        before = best
        for c in present:
            column, had = probabilities[:, c], targets[:, c]
            was = column >= thresholds[c]
            other_hits, others = hits - had * was, given - was
            gains = f2_of(other_hits + had, others + 1, actual) - f2_of(other_hits, others, actual)
            threshold = _cut(column, gains)
            now = column >= threshold
            new_hits, new_given = other_hits + had * now, others + now
            reached = float(f2_of(new_hits, new_given, actual).mean())
            if reached > best + TOLERANCE:
                thresholds[c], best, hits, given = threshold, reached, new_hits, new_given
        if best == before:
            break
    return thresholds


def _cut(values: np.ndarray, gains: np.ndarray) -> float:
    """Return the threshold at which the `gains` of all `values` at or above it have the highest sum."""
    order = np.argsort(-values, kind="stable")
    values, sums = values[order], gains[order]
    np.cumsum(sums, out=sums)
    sums[:-1][values[1:] == values[:-1]] = -np.inf  # equal values are all above, or none
    nothing = 0.0 if values[0] < 1 else -np.inf  # above 1 there is no threshold that predicts no label
    least = max(nothing, sums.max()) - TOLERANCE
    if nothing >= least:
        upper, lower = 1.0, values[0]
    else:
        last = int(np.argmax(sums >= least))
        upper, lower = values[last], values[last + 1] if last + 1 < len(values) else 0.0
    middle = (upper + lower) / 2
    return float(middle if middle > lower else upper)
