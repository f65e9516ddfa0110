"""Augmentation of whole batches on the device. An image's draws depend on (seed, purpose, epoch, row) alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from unfreeze.core import draws
from unfreeze.core.params import Number, Section

if TYPE_CHECKING:
    from torch import Tensor


MAX_ROTATION = 10.0
"""Degrees."""

MAX_LIGHTING = 0.05
"""Of brightness and of contrast."""


class AugmentParams(Section):
    """`augment`: how training images and the views of TTA are varied.

    `none`: not at all, whatever the other keys say. `flip`: zoom, random crop and horizontal flips (small images
    from scratch). `basic`: zoom and random crop, rotation up to 10 degrees, brightness and contrast up to 0.05.
    `side_on`: basic and horizontal flips (photos). `top_down`: basic and the eight symmetries of the square
    (satellite, microscope).

    Brightness and contrast are those of images in [0, 1]. Measured values (float arrays, such as decibels of
    radar) are rotated, flipped and zoomed, and keep their brightness and contrast.
    """

    set: Literal["none", "flip", "basic", "side_on", "top_down"]
    max_zoom: Annotated[Number, Field(ge=1, le=4)]
    pad: Annotated[int, Field(ge=0, le=256)]
    """Pixels, at model.image_size, by which a random crop may leave the image, which is reflected there."""


def draw(
    rows: np.ndarray, params: AugmentParams, stored: int, size: int, pad: int, *key: int | str
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the transform and the lighting of each of `rows`, as fast.ai's library drew them.

    Args:
        params: with any set but `none`.
        stored: pixels a side of the stored image.
        size: pixels a side of the view.
        pad: pixels by which a crop may leave the image.
        key: seeds the draws, together with the row.

    Returns:
        theta: float32 `[B, 2, 3]`, for `affine_grid`: from the output's to the stored image's coordinates.
        light: float32 `[B, 2]`, brightness to add and contrast to multiply with.
    """
    u = draws.uniform(rows, 11, *key)
    zoom = np.where(u[:, 0] < 0.75, 1 + u[:, 1] * (params.max_zoom - 1), 1.0)
    varied = params.set != "flip"
    angle = np.where((u[:, 2] < 0.75) & varied, (2 * u[:, 3] - 1) * np.deg2rad(MAX_ROTATION), 0.0)
    flip = np.where((u[:, 4] < 0.5) & (params.set != "basic"), -1.0, 1.0)
    if params.set == "top_down":
        angle = angle + np.floor(4 * u[:, 5]) * (np.pi / 2)

    # Without zoom and rotation the crop starts at a whole pixel, so that nothing is interpolated.
    room = stored + 2 * pad - size / zoom
    start = np.floor(u[:, 6:8] * (room[:, None] + 1))
    offset = (2 * np.minimum(start, room[:, None]) - room[:, None]) / stored

    scale = size / stored / zoom
    theta = np.empty((len(rows), 2, 3))
    theta[:, 0, 0], theta[:, 0, 1] = scale * np.cos(angle) * flip, -scale * np.sin(angle)
    theta[:, 1, 0], theta[:, 1, 1] = scale * np.sin(angle) * flip, scale * np.cos(angle)
    theta[:, :, 2] = offset

    brightness, c = ((2 * u[:, 8:10] - 1) * MAX_LIGHTING * varied).T
    contrast = np.where(c >= 0, c + 1, -1 / (c - 1))
    return theta.astype(np.float32), np.stack([brightness, contrast], axis=1).astype(np.float32)


def apply(images: Tensor, theta: Tensor, light: Tensor, size: int) -> Tensor:
    """Return views of stored images: float32 `[B, C, size, size]` in [0, 1], with edges reflected.

    Args:
        images: uint8 `[B, S, S, C]`; or float32 of measured values, which keep their scale and get no `light`.
        theta: transforms as `draw` returns them.
        light: brightness and contrast as `draw` returns them.
    """
    from torch.nn.functional import grid_sample

    measured = images.is_floating_point()
    images = _as_float(images)
    grid = _grid(theta.to(images.dtype), size)
    views = grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if measured:
        return views
    mean = views.mean((1, 2, 3), keepdim=True)
    brightness, contrast = light[:, 0].view(-1, 1, 1, 1), light[:, 1].view(-1, 1, 1, 1)
    return views.mul_(contrast).add_(mean * (1 - contrast) + brightness).clamp_(0, 1)


def _grid(theta: Tensor, size: int) -> Tensor:
    """Return torch's `affine_grid`, `[B, size, size, 2]`.

    Sums in place of its matrix product are three times as fast, and every CPU rounds them in the same way.
    """
    import torch

    centres = (2 * torch.arange(size, dtype=theta.dtype, device=theta.device) + 1) / size - 1
    grid = theta.new_empty(len(theta), size, size, 2)
    for axis in (0, 1):
        along_x = theta[:, axis, 0, None] * centres + theta[:, axis, 2, None]
        torch.add(along_x[:, None, :], (theta[:, axis, 1, None] * centres)[:, :, None], out=grid[..., axis])
    return grid


def plain(images: Tensor, size: int) -> Tensor:
    """Return the centres of stored images: float32 `[B, C, size, size]`.

    Args:
        images: uint8 `[B, S, S, C]`, whose views are in [0, 1]; or float32, which keep their measured values.
    """
    start = round((images.shape[1] - size) / 2)
    return _as_float(images[:, start : start + size, start : start + size])


def shrink(images: Tensor, size: int) -> Tensor:
    """Return stored images `[B, S, S, C]` as if they had been stored at `size`: `[B, size, size, C]`, uint8 or
    float32 as before."""
    import torch
    from torch.nn.functional import interpolate

    smaller = interpolate(_as_float(images), size=(size, size), mode="bilinear", antialias=True)
    smaller = smaller.permute(0, 2, 3, 1)
    return smaller if images.is_floating_point() else smaller.mul_(255).round_().to(torch.uint8)


def _as_float(images: Tensor) -> Tensor:
    """Return images `[B, S, S, C]` as float32 `[B, C, S, S]`: uint8 in [0, 1], measured values as they are."""
    import torch

    inputs = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)
    return inputs if images.is_floating_point() else inputs.div_(255)
