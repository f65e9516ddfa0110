"""Learning rates as pure functions of the step, and the params of the two training stages."""

import math
from types import SimpleNamespace
from typing import Annotated

from pydantic import Field

from unfreeze.params import Number, Section

Rate = Annotated[Number, Field(gt=0, le=100)]
Count = Annotated[int, Field(ge=1, le=10_000)]


def epochs_of(cycles: int, cycle_len: int, cycle_mult: int) -> int:
    """Epochs of all cycles: cycle_len * (1 + m + ... + m^(cycles-1))."""
    return cycle_len * sum(cycle_mult**i for i in range(cycles))


def sgdr(steps_per_epoch: int, cycles: int, cycle_len: int, cycle_mult: int) -> list[float]:
    """Factors of the learning rate, one a step, of stochastic gradient descent with warm restarts.

    In a cycle of T steps, step t = 0..T-1 has the factor (1 + cos(pi t / T)) / 2; each cycle is `cycle_mult`
    times as long as the one before (Loshchilov & Hutter 2016). The first 1/20 of the first cycle runs at 1/100
    (fast.ai's library); a first cycle of a single step has no such warm-up, for it would learn nothing.
    """
    factors: list[float] = []
    for i in range(cycles):
        length = steps_per_epoch * cycle_len * cycle_mult**i
        for t in range(length):
            warm_up = i == 0 and length > 1 and t < length / 20
            factors.append(0.01 if warm_up else (1 + math.cos(math.pi * t / length)) / 2)
    return factors


class StepParams(Section):
    """What a step of gradient descent is, for the finder as for training."""

    batch_size: Annotated[int, Field(ge=2)]
    momentum: Annotated[Number, Field(ge=0, lt=1)]
    weight_decay: Annotated[Number, Field(ge=0)]
    """L2, on weights only: normalisation layers and biases have none."""


class TrainHeadParams(StepParams):
    """`train_head`: the head on cached features."""

    lr: Rate
    cycles: Count
    cycle_len: Count
    """Epochs of the first cycle."""
    cycle_mult: Count
    """Each cycle is this many times as long as the one before."""

    def check_with(self, params: SimpleNamespace) -> None:
        _refuse_idle_mult("train_head", self)


class FinetuneParams(StepParams):
    """`finetune`: frozen cycles of one epoch on augmented images, then everything unfrozen."""

    lr: Rate
    """Of the head; the other groups have fixed multiples of it."""
    lr_multipliers: Annotated[list[Rate], Field(min_length=3, max_length=3)]
    """Of the groups early, late and head, through the whole schedule."""
    frozen_cycles: Annotated[int, Field(ge=0)]
    cycles: Annotated[int, Field(ge=0)]
    """Unfrozen cycles."""
    cycle_len: Count
    cycle_mult: Count
    bn_freeze: bool
    """After unfreezing, the backbone's BatchNorm layers keep their running statistics."""

    def check_with(self, params: SimpleNamespace) -> None:
        _refuse_idle_mult("finetune", self)
        if self.bn_freeze and not self.cycles:
            raise ValueError("finetune.bn_freeze = True has no effect with finetune.cycles = 0: nothing unfreezes")


def _refuse_idle_mult(name: str, params: TrainHeadParams | FinetuneParams) -> None:
    if params.cycles < 2 and params.cycle_mult > 1:
        raise ValueError(
            f"{name}.cycle_mult = {params.cycle_mult} has no effect with {name}.cycles = {params.cycles}: "
            "set it to 1, or ask for 2 cycles or more"
        )
