"""Metrics where an image has one class, as pure functions of probabilities and true classes.

Everywhere `probabilities` is float64 `[N, C]` with rows that sum to 1 and `targets` is int64 `[N]` in 0..C-1.
Whatever is undefined (the recall of a class without images) is None and takes no part in a mean.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from sklearn.metrics import (
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from unfreeze.core.arrays import blocks

BINS = 15


def scores(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float | int | None]:
    """The numbers of one split: count, accuracy, top5 (with more than 5 classes), log_loss, roc_auc (for more
    than two classes the mean of one against the rest), ece; precision, recall (balanced accuracy) and f1 averaged
    over classes; and matthews, which like these does not hide that classes are of unequal size."""
    classes = probabilities.shape[1]
    result: dict[str, float | int | None] = {
        "count": len(targets),
        "accuracy": float((probabilities.argmax(1) == targets).mean()),
    }
    if classes > 5:

        def among(p: np.ndarray, t: np.ndarray) -> np.ndarray:
            return (top_classes(p, 5) == t[:, None]).any(1)

        result["top5"] = float(in_blocks(among, probabilities, targets).mean())
    result["log_loss"] = mean_log_loss(probabilities, targets)
    result["roc_auc"] = roc_auc(probabilities, targets)
    result["ece"] = calibration_error(probabilities, targets)
    table = per_class(probabilities, targets)
    for name in ("precision", "recall", "f1"):
        result[name] = mean([row[name] for row in table])
    result["matthews"] = matthews(*confused_pairs(probabilities, targets), classes)
    return result


def fold_scores(
    probabilities: np.ndarray, targets: np.ndarray, folds: np.ndarray
) -> dict[str, int | dict[str, float]]:
    """Mean and standard deviation over folds of accuracy and log_loss; `folds` is int64 `[N]`, -1 is no fold."""
    count = int(folds.max()) + 1
    each = [scores(probabilities[folds == fold], targets[folds == fold]) for fold in range(count)]
    return {"folds": count, **mean_and_deviation(each, ("accuracy", "log_loss"))}


def mean_and_deviation(each: Sequence[Mapping], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of the named numbers over `each` fold that has them defined."""
    values = {name: [fold[name] for fold in each if fold[name] is not None] for name in names}
    return {
        name: {"mean": float(np.mean(found)), "std": float(np.std(found, ddof=1))}
        for name, found in values.items()
        if len(found) > 1
    }


def top_classes(probabilities: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` most probable classes of each image, best first; of equals the first class."""

    def of(p: np.ndarray) -> np.ndarray:
        left, top = p.copy(), np.empty((len(p), count), np.int64)
        for place in range(count):
            top[:, place] = left.argmax(1)
            np.put_along_axis(left, top[:, place, None], -np.inf, axis=1)
        return top

    return in_blocks(of, probabilities)


def mean_log_loss(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """The mean cross-entropy of the images, in nats."""
    classes = range(probabilities.shape[1])

    def of(p: np.ndarray, t: np.ndarray) -> list[float]:
        return [log_loss(t, p, labels=classes, normalize=False)]

    return float(in_blocks(of, probabilities, targets).sum() / len(targets))


def roc_auc(probabilities: np.ndarray, targets: np.ndarray) -> float | None:
    """Area under the ROC curve; for more than two classes the mean of one against the rest."""
    classes = range(1, 2) if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    return mean(
        [
            float(roc_auc_score(targets == c, probabilities[:, c]))
            for c in classes
            if 0 < np.count_nonzero(targets == c) < len(targets)
        ]
    )


def reliability(probabilities: np.ndarray, targets: np.ndarray) -> list[dict[str, float | int]]:
    """Mean confidence, accuracy and count of the images in each of 15 equal bins of confidence (empty ones left
    out), confidence being the probability of the predicted class (Guo et al. 2017)."""
    return bins(probabilities.max(1), probabilities.argmax(1) == targets)


def bins(confidence: np.ndarray, right: np.ndarray) -> list[dict[str, float | int]]:
    """Mean `confidence` `[N]`, share that is `right` bool `[N]`, and count in each bin of confidence."""

    def of(c: np.ndarray, r: np.ndarray) -> list[list[tuple]]:
        which = np.minimum((c * BINS).astype(int), BINS - 1)
        return [[(c[which == b].sum(), r[which == b].sum(), (which == b).sum()) for b in range(BINS)]]

    return [
        {"confidence": sure / count, "accuracy": hits / count, "count": int(count)}
        for sure, hits, count in in_blocks(of, confidence, right).sum(0).tolist()
        if count
    ]


def calibration_error(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Expected calibration error: the gap of confidence and accuracy, averaged over bins by their counts."""
    gaps = [b["count"] * abs(b["confidence"] - b["accuracy"]) for b in reliability(probabilities, targets)]
    return sum(gaps) / len(targets)


def per_class(probabilities: np.ndarray, targets: np.ndarray) -> list[dict[str, float | int | None]]:
    """precision, recall, f1 and support of each class."""
    columns = precision_recall_fscore_support(
        targets, probabilities.argmax(1), labels=range(probabilities.shape[1]), zero_division=np.nan
    )
    return [
        {
            "precision": _defined(precision),
            "recall": _defined(recall),
            "f1": _defined(f1),
            "support": int(support),
        }
        for precision, recall, f1, support in zip(*columns, strict=True)
    ]


def confused_pairs(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells of the confusion matrix that are not empty, whose whole would have C x C of them.

    Returns:
        pairs: int64 `[K, 2]`, true and predicted class, in their order.
        counts: int64 `[K]`, the images of each.
    """
    classes = probabilities.shape[1]
    cells, counts = np.unique(targets * classes + probabilities.argmax(1), return_counts=True)
    return np.stack(np.divmod(cells, classes), axis=1), counts


def matthews(pairs: np.ndarray, counts: np.ndarray, classes: int) -> float:
    """Return the correlation of true and predicted classes (Gorodkin 2004).

    It is 1 if all are right, and 0 if the predictions tell nothing, as those of one class alone.

    Args:
        pairs, counts: see `confused_pairs`.
    """
    actual, predicted = np.zeros((2, classes), np.int64)
    np.add.at(actual, pairs[:, 0], counts)
    np.add.at(predicted, pairs[:, 1], counts)
    total, right = int(counts.sum()), int(counts[pairs[:, 0] == pairs[:, 1]].sum())
    # Of 60,000 images their product is beyond 64 bits, but not beyond Python's integers.
    spread = int(total**2 - predicted @ predicted) * int(total**2 - actual @ actual)
    return float((right * total - actual @ predicted) / np.sqrt(float(spread))) if spread else 0.0


def uncertainty(probabilities: np.ndarray) -> np.ndarray:
    """1 less the margin between the two most probable classes: float64 `[N]`, 1 for a tie."""

    def of(p: np.ndarray) -> np.ndarray:
        second, first = np.sort(p, axis=1)[:, -2:].T
        return 1 - (first - second)

    return in_blocks(of, probabilities)


def in_blocks(function: Callable[..., np.ndarray | list], *arrays: np.ndarray) -> np.ndarray:
    """Return what `function` returns for a block of rows of the `arrays` at a time, one after the other."""
    columns = max(math.prod(each.shape[1:]) for each in arrays)
    parts = [function(*(each[block] for each in arrays)) for block in blocks(len(arrays[0]), columns)]
    return np.concatenate(parts)


def mean(values: list[float | None]) -> float | None:
    """Of those that are defined."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
