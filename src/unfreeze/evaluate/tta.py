"""Test-time augmentation: the mean of the probabilities over the plain view and seeded augmented ones."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from unfreeze.console import progress
from unfreeze.data.store import blocks, scratch, scratch_copy
from unfreeze.params import Section
from unfreeze.thresholds import Rule
from unfreeze.train.augment import AugmentParams, Images

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor, nn

    from unfreeze.train.loop import Inputs


class TtaParams(Section):
    """`tta`: test-time augmentation."""

    views: Annotated[int, Field(ge=0, le=100)]
    """Augmented views beside the plain one; 0: none."""
    thresholds: Rule
    """From which probability on a label counts, where an image can have several: one threshold for all labels, or
    one for each; both are tuned on the validation images."""

    def check_with(self, params: SimpleNamespace) -> None:
        if self.thresholds == "per_label" and params.split.kind == "single":
            raise ValueError(
                "tta.thresholds = per_label has no effect with split.kind = single: the most probable class is "
                "predicted; set it to global"
            )
        if self.views and params.augment.set == "none":
            raise ValueError(
                f"tta.views = {self.views} has no effect with augment.set = none: all views would be the same"
            )


def predict_views(
    fabric: Fabric,
    network: nn.Module,
    images: Images,
    rows: np.ndarray,
    views: int,
    augment: AugmentParams,
    seed: int,
    batch_size: int,
    multi: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of `rows` by the plain view alone, and with TTA: two float64 arrays `[len(rows), classes]`,
    which need not fit into memory.

    With TTA each of the 1 + `views` views weighs the same, and probabilities are averaged, never logits or
    log-probabilities. With `multi` labels an image they are sigmoids, else softmaxes.
    """
    from unfreeze.train.loop import predict

    def seen(inputs: Inputs, view: int) -> np.ndarray:
        def logits(some: np.ndarray) -> Tensor:
            return predict(fabric, network, inputs, some, batch_size, view, bar.update)

        return stored(logits, rows, multi)

    def augmented(batch: np.ndarray, view: int) -> Tensor:
        return images.augmented(batch, view, augment, seed, "tta")

    with progress(len(rows) * (1 + views), "predict") as bar:
        plain = seen(images.plain, 0)
        total = scratch_copy(plain)
        for view in range(views):
            total += seen(augmented, view)
    total /= 1 + views
    return plain, total


def stored(logits: Callable[[np.ndarray], Tensor], rows: np.ndarray, multi: bool) -> np.ndarray:
    """`loop.probabilities` of what `logits` gives for so many of the `rows` at a time, `[B, C]`: float64
    `[len(rows), C]`, in an array that need not fit into memory."""
    from unfreeze.train.loop import probabilities

    found = None
    for block in blocks(len(rows)):
        some = probabilities(logits(rows[block]), multi)
        if found is None:
            found = scratch((len(rows), some.shape[1]), some.dtype)
        found[block] = some
    return found
