"""Values of more than 8 bits a channel -> uint8, by one range for the whole data set.

A file of 16 bits does not say how many of them its camera fills. One image cannot tell either: a dark one has
small values at any depth. So every image reports its `Extent`, and the set of all extents gives the range from
black to white: one for integers, one for floating-point numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

Kind = Literal["integers", "floats"]
Range = tuple[float, float]
"""The value that becomes black and the one that becomes white; what lies beyond is clipped."""
Ranges = Mapping[Kind, Range]
"""The range of each kind of values that a data set has. Empty where every image has 8 bits a channel."""
Bits = Literal["auto", 8, 10, 12, 14, 16]

BITS = (8, 10, 12, 14, 16)
FLOAT_WHITES = (1.0, 255.0, 65535.0)
MAX_16_BITS = 65535
BLOCK = 1 << 20
"""Values that are scaled at once, in floating-point numbers of 8 bytes."""


class Extent(NamedTuple):
    """The smallest and the largest value of an image that has more than 8 bits a channel."""

    kind: Kind
    low: float
    high: float


def measure(values: np.ndarray) -> Extent:
    """Measure grey values of any integer or floating-point type.

    Raises:
        ValueError: a value is not finite.
    """
    low, high = values.min().item(), values.max().item()
    if not np.isfinite([low, high]).all():
        raise ValueError("values that are no finite numbers")
    return Extent(kind="floats" if values.dtype.kind == "f" else "integers", low=low, high=high)


def read_ranges(card: Mapping[str, Sequence[float]]) -> dict[Kind, Range]:
    """Read the ranges that a network's card holds: JSON knows no pairs."""
    return {kind: (black, white) for kind, (black, white) in card.items()}


def range_of_bits(bits: int) -> Range:
    """Return the range of unsigned integers of `bits` bits."""
    return 0, 2**bits - 1


def bits_of(white: float) -> int:
    """Return how many bits, of `BITS`, values from 0 to `white` take."""
    return next(bits for bits in BITS if white < 2**bits)


def range_of_set(extent: Extent) -> Range:
    """Choose the range of a data set from the `extent` of all its values of one kind.

    - integers within 0..65,535: the range of the fewest bits, of 8, 10, 12, 14 and 16, that hold every value;
    - floating-point numbers from 0 on: the smallest of 1, 255 and 65,535 that no value exceeds is white;
    - any others: from the smallest value to the largest.
    """
    _, low, high = extent
    if low < 0:
        return low, high
    if extent.kind == "floats":
        return next(((0.0, white) for white in FLOAT_WHITES if high <= white), (low, high))
    return range_of_bits(bits_of(high)) if high <= MAX_16_BITS else (low, high)


def range_of_image(extent: Extent) -> Range:
    """Choose the range of one image of which the data set is not known: as `range_of_set`, but at 16 bits."""
    if extent.kind == "integers" and extent.low >= 0 and extent.high <= MAX_16_BITS:
        return range_of_bits(16)
    return range_of_set(extent)


def scale_to_uint8(values: np.ndarray, scale: Range) -> np.ndarray:
    """Scale `values` of any shape to uint8: `scale` is cut into 256 equal steps, what lies beyond is clipped.

    At 16 bits this is the upper byte, at 8 bits the value itself.
    """
    black, white = scale
    if values.dtype == np.uint16 and scale == range_of_bits(bits := max(8, int(white).bit_length())):
        return np.minimum(values >> (bits - 8), 255).astype(np.uint8)
    out = np.empty(values.shape, np.uint8)
    rows = max(1, BLOCK // max(1, values[0].size))
    for start in range(0, len(values), rows):  # 8 bytes a value: not of a whole photograph at once
        block = (values[start : start + rows].astype(np.float64) - black) / ((white - black) or 1.0)
        out[start : start + rows] = np.clip(block * 256, 0, 255)
    return out
