"""A made-up network to classify with, and images for it."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stored_data import stored

from unfreeze.commands.app import main
from unfreeze.model.backbone import ModelParams
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.network import assemble, save_head, save_network

CLASSES = ["ant", "bee", "çicada"]
HEAD = HeadParams(hidden=[], dropout=[0.0])
STORED, SIZE = 36, 32
AUGMENT = {"set": "side_on", "max_zoom": 1.2, "pad": 0}
NAMES = ["a.png", "b.set/c.png", "z.png"]
"""Of the images in `write_photos`."""


def photo(i=0):
    pixels = np.random.default_rng(i).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(pixels).resize((70, 50), Image.Resampling.BICUBIC)


def encode(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def make_model(folder: Path, **augment) -> Path:
    """A random network whose probabilities differ from image to image."""
    head = build_head(2 * 512, len(CLASSES), HEAD, 1)
    save_head(folder / "head.safetensors", head, HEAD, CLASSES, 0.01)
    model = ModelParams(arch="resnet18", weights="none", stem="imagenet", image_size=SIZE)
    network, card, _ = assemble(model, folder / "head.safetensors", stored(STORED), AUGMENT | augment, seed=5)
    save_network(folder / "model.safetensors", network, card)
    return folder / "model.safetensors"


def write_photos(folder: Path) -> Path:
    """A folder with images, things that are none, and a folder in it."""
    (folder / "b.set").mkdir(parents=True)
    for i, name in enumerate(["z.png", "a.png", "b.set/c.png"]):
        (folder / name).write_bytes(encode(photo(i)))
    (folder / "labels.csv").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    return folder


def values(prediction) -> list[float]:
    assert not prediction.error, prediction
    return list(prediction.probabilities.values())


def call(capsys, *args) -> tuple[int, str, str]:
    """The status, the output and the errors of the command, run in this process with 32 bits."""
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--device", "cpu", "--precision", "32", *map(str, args)])
    return ended.value.code, *capsys.readouterr()
