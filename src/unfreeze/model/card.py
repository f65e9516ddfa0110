"""The file of a trained module: its weights, and a card that says what else is needed to use them."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from unfreeze.core.console import UserError
from unfreeze.core.files import read_json, replacing


@dataclass(frozen=True)
class StoredData:
    """How the pipeline stored the data that a network is trained on."""

    image_size: int
    """Pixels a side of a stored image: `decode.image_size`."""
    fit: str
    """How an image became square: `decode.fit`."""
    channels: str
    """Channels of stored images: `decode.channels`."""
    normalisation: dict[str, list[float]]
    """`mean` and `std` a channel of measured values; both empty for images."""
    numbers: list[dict[str, Any]]
    """How each number beside the images is standardised (`labels.standard.number_statistics`)."""
    ranges: dict[str, list[float]] = field(default_factory=dict)
    """Black and white of `integers` and of `floats` of more than 8 bits (`images.values`); empty where every image
    has 8 bits."""


def read_stored_data(images: Path, normalisation: Path, numbers: Path) -> StoredData:
    """Read data/images/card.json, data/normalisation.json and data/numbers.json."""
    return StoredData(**read_json(images), normalisation=read_json(normalisation), numbers=read_json(numbers))


@dataclass(frozen=True)
class Card:
    """What a network needs besides its weights to be used again. It is stored in the same file."""

    arch: str
    """`model.arch`."""
    weights: str
    """`model.weights`: what the network was before it was trained."""
    stem: str
    """`model.stem`."""
    classes: list[str]
    """Names of the classes `[C]`, in the order of the logits."""
    size: int
    """Pixels a side of what the network sees: `model.image_size`."""
    stored_size: int
    """Pixels a side of stored images: `decode.image_size`."""
    fit: str
    """How an image became square: `decode.fit`."""
    channels: str
    """Channels of stored images: `decode.channels`."""
    numbers: list[dict]
    """How each number beside the images is standardised (`labels.standard.number_statistics`)."""
    hidden: list[int]
    """`head.hidden`."""
    dropout: list[float]
    """`head.dropout`."""
    mean: list[float]
    """Mean of each input channel, which the network subtracts."""
    std: list[float]
    """Standard deviation of each input channel, which the network divides by."""
    augment: dict
    """The section `augment` it was trained with, for test-time augmentation of new images."""
    seed: int
    """`seed`."""
    thresholds: dict[str, list[float]]
    """With several labels an image: the probabilities `[C]` from which on each label counts, by rule (`global` or
    `per_label`), tuned on the plain views of the validation images. Empty with one class an image."""
    ranges: dict[str, list[float]] = field(default_factory=dict)
    """Black and white of images of more than 8 bits a channel (`StoredData.ranges`). The file has no such key
    where every training image has 8 bits."""

    def to_fields(self) -> dict[str, Any]:
        """Return what the file holds."""
        fields = asdict(self)
        if not self.ranges:
            del fields["ranges"]
        return fields


def write_module(path: Path, module: nn.Module, card: dict) -> None:
    """Write the weights of `module` (.safetensors), with `card` as JSON in the metadata.

    The same weights and card give the same bytes. The metadata have one key, because safetensors writes several in
    random order.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"unfreeze": json.dumps(card, sort_keys=True)})


def read_module(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Read the weights, by name, and the card that `write_module` wrote.

    Raises:
        UserError: there is no such file, it is damaged, or `write_module` did not write it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            card = json.loads((file.metadata() or {})["unfreeze"])
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, card
    except FileNotFoundError:
        raise UserError(f"{path} is not there: dvc repro makes it") from None
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise UserError(f"{path} is damaged or was not written by unfreeze ({error!r})") from None
