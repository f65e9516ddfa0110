"""The images that the page's script can search."""

from typing import Any

from unfreeze.report.album import Album, PixelArray
from unfreeze.report.captions import rank_verdicts
from unfreeze.report.galleries import order_for_search
from unfreeze.task.multi import Multi
from unfreeze.task.predictions import Predictions
from unfreeze.task.single import Single

MOST_BYTES = 2_000_000
"""Of the pictures."""
MOST_IMAGES = 1500
SIDE = 112
"""Longest side of a picture in pixels."""


def build(shown: Predictions, pixels: PixelArray) -> dict[str, Any]:
    """Build what the script reads: classes, a line and a picture for as many images as there is room for."""
    describe = _DESCRIBE[shown.task.kind]
    album, room, images, uris = Album(pixels, SIDE), MOST_BYTES, [], []
    for i in order_for_search(shown)[:MOST_IMAGES].tolist():
        uri = album.uri(int(shown.row[i]))
        room -= len(uri)
        if room < 0:
            break
        images.append([shown.path[i], *describe(shown, i), _round(shown.uncertainty[i])])
        uris.append(uri)
    return {
        "classes": shown.classes,
        "multi": shown.task.kind == Multi.kind,
        "images": images,
        "uris": uris,
        "of": len(shown.row),
    }


def _describe_class(shown: Predictions, i: int) -> list[Any]:
    """Return the true and the predicted class of image `i`, and their probabilities."""
    actual, predicted = int(shown.actual[i]), int(shown.predicted[i])
    return [actual, predicted, *(_round(shown.probabilities[i, k]) for k in (actual, predicted))]


def _describe_labels(shown: Predictions, i: int) -> list[Any]:
    """Return one cell: label, probability and verdict of each label that image `i` has or gets."""
    return [[[c, _round(p), verdict] for c, p, verdict in rank_verdicts(shown, i)]]


_DESCRIBE = {Single.kind: _describe_class, Multi.kind: _describe_labels}


def _round(number: float) -> float:
    return round(float(number), 4)
