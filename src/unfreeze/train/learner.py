"""A model with all that a step of its training needs: the head on cached features, or the whole network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from unfreeze.core import draws
from unfreeze.task.base import Task
from unfreeze.train.schedule import StepParams
from unfreeze.views.predict import Batch, Inputs, forward

if TYPE_CHECKING:
    from unfreeze.device.ranks import Ranks


def split_batches(rows: np.ndarray, batch_size: int, *key: int | str) -> list[np.ndarray]:
    """Return `rows` in an order drawn for `key`, in batches.

    A last batch of one joins the one before it: BatchNorm cannot train on a single image.
    """
    order = draws.generator(*key).permutation(rows)
    starts = list(range(0, len(rows), batch_size))
    if len(starts) > 1 and len(rows) - starts[-1] == 1:
        starts.pop()
    return np.split(order, starts[1:])


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return how many batches `split_batches` makes."""
    return max(1, (rows + batch_size - 2) // batch_size)


def build_optimizer(
    groups: Sequence[nn.Module], multipliers: Sequence[float], params: StepParams
) -> torch.optim.Optimizer:
    """Build the optimizer; each group has its multiplier, and only parameters of more than one dimension decay."""
    parts = []
    for group, multiplier in zip(groups, multipliers, strict=True):
        trained = [p for p in group.parameters() if p.requires_grad]
        for decays in (True, False):
            chosen = [p for p in trained if (p.ndim > 1) == decays]
            if chosen:
                decay = params.weight_decay if decays else 0.0
                parts.append({"params": chosen, "multiplier": multiplier, "weight_decay": decay})
    if params.optimizer == "adamw":
        return torch.optim.AdamW(parts, lr=0.0, betas=(params.momentum, 0.99), fused=True)
    return torch.optim.SGD(parts, lr=0.0, momentum=params.momentum, fused=True)


def set_pace(optimizer: torch.optim.Optimizer, lr: float, momentum: float) -> None:
    """Set each group's rate to its fixed multiple of `lr`, and the momentum."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["multiplier"]
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum


def weigh_loss(task: Task, targets: Tensor, rows: np.ndarray, params: StepParams) -> Tensor | None:
    """Return the task's weights of the loss, from the targets of the training `rows`; None unless balance is loss.

    Args:
        targets: of all rows, as a `Learner` has them.
    """
    return task.loss_weight(targets[torch.from_numpy(rows)]) if params.balance == "loss" else None


def draw_balanced(rows: np.ndarray, targets: np.ndarray, *key: int | str) -> np.ndarray:
    """Draw as many of `rows` with replacement, for `key`, so that all classes are equally frequent on average.

    Args:
        targets: the class of each row, int64 `[len(rows)]`.
    """
    _, which, counts = np.unique(targets, return_inverse=True, return_counts=True)
    return draws.generator(*key).choice(rows, len(rows), p=1 / (len(counts) * counts[which]))


def mix(
    inputs: Batch,
    targets: Tensor,
    alpha: float,
    *key: int | str,
    partners: Callable[[np.ndarray], Batch] | None = None,
) -> tuple[Batch, Tensor]:
    """Mix each input `[B, ...]` and target `[B, C]` with another one of the batch (mixup, Zhang et al. 2018).

    One share for the whole batch is drawn from Beta(alpha, alpha).

    Args:
        partners: where `inputs` are a part of the batch, returns the inputs at the places `[B]` of the whole batch
            that it is mixed with.
    """
    generator = draws.generator(*key)
    share = generator.beta(alpha, alpha)
    places = generator.permutation(len(targets))
    other = torch.from_numpy(places)

    def blend(values: Tensor, others: Tensor) -> Tensor:
        return share * values + (1 - share) * others

    def as_tuple(batch: Batch) -> tuple[Tensor, ...]:
        return batch if isinstance(batch, tuple) else (batch,)

    own = as_tuple(inputs)
    beside = as_tuple(partners(places)) if partners else [values[other] for values in own]
    mixed = tuple(map(blend, own, beside))
    return mixed if isinstance(inputs, tuple) else mixed[0], blend(targets, targets[other])


def seed_step(*key: int | str) -> None:
    """Seed torch's own generator, from which dropout and stochastic depth draw, so that a step's draws depend on
    nothing that ran before."""
    seed = draws.seed_of(*key)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would write down three stack traces, for devices
    if torch.cuda.is_initialized():  # that are not there: 6% of a step of the head
        torch.cuda.manual_seed(seed)


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A model with all that a step of its training needs."""

    fabric: Fabric
    model: nn.Module
    optimizer: torch.optim.Optimizer
    inputs: Inputs
    targets: Tensor
    """Of all rows, as the task encodes them, on the device."""
    task: Task
    params: StepParams
    key: tuple[int | str, ...]
    """Seeds the order of the rows and the dropout, together with epoch and step."""
    mixup: float = 0.0
    """Alpha, 0 for none."""
    weight: Tensor | None = None
    """Of the loss, see `weigh_loss`."""
    ranks: Ranks | None = None
    """Those that train the model together; None: this process alone."""

    def batches(self, rows: np.ndarray, epoch: int) -> list[np.ndarray]:
        """Return `rows` in the order of this epoch, in batches; with `balance: sample` some of them, as drawn for
        it."""
        if self.params.balance == "sample":
            classes = self.targets[torch.from_numpy(rows)].cpu().numpy()
            rows = draw_balanced(rows, classes, *self.key, "balance", epoch)
        return split_batches(rows, self.params.batch_size, *self.key, "order", epoch)

    def read(self, number: int, batch: np.ndarray, epoch: int) -> Batch:
        """Return the inputs of the rows `batch` in step `number`, or of this rank's share of them."""
        # A row that is drawn again in an epoch gets another view there.
        view = number if self.params.balance == "sample" else epoch
        rows = batch[self.ranks.share(len(batch))] if self.ranks else batch
        if len(rows):
            return self.inputs(rows, view)
        some = self.inputs(np.arange(1), view)  # a rank without rows needs the shape of a row
        return tuple(part[:0] for part in some) if isinstance(some, tuple) else some[:0]

    def step(self, number: int, batch: np.ndarray, epoch: int, x: Batch, lr: float, momentum: float) -> float:
        """Train on the rows `batch`, whose inputs are `x`, and return the loss before the step."""
        set_pace(self.optimizer, lr, momentum)
        seed_step(*self.key, "step", number)
        model = self.ranks.model if self.ranks else self.model
        model.train()
        y = self.targets[torch.from_numpy(batch)]
        if self.mixup or self.weight is not None:
            y = self.task.mixable(y)
        if self.mixup:
            partners = (lambda places: self.read(number, batch[places], epoch)) if self.ranks else None
            x, y = mix(x, y, self.mixup, *self.key, "mixup", number, partners=partners)
        loss = self._descend(model, x, y)
        # Unlike GPUs may round it differently, and what follows from it must be the same on every rank.
        return self.ranks.mean(loss) if self.ranks else loss

    def _descend(self, model: nn.Module, inputs: Batch, targets: Tensor) -> float:
        """Take one step of gradient descent; return the loss before it."""
        with self.fabric.autocast():
            logits = forward(model, inputs)
        loss = self.task.loss(logits, targets, self.params.label_smoothing, self.weight)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        if self.params.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), self.params.clip_norm)
        self.optimizer.step()
        return loss.item()
