import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from unfreeze.model.backbone import build_backbone
from unfreeze.model.backbones.torchvision import ARCHS
from unfreeze.model.fast.fused_conv import CudnnFusedConv, FusedConv, WinogradConv
from unfreeze.model.fast.inference import _can_fuse, for_inference
from unfreeze.model.network import Network


def network_of(arch, size):
    """A network whose BatchNorm layers do something: statistics and weights of a trained one."""
    network = Network(build_backbone(arch, "none", 1, size), nn.Identity())
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.1, 0.1),
                (module.running_var, 0.7, 1.3),
                (module.weight.data, 0.7, 1.3),
                (module.bias.data, -0.1, 0.1),
            ):
                tensor.uniform_(low, high, generator=generator)
    return network.eval()


def batchnorms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    ("arch", "size", "left"),
    [
        *[(arch, 64, 0) for arch in ("resnet18", "vgg11_bn", "googlenet", "mobilenet_v2", "mobilenet_v3_small")],
        *[(arch, 64, 0) for arch in ("mnasnet0_5", "shufflenet_v2_x0_5", "efficientnet_b0", "regnet_y_400mf")],
        ("inception_v3", 75, 0),
        ("densenet121", 64, 62),  # half of its layers normalise what they take in, not what a convolution gives
        ("maxvit_t", 224, 11),
        ("convnext_tiny", 64, 0),
        ("vit_b_32", 64, 0),
    ],
)
def test_it_says_the_same_in_fewer_operations(arch, size, left):
    network = network_of(arch, size)
    folded = for_inference(network)
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        expected, output = network(images), folded(images)
    assert torch.allclose(output, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert batchnorms(folded) == left and (batchnorms(network) > left or not ARCHS[arch].batchnorm)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def fused(group):
    """The fused convolutions of a group: activation, and whether something is added before it."""
    return [
        (module.activation, len(node.args) == 2)
        for node in group.graph.nodes
        if node.op == "call_module" and isinstance(module := group.get_submodule(node.target), FusedConv)
    ]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_convolutions_take_along_what_follows_them():
    early = for_inference(network_of("resnet18", 64)).early
    assert fused(early)[:5] == [("relu", False), ("relu", False), ("relu", True), ("relu", False), ("relu", True)]
    assert not any(
        isinstance(module, nn.ReLU) and any(node.target == name for node in early.graph.nodes)
        for name, module in early.named_modules()
    )
    mobile = [
        each
        for group in ("early", "late")
        for each in fused(getattr(for_inference(network_of("mobilenet_v2", 64)), group))
    ]
    assert mobile.count(("hardtanh", False)) == 35 and mobile.count((None, True)) == 10


class Odd(nn.Module):
    """What must not be fused, or only in part."""

    def __init__(self):
        super().__init__()
        self.norm, self.twice, self.kept = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.later, self.scaled, self.relu = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.ReLU()

    def forward(self, x):
        x = self.norm(x)
        x = self.relu(self.twice(x)) + self.twice(x)  # one convolution, called twice
        kept = self.kept(x)
        x = self.relu(kept) + kept  # what it gives is used again
        early = self.later(x)
        x = self.relu(early + x.sin())  # what is added does not exist before
        return self.relu(torch.add(self.scaled(x), x, alpha=2))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_only_what_may_be_fused_is():
    network = network_of("resnet18", 64)
    network.early, network.late = Odd().eval(), nn.Identity()
    folded, images = for_inference(network), torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    assert fused(folded.early) == []
    with torch.no_grad():
        assert torch.allclose(folded.early(images), network.early(images), atol=1e-6)


@pytest.mark.parametrize(
    ("activation", "other", "expected"),
    [
        ("relu", {}, True), ("relu", {"stride": 2, "kernel_size": 1}, True), ("hardtanh", {}, False),
        (None, {}, False), ("relu", {"groups": 4}, False), ("relu", {"padding": "same"}, False),
    ],
)  # fmt: skip
def test_a_gpu_fuses_what_cudnn_knows(activation, other, expected):
    """What it computes then is compared in test_gpu.py."""
    assert (
        CudnnFusedConv.supports(
            nn.Conv2d(**{"in_channels": 4, "out_channels": 4, "kernel_size": 3} | other), activation
        )
        == expected
    )
    assert not _can_fuse(torch.device("cuda"), half=False)


@pytest.mark.parametrize(("arch", "bound"), [("resnet18", 0.02), ("convnext_tiny", 0.02), ("vit_b_32", 0.02)])
def test_half_precision_is_near_and_its_head_gets_32_bits(arch, bound):
    network = network_of(arch, 64)
    folded = for_inference(network, half=True)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, output = network(images), folded(images)
    assert output.dtype == torch.float32
    error = ((output - expected).norm() / expected.norm()).item()
    assert 0 < error < bound


HALF_WITHOUT_THE_INSTRUCTIONS = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from test_inference import for_inference, network_of
network = network_of("resnet18", 64)
images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    expected, output = network(images), for_inference(network, half=True)(images)
print(((output - expected).norm() / expected.norm()).item())
"""


def test_half_precision_works_where_onednn_may_not_compute_in_it():
    command = [sys.executable, "-c", HALF_WITHOUT_THE_INSTRUCTIONS, str(Path(__file__).parent)]
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert 0 < float(output) < 0.02


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this torch has no MKL")
@pytest.mark.parametrize(("arch", "count"), [("resnet18", 9), ("resnet50", 10), ("vgg11_bn", 7)])
def test_large_convolutions_are_computed_by_winograd_s_algorithm(arch, count, monkeypatch):
    """Of large images, unless they are few, and not under `runtime.strict`: within 1e-5 relative."""
    monkeypatch.delenv("MKL_CBWR", raising=False)
    network, generator = network_of(arch, 128), torch.Generator().manual_seed(1)
    fast = for_inference(network)
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    exact = for_inference(network)
    layers = [module for module in fast.modules() if isinstance(module, WinogradConv)]
    assert len(layers) == count and not any(isinstance(module, WinogradConv) for module in exact.modules())
    many, few = (torch.rand(n, 3, side, side, generator=generator) for n, side in ((8, 128), (1, 32)))
    with torch.no_grad():
        fast(few)
        assert all(layer.transformed is None for layer in layers)
        expected, output = exact(many), fast(many)
    assert any(layer.transformed is not None for layer in layers)
    assert 0 < (output - expected).norm() <= 1e-5 * expected.norm()
    assert not any(isinstance(module, WinogradConv) for module in for_inference(network, half=True).modules())
