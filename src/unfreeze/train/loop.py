"""One loop for the head on cached features and for the whole network on images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from unfreeze import draws
from unfreeze.console import UserError, progress
from unfreeze.train.schedule import StepParams

Inputs = Callable[[np.ndarray, int], Tensor]
"""(rows, epoch) -> what the module takes for these rows, on the device."""


@dataclass(frozen=True)
class Step:
    """One step of training."""

    step: int
    epoch: int
    lr: float
    """Of the last group, the head."""
    loss: float


@dataclass(frozen=True)
class Epoch:
    """One epoch: the mean loss of its steps, and loss and accuracy on the validation rows afterwards."""

    epoch: int
    phase: str
    train_loss: float
    valid_loss: float
    valid_accuracy: float


def batches(rows: np.ndarray, batch_size: int, *key: int | str) -> list[np.ndarray]:
    """`rows` in an order drawn for `key`, in batches; a last batch of one joins the one before it, for BatchNorm
    cannot train on a single image."""
    order = draws.generator(*key).permutation(rows)
    starts = list(range(0, len(rows), batch_size))
    if len(starts) > 1 and len(rows) - starts[-1] == 1:
        starts.pop()
    return np.split(order, starts[1:])


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """How many batches `batches` makes."""
    return max(1, (rows + batch_size - 2) // batch_size)


def sgd(groups: Sequence[nn.Module], multipliers: Sequence[float], params: StepParams) -> torch.optim.SGD:
    """SGD with momentum; each group has its multiplier, and only parameters of more than one dimension decay."""
    parts = []
    for group, multiplier in zip(groups, multipliers, strict=True):
        trained = [p for p in group.parameters() if p.requires_grad]
        for decays in (True, False):
            chosen = [p for p in trained if (p.ndim > 1) == decays]
            if chosen:
                decay = params.weight_decay if decays else 0.0
                parts.append({"params": chosen, "multiplier": multiplier, "weight_decay": decay})
    return torch.optim.SGD(parts, lr=0.0, momentum=params.momentum)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set each group's rate to its fixed multiple of `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["multiplier"]


def train_step(
    fabric: Fabric, model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor
) -> float:
    """One step of cross-entropy; returns the loss before it."""
    with fabric.autocast():
        logits = model(inputs)
    loss = cross_entropy(logits.float(), targets)
    optimizer.zero_grad()
    fabric.backward(loss)
    optimizer.step()
    return loss.item()


def seed_step(*key: int | str) -> None:
    """Dropout and stochastic depth draw from torch's own generator: seed it for this step, so that they depend on
    nothing that ran before."""
    torch.manual_seed(draws.seed_of(*key))


def fit(
    fabric: Fabric,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Inputs,
    targets: Tensor,
    rows: np.ndarray,
    rates: Sequence[float],
    batch_size: int,
    key: tuple[int | str, ...],
) -> Iterator[list[Step]]:
    """Train on `rows`, at `rates[i]` in step i, and yield the steps of each epoch when it is over.

    Args:
        targets: int64 `[N]`, class of every row, on the device.
        rates: of the head, one for each step of whole epochs.
        key: seeds the order of the rows and the dropout, together with epoch and step.

    Raises:
        UserError: the loss is no longer finite.
    """
    step = 0
    epochs = len(rates) // steps_per_epoch(len(rows), batch_size)
    bar = progress(epochs * len(rows), str(key[-1]))
    for epoch in range(epochs):
        steps = []
        for batch in batches(rows, batch_size, *key, "order", epoch):
            set_rate(optimizer, rates[step])
            seed_step(*key, "step", step)
            model.train()
            loss = train_step(fabric, model, optimizer, inputs(batch, epoch), targets[torch.from_numpy(batch)])
            if not np.isfinite(loss):
                raise UserError(
                    f"the loss is {loss} at step {step} (epoch {epoch}), learning rate {rates[step]:.3g}: "
                    f"try a rate 3 to 10 times lower, as results/find_lr suggests"
                )
            steps.append(Step(step, epoch, rates[step], loss))
            step += 1
            bar.update(len(batch))
        yield steps
    bar.close()


@torch.no_grad()
def predict(
    fabric: Fabric, model: nn.Module, inputs: Inputs, rows: np.ndarray, batch_size: int, epoch: int = 0
) -> Tensor:
    """Logits of `rows` in their order, float32 `[len(rows), classes]` on the CPU, in evaluation mode."""
    model.eval()
    logits = []
    for start in range(0, len(rows), batch_size):
        with fabric.autocast():
            logits.append(model(inputs(rows[start : start + batch_size], epoch)).float().cpu())
    return torch.cat(logits)


def score(logits: Tensor, targets: Tensor) -> tuple[float, float]:
    """Cross-entropy and accuracy of `logits` `[N, C]` for `targets` `[N]`."""
    accuracy = (logits.argmax(1) == targets).double().mean()
    return cross_entropy(logits.double(), targets).item(), accuracy.item()
