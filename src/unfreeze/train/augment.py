"""Augmentation of whole batches on the device. What an image gets depends on (seed, purpose, epoch, row) alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from unfreeze import draws
from unfreeze.params import Number, Section
from unfreeze.runtime import holds

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from unfreeze.train.loop import Batch

BLOCK = 256
"""Images that are copied at once."""
READERS = 4
"""Threads that read them."""
MAX_ROTATION = 10.0
"""Degrees."""
MAX_LIGHTING = 0.05
"""Of brightness and of contrast."""


class AugmentParams(Section):
    """`augment`: how training images and the views of TTA are varied.

    `none`: not at all. `flip`: zoom, random crop and horizontal flips (small images from scratch). `basic`: zoom
    and random crop, rotation up to 10 degrees, brightness and contrast up to 0.05. `side_on`: basic and
    horizontal flips (photos). `top_down`: basic and the eight symmetries of the square (satellite, microscope).

    Brightness and contrast are those of images in [0, 1]: measured values (float arrays, such as decibels of
    radar) are turned, mirrored and zoomed, and otherwise left as they were measured.
    """

    set: Literal["none", "flip", "basic", "side_on", "top_down"]
    max_zoom: Annotated[Number, Field(ge=1, le=4)]
    pad: Annotated[int, Field(ge=0, le=256)]
    """Pixels, at model.size, by which a random crop may reach over each edge; what lies there is reflected."""

    def check_with(self, params: SimpleNamespace) -> None:
        for key, idle in (("max_zoom", 1), ("pad", 0)):
            if self.set == "none" and getattr(self, key) != idle:
                raise ValueError(
                    f"augment.{key} = {getattr(self, key)} has no effect with augment.set = none: set it to {idle}"
                )


class PrecomputeParams(AugmentParams):
    """`precompute`: the cache of the frozen backbone's features.

    Its views are drawn by settings of their own, so that others for fine-tuning compute no feature again.
    """

    skip: bool
    """No features: find-lr and train-head have nothing to do, and the head starts untrained (from scratch)."""
    views: Annotated[int, Field(ge=0, le=100)]
    """Augmented views beside the plain one; the head draws one of them all for each image and epoch. 0 is the
    course's cache, whose head sees no augmentation."""

    def check_with(self, params: SimpleNamespace) -> None:
        if self.views and (self.skip or self.set == "none"):
            key = "skip = true" if self.skip else "set = none"
            raise ValueError(f"precompute.views = {self.views} has no effect with precompute.{key}: set it to 0")
        if self.skip and params.split.folds:
            raise ValueError(
                f"split.folds = {params.split.folds} has no effect with precompute.skip = true: folds are "
                "those of the head on cached features; set it to 0"
            )


def draw(
    rows: np.ndarray, params: AugmentParams, stored: int, size: int, pad: int, *key: int | str
) -> tuple[np.ndarray, np.ndarray]:
    """The transform and the lighting of each of `rows` (sets other than `none`), as fast.ai's library drew them.

    Args:
        stored, size, pad: pixels a side of the stored image and of the view; by which a crop may leave the image.

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
    """Transform stored images uint8 `[B, S, S, C]`, edges reflected: float `[B, C, size, size]` in [0, 1].

    Measured values, float `[B, S, S, C]`, keep their scale and get no `light`.
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
    """torch's `affine_grid`, `[B, size, size, 2]`, by sums in place of a matrix product: three times as fast, and
    rounded in the same way on every CPU."""
    import torch

    at = (2 * torch.arange(size, dtype=theta.dtype, device=theta.device) + 1) / size - 1
    grid = theta.new_empty(len(theta), size, size, 2)
    for axis in (0, 1):
        along_x = theta[:, axis, 0, None] * at + theta[:, axis, 2, None]
        torch.add(along_x[:, None, :], (theta[:, axis, 1, None] * at)[:, :, None], out=grid[..., axis])
    return grid


def plain(images: Tensor, size: int) -> Tensor:
    """The plain view of stored images uint8 `[B, S, S, C]`, their centre: float `[B, C, size, size]` in [0, 1], or
    for float ones the measured values."""
    start = round((images.shape[1] - size) / 2)
    return _as_float(images[:, start : start + size, start : start + size])


def shrink(images: Tensor, size: int) -> Tensor:
    """Stored images `[B, S, S, C]` as if they had been stored at `size`: `[B, size, size, C]`, uint8 or float."""
    import torch
    from torch.nn.functional import interpolate

    smaller = interpolate(_as_float(images), size=(size, size), mode="bilinear", antialias=True)
    smaller = smaller.permute(0, 2, 3, 1)
    return smaller if images.is_floating_point() else smaller.mul_(255).round_().to(torch.uint8)


def _as_float(images: Tensor) -> Tensor:
    import torch

    inputs = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)
    return inputs if images.is_floating_point() else inputs.div_(255)


def kept_on(device: torch.device, pixels: np.ndarray) -> np.ndarray | Tensor:
    """Stored images in the memory of a GPU, if it has room for them (see `runtime.holds`); else as they are."""
    import torch

    if not holds(device, pixels.nbytes):
        return pixels
    kept = torch.empty(pixels.shape, dtype=getattr(torch, pixels.dtype.name), device=device)
    for start in range(0, len(pixels), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(pixels)))
        kept[start : start + BLOCK] = sent(pixels, rows, device)
    return kept


def sent(pixels: np.ndarray, rows: np.ndarray, device: torch.device) -> Tensor:
    """`pixels[rows]` on the device. A GPU fetches them itself, from memory that the system does not move, while
    it computes on those before them."""
    import torch

    if device.type == "cpu" or not isinstance(pixels, np.ndarray):  # those of a prediction are few
        return torch.from_numpy(pixels[rows]).to(device)
    shape, dtype = (len(rows), *pixels.shape[1:]), getattr(torch, pixels.dtype.name)
    held = torch.empty(shape, dtype=dtype, pin_memory=True)
    out, parts = held.numpy(), np.array_split(np.arange(len(rows)), READERS)

    def read(part: np.ndarray) -> None:
        if len(part):  # with another mode it would go through a copy
            np.take(pixels, rows[part], axis=0, out=out[part[0] : part[-1] + 1], mode="clip")

    with ThreadPoolExecutor(READERS) as pool:  # one reads 28,000 photographs a second, and GPUs take more
        list(pool.map(read, parts))
    return held.to(device, non_blocking=True)


class Images:
    """Stored images `[N, S, S, C]`, handed out by row as the network takes them, on the device.

    Args:
        pixels: uint8, or float32 of measured values; an array, or a tensor on the device.
        size: pixels a side of a view.
        scale: of the views: they show what views of `size / scale` pixels would.
        numbers: those beside each image, float32 `[N, E]`. If there are any, they are handed out with the views,
            as a pair: images `[B, C, size, size]` and numbers `[B, E]`.
    """

    def __init__(
        self,
        pixels: np.ndarray | Tensor,
        size: int,
        device: torch.device,
        scale: float = 1.0,
        numbers: np.ndarray | None = None,
    ) -> None:
        self.pixels, self.size, self.device, self.scale = pixels, size, device, scale
        self.numbers = numbers
        self.stored = round(pixels.shape[1] * scale)

    def at(self, size: int) -> Images:
        """The same views in `size` pixels a side, for training at growing sizes."""
        return Images(self.pixels, size, self.device, self.scale * size / self.size, self.numbers)

    def _batch(self, rows: np.ndarray) -> Tensor:
        import torch

        if isinstance(self.pixels, torch.Tensor):
            images = self.pixels[torch.from_numpy(rows).to(self.device)]
        else:
            images = sent(self.pixels, rows, self.device)
        return images if self.stored == images.shape[1] else shrink(images, self.stored)

    def _with_numbers(self, views: Tensor, rows: np.ndarray) -> Batch:
        import torch

        if self.numbers is None or not self.numbers.shape[1]:
            return views
        return views, torch.from_numpy(self.numbers[rows]).to(self.device)

    def plain(self, rows: np.ndarray, epoch: int = 0) -> Batch:
        """Plain views of `rows`, the same in every epoch."""
        return self._with_numbers(plain(self._batch(rows), self.size), rows)

    def augmented(self, rows: np.ndarray, epoch: int, params: AugmentParams, *key: int | str) -> Batch:
        """Views of `rows` drawn for `key` and `epoch`; the plain ones if the set is `none`."""
        import torch

        if params.set == "none":
            return self.plain(rows)
        theta, light = draw(rows, params, self.stored, self.size, round(params.pad * self.scale), *key, epoch)
        theta, light = torch.from_numpy(theta).to(self.device), torch.from_numpy(light).to(self.device)
        return self._with_numbers(apply(self._batch(rows), theta, light, self.size), rows)
