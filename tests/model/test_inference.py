import pytest
import torch
from torch import nn

from unfreeze.model.backbone import ARCHS, build_backbone
from unfreeze.model.inference import for_inference
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
        expected, found = network(images), folded(images)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert batchnorms(folded) == left and (batchnorms(network) > left or not ARCHS[arch].batchnorm)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in folded.parameters())


@pytest.mark.parametrize(("arch", "bound"), [("resnet18", 0.02), ("convnext_tiny", 0.02), ("vit_b_32", 0.02)])
def test_half_precision_is_near_and_its_head_gets_32_bits(arch, bound):
    network = network_of(arch, 64)
    folded = for_inference(network, half=True)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = network(images), folded(images)
    assert found.dtype == torch.float32
    error = ((found - expected).norm() / expected.norm()).item()
    assert 0 < error < bound
