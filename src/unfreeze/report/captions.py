"""What the report says below the picture of an image."""

from typing import Any, NamedTuple

import numpy as np

from unfreeze.task.predictions import Predictions

MOST_LABELS = 12
"""Below a picture."""
VERDICTS = ("right", "wrong", "missed")


class Verdict(NamedTuple):
    """A label that an image has or gets."""

    label: int
    probability: float
    verdict: int
    """Index into VERDICTS."""


def caption_class(shown: Predictions, i: int) -> dict[str, Any]:
    """Return the row and path of image `i`, its true class and what it was taken for, with their probabilities."""
    probabilities = shown.probabilities[i]
    actual, predicted = int(shown.actual[i]), int(shown.predicted[i])
    top_two = np.argsort(-probabilities, kind="stable")[:2]
    second = next((int(k) for k in top_two if k != predicted), None)
    return {
        "row": int(shown.row[i]),
        "path": shown.path[i],
        "right": actual == predicted,
        "actual": shown.classes[actual],
        "actual_probability": float(probabilities[actual]),
        "predicted": shown.classes[predicted],
        "probability": float(probabilities[predicted]),
        "second": None if second is None else shown.classes[second],
        "second_probability": None if second is None else float(probabilities[second]),
    }


def caption_labels(shown: Predictions, i: int) -> dict[str, Any]:
    """Return the row and path of image `i`, and the labels that it has or gets, the most probable first."""
    labels = [(shown.classes[c], p, VERDICTS[verdict]) for c, p, verdict in rank_verdicts(shown, i)]
    return {
        "row": int(shown.row[i]),
        "path": shown.path[i],
        "labels": labels[:MOST_LABELS],
        "more": max(0, len(labels) - MOST_LABELS),
    }


def rank_verdicts(shown: Predictions, i: int) -> list[Verdict]:
    """Return the labels that image `i` has or gets, the most probable first."""
    verdicts = {(1, 1): 0, (0, 1): 1, (1, 0): 2}
    order = np.argsort(-shown.probabilities[i], kind="stable")
    return [
        Verdict(int(c), float(shown.probabilities[i, c]), verdict)
        for c in order
        if (verdict := verdicts.get((int(shown.actual[i, c]), int(shown.predicted[i, c])))) is not None
    ]
