from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small_backbones import EACH, SMALL, outline
from torchvision import models
from torchvision.transforms.functional import normalize

from unfreeze.model.backbone import build_backbone
from unfreeze.model.backbones.base import IMAGENET_MEAN
from unfreeze.model.backbones.torchvision import ARCHS, build_net, cut, resolve_normalisation
from unfreeze.model.network import Network
from unfreeze.model.pool import pool

CLASSIFIERS = {"fc", "classifier", "head", "heads", "aux1", "aux2", "AuxLogits"}
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
    family = ARCHS[arch]
    net = outline(arch)
    backbone = cut(net, arch)

    def width(size):
        return pool(backbone.late(backbone.early(torch.empty(1, 3, size, size, device="meta")))).shape[1]

    layers = [*backbone.early.modules(), *backbone.late.modules()]
    assert family.batchnorm == any(isinstance(layer, torch.nn.BatchNorm2d) for layer in layers)
    assert family.transform_input == hasattr(net, "transform_input")
    assert width(family.smallest) > 0
    if family.smallest > 16 and family.step == 1:
        with pytest.raises((RuntimeError, IndexError)):
            width(family.smallest - 1)


def test_maxvit_has_the_same_weights_for_every_size():
    small, large = (outline("maxvit_t", size).state_dict() for size in (224, 448))
    assert {key: value.shape for key, value in small.items()} == {key: v.shape for key, v in large.items()}


@pytest.mark.parametrize("arch", EACH)
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
    inputs = []
    place.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    with torch.no_grad():
        net(images)
        output = backbone.late(backbone.early(images))
    assert torch.allclose(expected(output), inputs[0], atol=1e-5)
    assert pool(output).shape == (2, 2 * output.shape[1 if output.ndim == 4 else 2])


@pytest.mark.parametrize("arch", ARCHS)
def test_the_normalisation_of_every_weights_travels_with_them(arch):
    default = resolve_normalisation(arch, "DEFAULT")
    assert default == resolve_normalisation(arch, "weights/mine.pth") == resolve_normalisation(arch, "none")
    for preset in models.get_model_weights(arch):
        expected = preset.transforms()
        if ARCHS[arch].transform_input:
            expected = SimpleNamespace(mean=[0.5] * 3, std=[0.5] * 3)
        for name in (preset.name, f"weights/{Path(preset.url).name}"):
            assert resolve_normalisation(arch, name) == (tuple(expected.mean), tuple(expected.std))


def test_not_every_weights_expect_imagenet_s_normalisation():
    assert resolve_normalisation("resnet18", "IMAGENET1K_V1")[0] == IMAGENET_MEAN
    assert resolve_normalisation("efficientnet_v2_l", "IMAGENET1K_V1")[0] == (0.5, 0.5, 0.5)
    assert resolve_normalisation("vgg16", "IMAGENET1K_FEATURES") == ((0.48235, 0.45882, 0.40784), (1 / 255,) * 3)


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
    inputs = []
    original.avgpool.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    with torch.no_grad():
        original(normalize(images, preset.transforms().mean, preset.transforms().std))
        for weights in (preset.name, str(file)):
            features = Network(build_backbone(arch, weights, 1), torch.nn.Sequential()).eval().features(images)
            assert torch.allclose(features / inputs[0].max(), pool(inputs[0] / inputs[0].max()), atol=1e-4)


@pytest.mark.parametrize("arch", [param for param in EACH if ARCHS[param.values[0]].stem])
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
    for arch, family in ARCHS.items():
        if family.stem:
            net = outline(arch)
            name, *pool = family.stem.split()
            assert name == next(n for n, m in net.named_modules() if isinstance(m, torch.nn.Conv2d))
            assert all(isinstance(net.get_submodule(layer), torch.nn.MaxPool2d) for layer in pool)
