"""One loop for the head on cached features and for the whole network on images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from unfreeze import draws
from unfreeze.console import UserError, progress
from unfreeze.runtime import fetched, overlapped
from unfreeze.train.schedule import Pace, StepParams

if TYPE_CHECKING:
    from unfreeze.model.ranks import Ranks

MAX_WEIGHT = 100.0
"""Bound of the weights of labels in the loss."""

Batch = Tensor | tuple[Tensor, ...]
"""What a module takes: features, or images, or images with numbers beside them."""

Inputs = Callable[[np.ndarray, int], Batch]
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
    """One epoch: the mean loss of its steps, and loss and score on the validation rows afterwards."""

    epoch: int
    phase: str
    train_loss: float
    valid_loss: float
    valid_score: float
    """Accuracy, or F2 of several labels (see `score.Score`)."""

    @property
    def rank(self) -> tuple[float, float]:
        """Of two epochs the one of higher rank validates better: by score, then by loss."""
        return self.valid_score, -self.valid_loss


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


def build_optimizer(
    groups: Sequence[nn.Module], multipliers: Sequence[float], params: StepParams
) -> torch.optim.Optimizer:
    """The optimizer; each group has its multiplier, and only parameters of more than one dimension decay."""
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


def train_step(
    fabric: Fabric,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    params: StepParams,
    inputs: Batch,
    targets: Tensor,
    multi: bool = False,
    weight: Tensor | None = None,
) -> float:
    """One step; returns the loss before it. For `targets`, `multi` and `weight` see `loss_of`."""
    with fabric.autocast():
        logits = call(model, inputs)
    loss = loss_of(logits, targets, params.label_smoothing, multi, weight)
    optimizer.zero_grad()
    fabric.backward(loss)
    if params.clip_norm:
        nn.utils.clip_grad_norm_(model.parameters(), params.clip_norm)
    optimizer.step()
    return loss.item()


def loss_of(
    logits: Tensor, targets: Tensor, smoothing: float, multi: bool = False, weight: Tensor | None = None
) -> Tensor:
    """Cross-entropy; with `multi` the mean over labels of binary cross-entropy.

    Args:
        targets: int64 `[B]`, or probabilities `[B, C]`: of mixed or weighted images, and always with `multi`.
        smoothing: share of the target spread over all classes; with `multi` over yes and no of each label.
        weight: see `loss_weight`.
    """
    if multi:
        soft = targets * (1 - smoothing) + smoothing / 2
        return binary_cross_entropy_with_logits(logits.float(), soft, pos_weight=weight)
    return cross_entropy(logits.float(), targets, weight, label_smoothing=smoothing)


def loss_weight(targets: Tensor, rows: np.ndarray, params: StepParams) -> Tensor | None:
    """What `balance: loss` weighs the loss of the training images `rows` with, float32 `[C]`; else None.

    One class an image: the weight of a class is inversely proportional to its number of images, and the mean over
    all images is 1. Several labels: the loss of a label that an image has weighs as many times that of one that it
    has not as there are images without it for each with it, but at most 100 times, or 1/100: more would let one
    image decide a step.

    Args:
        targets: of all rows, as a `Learner` has them.
    """
    if params.balance != "loss":
        return None
    trained = targets[torch.from_numpy(rows)]
    if targets.is_floating_point():
        having = trained.sum(0)
        return ((len(rows) - having) / having.clamp(min=1)).clamp(1 / MAX_WEIGHT, MAX_WEIGHT)
    counts = torch.bincount(trained, minlength=int(targets.max()) + 1)
    return len(rows) / (torch.count_nonzero(counts) * counts.clamp(min=1))


def balanced(rows: np.ndarray, targets: np.ndarray, *key: int | str) -> np.ndarray:
    """As many of `rows` drawn for `key` with replacement so that every class of `targets` int64 `[len(rows)]` is
    equally frequent on average."""
    _, which, counts = np.unique(targets, return_inverse=True, return_counts=True)
    return draws.generator(*key).choice(rows, len(rows), p=1 / (len(counts) * counts[which]))


def call(model: nn.Module, batch: Batch) -> Tensor:
    """What `model` says of a batch."""
    return model(*batch) if isinstance(batch, tuple) else model(batch)


def mix(
    inputs: Batch,
    targets: Tensor,
    alpha: float,
    *key: int | str,
    partners: Callable[[np.ndarray], Batch] | None = None,
) -> tuple[Batch, Tensor]:
    """Mixup (Zhang et al. 2018): each input `[B, ...]` and target `[B, C]` mixed with another one of the batch, by
    one share for the whole batch, drawn from Beta(alpha, alpha).

    If `inputs` are a part of the batch, `partners` gives what they are mixed with, of the places `[B]` in it that
    the whole batch is mixed with.
    """
    generator = draws.generator(*key)
    share = generator.beta(alpha, alpha)
    places = generator.permutation(len(targets))
    other = torch.from_numpy(places)

    def mixed(values: Tensor, others: Tensor) -> Tensor:
        return share * values + (1 - share) * others

    def both(each: Batch) -> tuple[Tensor, ...]:
        return each if isinstance(each, tuple) else (each,)

    own = both(inputs)
    beside = both(partners(places)) if partners else [values[other] for values in own]
    made = tuple(map(mixed, own, beside))
    return made if isinstance(inputs, tuple) else made[0], mixed(targets, targets[other])


def seed_step(*key: int | str) -> None:
    """Dropout and stochastic depth draw from torch's own generator: seed it for this step, so that they depend on
    nothing that ran before."""
    seed = draws.seed_of(*key)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would write down three stack traces, for devices
    if torch.cuda.is_initialized():  # that are not there: 6% of a step of the head
        torch.cuda.manual_seed(seed)


@dataclass(frozen=True)
class Learner:
    """A model with all that a step of its training needs."""

    fabric: Fabric
    model: nn.Module
    optimizer: torch.optim.Optimizer
    inputs: Inputs
    targets: Tensor
    """Class of every row, int64 `[N]`; or float32 `[N, C]`, 1 for each label it has; on the device."""
    params: StepParams
    key: tuple[int | str, ...]
    """Seeds the order of the rows and the dropout, together with epoch and step."""
    mixup: float = 0.0
    """Alpha, 0 for none."""
    weight: Tensor | None = None
    """See `loss_weight`."""
    ranks: Ranks | None = None
    """Those that train the model together; None: this process alone."""

    def batches(self, rows: np.ndarray, epoch: int) -> list[np.ndarray]:
        """`rows` in the order of this epoch, in batches; with `balance: sample` some of them, as drawn for it."""
        if self.params.balance == "sample":
            classes = self.targets[torch.from_numpy(rows)].cpu().numpy()
            rows = balanced(rows, classes, *self.key, "balance", epoch)
        return batches(rows, self.params.batch_size, *self.key, "order", epoch)

    def seen(self, number: int, batch: np.ndarray, epoch: int) -> Batch:
        """What the model takes of the rows `batch` in step `number`, or of this rank's share of them."""
        # A row that is drawn again in an epoch gets another view there.
        view = number if self.params.balance == "sample" else epoch
        rows = batch[self.ranks.share(len(batch))] if self.ranks else batch
        if len(rows):
            return self.inputs(rows, view)
        some = self.inputs(np.arange(1), view)  # a rank without rows needs the shape of a row
        return tuple(part[:0] for part in some) if isinstance(some, tuple) else some[:0]

    def step(self, number: int, batch: np.ndarray, epoch: int, x: Batch, lr: float, momentum: float) -> float:
        """Train on the rows `batch`, of which `x` is what is `seen`, and return the loss before the step."""
        set_pace(self.optimizer, lr, momentum)
        seed_step(*self.key, "step", number)
        model = self.ranks.model if self.ranks else self.model
        model.train()
        y = self.targets[torch.from_numpy(batch)]
        multi = y.is_floating_point()
        if not multi and (self.mixup or self.weight is not None):
            # Weighted like this the loss is a mean over images, whatever the classes of the other ones.
            y = one_hot(y, int(self.targets.max()) + 1).float()
        if self.mixup:
            partners = (lambda places: self.seen(number, batch[places], epoch)) if self.ranks else None
            x, y = mix(x, y, self.mixup, *self.key, "mixup", number, partners=partners)
        loss = train_step(self.fabric, model, self.optimizer, self.params, x, y, multi, self.weight)
        # Unlike GPUs may round it differently, and what follows from it must be the same on every rank.
        return self.ranks.mean(loss) if self.ranks else loss


def fit(
    learner: Learner,
    rows: np.ndarray,
    lr: float,
    schedule: Sequence[Pace],
    done: int = 0,
    partial: Sequence[Step] = (),
    after_step: Callable[[list[Step]], None] | None = None,
) -> Iterator[list[Step]]:
    """Train on `rows`, step i at the pace of `schedule[i]`, and yield the steps of each epoch when it is over.

    Args:
        lr: the highest rate of the last group, the head.
        schedule: one pace for each step of whole epochs.
        done, partial: to go on with, how many epochs are over, and the steps of the one that was interrupted.
        after_step: called after each step with those of the epoch so far.

    Raises:
        UserError: the loss is no longer finite.
    """
    per_epoch = steps_per_epoch(len(rows), learner.params.batch_size)
    epochs = len(schedule) // per_epoch
    with progress(epochs * len(rows), str(learner.key[-1])) as bar:
        bar.update(done * len(rows) + len(partial) * learner.params.batch_size)
        for epoch in range(done, epochs):
            steps = list(partial) if epoch == done else []
            todo = list(enumerate(learner.batches(rows, epoch), epoch * per_epoch))[len(steps) :]
            seen = fetched(learner.fabric.device, lambda step, epoch=epoch: learner.seen(*step, epoch), todo)
            for step, batch in todo:
                rate = lr * schedule[step].factor
                # Who holds it while the next one is fetched, holds the memory of two.
                loss = learner.step(step, batch, epoch, next(seen), rate, schedule[step].momentum)
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


def predict(
    fabric: Fabric,
    model: nn.Module,
    inputs: Inputs,
    rows: np.ndarray,
    batch_size: int,
    epoch: int = 0,
    done: Callable[[int], object] | None = None,
) -> Tensor:
    """Logits of `rows` in their order, float32 `[len(rows), classes]` on the CPU, in evaluation mode.

    Several ranks share out the batches, which are those of one rank and so give the same bits, and all get the
    logits of all rows.

    Args:
        done: is told after each batch how many rows are done since the last one.
    """
    [logits] = predicted(fabric, model, inputs, [rows], batch_size, epoch, done)
    return logits


def predicted(
    fabric: Fabric,
    model: nn.Module,
    inputs: Inputs,
    blocks: Sequence[np.ndarray],
    batch_size: int,
    epoch: int = 0,
    done: Callable[[int], object] | None = None,
) -> Iterator[Tensor]:
    """What `predict` gives for each of `blocks` of rows, one after the other without a pause."""
    model.eval()
    parts = [[rows[start : start + batch_size] for start in range(0, len(rows), batch_size)] for rows in blocks]
    own = parts
    if fabric.world_size > 1:
        from unfreeze.model.ranks import gather, shares

        shared = [[batches[share] for share in shares(len(batches), fabric.world_size)] for batches in parts]
        # Who has none looks at the first to know the shape.
        own = [each[fabric.global_rank] or batches[:1] for each, batches in zip(shared, parts, strict=True)]

    def look(batch: np.ndarray) -> Batch:
        return inputs(batch, epoch)

    def logits_of(seen: Batch) -> Tensor:
        with torch.no_grad(), fabric.autocast():  # which hold for one thread
            return call(model, seen).float()

    with overlapped(fabric.device, look, logits_of, list(chain(*own))) as results:
        for i, batches in enumerate(own):
            logits, first = torch.empty(0), 0
            for found in islice(results, len(batches)):
                if not first:  # one tensor: pieces kept between activations would take the heap apart
                    shape = (sum(map(len, batches)), *found.shape[1:])
                    logits = torch.empty(shape, pin_memory=found.is_cuda)
                logits[first : first + len(found)].copy_(found, non_blocking=True)  # the GPU goes on meanwhile
                first += len(found)
                if done:
                    done(len(found) * fabric.world_size)  # the other ranks are about as far
            if fabric.device.type == "cuda":
                torch.cuda.current_stream(fabric.device).synchronize()
            if fabric.world_size > 1:
                counts = [sum(map(len, part)) for part in shared[i]]
                logits = gather(logits[: counts[fabric.global_rank]].to(fabric.device), counts).cpu()
            yield logits


def probabilities(logits: Tensor, multi: bool) -> np.ndarray:
    """Of `logits` `[N, C]`: float64 `[N, C]`, which sum to 1 over the classes; with `multi` each for itself."""
    logits = logits.double()
    return (logits.sigmoid() if multi else logits.softmax(1)).numpy()
