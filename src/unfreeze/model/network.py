"""Backbone and head together: layer groups, freezing, and the one file a trained network is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from unfreeze.console import UserError
from unfreeze.files import replacing
from unfreeze.model.backbone import Backbone, ModelParams, build_backbone, normalise, pool
from unfreeze.model.head import HeadParams, build_head

CHANNELS = {"grey": 1, "rgba": 4}
"""How many channels `decode.channels` stores, where it is not 3."""


class Network(nn.Module):
    """Images `[B, C, H, W]`, float in [0, 1] or measured values, to logits `[B, classes]`.

    Where there are numbers beside the images, `[B, E]`, they join the features at the head's input.

    `groups` are the layer groups early, late and head. Frozen groups get no gradient and stay in evaluation
    mode: their BatchNorm statistics do not move and their dropout is off.
    """

    def __init__(self, backbone: Backbone, head: nn.Sequential) -> None:
        super().__init__()
        self.early, self.late, self.head = backbone.early, backbone.late, head
        self.register_buffer("mean", torch.tensor(backbone.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std).view(-1, 1, 1), persistent=False)
        self.bf16 = False
        """The backbone's weights are bfloat16: see `inference.for_inference`."""
        self.frozen = 0
        self.train_bn = False
        self.bn_freeze = False

    @property
    def groups(self) -> list[nn.Module]:
        return [self.early, self.late, self.head]

    def features(self, images: Tensor) -> Tensor:
        """The pooled pair of activations, `[B, 2C]`."""
        images = (images - self.mean).div_(self.std)  # in place: new memory costs as much as the division
        return pool(self.late(self.early(images.bfloat16() if self.bf16 else images)))

    def forward(self, images: Tensor, numbers: Tensor | None = None) -> Tensor:
        features = self.features(images)
        return self.head(features if numbers is None else torch.cat([features, numbers], dim=1))

    def freeze_to(self, group: int, train_bn: bool = False) -> None:
        """Freeze the groups before `group`: 0 trains all of them, 2 the head alone. With `train_bn` their
        BatchNorm layers train all the same, as in today's fastai."""
        self.frozen, self.train_bn = group, train_bn
        for i, module in enumerate(self.groups):
            module.requires_grad_(i >= group)
        if train_bn:
            for module in self._batchnorms():
                module.requires_grad_(True)
        self.train(self.training)

    def _batchnorms(self) -> list[nn.Module]:
        """The backbone's BatchNorm layers."""
        modules = [*self.early.modules(), *self.late.modules()]
        return [module for module in modules if isinstance(module, nn.modules.batchnorm._BatchNorm)]

    def train(self, mode: bool = True) -> "Network":
        """Training mode for what trains. With `bn_freeze` the backbone's BatchNorm layers keep their running
        statistics (their weight and bias still train)."""
        super().train(mode)
        for module in self.groups[: self.frozen]:
            module.eval()
        if self.train_bn or self.bn_freeze:
            for module in self._batchnorms():
                module.train(mode and not self.bn_freeze)
        return self


@dataclass(frozen=True)
class Card:
    """What a network needs besides its weights to be used again; stored in the same file."""

    arch: str
    weights: str
    stem: str
    classes: list[str]
    size: int
    stored_size: int
    fit: str
    channels: str
    """Of stored images: `decode.channels`."""
    numbers: list[dict]
    """How each number beside the images is standardised (`data.standard.number_statistics`)."""
    hidden: list[int]
    dropout: list[float]
    mean: list[float]
    std: list[float]
    augment: dict
    """The section `augment` it was trained with, for test-time augmentation of new images."""
    seed: int
    thresholds: dict[str, list[float]]
    """Of several labels an image: the probabilities `[C]` from which on each label counts, by rule (`global` or
    `per_label`), tuned on the plain views of the validation images. Empty with one class an image."""


def save(path: Path, module: nn.Module, card: dict) -> None:
    """Write weights (.safetensors) with `card` as JSON in the metadata: the same bytes for the same weights.

    One metadata key, because safetensors writes several in random order.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"unfreeze": json.dumps(card, sort_keys=True)})


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """The weights and the card that `save` wrote.

    Raises:
        UserError: no such file, damaged, or not written by `save`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            card = json.loads((file.metadata() or {})["unfreeze"])
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, card
    except FileNotFoundError:
        raise UserError(f"{path} is not there: dvc repro makes it") from None
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise UserError(f"{path} is damaged or was not written by unfreeze ({error!r})") from None


def save_network(path: Path, network: Network, card: Card) -> None:
    """Write the network and all that `load_network` needs, in one file."""
    save(path, network, asdict(card))


def load_network(path: Path) -> tuple[Network, Card]:
    """The network in evaluation mode, and its card."""
    tensors, stored = read(path)
    try:
        card = Card(**stored)
        backbone = build_backbone(card.arch, "none", 0, card.size, card.stem, channels=len(card.mean))
        backbone.mean, backbone.std = tuple(card.mean), tuple(card.std)
        head_in = tensors["head.0.weight"].shape[0]
        head = build_head(head_in, len(card.classes), HeadParams(hidden=card.hidden, dropout=card.dropout), seed=0)
        network = Network(backbone, head)
        network.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{path} does not describe a network of this version of unfreeze ({error})") from None
    return network.eval(), card


def save_head(
    path: Path, head: nn.Sequential, params: HeadParams, classes: Sequence[str], lr: float | None
) -> None:
    """Write a head alone, with its shape, its class names and the rate it was trained at (None: not trained)."""
    save(path, head, {"classes": list(classes), "lr": lr, **params.model_dump()})


def load_head(path: Path) -> tuple[nn.Sequential, HeadParams, list[str], float | None]:
    """The head that `save_head` wrote, in evaluation mode, its shape, its class names and its rate."""
    tensors, card = read(path)
    classes, lr = card.pop("classes"), card.pop("lr")
    params = HeadParams(**card)
    head = build_head(tensors["0.weight"].shape[0], len(classes), params, seed=0)
    head.load_state_dict(tensors)
    return head.eval(), params, classes, lr


def assemble(
    model: ModelParams,
    head: Path,
    fit: str,
    stored_size: int,
    augment: dict,
    seed: int,
    channels: str = "rgb",
    normalisation: Mapping[str, Sequence[float]] | None = None,
    numbers: Sequence[dict] = (),
) -> tuple[Network, Card, float | None]:
    """The backbone that `model` describes under the head of file `head`; the card, and the rate of that head.

    `channels` and `numbers` as in `Card`; `normalisation` as in `backbone.normalise`.
    """
    count = CHANNELS.get(channels, 3)
    backbone = build_backbone(model.arch, model.weights, seed, model.size, model.stem, count)
    normalise(backbone, normalisation or {})
    trained, params, classes, lr = load_head(head)
    card = Card(
        classes=classes,
        stored_size=stored_size,
        fit=fit,
        channels=channels,
        numbers=list(numbers),
        mean=list(backbone.mean),
        std=list(backbone.std),
        augment=augment,
        seed=seed,
        thresholds={},
        **model.model_dump(),
        **params.model_dump(),
    )
    return Network(backbone, trained), card, lr
