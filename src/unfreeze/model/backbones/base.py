"""The contract between a provider of backbones and the rest of the pipeline.

A provider is a module beside this one. It gives:

- `ARCHS`: its networks by name, each with the facts that `ModelParams` checks (`torchvision.Cut`): the input sizes
  that the network takes, whether it has BatchNorm, whether there is a small stem for it;
- `build_net(arch, size)`: the whole network, initialised at random; `shrink_stem(net, arch)`: its small stem;
  `outline(arch, size)`: the network without content, for its shapes;
- `cut(net, arch)`: the network's `Backbone`, which shares its modules;
- `resolve_normalisation(arch, weights)`: mean and standard deviation a channel that the weights expect;
- `download_state(arch, name)`: the tensors of weights that the provider has under `name`, and
  `rename_old_keys(state)`: tensors of a file of any age by the names of today's modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class Backbone:
    """A network below its pooling, in two layer groups: `late` takes what `early` gives.

    `mean` and `std` hold one number a channel: `early` takes images `[B, C, H, W]`, in [0, 1] or measured values,
    from which `mean` was subtracted and which were then divided by `std`.
    """

    early: nn.Sequential
    late: nn.Sequential
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def normalise(backbone: Backbone, normalisation: Mapping[str, Sequence[float]]) -> None:
    """Set the backbone's mean and standard deviation to those of the data, in place.

    Args:
        normalisation: `mean` and `std` a channel, as in data/normalisation.json. Measured values have them. Both
            are empty for images, which keep what the weights expect.
    """
    if normalisation.get("mean"):
        backbone.mean, backbone.std = tuple(normalisation["mean"]), tuple(normalisation["std"])


def adapt_channels(backbone: Backbone, channels: int) -> None:
    """Make the first convolution take `channels` channels instead of RGB, in place.

    With 4 channels or more, the first three stay red, green and blue, and each other channel gets the mean of
    their weights. With 1 or 2, all get that mean. All weights are then scaled by 3 / channels (the rule of timm's
    `adapt_input_conv`), so that an image with the same grey in all its channels gives the response of RGB.

    RGB's mean and standard deviation differ by channel. The new ones are the same for all channels: their
    averages. The weights take up the ratio of the standard deviations, and a bias takes up the difference of the
    means. That makes the responses equal, except at the outermost pixels: there the padding is that one mean grey
    instead of RGB's mean colour.
    """
    import torch
    from torch import nn

    conv = next(module for module in backbone.early.modules() if isinstance(module, nn.Conv2d))
    mean, std = torch.tensor(backbone.mean), torch.tensor(backbone.std)
    with torch.no_grad():
        rgb = conv.weight / std.view(1, 3, 1, 1)
        shift = (rgb.sum((2, 3)) * (mean.mean() - mean)).sum(1)
        grey = rgb.mean(1, keepdim=True)
        own = [rgb] if channels > 3 else []
        weight = torch.cat([*own, grey.expand(-1, channels - 3 * len(own), -1, -1)], dim=1)
        conv.weight = nn.Parameter(weight * std.mean() * 3 / channels)
        conv.bias = nn.Parameter(shift if conv.bias is None else conv.bias + shift)
    conv.in_channels = channels
    backbone.mean = (mean.mean().item(),) * channels
    backbone.std = (std.mean().item(),) * channels
