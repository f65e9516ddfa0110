"""Chooses the ranges of a data set from the extents of its images, and says in words what was chosen."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unfreeze.core.console import UserError, few
from unfreeze.images.values import (
    MAX_16_BITS,
    Bits,
    Extent,
    Kind,
    Range,
    Ranges,
    bits_of,
    range_of_bits,
    range_of_image,
    range_of_set,
)


class DeepImage(NamedTuple):
    """An image that has more than 8 bits a channel."""

    row: int
    """Of the array."""
    candidate: int
    """Its place among all files that are tried."""
    extent: Extent


def fixed_ranges(bits: Bits) -> dict[Kind, Range]:
    """Return the ranges that `decode.range` = `bits` fixes before any image is read."""
    return {} if bits == "auto" else {"integers": range_of_bits(bits)}


def choose_ranges(images: Sequence[DeepImage], fixed: Ranges) -> dict[Kind, Range]:
    """Choose the range of each kind of values that the `images` of a data set have; `fixed` ones stay."""
    ranges: dict[Kind, Range] = {}
    for kind in ("integers", "floats"):
        extents = [image.extent for image in images if image.extent.kind == kind]
        if extents:
            whole = Extent(kind, min(each.low for each in extents), max(each.high for each in extents))
            ranges[kind] = fixed.get(kind) or range_of_set(whole)
    return ranges


def needs_other_range(image: DeepImage, fixed: Ranges, ranges: Ranges) -> bool:
    """Tell whether an image was not decoded by the range of its data set while that was unknown."""
    kind = image.extent.kind
    return (fixed.get(kind) or range_of_image(image.extent)) != ranges[kind]


def describe_ranges(images: Sequence[DeepImage], ranges: Ranges, paths: Sequence[str]) -> list[str]:
    """Say in a line for each kind of values what they are and how they are stored.

    Args:
        paths: of all files that are tried (`DeepImage.candidate`).
    """
    lines = []
    for kind, (black, white) in ranges.items():
        those = [image for image in images if image.extent.kind == kind]
        low, high = min(image.extent.low for image in those), max(image.extent.high for image in those)
        if kind == "integers" and low >= 0 and high <= MAX_16_BITS:
            counts = Counter(bits_of(image.extent.high) for image in those)
            found = ", ".join(f"{counts[bits]:,} fill {bits}" for bits in sorted(counts))
            line = f"images of 16 bits a channel: {found} of them; {white:,} is white in all (decode.range)"
        else:
            what = "integers" if kind == "integers" else "floating-point numbers"
            line = f"{len(those):,} images of {what} from {low:,} to {high:,}: "
            line += f"in all of them {black:,} is black and {white:,} white"
        beyond = [image for image in those if image.extent.low < black or image.extent.high > white]
        if beyond:
            line += f"; what lies beyond is clipped in {few(paths[image.candidate] for image in beyond)}"
        lines.append(line)
    return lines


def refuse_blank(pixels: np.ndarray, bits: Bits) -> None:
    """Stop where every one of the stored images is black all over or white all over.

    The first image that shows something ends the search.

    Args:
        pixels: uint8 `[images, H, W, C]`.
        bits: `decode.range`.

    Raises:
        UserError: no image shows anything.
    """
    for image in pixels:
        colour = image[..., :3]
        first = colour.flat[0]
        if first not in (0, 255) or (colour != first).any():
            return
    raise UserError(
        f"all {len(pixels):,} images are black or white all over at decode.range = {bits}: nothing can "
        "be learned from them. Look at the files: with 16 bits a channel set decode.range to the bits that they "
        "fill; transparent ones need decode.channels: rgba"
    )
