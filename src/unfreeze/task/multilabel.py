"""Metrics where an image has any number of labels, as pure functions.

Everywhere `probabilities` is float64 `[N, C]` in 0..1, `targets` is 0 or 1 `[N, C]` and `thresholds` is `[C]`: a
label is predicted where its probability is at or above its threshold. Whatever is undefined (the recall of a
label without images) is None and takes no part in a mean.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import average_precision_score

from unfreeze.task.metrics import bins, in_blocks, mean, mean_and_deviation
from unfreeze.task.thresholds import f2_by_image, tune


def scores(
    probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float] | None = None
) -> dict[str, float | int | None]:
    """The numbers of one split: count; f2 averaged over images; map, precision, recall and f1 averaged over
    labels; subset_accuracy, the share of images whose labels are all right; log_loss, the mean binary
    cross-entropy of all labels.

    Without `thresholds` the one is taken that maximises F2 on these very images.
    """
    if thresholds is None:
        thresholds = tune(probabilities, targets)["global"]
    table = per_label(probabilities, targets, thresholds)

    def right(p: np.ndarray, t: np.ndarray) -> np.ndarray:
        predicted = p >= np.asarray(thresholds)
        return np.stack([f2_by_image(predicted, t), (predicted == t).all(1)], axis=1)

    f2, subset_accuracy = in_blocks(right, probabilities, targets).mean(0).tolist()
    return {
        "count": len(targets),
        "f2": f2,
        "map": mean([row["ap"] for row in table]),
        **{name: mean([row[name] for row in table]) for name in ("precision", "recall", "f1")},
        "subset_accuracy": subset_accuracy,
        "log_loss": log_loss(probabilities, targets),
    }


def fold_scores(
    probabilities: np.ndarray, targets: np.ndarray, folds: np.ndarray
) -> dict[str, int | dict[str, float]]:
    """Mean and standard deviation over folds of f2 and map; `folds` is int64 `[N]`, -1 is no fold.

    The threshold of a fold is the one that maximises F2 on the images of the other folds.
    """
    each = []
    for fold in range(folds.max() + 1):
        others, held_out = (folds >= 0) & (folds != fold), folds == fold
        thresholds = tune(probabilities[others], targets[others])["global"]
        each.append(scores(probabilities[held_out], targets[held_out], thresholds))
    return {"folds": len(each), **mean_and_deviation(each, ("f2", "map"))}


def log_loss(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """The mean binary cross-entropy of all labels of all images."""
    tiny = np.finfo(np.float64).eps

    def of(p: np.ndarray, t: np.ndarray) -> np.ndarray:
        p = np.clip(p, tiny, 1 - tiny)
        return -np.where(t > 0, np.log(p), np.log1p(-p)).mean(1)

    return float(in_blocks(of, probabilities, targets).mean())


def per_label(
    probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float]
) -> list[dict[str, float | int | None]]:
    """precision, recall, f1, ap (average precision), threshold and support of each label. Without images of a
    label all but precision and support are undefined; without predictions of it precision is."""
    rows = []
    for c, counts in enumerate(confusion(probabilities, targets, thresholds)):
        tp, fp, fn, _ = counts.tolist()
        support = tp + fn
        rows.append(
            {
                "precision": tp / (tp + fp) if tp + fp else None,
                "recall": tp / support if support else None,
                "f1": 2 * tp / (2 * tp + fp + fn) if support else None,
                "ap": float(average_precision_score(targets[:, c], probabilities[:, c])) if support else None,
                "threshold": float(thresholds[c]),
                "support": support,
            }
        )
    return rows


def confusion(probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Of each label the images that have and get it, only get it, only have it, and neither: int64 `[C, 4]`."""

    def of(p: np.ndarray, t: np.ndarray) -> list[np.ndarray]:
        predicted, actual = p >= np.asarray(thresholds), t > 0
        pairs = (predicted & actual, predicted & ~actual, ~predicted & actual, ~predicted & ~actual)
        return [np.stack([pair.sum(0) for pair in pairs], axis=1)]

    return in_blocks(of, probabilities, targets).sum(0)


def reliability(probabilities: np.ndarray, targets: np.ndarray) -> list[dict[str, float | int]]:
    """Mean probability, share of labels that are there, and count in each of 15 equal bins of probability (empty
    ones left out), over all labels of all images."""
    return bins(probabilities.ravel(), targets.ravel() > 0)


def uncertainty(probabilities: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """How near an image's nearest probability is to its threshold: float64 `[N]`, 1 at the threshold, 0 where all
    are 0 or 1. Distances count as shares of what is possible on that side."""
    thresholds = np.asarray(thresholds)

    def of(p: np.ndarray) -> np.ndarray:
        side = np.where(p >= thresholds, 1 - thresholds, thresholds)
        # A threshold of 1 leaves no distance above it: a probability there is at it.
        return 1 - (np.abs(p - thresholds) / np.maximum(side, np.finfo(np.float64).tiny)).min(1)

    return in_blocks(of, probabilities)
