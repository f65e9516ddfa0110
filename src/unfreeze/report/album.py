"""Pictures of images as data URIs, of one size that lets all of them fit into so many bytes."""

import base64
import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np

TINY = 64
"""Pixels a side: up to here an image is kept exactly and enlarged by whole pixels."""
SIDES = (2048, 160, 112)
"""Longest sides of larger pictures, the best first; few images are kept at more than the first."""
SAMPLE = 12
"""Images whose bytes tell how large those of the others will be."""


class PixelArray(Protocol):
    """Images uint8 `[N, S, S, 3]`, read by row."""

    shape: tuple[int, ...]

    def __getitem__(self, row: int) -> np.ndarray: ...

    def __len__(self) -> int: ...


class Album:
    """The pictures of a page: each image is read and encoded once, however often it is shown.

    Args:
        side: longest side in pixels of a picture of an image above `TINY`.
    """

    def __init__(self, pixels: PixelArray, side: int) -> None:
        self.pixels, self.side = pixels, side
        self._uris: dict[int, str] = {}

    def uri(self, row: int) -> str:
        """Return the picture of image `row`."""
        if row not in self._uris:
            self._uris[row] = encode_thumbnail(self.pixels[row], self.side)
        return self._uris[row]


def choose_side(pixels: PixelArray, rows: Sequence[int], count: int, room: int) -> int:
    """Return the largest of `SIDES` at which `count` pictures take at most `room` bytes, or else the smallest.

    Args:
        rows: images like those to show; SAMPLE of them are tried.
    """
    step = max(1, len(rows) // SAMPLE)
    sample = [pixels[int(row)] for row in rows[::step][:SAMPLE]]
    for side in SIDES[:-1]:
        if sample and count * np.mean([len(encode_thumbnail(image, side)) for image in sample]) <= room:
            return side
    return SIDES[-1]


def encode_thumbnail(image: np.ndarray, side: int = SIDES[1]) -> str:
    """Encode an image uint8 `[S, S, 3]` as a data URI.

    Up to 64 px it is kept exactly (PNG), else it becomes a JPEG of at most `side` pixels a side.
    """
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image))
    stream = io.BytesIO()
    if max(picture.size) <= TINY:
        kind = "png"
        picture.save(stream, "PNG", optimize=True)
    else:
        kind = "jpeg"
        picture.thumbnail((side, side))
        picture.save(stream, "JPEG", quality=78, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
