"""Convolutions of 3 x 3 pixels by Winograd's minimal filtering: a quarter of the multiplications.

Lavin and Gray 2015 (Fast Algorithms for Convolutional Neural Networks), F(4 x 4, 3 x 3): 6 x 6 pixels of the
input and the 3 x 3 weights are each transformed to 36 numbers. The products of these are transformed back to a
tile of 4 x 4 pixels. Summed over channels, for all tiles together, that is 36 products of matrices. In 32 bits it
rounds by about 1e-6 relative, five times as much as the plain sum.
"""

import os
from math import ceil

import torch
from torch import Tensor, nn

MIN_CHANNELS = (64, 128)
"""Least channels of the input and of the output, in either order. With fewer, the transforms, which read and write
more than the convolution does, cost what the products save."""
MIN_TILES = 32
"""Least tiles of a batch. With fewer, as of a single image, the products save less than it costs to transform and
read the weights."""
CHANNELS_PER_OVERHANG = 320
"""Tiles hang over the edges of images whose sides are no multiple of 4. An overhang of channels /
CHANNELS_PER_OVERHANG of the image's area pays."""
TILE_BYTES = 3 * 2**21
"""Bytes of transformed tiles at a time: they should stay in the cache until the products have read them."""

_INPUT = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
          [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]  # fmt: skip
_WEIGHT = [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
           [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]  # fmt: skip
_OUTPUT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
_BIAS = 7
"""The one of the 36 products that the output's transform adds to each pixel of the tile with weight 1."""


def supports(conv: nn.Conv2d) -> bool:
    """Say whether `convolve` computes `conv`, and faster than oneDNN does.

    It is faster with MKL, unless MKL_CBWR holds MKL to few instructions, as `runtime.strict` does.
    """
    plain = (conv.kernel_size, conv.stride, conv.dilation, conv.groups) == ((3, 3), (1, 1), (1, 1), 1)
    fewer, more = sorted((conv.in_channels, conv.out_channels))
    wide = fewer >= MIN_CHANNELS[0] and more >= MIN_CHANNELS[1]
    return (
        plain and wide and conv.padding == (1, 1) and conv.padding_mode == "zeros"
        and torch.backends.mkl.is_available() and "MKL_CBWR" not in os.environ
    )  # fmt: skip


def is_faster(images: Tensor) -> bool:
    """Say whether `convolve` is faster than oneDNN for a batch of this shape `[B, C, H, W]`."""
    count, channels, height, width = images.shape
    tiles = ceil(height / 4) * ceil(width / 4)
    overhangs_little = 16 * tiles <= (1 + channels / CHANNELS_PER_OVERHANG) * height * width
    return overhangs_little and count * tiles >= MIN_TILES


def transform_weights(weight: Tensor) -> Tensor:
    """Transform the weights `[K, C, 3, 3]` into what `convolve` takes: `[36, C, K]`, four times as large."""
    to_products = _for_both_axes(_WEIGHT, torch.float64)
    taps = weight.double().permute(2, 3, 1, 0).reshape(9, -1)
    return (to_products @ taps).to(weight.dtype).view(36, weight.shape[1], weight.shape[0])


def convolve(images: Tensor, weights: Tensor, bias: Tensor | None, other: Tensor | None, relu: bool) -> Tensor:
    """Convolve `images` `[B, C, H, W]`, with a border of one zero, add `other` `[B, K, H, W]`, then activate.

    Args:
        weights: `[36, C, K]`, of `transform_weights`.

    Returns:
        `[B, K, H, W]` with channels last. It has no gradients.
    """
    count, channels, height, width = images.shape
    out_channels = weights.shape[2]
    rows, columns = ceil(height / 4), ceil(width / 4)
    image_bytes = 36 * 4 * max(channels, out_channels) * rows * columns
    at_once = min(count, max(1, TILE_BYTES // image_bytes))
    to_products, to_tiles = _for_both_axes(_INPUT, images.dtype), _for_both_axes(_OUTPUT, images.dtype)
    images = images.permute(0, 2, 3, 1)
    output = images.new_empty(count, height, width, out_channels)
    bordered = images.new_zeros(at_once, 4 * rows + 2, 4 * columns + 2, channels)
    for start in range(0, count, at_once):
        part = slice(start, start + at_once)
        target = output[part]
        padded = bordered[: len(target)]
        padded[:, 1 : height + 1, 1 : width + 1] = images[part]
        tiles = padded.unfold(1, 6, 4).unfold(2, 6, 4).permute(0, 1, 2, 4, 5, 3)
        tiles = to_products @ tiles.reshape(-1, 36, channels)
        products = torch.bmm(tiles.transpose(0, 1), weights)
        if bias is not None:
            products[_BIAS] += bias
        tiles = (to_tiles @ products.view(36, -1)).view(4, 4, -1, rows, columns, out_channels)
        tiles = tiles.permute(2, 3, 0, 4, 1, 5)
        if (4 * rows, 4 * columns) == (height, width):
            target = target.view(tiles.shape)  # the tiles go where they belong without a copy in between
        else:
            tiles = tiles.reshape(-1, 4 * rows, 4 * columns, out_channels)[:, :height, :width]
        if other is not None:
            torch.add(tiles, other[part].permute(0, 2, 3, 1).reshape(target.shape), out=target)
        elif not relu:
            target.copy_(tiles)
        if relu:
            torch.clamp_min(tiles if other is None else target, 0, out=target)
    return output.permute(0, 3, 1, 2)


def _for_both_axes(matrix: list[list[float]], dtype: torch.dtype) -> Tensor:
    """Combine the transform along one axis of a tile into that of both, for flat tiles."""
    one = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one, one).to(dtype)
