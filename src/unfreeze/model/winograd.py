"""Convolutions of 3 x 3 pixels by Winograd's minimal filtering: a quarter of the multiplications.

Lavin and Gray 2015 (Fast Algorithms for Convolutional Neural Networks), F(4 x 4, 3 x 3): 6 x 6 pixels of the
input and the 3 x 3 weights are each mapped to 36 numbers, and their products back to a tile of 4 x 4 pixels.
Summed over channels, for all tiles together, that is 36 products of matrices. In 32 bits it rounds by about 1e-6
relative, five times as much as the plain sum.
"""

import os
from math import ceil

import torch
from torch import Tensor, nn

CHANNELS = (64, 128)
"""Of the input and the output, the fewer and the more. With less the maps, which read and write more than the
convolution does, take what the products save."""
TILES = 32
"""With fewer, as of a single image, there is less to save than the weights take to be mapped and read."""
EDGE = 320
"""Tiles stand over the edges of images whose sides are no multiple of 4. The more channels, the more of that pays:
1 / EDGE of the image for each of them."""
BLOCK = 3 * 2**21
"""Bytes of mapped tiles at a time: they should stay in the cache until the products have read them."""

_INPUT = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
          [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]  # fmt: skip
_WEIGHT = [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
           [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]  # fmt: skip
_OUTPUT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
_BIAS = 7
"""Of the 36 numbers that one which the map to the tile adds to each of its pixels."""


def suits(conv: nn.Conv2d) -> bool:
    """Whether `conv` is one that this module computes, and faster here than oneDNN does: with MKL, unless MKL_CBWR
    holds it to few instructions, as `runtime.strict` does."""
    plain = (conv.kernel_size, conv.stride, conv.dilation, conv.groups) == ((3, 3), (1, 1), (1, 1), 1)
    fewer, more = sorted((conv.in_channels, conv.out_channels))
    wide = fewer >= CHANNELS[0] and more >= CHANNELS[1]
    return (
        plain and wide and conv.padding == (1, 1) and conv.padding_mode == "zeros"
        and torch.backends.mkl.is_available() and "MKL_CBWR" not in os.environ
    )  # fmt: skip


def pays(images: Tensor) -> bool:
    """Whether it is faster for so many `images` `[B, C, H, W]` of this size."""
    count, channels, height, width = images.shape
    tiles = ceil(height / 4) * ceil(width / 4)
    return 16 * tiles <= (1 + channels / EDGE) * height * width and count * tiles >= TILES


def mapped(weight: Tensor) -> Tensor:
    """The weights `[K, C, 3, 3]` as `convolve` takes them: `[36, C, K]`, four times as large."""
    to_tiles = _both(_WEIGHT, torch.float64)
    taps = weight.double().permute(2, 3, 1, 0).reshape(9, -1)
    return (to_tiles @ taps).to(weight.dtype).view(36, weight.shape[1], weight.shape[0])


def convolve(images: Tensor, weights: Tensor, bias: Tensor | None, other: Tensor | None, relu: bool) -> Tensor:
    """The convolution of `images` `[B, C, H, W]`, with a border of one zero, plus `other` `[B, K, H, W]`, then
    activated: `[B, K, H, W]` with channels last. It has no gradients.

    Args:
        weights: as `mapped` gives them.
    """
    count, channels, height, width = images.shape
    made = weights.shape[2]
    rows, columns = ceil(height / 4), ceil(width / 4)
    at_once = min(count, max(1, BLOCK // (36 * 4 * max(channels, made) * rows * columns)))
    to_products, to_tiles = _both(_INPUT, images.dtype), _both(_OUTPUT, images.dtype)
    images = images.permute(0, 2, 3, 1)
    found = images.new_empty(count, height, width, made)
    bordered = images.new_zeros(at_once, 4 * rows + 2, 4 * columns + 2, channels)
    for start in range(0, count, at_once):
        some = slice(start, start + at_once)
        block = found[some]
        inside = bordered[: len(block)]
        inside[:, 1 : height + 1, 1 : width + 1] = images[some]
        tiles = inside.unfold(1, 6, 4).unfold(2, 6, 4).permute(0, 1, 2, 4, 5, 3)
        tiles = to_products @ tiles.reshape(-1, 36, channels)
        products = torch.bmm(tiles.transpose(0, 1), weights)
        if bias is not None:
            products[_BIAS] += bias
        tiles = (to_tiles @ products.view(36, -1)).view(4, 4, -1, rows, columns, made).permute(2, 3, 0, 4, 1, 5)
        if (4 * rows, 4 * columns) == (height, width):
            block = block.view(tiles.shape)  # it takes them where they belong, without a copy in between
        else:
            tiles = tiles.reshape(-1, 4 * rows, 4 * columns, made)[:, :height, :width]
        if other is not None:
            torch.add(tiles, other[some].permute(0, 2, 3, 1).reshape(block.shape), out=block)
        elif not relu:
            block.copy_(tiles)
        if relu:
            torch.clamp_min(tiles if other is None else block, 0, out=block)
    return found.permute(0, 3, 1, 2)


def _both(along_one: list[list[float]], dtype: torch.dtype) -> Tensor:
    """The map of both dimensions of a tile, flat, by the one along each."""
    matrix = torch.tensor(along_one, dtype=torch.float64)
    return torch.kron(matrix, matrix).to(dtype)
