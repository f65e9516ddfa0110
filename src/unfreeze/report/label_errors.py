"""Labels that may be wrong, by confident learning (Northcutt et al. 2021)."""

import numpy as np

from unfreeze.core.arrays import blocks


def find_class_errors(probabilities: np.ndarray, labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (position, label, likely label) of suspect images, the most likely errors first.

    An image is suspect if another class than its label is as probable as it usually is for images of that class.
    Of such classes the most probable is the likely one. The images with the lowest probability of their label come
    first.

    Args:
        probabilities: `[N, C]`, by a model that was not trained on these images.
        labels: int64 `[N]` in 0..C-1.
    """
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    count = np.bincount(labels, minlength=classes)
    usual = np.bincount(labels, own, classes) / np.maximum(count, 1)
    likely, confident = np.zeros(len(labels), np.int64), np.zeros(len(labels), bool)
    for block in blocks(*probabilities.shape):
        p = probabilities[block].astype(np.float64)
        candidates = np.where((p >= usual) & (count > 0), p, -1)
        likely[block], confident[block] = candidates.argmax(1), candidates.max(1) >= 0
    suspect = np.flatnonzero(confident & (likely != labels))
    order = suspect[np.argsort(own[suspect], kind="stable")]
    return [(int(i), int(labels[i]), int(likely[i])) for i in order]


def find_label_errors(probabilities: np.ndarray, labels: np.ndarray) -> list[tuple[int, int, bool]]:
    """Return (position, label, whether the image has it) of suspect labels, the most likely errors first.

    Each label is judged for itself, as two classes: the images that have it, and those that do not.

    Args:
        probabilities: `[N, C]`, by a model that was not trained on these images.
        labels: 0 or 1 `[N, C]`.
    """
    count = (labels > 0).sum(0)
    usual, usual_without = np.zeros((2, labels.shape[1]))
    for block in blocks(*probabilities.shape):
        p, has = probabilities[block].astype(np.float64), labels[block] > 0
        usual += np.where(has, p, 0).sum(0)
        usual_without += np.where(has, 0, p).sum(0)
    usual /= np.maximum(count, 1)
    usual_without /= np.maximum(len(labels) - count, 1)
    suspects, gaps = [], []
    for block in blocks(*probabilities.shape):
        p, has = probabilities[block].astype(np.float64), labels[block] > 0
        missing = ~has & (p >= usual) & (p > 0.5)
        superfluous = has & (p <= usual_without) & (p < 0.5)
        suspect = np.argwhere((missing | superfluous) & (count > 0))
        gaps.append(np.where(has, 1 - p, p)[tuple(suspect.T)])
        suspects.append(suspect + np.array([block.start, 0]))
    suspect, order = np.concatenate(suspects), np.argsort(-np.concatenate(gaps), kind="stable")
    return [(int(i), int(c), bool(labels[i, c] > 0)) for i, c in suspect[order]]
