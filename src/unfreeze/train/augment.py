"""Augmentation of whole batches on the device. What an image gets depends on (seed, purpose, epoch, row) alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from unfreeze import draws
from unfreeze.params import Number, Section

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAX_ROTATION = 10.0
"""Degrees."""
MAX_LIGHTING = 0.05
"""Of brightness and of contrast."""


class AugmentParams(Section):
    """`augment`: how training images and the views of TTA are varied.

    `none`: not at all. `basic`: zoom and random crop, rotation up to 10 degrees, brightness and contrast up to
    0.05. `side_on`: basic and horizontal flips (photos). `top_down`: basic and the eight symmetries of the
    square (satellite, microscope).
    """

    set: Literal["none", "basic", "side_on", "top_down"]
    max_zoom: Annotated[Number, Field(ge=1, le=4)]

    def check_with(self, params: SimpleNamespace) -> None:
        if self.set == "none" and self.max_zoom > 1:
            raise ValueError(
                f"augment.max_zoom = {self.max_zoom} has no effect with augment.set = none: set it to 1"
            )


def draw(
    rows: np.ndarray, params: AugmentParams, stored: int, size: int, *key: int | str
) -> tuple[np.ndarray, np.ndarray]:
    """The transform and the lighting of each of `rows` (sets other than `none`), as fast.ai's library drew them.

    Returns:
        theta: float32 `[B, 2, 3]`, for `affine_grid`: from the output's to the stored image's coordinates.
        light: float32 `[B, 2]`, brightness to add and contrast to multiply with.
    """
    u = draws.uniform(rows, 11, *key)
    zoom = np.where(u[:, 0] < 0.75, 1 + u[:, 1] * (params.max_zoom - 1), 1.0)
    angle = np.where(u[:, 2] < 0.75, (2 * u[:, 3] - 1) * np.deg2rad(MAX_ROTATION), 0.0)
    flip = np.where((u[:, 4] < 0.5) & (params.set in ("side_on", "top_down")), -1.0, 1.0)
    if params.set == "top_down":
        angle = angle + np.floor(4 * u[:, 5]) * (np.pi / 2)

    # Without zoom and rotation the crop starts at a whole pixel, so that nothing is interpolated.
    room = stored - size / zoom
    start = np.floor(u[:, 6:8] * (room[:, None] + 1))
    offset = (2 * np.minimum(start, room[:, None]) - room[:, None]) / stored

    scale = size / stored / zoom
    theta = np.empty((len(rows), 2, 3))
    theta[:, 0, 0], theta[:, 0, 1] = scale * np.cos(angle) * flip, -scale * np.sin(angle)
    theta[:, 1, 0], theta[:, 1, 1] = scale * np.sin(angle) * flip, scale * np.cos(angle)
    theta[:, :, 2] = offset

    brightness, c = ((2 * u[:, 8:10] - 1) * MAX_LIGHTING).T
    contrast = np.where(c >= 0, c + 1, -1 / (c - 1))
    return theta.astype(np.float32), np.stack([brightness, contrast], axis=1).astype(np.float32)


def apply(images: Tensor, theta: Tensor, light: Tensor, size: int) -> Tensor:
    """Transform stored images uint8 `[B, S, S, 3]`, edges reflected: float `[B, 3, size, size]` in [0, 1]."""
    from torch.nn.functional import affine_grid, grid_sample

    images = _as_float(images)
    grid = affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    views = grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    mean = views.mean((1, 2, 3), keepdim=True)
    brightness, contrast = light[:, 0].view(-1, 1, 1, 1), light[:, 1].view(-1, 1, 1, 1)
    return ((views - mean) * contrast + mean + brightness).clamp_(0, 1)


def plain(images: Tensor, size: int) -> Tensor:
    """The plain view of stored images uint8 `[B, S, S, 3]`, their centre: float `[B, 3, size, size]` in [0, 1]."""
    start = round((images.shape[1] - size) / 2)
    return _as_float(images[:, start : start + size, start : start + size])


def _as_float(images: Tensor) -> Tensor:
    import torch

    return images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last).div_(255)


class Images:
    """Stored images uint8 `[N, S, S, 3]`, handed out by row as the network takes them, on the device."""

    def __init__(self, pixels: np.ndarray, size: int, device: torch.device) -> None:
        self.pixels, self.size, self.device = pixels, size, device

    def _batch(self, rows: np.ndarray) -> Tensor:
        import torch

        return torch.from_numpy(self.pixels[rows]).to(self.device)

    def plain(self, rows: np.ndarray, epoch: int = 0) -> Tensor:
        """Plain views of `rows`, the same in every epoch."""
        return plain(self._batch(rows), self.size)

    def augmented(self, rows: np.ndarray, epoch: int, params: AugmentParams, *key: int | str) -> Tensor:
        """Views of `rows` drawn for `key` and `epoch`; the plain ones if the set is `none`."""
        import torch

        if params.set == "none":
            return self.plain(rows)
        theta, light = draw(rows, params, self.pixels.shape[1], self.size, *key, epoch)
        theta, light = torch.from_numpy(theta).to(self.device), torch.from_numpy(light).to(self.device)
        return apply(self._batch(rows), theta, light, self.size)
