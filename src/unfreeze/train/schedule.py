"""Learning rates as pure functions of the step, and the params of the two training stages."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Literal

from pydantic import Field

from unfreeze.core.params import Number, Section
from unfreeze.task.kinds import TASKS

Rate = Annotated[Number, Field(gt=0, le=100)]
RateOrAuto = Rate | Literal["auto"]
"""auto: what the learning-rate finder suggests."""
Count = Annotated[int, Field(ge=1, le=10_000)]
Schedule = Literal["sgdr", "one_cycle", "constant"]
"""How the rate goes within a cycle: falls as a cosine and restarts, rises and falls, or stays."""


DIV = 10
"""One-cycle starts and ends its slopes at this fraction of the highest rate, and its tail ends 100 times lower."""
TAIL = 0.1
"""Share of a one-cycle's steps that the tail takes."""
MOMENTUM_RANGE = 0.1
"""How far the momentum of a one-cycle goes below `momentum`."""


@dataclass(frozen=True)
class Pace:
    """What one step runs at."""

    factor: float
    """Of the learning rate, for every layer group alike."""
    momentum: float


def cycle_lengths(steps_per_epoch: int, cycles: int, cycle_len: int, cycle_mult: int) -> list[int]:
    """Steps of each cycle: the first takes `cycle_len` epochs, each next one `cycle_mult` times as long."""
    return [steps_per_epoch * cycle_len * cycle_mult**i for i in range(cycles)]


def sgdr(lengths: Sequence[int]) -> list[float]:
    """Factors of the learning rate, one a step, of stochastic gradient descent with warm restarts.

    In a cycle of T steps, step t = 0..T-1 has the factor (1 + cos(pi t / T)) / 2 (Loshchilov & Hutter 2016).
    The first 1/20 of the first cycle runs at 1/100 (fast.ai's library); a first cycle of a single step has no
    such warm-up, for it would learn nothing.
    """
    factors: list[float] = []
    for i, length in enumerate(lengths):
        for t in range(length):
            warm_up = i == 0 and length > 1 and t < length / 20
            factors.append(0.01 if warm_up else (1 + math.cos(math.pi * t / length)) / 2)
    return factors


def one_cycle(lengths: Sequence[int]) -> list[tuple[float, float]]:
    """Factors of the learning rate and of the momentum's range, one pair a step (Smith 2018).

    In each cycle the rate rises linearly from 1/10 to 1 over 45% of the steps, falls back to 1/10 over as many,
    and over the rest to 1/1000 (fast.ai's `use_clr_beta`). The second number is 1 for the highest momentum and 0
    for the lowest: it runs the other way, and stays at 1 at the end.
    """
    pairs: list[tuple[float, float]] = []
    for length in lengths:
        half = max(1, int(length * (1 - TAIL) / 2))
        for t in range(length):
            if t < 2 * half:
                height = 1 - abs(t - half) / half
                pairs.append(((1 + height * (DIV - 1)) / DIV, 1 - height))
            else:
                done = (t - 2 * half + 1) / (length - 2 * half)
                pairs.append(((1 - 0.99 * done) / DIV, 1.0))
    return pairs


def paces(schedule: str, lengths: Sequence[int], momentum: float) -> list[Pace]:
    """The schedule of all cycles: `sgdr`, `one_cycle` or `constant`."""
    if schedule == "one_cycle":
        return [Pace(factor, momentum - MOMENTUM_RANGE * (1 - high)) for factor, high in one_cycle(lengths)]
    factors = sgdr(lengths) if schedule == "sgdr" else [1.0] * sum(lengths)
    return [Pace(factor, momentum) for factor in factors]


class StepParams(Section):
    """What a step of gradient descent is, for the finder as for training."""

    batch_size: Annotated[int, Field(ge=2)]
    optimizer: Literal["sgd", "adamw"]
    """SGD with momentum (the course's), or AdamW (Loshchilov & Hutter 2017)."""
    momentum: Annotated[Number, Field(ge=0, lt=1)]
    """Of SGD, or AdamW's first beta. Of one-cycle the highest: it goes 0.1 lower where the rate is highest."""
    weight_decay: Annotated[Number, Field(ge=0)]
    """On weights only: normalisation layers and biases have none. SGD adds it to the gradient, AdamW does not."""
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)]
    """Share of the target spread over all classes (Szegedy et al. 2016), or with several labels an image over yes
    and no of each; 0: none."""
    clip_norm: Annotated[Number, Field(ge=0)]
    """Largest norm of all gradients together; 0: they are not clipped."""
    balance: Literal["none", "loss", "sample"]
    """Against classes of unequal size, in training alone. loss: rare ones weigh more. sample: each epoch draws as
    many images as there are, with replacement, so that all classes are equally frequent (one class an image)."""


class TrainHeadParams(StepParams):
    """`train_head`: the head on cached features."""

    schedule: Schedule
    lr: RateOrAuto
    cycles: Count
    cycle_len: Count
    """Epochs of the first cycle."""
    cycle_mult: Count
    """Each cycle is this many times as long as the one before."""

    def check_with(self, params: SimpleNamespace) -> Iterator[str]:
        if not params.precompute.skip:
            yield from _check("train_head", self, params)


class FinetuneParams(StepParams):
    """`finetune`: frozen cycles of one epoch on augmented images, then everything unfrozen."""

    skip: bool = False
    """true: no fine-tuning. The trained head on the frozen backbone is the model, and what else stands in this
    section is of no effect."""
    sizes: list[Annotated[int, Field(ge=16)]]
    """Pixels a side of what the network sees, one after the other, each with all the cycles below, the weights
    going on; the last is model.image_size. `[]`: that alone."""
    schedule: Schedule
    lr: RateOrAuto
    """Of the head; the other groups have fixed multiples of it. auto: the frozen cycles run at the rate of
    train-head, the unfrozen ones at what their own range test suggests."""
    find_lr: Annotated[int, Field(ge=0, le=10_000)]
    """Steps of a range test of the whole network, before its first unfrozen cycle; 0: none."""
    lr_multipliers: Annotated[list[Rate], Field(min_length=3, max_length=3)]
    """Of the groups early, late and head, through the whole schedule."""
    frozen_cycles: Annotated[int, Field(ge=0)]
    cycles: Annotated[int, Field(ge=0)]
    """Unfrozen cycles; 0: none, and `find_lr` and what is said of them below is of no effect."""
    cycle_len: Count
    cycle_mult: Count
    snapshots: Annotated[int, Field(ge=1)]
    """Networks that predict together, from the ends of the last cycles (Huang et al. 2017); 1: the last alone."""
    bn_freeze: bool | Literal["train"]
    """The backbone's BatchNorm layers. True: they keep their running statistics after unfreezing. False: they are
    frozen and unfrozen with their group. train: they train even while their group is frozen, as in today's
    fastai."""
    mixup: Annotated[Number, Field(ge=0, le=10)]
    """Alpha of the beta distribution that pairs of images are mixed by (Zhang et al. 2018); 0: none."""

    def check_with(self, params: SimpleNamespace) -> Iterator[str]:
        if params.precompute.skip and not self.trains:
            here = "skip = true" if self.skip else "cycles = 0 and finetune.frozen_cycles = 0"
            yield (
                f"finetune.{here}: with precompute.skip = true nothing would be trained; set precompute.skip = "
                "false, or fine-tune"
            )
        if self.skip:
            return
        yield from _check("finetune", self, params)
        if self.sizes and self.sizes[-1] != params.model.image_size:
            yield (
                f"finetune.sizes = {self.sizes}: must end with model.image_size = "
                f"{params.model.image_size}, for which the network is evaluated"
            )
        if self.lr == "auto" and self.frozen_cycles and params.precompute.skip:
            yield (
                "finetune.lr = auto: the frozen cycles take their rate from train-head, which precompute.skip "
                "leaves out; set finetune.frozen_cycles = 0 or a rate"
            )
        if not self.cycles:
            return
        if 0 < self.find_lr < 20:
            yield f"finetune.find_lr = {self.find_lr}: a range test takes 20 steps or more; 0: none"
        if self.lr == "auto" and not self.find_lr:
            yield "finetune.lr = auto: needs a range test, set finetune.find_lr = 100"
        if self.snapshots > self.cycles:
            yield f"finetune.snapshots = {self.snapshots}: there are only finetune.cycles = {self.cycles}"

    @property
    def trains(self) -> bool:
        """Whether there are any cycles."""
        return not self.skip and self.cycles + self.frozen_cycles > 0

    @property
    def sets_batchnorm(self) -> bool:
        """Whether `bn_freeze` says something of a layer that would train otherwise, or not train."""
        return self.trains and (self.bn_freeze == "train" or (self.bn_freeze is True and self.cycles > 0))


def _check(name: str, params: TrainHeadParams | FinetuneParams, others: SimpleNamespace) -> Iterator[str]:
    if params.balance == "sample" and not TASKS[others.split.kind].can_draw_balanced:
        yield (
            f"{name}.balance = sample: with several labels an image no draw makes all labels equally frequent; "
            "set loss or none"
        )
    if params.schedule == "one_cycle" and params.momentum < MOMENTUM_RANGE:
        yield f"{name}.momentum = {params.momentum}: one_cycle takes it {MOMENTUM_RANGE} lower; set it to 0.95"
