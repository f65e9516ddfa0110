"""The head: fully connected layers on the pooled features. The course's has one hidden layer and two dropouts."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from unfreeze.core import draws
from unfreeze.core.params import Number, Section

if TYPE_CHECKING:
    from torch import nn


class HeadParams(Section):
    """`head`: its shape."""

    hidden: list[Annotated[int, Field(ge=1)]]
    """Width of each hidden layer; `[]` is the plain linear probe."""
    dropout: list[Annotated[Number, Field(ge=0, lt=1)]]
    """Probability that an input of each linear layer is dropped: one value more than there are hidden layers."""

    def check_with(self, params: SimpleNamespace) -> Iterator[str]:
        if len(self.dropout) != len(self.hidden) + 1:
            yield (
                f"head.dropout = {self.dropout}: takes {len(self.hidden) + 1} values, one for each linear layer "
                f"(head.hidden = {self.hidden} and the classes)"
            )


def build_head(features: int, classes: int, params: HeadParams, seed: int) -> nn.Sequential:
    """Build a head that maps features `[B, features]` to logits `[B, classes]`.

    Each layer is BatchNorm, Dropout and Linear, with a ReLU after all but the last. Weights are drawn
    Kaiming-normal (He et al. 2015) from `seed`, and biases are 0, as in the course.
    """
    import torch
    from torch import nn

    from unfreeze.model.fast.dropout import Dropout

    widths = [features, *params.hidden, classes]
    layers: list[nn.Module] = []
    for width, dropout, out in zip(widths, params.dropout, widths[1:], strict=False):
        layers += [nn.BatchNorm1d(width), Dropout(dropout), nn.Linear(width, out), nn.ReLU(inplace=True)]
    head = nn.Sequential(*layers[:-1])
    generator = torch.Generator().manual_seed(draws.seed_of(seed, "head"))
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
    return head
