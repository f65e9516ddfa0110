"""Where the network looked: images with the places that spoke for two classes (Grad-CAM)."""

from typing import Any

import numpy as np

from unfreeze.report.album import PixelArray, encode_thumbnail
from unfreeze.report.results import Results
from unfreeze.task.predictions import Predictions

SIDE = 160
"""Longest side of a picture in pixels."""
COARSE = 3
"""Places a side: a map of fewer does not say where the network looked."""
DIM = 0.45
"""Brightness of a place that says nothing."""
WARM = (255.0, 140.0, 0.0)
"""The colour, RGB, that a place that speaks for a class is tinted with."""
TINT = 0.28
"""Its share."""


def build(results: Results, shown: Predictions, pixels: PixelArray, size: int) -> list[dict[str, Any]]:
    """Build the section: of each image of gradcam.csv its picture as the network saw it, and one for each class.

    Args:
        size: pixels a side that the network saw, from the middle of the image.

    Returns:
        one line an image; none if the maps are too coarse.
    """
    if min(results.heat.shape[2:]) < COARSE:
        return []
    wanted = set(results.gradcam["row"])
    position = {row: i for i, row in enumerate(shown.row.tolist()) if row in wanted}
    start = round((pixels.shape[1] - size) / 2)
    lines = []
    for heat, (row, *names) in zip(results.heat, results.gradcam.itertuples(index=False), strict=True):
        i = position[row]
        view = pixels[row][start : start + size, start : start + size]
        label = shown.task.describe(shown.actual[i : i + 1])[0]
        lines.append(
            {
                "uri": encode_thumbnail(view, SIDE),
                "path": shown.path[i],
                "label": ", ".join(shown.task.names(label)) or "no label",
                "maps": [
                    (
                        name,
                        float(shown.probabilities[i, shown.classes.index(name)]),
                        encode_thumbnail(_overlay(view, each), SIDE),
                    )
                    for name, each in zip(names, heat, strict=True)
                ],
            }
        )
    return lines


def _overlay(view: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return the view in grey and dim, and in its colours and bright where `heat` uint8 `[h, w]` is high."""
    from PIL import Image

    shade = Image.fromarray(heat).resize(view.shape[1::-1], Image.Resampling.BICUBIC)
    weight = np.asarray(shade, dtype=np.float64)[..., None] / 255
    grey = view.mean(2, keepdims=True) * DIM
    return np.rint(grey * (1 - weight) + weight * ((1 - TINT) * view + TINT * np.array(WARM))).astype(np.uint8)
