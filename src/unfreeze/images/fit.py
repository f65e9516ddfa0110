"""Makes an upright image square: cropped, squished, or padded with its own reflection."""

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Fit = Literal["crop", "squish", "pad"]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


def resample(image: "PILImage", area: Box, source: tuple[int, int], size: int, fit: Fit) -> np.ndarray:
    """Resample the `area` of an image to uint8 `[size, size, C]`, or `[size, size]` of mode `L`.

    `source` holds the width and height in pixels before decoding: all proportions are taken from them.
    """
    from PIL.Image import Resampling

    width, height = source
    if fit == "squish":
        return np.asarray(image.resize((size, size), Resampling.BILINEAR, box=area))
    if fit == "crop":
        divisor = width / (area[2] - area[0])  # a power of 2, so that nothing is rounded
        left, top, right, bottom = (edge / divisor for edge in _compute_crop(width, height, size))
        box = (area[0] + left, area[1] + top, area[0] + right, area[1] + bottom)
        return np.asarray(image.resize((size, size), Resampling.BILINEAR, box=box))
    new_width = max(1, size * width // max(width, height))
    new_height = max(1, size * height // max(width, height))
    left, top = (size - new_width) // 2, (size - new_height) // 2
    pixels = np.asarray(image.resize((new_width, new_height), Resampling.BILINEAR, box=area))
    margins = [(top, size - new_height - top), (left, size - new_width - left), (0, 0)]
    return np.pad(pixels, margins[: pixels.ndim], mode="reflect")


def _compute_crop(width: int, height: int, size: int) -> Box:
    """Compute the part of the source that torchvision's Resize(size) and CenterCrop(size) together keep."""
    short = min(width, height)
    new_width, new_height = size * width // short, size * height // short
    left, top = round((new_width - size) / 2), round((new_height - size) / 2)
    return (
        left * width / new_width,
        top * height / new_height,
        (left + size) * width / new_width,
        (top + size) * height / new_height,
    )
