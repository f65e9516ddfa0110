"""From probabilities to labels where an image has any number of them: F2, and the thresholds that maximise it.

Everywhere `probabilities` is float64 `[N, C]` in 0..1, `targets` is 0 or 1 `[N, C]`, and a label counts as
predicted where its probability is at or above its threshold. The measure is F-beta with beta = 2, computed for
each image and averaged over images, as in the Planet competition (scikit-learn: `average="samples"`). An image
that has no label and gets none is right, and counts 1.
"""

from typing import Literal

import numpy as np

BETA2 = 4
"""beta^2: recall weighs twice as much as precision."""
SWEEPS = 10
"""Most rounds over all labels of the search for a threshold each; it ends when a round finds nothing better."""
TOLERANCE = 1e-9
"""Sums of F2 that differ by less are equal: it is the rounding of their sum."""

Rule = Literal["global", "per_label"]


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
    order = np.argsort(-probabilities, axis=1, kind="stable")
    hits = np.cumsum(np.take_along_axis(targets, order, axis=1), axis=1)
    actual = targets.sum(1)[:, None]
    each = f2_of(hits, np.arange(1, probabilities.shape[1] + 1), actual)  # with the k most probable labels
    gains = np.diff(each, axis=1, prepend=f2_of(np.zeros_like(actual), 0, actual))
    return _cut(np.take_along_axis(probabilities, order, axis=1).ravel(), gains.ravel())


def best_per_label(probabilities: np.ndarray, targets: np.ndarray, start: float) -> np.ndarray:
    """A threshold for each label, float64 `[C]`, by coordinate ascent from `start` for all of them: label after
    label gets the threshold that maximises F2 (of all labels together), until none can be bettered.

    A label that no image has keeps `start`, because there is nothing to tell it by.
    """
    thresholds = np.full(probabilities.shape[1], start)
    present = np.flatnonzero(targets.any(0))
    best = f2(probabilities, targets, thresholds)
    for _ in range(SWEEPS):
        before = best
        for c in present:
            predicted = probabilities >= thresholds
            predicted[:, c] = False
            hits, given, actual = (targets * predicted).sum(1), predicted.sum(1), targets.sum(1)
            gains = f2_of(hits + targets[:, c], given + 1, actual) - f2_of(hits, given, actual)
            tried = thresholds.copy()
            tried[c] = _cut(probabilities[:, c], gains)
            reached = f2(probabilities, targets, tried)
            if reached > best + TOLERANCE:
                thresholds, best = tried, reached
        if best == before:
            break
    return thresholds


def _cut(values: np.ndarray, gains: np.ndarray) -> float:
    """The threshold at which the `gains` of all `values` at or above it have the highest sum."""
    order = np.argsort(-values, kind="stable")
    values, sums = values[order], np.cumsum(gains[order])
    ends = np.flatnonzero(np.append(values[1:] < values[:-1], True))  # equal values are all above, or none
    uppers = np.append(1.0, values[ends])
    lowers = np.append(values[ends], 0.0)
    sums = np.append(0.0, sums[ends])
    if values[0] >= 1:  # nothing lies above 1: a threshold that predicts no label does not exist
        uppers, lowers, sums = uppers[1:], lowers[1:], sums[1:]
    best = np.argmax(sums >= sums.max() - TOLERANCE)
    middle = (uppers[best] + lowers[best]) / 2
    return float(middle if middle > lowers[best] else uppers[best])
