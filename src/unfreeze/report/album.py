"""Pictures of stored images as data URIs, of one size that lets all of them fit into so many bytes."""

import base64
import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np

TINY = 64
"""Pixels a side: up to here an image is kept exactly and enlarged by whole pixels."""
SIDES = (2048, 160, 112)
"""Longest sides of larger pictures, the best first; few images are stored at more than the first."""
SAMPLE = 12
"""Images whose bytes tell how large those of the others will be."""


class Readable(Protocol):
    """`[N, S, S, 3]`, uint8, read by row."""

    shape: tuple[int, ...]

    def __getitem__(self, row: int) -> np.ndarray: ...

    def __len__(self) -> int: ...


class Album:
    """The pictures of a page: each image is read and encoded once, however often it is shown.

    Args:
        side: longest side in pixels of a picture of an image above `TINY`.
    """

    def __init__(self, pixels: Readable, side: int) -> None:
        self.pixels, self.side = pixels, side
        self._uris: dict[int, str] = {}

    def uri(self, row: int) -> str:
        """The picture of image `row`."""
        if row not in self._uris:
            self._uris[row] = thumbnail(self.pixels[row], self.side)
        return self._uris[row]


def side_for(pixels: Readable, rows: Sequence[int], count: int, room: int) -> int:
    """The largest of `SIDES` at which `count` pictures such as those of `rows` have at most `room` bytes, or the
    smallest; SAMPLE of the rows are tried."""
    step = max(1, len(rows) // SAMPLE)
    some = [pixels[int(row)] for row in rows[::step][:SAMPLE]]
    for side in SIDES[:-1]:
        if some and count * np.mean([len(thumbnail(image, side)) for image in some]) <= room:
            return side
    return SIDES[-1]


def thumbnail(image: np.ndarray, side: int = SIDES[1]) -> str:
    """A data URI of an image uint8 `[S, S, 3]`: up to 64 px exact (PNG), else a JPEG of at most `side` pixels."""
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
