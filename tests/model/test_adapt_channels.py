import pytest
import torch
from small_backbones import EACH, SMALL

from unfreeze.model.backbone import build_backbone
from unfreeze.model.backbones.base import IMAGENET_MEAN, adapt_channels, normalise
from unfreeze.model.backbones.torchvision import build_net, cut
from unfreeze.model.network import Network


def first_convolution(backbone):
    return next(m for m in backbone.early.modules() if isinstance(m, torch.nn.Conv2d))


def normalised(images, backbone):
    mean, std = torch.tensor(backbone.mean), torch.tensor(backbone.std)
    return (images - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)


@pytest.mark.parametrize("arch", EACH)
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
        adapt_channels(adapted, channels)
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
    normalise(backbone, {"mean": [], "std": []})
    assert backbone.mean == IMAGENET_MEAN
    normalise(backbone, {"mean": [-20.0, -26.0, 6.0], "std": [3.0, 2.0, 4.0]})
    assert (backbone.mean, backbone.std) == ((-20, -26, 6), (3, 2, 4))
