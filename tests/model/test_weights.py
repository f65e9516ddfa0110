import re
import shutil

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from unfreeze.core.console import UserError
from unfreeze.model import backbone as module
from unfreeze.model.backbone import build_backbone
from unfreeze.model.backbones.torchvision import build_net


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return models.squeezenet1_1().state_dict()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_from_a_file_with_or_without_their_classifier(tmp_path, state, suffix):
    path = tmp_path / f"w{suffix}"
    features = {key: value for key, value in state.items() if not key.startswith("classifier")}
    other_classes = state | {"classifier.1.weight": torch.zeros(7, 512, 1, 1), "classifier.1.bias": torch.zeros(7)}
    for content in (state, features, other_classes):
        (save_file if suffix == ".safetensors" else torch.save)(content, path)
        backbone = build_backbone("squeezenet1_1", str(path), 0)
        assert torch.equal(backbone.early[0].weight, state["features.0.weight"])
        assert torch.equal(backbone.late[-1].expand3x3.weight, state["features.12.expand3x3.weight"])


def test_files_of_every_age_load(tmp_path):
    """Torchvision's DenseNet files have older keys; MNASNet wants a version number, which .safetensors lacks."""
    path = tmp_path / "w.safetensors"
    dense = models.densenet121().state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value for key, value in dense.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    save_file(old, path)
    layer = build_backbone("densenet121", str(path), 0).early[4].denselayer1
    assert torch.equal(layer.conv2.weight, dense["features.denseblock1.denselayer1.conv2.weight"])
    mnas = models.mnasnet0_5().state_dict()
    save_file(mnas, path)
    assert torch.equal(build_backbone("mnasnet0_5", str(path), 0).early[0].weight, mnas["layers.0.weight"])


def test_older_keys_of_torchvision_s_vit_files(monkeypatch):
    new = build_net("vit_b_32", 32).state_dict()
    numbers = {"0": "1", "3": "2"}
    old = {re.sub(r"mlp\.([03])", lambda m: f"mlp.linear_{numbers[m[1]]}", key): new[key] for key in new}
    assert "encoder.layers.encoder_layer_0.mlp.linear_2.weight" in old
    monkeypatch.setattr(module, "read_state", lambda path: old)
    backbone = build_backbone("vit_b_32", "w.pth", 0, 32)
    assert torch.equal(backbone.late[-2].mlp[3].weight, new["encoder.layers.encoder_layer_11.mlp.3.weight"])
    assert torch.equal(backbone.early[0].position, new["encoder.pos_embedding"])
    assert torch.equal(backbone.early[0].class_token, new["class_token"])
    with pytest.raises(
        UserError, match=r"other shapes \(model.image_size\?\): encoder.pos_embedding \[1, 2, 768\] instead"
    ):
        build_backbone("vit_b_32", "w.pth", 0, 64)


def refused(path, content, message, arch="squeezenet1_1"):
    torch.save(content, path)
    with pytest.raises(UserError, match=message):
        build_backbone(arch, str(path), 0)


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path, state):
    path = tmp_path / "w.pth"
    missing = {key: value for key, value in state.items() if not key.startswith("features.3")}
    refused(path, missing, r"w\.pth does not fit SqueezeNet: it lacks features\.3\.expand1x1\.bias, ")
    shape = state | {"features.0.weight": torch.zeros(64, 1, 3, 3)}
    refused(path, shape, r"features\.0\.weight \[64, 1, 3, 3\] instead of \[64, 3, 3, 3\]")
    refused(path, state | {"extra": torch.zeros(1)}, "it has unknown keys: extra")
    refused(path, {"state_dict": state}, "holds no state dict")
    refused(path, [1, 2], "holds no state dict")


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_that_runs_code_and_damaged_files_are_refused(tmp_path, state, capsys):
    path = tmp_path / "w.pth"
    refused(path, {"a": Evil()}, "damaged, incomplete or no plain state dict")
    assert "executed" not in capsys.readouterr().out
    torch.save(state, path)
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"w\.pth: the file is damaged"):
            build_backbone("squeezenet1_1", str(path), 0)
    with pytest.raises(UserError, match="there is no such file"):
        build_backbone("squeezenet1_1", str(tmp_path / "x.pth"), 0)


def test_an_unknown_weights_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"model\.weights = 'BEST': resnet18 has IMAGENET1K_V1"):
        build_backbone("resnet18", "BEST", 0)


def test_weights_that_cannot_be_downloaded_say_where_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(
        torch.hub, "load_state_dict_from_url", lambda *a, **k: (_ for _ in ()).throw(OSError("no net"))
    )
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", torch.hub.load_state_dict_from_url)
    with pytest.raises(UserError, match=rf"resnet18-f37072fd\.pth could not be downloaded \(no net\).*{tmp_path}"):
        build_backbone("resnet18", "IMAGENET1K_V1", 0)


def test_partial_downloads_are_refused(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    for file in sorted((real_data / "weights/broken").glob("*.pth")):
        arch = file.name.split("-")[0]
        with pytest.raises(UserError, match=rf"{file.name}: the file is damaged"):
            build_backbone(arch, str(file), 0)
    shutil.copy(real_data / "weights/broken/resnet18-f37072fd.pth", tmp_path / "hub/checkpoints")
    with pytest.raises(UserError, match=r"resnet18-f37072fd\.pth: the file is damaged"):
        build_backbone("resnet18", "IMAGENET1K_V1", 0)


@pytest.mark.parametrize(
    ("arch", "name"),
    [
        ("mobilenet_v2", "mobilenet_v2-qnnpack-dequantised.pth"),
        ("squeezenet1_0", "squeezenet1_0-caffe-deepcompressed.pth"),
        ("squeezenet1_1", "squeezenet1_1-caffe-features-only.pth"),
    ],
)
def test_real_weights_load(real_data, arch, name):
    backbone = build_backbone(arch, str(real_data / "weights" / name), 0)
    state = torch.load(real_data / "weights" / name, weights_only=True)
    first = next(key for key in state if key.endswith("weight"))
    assert torch.equal(next(backbone.early.parameters()), state[first])


def test_weights_for_another_stem_are_refused_and_the_stem_is_named(tmp_path):
    torch.save(build_net("resnet18").state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(UserError, match=r"has other shapes \(model\.stem\?\): conv1\.weight \[64, 3, 7, 7\]"):
        build_backbone("resnet18", str(tmp_path / "resnet18.pth"), 1, 32, "small")
