"""The `precompute` section; no torch here, for every stage checks the whole params file."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Annotated

from pydantic import Field

from unfreeze.views.augment import AugmentParams


class PrecomputeParams(AugmentParams):
    """`precompute`: the cache of the frozen backbone's features.

    Its views are drawn by settings of their own, so that others for fine-tuning compute no feature again.
    """

    skip: bool
    """No features: find-lr and train-head have nothing to do, and the head starts untrained (from scratch)."""
    views: Annotated[int, Field(ge=0, le=100)]
    """Augmented views beside the plain one; the head draws one of them all for each image and epoch. 0 is the
    course's cache, whose head sees no augmentation."""

    def check_with(self, params: SimpleNamespace) -> Iterator[str]:
        if self.views and self.set == "none" and not self.skip:
            yield f"precompute.views = {self.views} has no effect with precompute.set = none: set it to 0"
        if self.skip and params.split.folds:
            yield (
                f"split.folds = {params.split.folds} has no effect with precompute.skip = true: folds are "
                "those of the head on cached features; set it to 0"
            )
