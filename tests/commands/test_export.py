import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unfreeze.commands import export as module
from unfreeze.commands.app import main
from unfreeze.commands.classifier import Classifier
from unfreeze.commands.export import export
from unfreeze.core.console import UserError
from unfreeze.model.backbone import build_backbone
from unfreeze.model.card import Card
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.network import Network, save_network
from unfreeze.model.pool import pool

CLASSES = ["ant", "bee", "çicada"]
STORED, SIZE = 36, 32


def make_model(path: Path, arch: str) -> Path:
    """A random network, with a normalisation of its own."""
    backbone = build_backbone(arch, "none", seed=1, size=SIZE)
    backbone.mean, backbone.std = (0.4, 0.5, 0.6), (0.3, 0.2, 0.1)
    with torch.no_grad():
        features = pool(backbone.late(backbone.early(torch.zeros(2, 3, SIZE, SIZE)))).shape[1]
    head = HeadParams(hidden=[], dropout=[0.0])
    card = Card(
        arch=arch,
        weights="none",
        stem="imagenet",
        classes=CLASSES,
        size=SIZE,
        stored_size=STORED,
        fit="crop",
        mean=list(backbone.mean),
        std=list(backbone.std),
        augment={"set": "none", "max_zoom": 1, "pad": 0},
        seed=1,
        thresholds={},
        channels="rgb",
        numbers=[],
        **head.model_dump(),
    )
    save_network(path, Network(backbone, build_head(features, len(CLASSES), head, seed=1)), card)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "model.safetensors", "resnet18")


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> Path:
    """What came out for the network of `model`, in a folder without a pipeline."""
    folder = tmp_path_factory.mktemp("exported")
    done = subprocess.run(
        [sys.executable, "-m", "unfreeze.commands.app", "export", model, "--to", "out"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "model.onnx: 44." in done.stdout and "16 images of noise: there is no" in done.stdout
    return folder / "out"


def photo(path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(pixels).resize((70, 50), Image.Resampling.BICUBIC).save(path)
    return path


def as_described(path: Path, description: dict) -> np.ndarray:
    """An image as model.json says, by means of its own: float32 `[1, 3, size, size]`."""
    stored, size = description["stored_size"], description["size"]
    image = Image.open(path).convert("RGB")
    assert description["fit"] == "crop"
    left, side = (image.width - image.height) / 2, image.height
    image = image.resize(
        (stored, stored), Image.Resampling.BILINEAR, (left, 0, left + side, side), reducing_gap=None
    )
    start = round((stored - size) / 2)
    pixels = np.asarray(image, np.float32)[start : start + size, start : start + size] / 255
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


@pytest.mark.slow
def test_other_programs_get_the_probabilities_of_predict(model, exported, tmp_path):
    """ONNX Runtime and torch alone, on a photograph prepared as model.json says."""
    from onnxruntime import InferenceSession

    description = json.loads((exported / "model.json").read_text(encoding="utf-8"))
    assert description["classes"] == CLASSES
    image = photo(tmp_path / "a.png")
    [expected] = Classifier(model, "cpu", "32").predict(image)
    wanted = np.array([list(expected.probabilities.values())])

    inputs = as_described(image, description)
    session = InferenceSession(str(exported / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("images", ["batch", 3, SIZE, SIZE])]
    [found] = session.run(["probabilities"], {"images": inputs})
    program = torch.export.load(exported / "model.pt2").module()
    with torch.no_grad():
        assert program(torch.from_numpy(inputs)).numpy() == pytest.approx(found, abs=1e-5)
    assert found == pytest.approx(wanted, abs=0.01)  # another way to resize


@pytest.mark.slow
def test_the_files_hold_no_places_of_this_machine(exported):
    for path in exported.iterdir():
        content = path.read_bytes()
        for place in (module.__file__, torch.__file__, os.fspath(exported)):
            assert os.fsencode(Path(place).parent) not in content


@pytest.mark.slow
def test_the_same_bytes_again(model, exported, tmp_path):
    export(model, tmp_path)
    for path in exported.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["mobilenet_v2", "vit_b_32", "swin_t"])
def test_other_families(tmp_path, monkeypatch, arch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/images").mkdir(parents=True)
    np.save("data/images/pixels.npy", np.random.default_rng(0).integers(0, 256, (7, STORED, STORED, 3), np.uint8))
    lines = export(make_model(tmp_path / "model.safetensors", arch), tmp_path / "out")
    assert lines[-1].endswith("3 classes; compared on 7 images of data/images/pixels.npy")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.json", "model.onnx", "model.pt2"]


def test_a_difference_keeps_the_files_of_an_earlier_run(model, tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_text("earlier")
    monkeypatch.setattr(module, "_write_onnx", lambda program, path: path.write_bytes(b"x"))
    monkeypatch.setattr(module, "_run_onnx", lambda path, inputs: np.zeros((len(inputs), 3), np.float32))
    image = photo(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"differ by more than 0\.0001 on 1 images, so it was not kept: "):
        export(model, tmp_path, [image])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "model.onnx"]
    assert (tmp_path / "model.onnx").read_text() == "earlier"


def call(*args: str) -> int:
    """The exit status of `unfreeze export`."""
    with pytest.raises(SystemExit) as ended:
        main(["export", *args])
    return ended.value.code


def test_what_cannot_be_done_is_said(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call() == 2
    assert "export: models/model.safetensors is not there: dvc repro makes it" in capsys.readouterr().err
    (tmp_path / "a.png").write_text("no image")
    assert call(str(model), "a.png", "b.png") == 2
    assert "export: a.png: " in capsys.readouterr().err
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert call(str(model)) == 2
    assert capsys.readouterr().err == (
        "export: exporting needs the package onnx, which is not installed: run make setup\n"
    )


def test_a_network_that_torch_cannot_export_is_named(model, tmp_path, monkeypatch):
    def refuse(program, path):
        raise RuntimeError("no such operator\nmore")

    monkeypatch.setattr(module, "_write_onnx", refuse)
    with pytest.raises(UserError, match=r"torch cannot export resnet18 \(no such operator\)$"):
        export(model, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
