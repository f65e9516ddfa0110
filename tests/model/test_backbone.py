import re
import shutil
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models
from torchvision.transforms.functional import normalize

from unfreeze.console import UserError
from unfreeze.model import backbone as module
from unfreeze.model.backbone import (
    ARCHS,
    IMAGENET_MEAN,
    ModelParams,
    build_backbone,
    build_net,
    cut,
    normalisation,
    pool,
)
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.network import Network

# One small network of every family, and its input's side.
SMALL = dict.fromkeys(
    [
        *["resnet18", "vgg11", "vgg11_bn", "googlenet", "densenet121", "squeezenet1_1", "mobilenet_v2"],
        *["mobilenet_v3_small", "mnasnet0_5", "shufflenet_v2_x0_5", "efficientnet_b0", "regnet_y_400mf"],
        *["convnext_tiny", "swin_t", "swin_v2_t", "vit_b_32"],
    ],
    64,
) | {"alexnet": 63, "inception_v3": 75, "maxvit_t": 224}
CLASSIFIERS = {"fc", "classifier", "head", "heads", "aux1", "aux2", "AuxLogits"}
outline = cache(module.outline)
COURSE = [
    ("resnet34", 1.348, 19.94),
    ("resnet50", 1.445, 22.06),
    ("resnet18", 0.683, 10.49),
    ("vgg16_bn", 1.738, 12.985),
]


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_every_classification_network_of_torchvision_can_be_cut():
    assert ARCHS.keys() == set(models.list_models(module=models))
    families = {type(outline(arch)) for arch in SMALL}
    assert families == {type(outline(arch)) for arch in ARCHS}


@pytest.mark.parametrize(("arch", "early", "late"), COURSE)
def test_groups_have_the_course_s_sizes(arch, early, late):
    backbone = cut(outline(arch), arch)
    assert count(backbone.early) / 1e6 == pytest.approx(early, abs=0.006)
    assert count(backbone.late) / 1e6 == pytest.approx(late, abs=0.006)


@pytest.mark.parametrize("arch", ARCHS)
def test_every_parameter_below_the_classifier_is_in_exactly_one_group(arch):
    net = outline(arch)
    backbone = cut(net, arch)
    early, late = ([id(p) for p in group.parameters()] for group in (backbone.early, backbone.late))
    assert early and late
    assert len({*early, *late}) == len(early) + len(late)
    trunk = {id(p) for name, p in net.named_parameters() if name.split(".")[0] not in CLASSIFIERS}
    assert trunk == {*early, *late}


@pytest.mark.parametrize("arch", ARCHS)
def test_the_table_says_what_the_networks_are(arch):
    how = ARCHS[arch]
    net = outline(arch)
    backbone = cut(net, arch)

    def width(size):
        return pool(backbone.late(backbone.early(torch.empty(1, 3, size, size, device="meta")))).shape[1]

    layers = [*backbone.early.modules(), *backbone.late.modules()]
    assert how.batchnorm == any(isinstance(layer, torch.nn.BatchNorm2d) for layer in layers)
    assert how.transform_input == hasattr(net, "transform_input")
    assert width(how.smallest) > 0
    if how.smallest > 16 and how.step == 1:
        with pytest.raises((RuntimeError, IndexError)):
            width(how.smallest - 1)


@pytest.mark.parametrize("arch", [arch for arch, how in ARCHS.items() if how.step > 1])
def test_sizes_of_torchvision_s_weights(arch):
    for preset in models.get_model_weights(arch):
        size = preset.meta["min_size"][0]
        ModelParams(arch=arch, weights=preset.name, stem="imagenet", size=size).check_with(params(size))
        if ARCHS[arch].fixed:
            other = size + ARCHS[arch].step
            ModelParams(arch=arch, weights="none", stem="imagenet", size=other).check_with(params(other))
            with pytest.raises(
                ValueError, match=rf"model\.size = {other}: {arch} takes multiples of .*\b{size}\b"
            ):
                ModelParams(arch=arch, weights=preset.name, stem="imagenet", size=other).check_with(params(other))


@pytest.mark.parametrize(
    ("arch", "size", "takes"),
    [
        ("inception_v3", 74, "75 pixels or more"),
        ("maxvit_t", 300, "multiples of 224"),
        ("vit_b_16", 225, "multiples of 16, with torchvision's weights 224 \\(384 with SWAG_E2E\\)"),
    ],
)
def test_sizes_that_a_network_cannot_take_are_refused_with_the_params(arch, size, takes):
    with pytest.raises(ValueError, match=f"model.size = {size}: {arch} takes {takes}"):
        ModelParams(arch=arch, weights="none", stem="imagenet", size=size).check_with(params(size))


def params(stored):
    return SimpleNamespace(
        decode=SimpleNamespace(size=stored), finetune=SimpleNamespace(bn_freeze=False, sizes=[])
    )


def test_maxvit_has_the_same_weights_for_every_size():
    small, large = (outline("maxvit_t", size).state_dict() for size in (224, 448))
    assert {key: value.shape for key, value in small.items()} == {key: v.shape for key, v in large.items()}


@pytest.mark.parametrize("arch", SMALL)
def test_the_trunk_gives_what_the_whole_network_pools(arch):
    """The input of the original's own pooling, or what it has pooled, can be had from our groups' output."""
    torch.manual_seed(0)
    net = build_net(arch, SMALL[arch]).eval()
    images = torch.rand(2, 3, SMALL[arch], SMALL[arch])
    backbone = cut(net, arch)
    if arch.startswith("squeezenet"):
        place, expected = net.classifier[1], lambda maps: net.classifier[0](maps)
    elif arch.startswith(("densenet", "mnasnet", "mobilenet_v2")):
        place, expected = net.classifier, lambda maps: maps.mean((2, 3))
    elif arch.startswith("shufflenet"):
        place, expected = net.fc, lambda maps: maps.mean((2, 3))
    elif arch.startswith("vit"):
        place, expected = net.heads, lambda tokens: tokens[:, 0]
    else:
        place = net.classifier[0] if arch.startswith("maxvit") else net.avgpool
        expected = lambda maps: maps  # noqa: E731
    seen = []
    place.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        net(images)
        output = backbone.late(backbone.early(images))
    assert torch.allclose(expected(output), seen[0], atol=1e-5)
    assert pool(output).shape == (2, 2 * output.shape[1 if output.ndim == 4 else 2])


def step(network, images):
    """The names of parameters and buffers that one step of training changes."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.01)
    network(images).square().sum().backward()
    optimizer.step()
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("arch", SMALL)
def test_nothing_frozen_moves_or_is_random_and_every_unfrozen_group_moves(arch):
    size = SMALL[arch]
    images = torch.rand(2, 3, size, size)
    backbone = build_backbone(arch, "none", 0, size)
    with torch.no_grad():
        width = pool(backbone.late(backbone.early(images))).shape[1]
    network = Network(backbone, build_head(width, 2, HeadParams(hidden=[], dropout=[0.5]), 0)).train()
    network.freeze_to(2)
    with torch.no_grad():
        assert torch.equal(network.features(images), network.features(images))  # no dropout, no stochastic depth
    assert {name.split(".")[0] for name in step(network, images)} == {"head"}
    network.freeze_to(0)
    changed = step(network, images)
    assert {name.split(".")[0] for name in changed} == {"early", "late", "head"}
    assert all(p.grad is not None for p in network.parameters())
    assert any("running_mean" in name for name in changed if name.startswith("late")) == ARCHS[arch].batchnorm


@pytest.mark.parametrize("arch", ARCHS)
def test_the_normalisation_of_every_weights_travels_with_them(arch):
    assert normalisation(arch, "weights/mine.pth") == normalisation(arch, "DEFAULT") == normalisation(arch, "none")
    for preset in models.get_model_weights(arch):
        expected = preset.transforms()
        if ARCHS[arch].transform_input:
            expected = SimpleNamespace(mean=[0.5] * 3, std=[0.5] * 3)
        for name in (preset.name, f"weights/{Path(preset.url).name}"):
            assert normalisation(arch, name) == (tuple(expected.mean), tuple(expected.std))


def test_not_every_weights_expect_imagenet_s_normalisation():
    assert normalisation("resnet18", "IMAGENET1K_V1")[0] == IMAGENET_MEAN
    assert normalisation("efficientnet_v2_l", "IMAGENET1K_V1")[0] == (0.5, 0.5, 0.5)
    assert normalisation("vgg16", "IMAGENET1K_FEATURES") == ((0.48235, 0.45882, 0.40784), (1 / 255,) * 3)


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
def test_networks_that_transform_their_input_see_what_they_do_in_torchvision(arch, tmp_path, monkeypatch):
    """Torchvision's own network and preset on one side, our backbone of the same weights on the other."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    preset = models.get_model_weights(arch).DEFAULT
    file = tmp_path / "hub/checkpoints" / Path(preset.url).name
    file.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(build_net(arch).state_dict(), file)
    images = torch.rand(2, 3, 75, 75)
    original = models.get_model(arch, weights=preset).eval()
    assert original.transform_input
    seen = []
    original.avgpool.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        original(normalize(images, preset.transforms().mean, preset.transforms().std))
        for weights in (preset.name, str(file)):
            features = Network(build_backbone(arch, weights, 1), torch.nn.Sequential()).eval().features(images)
            assert torch.allclose(features / seen[0].max(), pool(seen[0] / seen[0].max()), atol=1e-4)


def test_the_printed_table(monkeypatch, capsys):
    monkeypatch.setattr(
        module, "ARCHS", {arch: ARCHS[arch] for arch in ("resnet18", "regnet_x_400mf", "vit_b_32")}
    )
    module.main()
    assert capsys.readouterr().out.splitlines() == [
        "arch                       early         late  features  BatchNorm  size",
        "resnet18                 683,072   10,493,440     1,024  yes        16 pixels or more",
        "regnet_x_400mf            44,576    5,050,400       800  yes        16 pixels or more",
        "vit_b_32              44,889,600   42,528,768     1,536  no         "
        "multiples of 32, with torchvision's weights 224",
    ]


def test_the_pool_is_maximum_first_then_average():
    maps = torch.arange(16.0).view(1, 2, 2, 4)
    assert pool(maps).tolist() == [[7, 15, 3.5, 11.5]]


def test_the_pool_of_tokens_is_the_class_token_then_the_average_of_the_others():
    tokens = torch.tensor([[[1.0, 2.0], [3.0, 5.0], [5.0, 9.0]]])
    assert pool(tokens).tolist() == [[1, 2, 4, 7]]


def test_no_weights_are_drawn_from_the_seed_and_leave_torch_s_own_generator_alone():
    before = torch.random.get_rng_state()
    a, b, c = (build_backbone("squeezenet1_1", "none", seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(a.early[0].weight, b.early[0].weight)
    assert not torch.equal(a.early[0].weight, c.early[0].weight)


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
    monkeypatch.setattr(module, "_read_state", lambda path: old)
    backbone = build_backbone("vit_b_32", "w.pth", 0, 32)
    assert torch.equal(backbone.late[-2].mlp[3].weight, new["encoder.layers.encoder_layer_11.mlp.3.weight"])
    assert torch.equal(backbone.early[0].position, new["encoder.pos_embedding"])
    assert torch.equal(backbone.early[0].class_token, new["class_token"])
    with pytest.raises(
        UserError, match=r"other shapes \(model.size\?\): encoder.pos_embedding \[1, 2, 768\] instead"
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


@pytest.mark.parametrize("arch", [arch for arch in SMALL if ARCHS[arch].stem])
def test_the_small_stem_keeps_the_first_map_as_large_as_the_image(arch):
    """Maps are 2 or 4 times as large as with torchvision's stem, and there are as many features."""
    backbones = [build_backbone(arch, "none", 1, 64, stem) for stem in ("imagenet", "small")]
    images = torch.rand(2, 3, 64, 64)
    maps = []
    for backbone in backbones:
        backbone.early.eval(), backbone.late.eval()
        with torch.no_grad():
            maps.append(backbone.late(backbone.early(images)))
    pooled = len(ARCHS[arch].stem.split()) > 1
    assert maps[1].shape[2] == maps[0].shape[2] * (4 if pooled else 2)
    assert maps[1].shape[1] == maps[0].shape[1]


def test_the_table_of_stems_names_the_first_convolution_and_the_pool_after_it():
    for arch, how in ARCHS.items():
        if how.stem:
            net = outline(arch)
            name, *pool = how.stem.split()
            assert name == next(n for n, m in net.named_modules() if isinstance(m, torch.nn.Conv2d))
            assert all(isinstance(net.get_submodule(layer), torch.nn.MaxPool2d) for layer in pool)


def test_weights_for_another_stem_are_refused_and_the_stem_is_named(tmp_path):
    torch.save(build_net("resnet18").state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(UserError, match=r"has other shapes \(model\.stem\?\): conv1\.weight \[64, 3, 7, 7\]"):
        build_backbone("resnet18", str(tmp_path / "resnet18.pth"), 1, 32, "small")


def first_convolution(backbone):
    return next(m for m in backbone.early.modules() if isinstance(m, torch.nn.Conv2d))


def normalised(images, backbone):
    mean, std = torch.tensor(backbone.mean), torch.tensor(backbone.std)
    return (images - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)


@pytest.mark.parametrize("arch", SMALL)
@torch.no_grad()
def test_other_channels_respond_to_grey_as_rgb_does(arch):
    """Whatever the number of channels; where the first convolution sees no padding."""
    rgb = build_backbone(arch, "none", 1, SMALL[arch])
    first = first_convolution(rgb)
    grey = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = first(normalised(grey.expand(-1, 3, -1, -1), rgb))
    weight = first.weight.clone()
    for channels in (1, 2, 4, 5):
        adapted = cut(build_net(arch, SMALL[arch]), arch)
        adapted.mean, adapted.std = rgb.mean, rgb.std
        first_convolution(adapted).load_state_dict(first.state_dict())
        module.adapt_channels(adapted, channels)
        conv = first_convolution(adapted)
        assert conv.weight.shape[1] == conv.in_channels == len(adapted.mean) == len(adapted.std) == channels
        response = conv(normalised(grey.expand(-1, channels, -1, -1), adapted))
        edge = -(-conv.padding[0] // conv.stride[0])
        inner = slice(edge, expected.shape[-1] - edge)
        assert torch.allclose(response[..., inner, inner], expected[..., inner, inner], atol=1e-5)
        if channels > 3:  # colours keep their weights, but for the scale
            ratio = conv.weight[:, :3] / weight * torch.tensor(rgb.std).view(1, 3, 1, 1)
            assert torch.allclose(ratio, torch.full_like(ratio, sum(rgb.std) / channels), rtol=1e-3)


@pytest.mark.parametrize("arch", ["vit_b_32", "convnext_tiny"])  # whose first convolutions see no padding
@torch.no_grad()
def test_the_whole_network_of_one_channel_responds_to_grey_as_that_of_rgb(arch):
    grey = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    networks = [Network(build_backbone(arch, "none", 1, 64, channels=c), torch.nn.Identity()) for c in (3, 1, 4)]
    rgb, one, four = (
        network.eval()(grey.expand(-1, c, -1, -1)) for network, c in zip(networks, (3, 1, 4), strict=True)
    )
    assert torch.allclose(one, rgb, atol=1e-4) and torch.allclose(four, rgb, atol=1e-4)


def test_measured_values_bring_their_own_normalisation():
    backbone = build_backbone("resnet18", "none", 1)
    module.normalise(backbone, {"mean": [], "std": []})
    assert backbone.mean == IMAGENET_MEAN
    module.normalise(backbone, {"mean": [-20.0, -26.0, 6.0], "std": [3.0, 2.0, 4.0]})
    assert (backbone.mean, backbone.std) == ((-20, -26, 6), (3, 2, 4))
