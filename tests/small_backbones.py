"""One small network of every family of torchvision."""

from functools import cache

import pytest

from unfreeze.model.backbones import torchvision

SMALL = dict.fromkeys(
    [
        *["resnet18", "vgg11", "vgg11_bn", "googlenet", "densenet121", "squeezenet1_1", "mobilenet_v2"],
        *["mobilenet_v3_small", "mnasnet0_5", "shufflenet_v2_x0_5", "efficientnet_b0", "regnet_y_400mf"],
        *["convnext_tiny", "swin_t", "swin_v2_t", "vit_b_32"],
    ],
    64,
) | {"alexnet": 63, "inception_v3": 75, "maxvit_t": 224}
"""Name -> the input's side in pixels."""
QUICK = ("resnet18", "mobilenet_v2", "shufflenet_v2_x0_5")
EACH = [pytest.param(arch, marks=() if arch in QUICK else pytest.mark.slow) for arch in SMALL]
"""All of them, to be parametrized with: `make test` takes the quick ones alone."""
outline = cache(torchvision.outline)
