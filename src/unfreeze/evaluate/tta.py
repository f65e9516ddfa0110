"""Test-time augmentation: the mean of the probabilities over the plain view and seeded augmented ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from unfreeze.core.arrays import scratch_copy
from unfreeze.core.console import progress
from unfreeze.core.params import Section
from unfreeze.task.base import Rule, Task
from unfreeze.task.kinds import TASKS
from unfreeze.views.augment import AugmentParams
from unfreeze.views.images import Images

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import nn

    from unfreeze.views.predict import Batch, Inputs


class TtaParams(Section):
    """`tta`: test-time augmentation."""

    views: Annotated[int, Field(ge=0, le=100)]
    """Augmented views beside the plain one; 0: none."""
    thresholds: Rule
    """From which probability on a label counts, where an image can have several: one threshold for all labels, or
    one for each; both are tuned on the validation images."""

    def check_with(self, params: SimpleNamespace) -> Iterator[str]:
        if self.thresholds == "per_label" and not TASKS[params.split.kind].uses_thresholds:
            yield (
                "tta.thresholds = per_label has no effect with split.kind = "
                f"{params.split.kind}: the most probable class is predicted; set it to global"
            )
        if self.views and params.augment.set == "none":
            yield (f"tta.views = {self.views} has no effect with augment.set = none: all views would be the same")


@dataclass(frozen=True)
class Views:
    """The views that a network predicts: the plain one, and `count` augmented ones."""

    images: Images
    count: int
    augment: AugmentParams
    seed: int


def predict_views(
    fabric: Fabric, network: nn.Module, views: Views, rows: np.ndarray, batch_size: int, task: Task
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of `rows` by the plain view alone, and with TTA.

    With TTA each of the 1 + `views.count` views weighs the same. Probabilities are averaged, never logits or
    log-probabilities.

    Returns:
        Two float64 arrays `[len(rows), C]`, which need not fit into memory.
    """
    from unfreeze.views.predict import Predictor, predict_probabilities

    def predict(inputs: Inputs, view: int) -> np.ndarray:
        predictor = Predictor(fabric, network, inputs, batch_size)
        return predict_probabilities(
            lambda some: predictor.predict(some, view, bar.update),
            rows=rows,
            classes=len(task.classes),
            activate=task.activate,
        )

    def augmented(batch: np.ndarray, view: int) -> Batch:
        return views.images.augmented(batch, view, views.augment, views.seed, "tta")

    with progress(len(rows) * (1 + views.count), "predict") as bar:
        plain = predict(views.images.plain, 0)
        total = scratch_copy(plain)
        for view in range(views.count):
            total += predict(augmented, view)
    total /= 1 + views.count
    return plain, total
