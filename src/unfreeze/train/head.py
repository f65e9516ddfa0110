"""Training the head on cached features, once or over the folds of a cross-validation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from unfreeze import draws
from unfreeze.data.store import open_array, scratch
from unfreeze.model.head import HeadParams, build_head
from unfreeze.train.loop import (
    Learner,
    Step,
    build_optimizer,
    fit,
    loss_weight,
    predict,
    probabilities,
    steps_per_epoch,
)
from unfreeze.train.schedule import Pace, StepParams, TrainHeadParams, cycle_lengths, paces

BLOCK = 512
"""Images whose features are read at once."""


@dataclass(frozen=True)
class Features:
    """The cached features, with the numbers beside the images, handed out by row: float32 `[B, F]` on the device.

    `views` is `[1 + K, N, F]`: those of the plain view of every image, and of K augmented ones.
    """

    views: Tensor

    @property
    def count(self) -> int:
        """Of images; 0 where precompute-features was skipped."""
        return self.views.shape[1]

    @property
    def width(self) -> int:
        """Numbers an image."""
        return self.views.shape[2]

    def plain(self, rows: np.ndarray, epoch: int = 0) -> Tensor:
        """Features of the plain views of `rows`, the same in every epoch."""
        return self._of(np.zeros(len(rows), np.int64), rows)

    def drawn(self, rows: np.ndarray, epoch: int, *key: int | str) -> Tensor:
        """Features of one view of each row, drawn for `key` and `epoch`."""
        if len(self.views) == 1:
            return self.plain(rows)
        view = (draws.uniform(rows, 1, *key, "view", epoch)[:, 0] * len(self.views)).astype(np.int64)
        return self._of(view, rows)

    def _of(self, view: np.ndarray, rows: np.ndarray) -> Tensor:
        """Features of the view `view[i]` of image `rows[i]`."""
        return self.views[torch.from_numpy(view), torch.from_numpy(rows)]


@dataclass(frozen=True)
class StoredFeatures(Features):
    """The same of arrays that stay in their files: of a batch no more than its rows is read.

    `views` are 1 + K arrays `[N, F]`, `numbers` is `[N, E]`.
    """

    views: Sequence[np.ndarray]
    numbers: np.ndarray
    device: torch.device

    @property
    def count(self) -> int:
        return len(self.views[0])

    @property
    def width(self) -> int:
        return self.views[0].shape[1] + self.numbers.shape[1]

    def _of(self, view: np.ndarray, rows: np.ndarray) -> Tensor:
        wide = self.views[0].shape[1]
        found = np.empty((len(rows), self.width), np.float32)
        for each in np.unique(view):
            chosen = view == each
            found[chosen, :wide] = self.views[each][rows[chosen]]
        found[:, wide:] = self.numbers[rows]
        return torch.from_numpy(found).to(self.device)


def read_features(folder: Path, numbers: Path, device: torch.device) -> Features:
    """What precompute-features wrote, plain.npy and view_*.npy, each `[N, F]`, and beside each the `numbers`
    `[N, E]` that the split stage wrote: in the memory of a GPU if half of what is free there holds them."""
    # Plain arrays over the maps: NumPy's memory maps take longer to index.
    views = [np.asarray(open_array(path)) for path in (folder / "plain.npy", *sorted(folder.glob("view_*.npy")))]
    stored = StoredFeatures(views, np.asarray(open_array(numbers)), device)
    needed = 4 * len(views) * stored.count * stored.width
    if device.type == "cpu" or needed > torch.cuda.mem_get_info(device)[0] / 2:
        return stored
    everything = np.arange(stored.count)
    resident = torch.empty(len(views), stored.count, stored.width, device=device)
    for view in range(len(views)):
        for start in range(0, stored.count, BLOCK):
            rows = everything[start : start + BLOCK]
            resident[view, start : start + BLOCK] = stored._of(np.full(len(rows), view), rows)
    return Features(resident)


def head_learner(
    fabric: Fabric,
    head: nn.Module,
    features: Features,
    targets: Tensor,
    rows: np.ndarray,
    params: StepParams,
    key: tuple[int | str, ...],
) -> Learner:
    """The learner of a head on cached features of `rows`, by whose targets the loss is balanced."""
    optimizer = build_optimizer([head], [1.0], params)
    return Learner(
        fabric,
        head,
        optimizer,
        lambda batch, epoch: features.drawn(batch, epoch, *key),
        targets,
        params,
        key,
        weight=loss_weight(targets, rows, params),
    )


def fit_head(
    fabric: Fabric,
    head: nn.Module,
    features: Features,
    targets: Tensor,
    rows: np.ndarray,
    params: TrainHeadParams,
    lr: float,
    key: tuple[int | str, ...],
) -> Iterator[list[Step]]:
    """Train `head` on `features` of `rows`; yields the steps of each epoch (see `loop.fit`)."""
    learner = head_learner(fabric, head, features, targets, rows, params, key)
    return fit(learner, rows, lr, head_paces(params, len(rows)))


def head_paces(params: TrainHeadParams, rows: int) -> list[Pace]:
    """The pace of every step of training on so many rows."""
    per_epoch = steps_per_epoch(rows, params.batch_size)
    lengths = cycle_lengths(per_epoch, params.cycles, params.cycle_len, params.cycle_mult)
    return paces(params.schedule, lengths, params.momentum)


def cross_validate(
    fabric: Fabric,
    features: Features,
    targets: Tensor,
    folds: np.ndarray,
    classes: int,
    head: HeadParams,
    params: TrainHeadParams,
    lr: float,
    seed: int,
) -> np.ndarray:
    """Probabilities of every row of a fold, in order, by a head that was trained on the other folds: float64
    `[rows, classes]`, which need not fit into memory. `folds` is -1 of the rows in none."""
    found, place = scratch((np.count_nonzero(folds >= 0), classes), np.float64), folds[folds >= 0]
    for fold in range(folds.max() + 1):
        model = build_head(features.width, classes, head, seed).to(fabric.device)
        others, held_out = np.flatnonzero((folds >= 0) & (folds != fold)), np.flatnonzero(folds == fold)
        for _ in fit_head(fabric, model, features, targets, others, params, lr, (seed, f"fold {fold}")):
            pass
        logits = predict_head(fabric, model, features, held_out)
        found[place == fold] = probabilities(logits, targets.is_floating_point())
    return found


def predict_head(fabric: Fabric, head: nn.Module, features: Features, rows: np.ndarray) -> Tensor:
    """Logits of the plain views of `rows`, float32 `[len(rows), classes]` on the CPU."""
    return predict(fabric, head, features.plain, rows, BLOCK)
