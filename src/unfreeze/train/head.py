"""Training the head on cached features, once or over the folds of a cross-validation."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from lightning_fabric import Fabric
from torch import Tensor, nn

from unfreeze.core.arrays import scratch
from unfreeze.features.read import Features, predict_head
from unfreeze.model.head import HeadParams, build_head
from unfreeze.task.base import Task
from unfreeze.train.fit import Plan, Step, fit
from unfreeze.train.learner import Learner, build_optimizer, steps_per_epoch, weigh_loss
from unfreeze.train.schedule import Pace, StepParams, TrainHeadParams, cycle_lengths, paces
from unfreeze.views.predict import predict_probabilities


@dataclass(frozen=True)
class HeadData:
    """What heads train on."""

    fabric: Fabric
    features: Features
    targets: Tensor
    """Of all rows, as the task encodes them, on the device."""
    task: Task

    def predict(self, head: nn.Module, rows: np.ndarray) -> Tensor:
        """Return logits of the plain views of `rows`, float32 `[len(rows), C]` on the CPU."""
        return predict_head(self.fabric, head, self.features, rows)

    def predict_probabilities(self, head: nn.Module, rows: np.ndarray) -> np.ndarray:
        """Return their probabilities, float64 `[len(rows), C]`, which need not fit into memory."""
        return predict_probabilities(
            lambda some: self.predict(head, some), rows, len(self.task.classes), self.task.activate
        )

    def new_head(self, params: HeadParams, seed: int) -> nn.Sequential:
        """Return a head for these features and classes, initialised from `seed`, on the device."""
        head = build_head(self.features.width, len(self.task.classes), params, seed)
        return head.to(self.fabric.device)


def head_learner(
    data: HeadData, head: nn.Module, rows: np.ndarray, params: StepParams, key: tuple[int | str, ...]
) -> Learner:
    """Return the learner of a head; the loss is balanced by the targets of `rows`."""
    return Learner(
        fabric=data.fabric,
        model=head,
        optimizer=build_optimizer([head], [1.0], params),
        inputs=lambda batch, epoch: data.features.draw(batch, epoch, *key),
        targets=data.targets,
        task=data.task,
        params=params,
        key=key,
        weight=weigh_loss(data.task, data.targets, rows, params),
    )


def fit_head(
    data: HeadData,
    head: nn.Module,
    rows: np.ndarray,
    params: TrainHeadParams,
    lr: float,
    key: tuple[int | str, ...],
) -> Iterator[list[Step]]:
    """Train `head` on `rows`; yield the steps of each epoch (see `fit.fit`)."""
    learner = head_learner(data, head, rows, params, key)
    return fit(learner, Plan(rows, lr, head_paces(params, len(rows))))


def head_paces(params: TrainHeadParams, rows: int) -> list[Pace]:
    """Return the pace of every step of training on so many rows."""
    per_epoch = steps_per_epoch(rows, params.batch_size)
    lengths = cycle_lengths(per_epoch, params.cycles, params.cycle_len, params.cycle_mult)
    return paces(params.schedule, lengths, params.momentum)


def cross_validate(
    data: HeadData, folds: np.ndarray, head: HeadParams, params: TrainHeadParams, lr: float, seed: int
) -> np.ndarray:
    """Return the probabilities of every row of a fold, in order, by a head that trained on the other folds.

    Args:
        folds: int64 `[N]`, -1 of the rows in no fold.

    Returns:
        float64 `[rows in folds, C]`, which need not fit into memory.
    """
    place = folds[folds >= 0]
    probabilities = scratch((len(place), len(data.task.classes)), np.float64)
    for fold in range(folds.max() + 1):
        model = data.new_head(head, seed)
        others, held_out = np.flatnonzero((folds >= 0) & (folds != fold)), np.flatnonzero(folds == fold)
        for _ in fit_head(data, model, others, params, lr, (seed, f"fold {fold}")):
            pass
        probabilities[place == fold] = data.predict_probabilities(model, held_out)
    return probabilities
