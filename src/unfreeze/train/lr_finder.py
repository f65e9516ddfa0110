"""The learning-rate range test (Smith 2015): raise the rate each step and watch the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from unfreeze.core import tables
from unfreeze.core.console import UserError
from unfreeze.core.params import Section
from unfreeze.train.schedule import Rate

if TYPE_CHECKING:
    import numpy as np

    from unfreeze.train.learner import Learner

LR_MIN, LR_MAX = 1e-5, 10.0
"""The course's range."""
SMOOTHING = 0.98
STOP_FACTOR = 4.0
"""The test stops when the smoothed loss exceeds this many times its best."""
SETTLE = 10
"""Steps before the best loss counts: the first ones are noise."""


class FindLrParams(Section):
    """`find_lr`: the range test."""

    lr_min: Rate
    lr_max: Rate
    steps: Annotated[int, Field(ge=20, le=10_000)]
    """From lr_min to lr_max; the training images are gone through as often as that takes."""

    def check_with(self, params: SimpleNamespace) -> Iterator[str]:
        if self.lr_max <= self.lr_min:
            yield (f"find_lr.lr_max = {self.lr_max}: must be above find_lr.lr_min = {self.lr_min}")


@dataclass(frozen=True)
class Point:
    """One step of the test."""

    step: int
    lr: float
    loss: float
    smoothed: float


def range_test(params: FindLrParams, step: Callable[[int, float], float]) -> list[Point]:
    """Call `step(i, lr)`, which trains one batch at that rate and returns its loss, until the loss blows up.

    The rate grows geometrically from lr_min to lr_max. The smoothed loss is an exponential moving average
    (0.98) with its bias corrected. The step that ends the test is not part of the curve.
    """
    curve: list[Point] = []
    average, best = 0.0, math.inf
    for i in range(params.steps):
        lr = params.lr_min * (params.lr_max / params.lr_min) ** (i / (params.steps - 1))
        loss = step(i, lr)
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed = average / (1 - SMOOTHING ** (i + 1))
        if not math.isfinite(smoothed) or smoothed > STOP_FACTOR * best:
            break
        if i >= SETTLE:
            best = min(best, smoothed)
        curve.append(Point(i, lr, loss, smoothed))
    return curve


def find_lr(
    params: FindLrParams, learner: Learner, rows: np.ndarray, between: Callable[[], None] | None = None
) -> list[Point]:
    """Test the rates of `learner` with real steps on `rows`, gone through as often as that takes. Afterwards the
    model is what it was, to the byte; the learner's optimizer is not to be used again.

    `between` is called before each step, and may raise to end the test.
    """
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    stream = ((epoch, batch) for epoch in count() for batch in learner.batches(rows, epoch))

    def step(i: int, lr: float) -> float:
        if between:
            between()
        epoch, batch = next(stream)
        return learner.step(i, batch, epoch, learner.read(i, batch, epoch), lr, learner.params.momentum)

    try:
        return range_test(params, step)
    finally:
        learner.model.load_state_dict(before)


def write_curve(path: Path, curve: Sequence[Point]) -> None:
    """Write the curve as CSV; of an empty one only the header."""
    tables.write_rows(path, [f.name for f in fields(Point)], map(astuple, curve))


def choose_lr(lr: float | str, suggestions: dict[str, float | None], where: str) -> float:
    """Return the rate to train with: `lr`, or if that is `auto` the course's suggestion.

    The course takes a tenth of the rate where the loss is lowest.

    Raises:
        UserError: there is no suggestion to take; `where` names the key.
    """
    if lr != "auto":
        return float(lr)
    if suggestions.get("minimum_tenth") is None:
        raise UserError(
            f"{where} = auto: the range test ended after too few steps to suggest a rate; raise its number of "
            "steps, or set a rate"
        )
    return suggestions["minimum_tenth"]


def suggest(curve: Sequence[Point]) -> dict[str, float | None]:
    """Return two rates to start from; None for a curve too short to tell.

    `steepest` is where the smoothed loss falls steepest over log(lr), `minimum_tenth` a tenth of where it is
    lowest.
    """
    settled = curve[SETTLE:]
    if len(settled) < 3:
        return {"steepest": None, "minimum_tenth": None}
    slopes = [
        (after.smoothed - before.smoothed) / math.log(after.lr / before.lr)
        for before, after in zip(settled, settled[2:], strict=False)
    ]
    steepest = settled[1 + slopes.index(min(slopes))]
    lowest = min(settled, key=lambda point: point.smoothed)
    return {"steepest": steepest.lr, "minimum_tenth": lowest.lr / 10}
