"""The training loop: one for the head on cached features and for the whole network on images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unfreeze.core.console import UserError, progress
from unfreeze.device.prefetch import prefetch
from unfreeze.train.learner import Learner, steps_per_epoch
from unfreeze.train.schedule import Pace


@dataclass(frozen=True)
class Step:
    """One step of training."""

    step: int
    epoch: int
    lr: float
    """Of the last group, the head."""
    loss: float


@dataclass(frozen=True)
class Plan:
    """What is trained on, and at which rates."""

    rows: np.ndarray
    lr: float
    """The highest rate of the last group, the head."""
    paces: Sequence[Pace]
    """One for each step of whole epochs."""


@dataclass(frozen=True)
class Position:
    """Where an interrupted fit goes on."""

    epochs: int = 0
    """Epochs that are over."""
    steps: Sequence[Step] = ()
    """Of the epoch that was interrupted."""


def fit(
    learner: Learner,
    plan: Plan,
    start: Position | None = None,
    after_step: Callable[[list[Step]], None] | None = None,
) -> Iterator[list[Step]]:
    """Train as planned, and yield the steps of each epoch when it is over.

    Args:
        start: where to go on; None is the beginning.
        after_step: called after each step with the steps of the epoch so far.

    Raises:
        UserError: the loss is no longer finite.
    """
    start, rows = start or Position(), plan.rows
    per_epoch = steps_per_epoch(len(rows), learner.params.batch_size)
    epochs = len(plan.paces) // per_epoch
    with progress(epochs * len(rows), str(learner.key[-1])) as bar:
        bar.update(start.epochs * len(rows) + len(start.steps) * learner.params.batch_size)
        for epoch in range(start.epochs, epochs):
            steps = list(start.steps) if epoch == start.epochs else []
            todo = list(enumerate(learner.batches(rows, epoch), epoch * per_epoch))[len(steps) :]

            def read(item: tuple[int, np.ndarray], epoch: int = epoch) -> object:
                number, batch = item
                return learner.read(number, batch, epoch)

            inputs = prefetch(learner.fabric.device, read, todo)
            for step, batch in todo:
                pace = plan.paces[step]
                rate = plan.lr * pace.factor
                # Who holds the inputs while the next ones are read, holds the memory of two.
                loss = learner.step(step, batch, epoch, next(inputs), rate, pace.momentum)
                if not np.isfinite(loss):
                    raise UserError(
                        f"the loss is {loss} at step {step} (epoch {epoch}), learning rate {rate:.3g}: "
                        f"try a rate 3 to 10 times lower, as results/find_lr suggests"
                    )
                steps.append(Step(step, epoch, rate, loss))
                bar.update(len(batch))
                if after_step:
                    after_step(steps)
            yield steps
