"""Training the head on cached features, once or over the folds of a cross-validation."""

from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from unfreeze.model.head import HeadParams, build_head
from unfreeze.train.loop import (
    Step,
    batches,
    build_optimizer,
    fit,
    predict,
    seed_step,
    set_pace,
    steps_per_epoch,
    train_step,
)
from unfreeze.train.schedule import StepParams, TrainHeadParams, cycle_lengths, paces


def fit_head(
    fabric: Fabric,
    head: nn.Module,
    features: Tensor,
    targets: Tensor,
    rows: np.ndarray,
    params: TrainHeadParams,
    key: tuple[int | str, ...],
) -> Iterator[list[Step]]:
    """Train `head` on `features` `[N, F]` of `rows`; yields the steps of each epoch (see `loop.fit`)."""
    per_epoch = steps_per_epoch(len(rows), params.batch_size)
    lengths = cycle_lengths(per_epoch, params.cycles, params.cycle_len, params.cycle_mult)
    return fit(
        fabric,
        head,
        build_optimizer([head], [1.0], params),
        lambda batch, epoch: features[torch.from_numpy(batch)],
        targets,
        rows,
        params.lr,
        paces(params.schedule, lengths, params.momentum),
        params,
        key,
    )


def cross_validate(
    fabric: Fabric,
    features: Tensor,
    targets: Tensor,
    folds: np.ndarray,
    classes: int,
    head: HeadParams,
    params: TrainHeadParams,
    seed: int,
) -> np.ndarray:
    """Probabilities of every row by a head that was trained on the other folds: float64 `[N, classes]`, NaN where
    `folds` is -1."""
    probabilities = np.full((len(features), classes), np.nan)
    for fold in range(folds.max() + 1):
        model = build_head(features.shape[1], classes, head, seed).to(fabric.device)
        others, held_out = np.flatnonzero((folds >= 0) & (folds != fold)), np.flatnonzero(folds == fold)
        for _ in fit_head(fabric, model, features, targets, others, params, (seed, f"fold {fold}")):
            pass
        logits = predict_head(fabric, model, features, held_out)
        probabilities[held_out] = logits.double().softmax(1).numpy()
    return probabilities


def predict_head(fabric: Fabric, head: nn.Module, features: Tensor, rows: np.ndarray) -> Tensor:
    """Logits of `rows` of `features`, float32 `[len(rows), classes]` on the CPU."""
    return predict(fabric, head, lambda batch, epoch: features[torch.from_numpy(batch)], rows, 4096)


def head_step(
    fabric: Fabric,
    head: nn.Module,
    features: Tensor,
    targets: Tensor,
    rows: np.ndarray,
    params: StepParams,
    seed: int,
) -> Callable[[int, float], float]:
    """For the range test: a function that trains one batch at a given rate and returns its loss."""
    optimizer = build_optimizer([head], [1.0], params)
    stream = (
        batch for epoch in count() for batch in batches(rows, params.batch_size, seed, "find-lr", "order", epoch)
    )

    def step(i: int, lr: float) -> float:
        batch = torch.from_numpy(next(stream))
        seed_step(seed, "find-lr", "step", i)
        set_pace(optimizer, lr, params.momentum)
        head.train()
        return train_step(fabric, head, optimizer, params, features[batch], targets[batch])

    return step
