"""Stored images, handed out by row as the network takes them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from unfreeze.device.prefetch import fits_on_gpu
from unfreeze.views.augment import AugmentParams, apply, draw, plain, shrink

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from unfreeze.views.predict import Batch

SENT_AT_ONCE = 256
"""Images that are sent to a GPU at once, where it keeps all of them."""
READERS = 4
"""Threads that read images for a GPU: one reads 28,000 photographs a second, and GPUs take more."""


def keep_on_gpu(device: torch.device, pixels: np.ndarray) -> np.ndarray | Tensor:
    """Return stored images in the memory of a GPU that has room for them (`fits_on_gpu`); else as they are."""
    import torch

    if not fits_on_gpu(device, pixels.nbytes):
        return pixels
    tensor = torch.empty(pixels.shape, dtype=getattr(torch, pixels.dtype.name), device=device)
    for start in range(0, len(pixels), SENT_AT_ONCE):
        rows = np.arange(start, min(start + SENT_AT_ONCE, len(pixels)))
        tensor[start : start + SENT_AT_ONCE] = send(pixels, rows, device)
    return tensor


def send(pixels: np.ndarray, rows: np.ndarray, device: torch.device) -> Tensor:
    """Return `pixels[rows]` on the device.

    A GPU copies them itself, from memory that the system does not move, while it computes on those before them.
    """
    import torch

    if device.type == "cpu" or not isinstance(pixels, np.ndarray):  # those of a prediction are few
        return torch.from_numpy(pixels[rows]).to(device)
    shape, dtype = (len(rows), *pixels.shape[1:]), getattr(torch, pixels.dtype.name)
    pinned = torch.empty(shape, dtype=dtype, pin_memory=True)
    out, parts = pinned.numpy(), np.array_split(np.arange(len(rows)), READERS)

    def read(part: np.ndarray) -> None:
        if len(part):  # with another mode it would go through a copy
            np.take(pixels, rows[part], axis=0, out=out[part[0] : part[-1] + 1], mode="clip")

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(read, parts))
    return pinned.to(device, non_blocking=True)


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
        self.stored_size = round(pixels.shape[1] * scale)

    def resize(self, size: int) -> Images:
        """Return the same views in `size` pixels a side, for training at growing sizes."""
        return Images(self.pixels, size, self.device, self.scale * size / self.size, self.numbers)

    def plain(self, rows: np.ndarray, epoch: int = 0) -> Batch:
        """Return plain views of `rows`, the same in every epoch."""
        return self._with_numbers(plain(self._read(rows), self.size), rows)

    def augmented(self, rows: np.ndarray, epoch: int, params: AugmentParams, *key: int | str) -> Batch:
        """Return views of `rows` drawn for `key` and `epoch`; the plain ones if the set is `none`."""
        import torch

        if params.set == "none":
            return self.plain(rows)
        pad = round(params.pad * self.scale)
        theta, light = draw(rows, params, self.stored_size, self.size, pad, *key, epoch)
        theta, light = torch.from_numpy(theta).to(self.device), torch.from_numpy(light).to(self.device)
        return self._with_numbers(apply(self._read(rows), theta, light, self.size), rows)

    def _read(self, rows: np.ndarray) -> Tensor:
        import torch

        if isinstance(self.pixels, torch.Tensor):
            images = self.pixels[torch.from_numpy(rows).to(self.device)]
        else:
            images = send(self.pixels, rows, self.device)
        return images if self.stored_size == images.shape[1] else shrink(images, self.stored_size)

    def _with_numbers(self, views: Tensor, rows: np.ndarray) -> Batch:
        import torch

        if self.numbers is None or not self.numbers.shape[1]:
            return views
        return views, torch.from_numpy(self.numbers[rows]).to(self.device)
