"""The whole network: backbone and head, layer groups, freezing, and the files of trained networks and heads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from unfreeze.core.console import UserError
from unfreeze.model.backbone import ModelParams, build_backbone
from unfreeze.model.backbones.base import Backbone, normalise
from unfreeze.model.card import Card, StoredData, read_module, write_module
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.pool import pool

CHANNELS = {"grey": 1, "rgba": 4}
"""Channels that `decode.channels` stores where they are not 3."""


class Network(nn.Module):
    """From images `[B, C, H, W]`, float in [0, 1] or measured values, to logits `[B, classes]`.

    Numbers beside the images, `[B, E]`, are appended to the features `[B, 2C]` that the head reads.

    Frozen layer groups get no gradient and stay in evaluation mode: their BatchNorm statistics do not move and
    their dropout is off.
    """

    def __init__(self, backbone: Backbone, head: nn.Sequential) -> None:
        super().__init__()
        self.early, self.late, self.head = backbone.early, backbone.late, head
        self.register_buffer("mean", torch.tensor(backbone.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std).view(-1, 1, 1), persistent=False)
        self.bf16 = False
        """The backbone's weights are bfloat16: see `inference.for_inference`."""
        self.frozen = 0
        """How many layer groups are frozen, from the first on."""
        self.train_bn = False
        """BatchNorm layers of frozen groups train all the same."""
        self.bn_freeze = False
        """The backbone's BatchNorm layers keep their running statistics; their weight and bias still train."""

    @property
    def groups(self) -> list[nn.Module]:
        """The layer groups: early, late, head."""
        return [self.early, self.late, self.head]

    def features(self, images: Tensor) -> Tensor:
        """Compute what the head reads of `images`: the backbone's pooled activations, `[B, 2C]` (`pool`)."""
        images = (images - self.mean).div_(self.std)  # in place: new memory costs as much as the division
        return pool(self.late(self.early(images.bfloat16() if self.bf16 else images)))

    def forward(self, images: Tensor, numbers: Tensor | None = None) -> Tensor:
        features = self.features(images)
        return self.head(features if numbers is None else torch.cat([features, numbers], dim=1))

    def freeze_to(self, group: int, train_bn: bool = False) -> None:
        """Freeze the layer groups before `group`: 0 trains all of them, 2 the head alone.

        Args:
            train_bn: BatchNorm layers of frozen groups train all the same, as in today's fastai.
        """
        self.frozen, self.train_bn = group, train_bn
        for i, module in enumerate(self.groups):
            module.requires_grad_(i >= group)
        if train_bn:
            for module in self._batchnorm_layers():
                module.requires_grad_(True)
        self.train(self.training)

    def _batchnorm_layers(self) -> list[nn.Module]:
        """The backbone's BatchNorm layers."""
        modules = [*self.early.modules(), *self.late.modules()]
        return [module for module in modules if isinstance(module, nn.modules.batchnorm._BatchNorm)]

    def train(self, mode: bool = True) -> "Network":
        """Set training mode for what trains, and evaluation mode for frozen groups and under `bn_freeze`."""
        super().train(mode)
        for module in self.groups[: self.frozen]:
            module.eval()
        if self.train_bn or self.bn_freeze:
            for module in self._batchnorm_layers():
                module.train(mode and not self.bn_freeze)
        return self


def save_network(path: Path, network: Network, card: Card) -> None:
    """Write the network and all that `load_network` needs, in one file."""
    write_module(path, network, card.to_fields())


def load_network(path: Path) -> tuple[Network, Card]:
    """Load the network that `save_network` wrote, in evaluation mode, and its card.

    Raises:
        UserError: there is no such file, it is damaged, or it holds no network of this version of unfreeze.
    """
    tensors, fields = read_module(path)
    try:
        card = Card(**fields)
        backbone = build_backbone(
            arch=card.arch, weights="none", seed=0, size=card.size, stem=card.stem, channels=len(card.mean)
        )
        backbone.mean, backbone.std = tuple(card.mean), tuple(card.std)
        features = tensors["head.0.weight"].shape[0]
        params = HeadParams(hidden=card.hidden, dropout=card.dropout)
        network = Network(backbone, build_head(features, len(card.classes), params, seed=0))
        network.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{path} does not describe a network of this version of unfreeze ({error})") from None
    return network.eval(), card


@dataclass(frozen=True)
class TrainedHead:
    """A head on its own, and what is known about it."""

    head: nn.Sequential
    """`[B, features]` to logits `[B, classes]`."""
    params: HeadParams
    """Its shape."""
    classes: list[str]
    """Names of the classes, in the order of the logits."""
    lr: float | None
    """The learning rate that it was trained at; None: it is not trained."""


def save_head(
    path: Path, head: nn.Sequential, params: HeadParams, classes: Sequence[str], lr: float | None
) -> None:
    """Write a head alone, with what `TrainedHead` says of it."""
    write_module(path, head, {"classes": list(classes), "lr": lr, **params.model_dump()})


def load_head(path: Path) -> TrainedHead:
    """Load the head that `save_head` wrote, in evaluation mode.

    Raises:
        UserError: there is no such file, it is damaged, or unfreeze did not write it.
    """
    tensors, fields = read_module(path)
    classes, lr = fields.pop("classes"), fields.pop("lr")
    params = HeadParams(**fields)
    head = build_head(tensors["0.weight"].shape[0], len(classes), params, seed=0)
    head.load_state_dict(tensors)
    return TrainedHead(head=head.eval(), params=params, classes=classes, lr=lr)


def assemble(
    model: ModelParams, head: Path, data: StoredData, augment: dict, seed: int
) -> tuple[Network, Card, float | None]:
    """Put the backbone that `model` describes under the head of file `head`.

    Args:
        data: how the images were stored.
        augment: the section `augment`, for the card.
        seed: initialises what `model.weights` does not hold.

    Returns:
        The network; its card, whose thresholds are still empty; the rate that the head was trained at.
    """
    backbone = build_backbone(
        arch=model.arch,
        weights=model.weights,
        seed=seed,
        size=model.image_size,
        stem=model.stem,
        channels=CHANNELS.get(data.channels, 3),
    )
    normalise(backbone, data.normalisation)
    trained = load_head(head)
    card = Card(
        arch=model.arch,
        weights=model.weights,
        stem=model.stem,
        classes=trained.classes,
        size=model.image_size,
        stored_size=data.image_size,
        fit=data.fit,
        channels=data.channels,
        numbers=data.numbers,
        mean=list(backbone.mean),
        std=list(backbone.std),
        augment=augment,
        seed=seed,
        thresholds={},
        ranges=data.ranges,
        **trained.params.model_dump(),
    )
    return Network(backbone, trained.head), card, trained.lr
