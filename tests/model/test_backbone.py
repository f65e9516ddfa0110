import re
from types import SimpleNamespace

import pytest
import torch
from small_backbones import EACH, SMALL
from small_training import finetune_params
from torchvision import models

from unfreeze.model.backbone import ModelParams, build_backbone
from unfreeze.model.backbones.torchvision import ARCHS
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.network import Network
from unfreeze.model.pool import pool


@pytest.mark.parametrize("arch", [arch for arch, family in ARCHS.items() if family.step > 1])
def test_sizes_of_torchvision_s_weights(arch):
    for preset in models.get_model_weights(arch):
        size = preset.meta["min_size"][0]
        assert not find_problems(arch, preset.name, size)
        if ARCHS[arch].fixed:
            other = size + ARCHS[arch].step
            assert not find_problems(arch, "none", other)
            (problem,) = find_problems(arch, preset.name, other)
            assert re.match(rf"model\.image_size = {other}: {arch} takes multiples of .*\b{size}\b", problem)


@pytest.mark.parametrize(
    ("arch", "size", "takes"),
    [
        ("inception_v3", 74, "75 pixels or more"),
        ("maxvit_t", 300, "multiples of 224"),
        ("vit_b_16", 225, "multiples of 16, with torchvision's weights 224 \\(384 with SWAG_E2E\\)"),
    ],
)
def test_sizes_that_a_network_cannot_take_are_refused_with_the_params(arch, size, takes):
    (problem,) = find_problems(arch, "none", size)
    assert re.match(f"model.image_size = {size}: {arch} takes {takes}", problem)


def find_problems(arch, weights, size):
    section = ModelParams(arch=arch, weights=weights, stem="imagenet", image_size=size)
    others = SimpleNamespace(decode=SimpleNamespace(image_size=size), finetune=finetune_params())
    return list(section.check_with(others))


def step(network, images):
    """The names of parameters and buffers that one step of training changes."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.01)
    network(images).square().sum().backward()
    optimizer.step()
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("arch", EACH)
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


def test_no_weights_are_drawn_from_the_seed_and_leave_torch_s_own_generator_alone():
    before = torch.random.get_rng_state()
    a, b, c = (build_backbone("squeezenet1_1", "none", seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(a.early[0].weight, b.early[0].weight)
    assert not torch.equal(a.early[0].weight, c.early[0].weight)
