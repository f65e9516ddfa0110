"""The cached features, handed out by row."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from unfreeze.core import draws
from unfreeze.core.arrays import open_array
from unfreeze.device.prefetch import fits_on_gpu
from unfreeze.views.predict import Predictor

READ_AT_ONCE = 512
"""Images whose features are read at once."""


@dataclass(frozen=True)
class Features:
    """The cached features, with the numbers beside the images: by row, float32 `[B, F]` on the device."""

    views: Tensor
    """`[1 + K, N, F]`: of the plain view of every image, and of K augmented ones."""

    @property
    def count(self) -> int:
        """N, the number of images; 0 where precompute-features was skipped."""
        return self.views.shape[1]

    @property
    def width(self) -> int:
        """F, the number of features of an image."""
        return self.views.shape[2]

    def plain(self, rows: np.ndarray, epoch: int = 0) -> Tensor:
        """Return features of the plain views of `rows`, the same in every epoch."""
        return self._read(np.zeros(len(rows), np.int64), rows)

    def draw(self, rows: np.ndarray, epoch: int, *key: int | str) -> Tensor:
        """Return features of one view of each row, drawn for `key` and `epoch`."""
        if len(self.views) == 1:
            return self.plain(rows)
        view = (draws.uniform(rows, 1, *key, "view", epoch)[:, 0] * len(self.views)).astype(np.int64)
        return self._read(view, rows)

    def _read(self, view: np.ndarray, rows: np.ndarray) -> Tensor:
        """Return features of the view `view[i]` of image `rows[i]`."""
        return self.views[torch.from_numpy(view), torch.from_numpy(rows)]


@dataclass(frozen=True)
class StoredFeatures(Features):
    """The same of arrays that stay in their files: no more is read than the rows of a batch."""

    views: Sequence[np.ndarray]
    """1 + K arrays `[N, F]`."""
    numbers: np.ndarray
    """Beside each image, `[N, E]`."""
    device: torch.device

    @property
    def count(self) -> int:
        return len(self.views[0])

    @property
    def width(self) -> int:
        return self.views[0].shape[1] + self.numbers.shape[1]

    def _read(self, view: np.ndarray, rows: np.ndarray) -> Tensor:
        wide = self.views[0].shape[1]
        features = np.empty((len(rows), self.width), np.float32)
        for each in np.unique(view):
            chosen = view == each
            features[chosen, :wide] = self.views[each][rows[chosen]]
        features[:, wide:] = self.numbers[rows]
        return torch.from_numpy(features).to(self.device)


def read_features(folder: Path, numbers: Path, device: torch.device) -> Features:
    """Open what precompute-features wrote, and the numbers beside the images.

    Args:
        folder: holds plain.npy and view_*.npy, each `[N, F]`.
        numbers: the array `[N, E]` that the split stage wrote.
        device: a GPU keeps all features in its memory if it has room for them (`fits_on_gpu`).
    """
    # Plain arrays over the maps: NumPy's memory maps take longer to index.
    views = [np.asarray(open_array(path)) for path in (folder / "plain.npy", *sorted(folder.glob("view_*.npy")))]
    stored = StoredFeatures(views, np.asarray(open_array(numbers)), device)
    if not fits_on_gpu(device, 4 * len(views) * stored.count * stored.width):
        return stored
    everything = np.arange(stored.count)
    resident = torch.empty(len(views), stored.count, stored.width, device=device)
    for view in range(len(views)):
        for start in range(0, stored.count, READ_AT_ONCE):
            rows = everything[start : start + READ_AT_ONCE]
            resident[view, start : start + READ_AT_ONCE] = stored._read(np.full(len(rows), view), rows)
    return Features(resident)


def predict_head(fabric: Fabric, head: nn.Module, features: Features, rows: np.ndarray) -> Tensor:
    """Return logits of the plain views of `rows`, float32 `[len(rows), C]` on the CPU."""
    return Predictor(fabric, head, features.plain, READ_AT_ONCE).predict(rows)
