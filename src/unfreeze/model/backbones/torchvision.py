"""torchvision's classification networks, cut into an early and a late layer group below their pooling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unfreeze.core.console import UserError
from unfreeze.model.backbones.base import Backbone
from unfreeze.model.weights import WEIGHTS_FILES, read_state

if TYPE_CHECKING:
    from torch import Tensor, nn

RENAMED = (
    (r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),
    (r"\.mlp\.linear_1\.", ".mlp.0."),
    (r"\.mlp\.linear_2\.", ".mlp.3."),
)
"""Keys in torchvision's files of DenseNet and ViT that are older than the modules' names."""


@dataclass(frozen=True)
class Cut:
    """How the networks of a family are cut, and what they ask for."""

    archs: str
    """The family's names in torchvision, separated by spaces."""
    trunk: str
    """The modules below the pooling, in the order they run, separated by spaces. A name that ends in ".*" stands
    for the children of that module."""
    early: int | None = None
    """How many modules of the trunk form the early group; the others form the late one. None is half of them,
    rounded down."""
    batchnorm: bool = True
    """The trunk has BatchNorm layers."""
    relu: bool = False
    """The network's forward applies a ReLU to the trunk's output."""
    tokens: bool = False
    """The first module's map becomes tokens: a class token and position embeddings are added."""
    transform_input: bool = False
    """With its weights, the network turns ImageNet's normalisation into (x - 0.5) / 0.5 by itself."""
    stem: str = ""
    """The first convolution, and the max-pool after it if there is one, where `model.stem` can be small."""
    smallest: int = 16
    """The least number of pixels a side that the input needs."""
    step: int = 1
    """The input's side is a multiple of this number of pixels."""
    fixed: int | None = None
    """The one size in pixels that weights with a torchvision name take: they hold an embedding a position."""
    fixed_e2e: int | None = None
    """The one size in pixels of weights named SWAG_E2E."""

    @property
    def sizes(self) -> str:
        """Say in words which sizes the input can have."""
        if self.fixed is None:
            return f"{self.smallest} pixels or more" if self.step == 1 else f"multiples of {self.step}"
        e2e = f" ({self.fixed_e2e} with SWAG_E2E)" if self.fixed_e2e else ""
        return f"multiples of {self.step}, with torchvision's weights {self.fixed}{e2e}"


VIT = "conv_proj encoder.layers.* encoder.ln"
CUTS = (
    Cut(
        "resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d resnext101_32x8d resnext101_64x4d "
        "wide_resnet50_2 wide_resnet101_2",
        "conv1 bn1 relu maxpool layer1 layer2 layer3 layer4",
        early=6,
        stem="conv1 maxpool",
    ),
    Cut("alexnet", "features.*", batchnorm=False, smallest=63),
    Cut("vgg11 vgg13 vgg16 vgg19", "features.*", batchnorm=False, smallest=32),
    Cut("vgg11_bn vgg13_bn vgg16_bn vgg19_bn", "features.*", smallest=32),
    # the halves of googlenet and inception_v3 end where the stride becomes 16
    Cut(
        "googlenet",
        "conv1 maxpool1 conv2 conv3 maxpool2 inception3a inception3b maxpool3 inception4a inception4b inception4c "
        "inception4d inception4e maxpool4 inception5a inception5b",
        early=8,
        transform_input=True,
    ),
    Cut(
        "inception_v3",
        "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 maxpool1 Conv2d_3b_1x1 Conv2d_4a_3x3 maxpool2 Mixed_5b "
        "Mixed_5c Mixed_5d Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e Mixed_7a Mixed_7b Mixed_7c",
        early=10,
        transform_input=True,
        smallest=75,
    ),
    # densenet: stem (4 modules), block and transition 1 and 2 | block and transition 3, block 4, norm
    Cut(
        "densenet121 densenet161 densenet169 densenet201",
        "features.*",
        early=8,
        relu=True,
        smallest=29,
        stem="features.conv0 features.pool0",
    ),
    Cut("squeezenet1_0", "features.*", batchnorm=False, smallest=21),
    Cut("squeezenet1_1", "features.*", batchnorm=False, smallest=17),
    Cut("mobilenet_v2 mobilenet_v3_small mobilenet_v3_large", "features.*", stem="features.0.0"),
    # mnasnet: stem (8 modules), stack 1 and 2 | stack 3 to 6, last convolution
    Cut("mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3", "layers.*", early=10, stem="layers.0"),
    Cut(
        "shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0",
        "conv1 maxpool stage2 stage3 stage4 conv5",
        early=3,
        stem="conv1.0 maxpool",
    ),
    Cut(
        "efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 "
        "efficientnet_b6 efficientnet_b7 efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l",
        "features.*",
        stem="features.0.0",
    ),
    Cut(
        "regnet_x_400mf regnet_x_800mf regnet_x_1_6gf regnet_x_3_2gf regnet_x_8gf regnet_x_16gf regnet_x_32gf "
        "regnet_y_400mf regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf regnet_y_8gf regnet_y_16gf regnet_y_32gf "
        "regnet_y_128gf",
        "stem trunk_output.*",
        early=3,
        stem="stem.0",
    ),
    Cut("convnext_tiny convnext_small convnext_base convnext_large", "features.*", batchnorm=False, smallest=32),
    Cut(
        "swin_t swin_s swin_b swin_v2_t swin_v2_s swin_v2_b",
        "features.* norm permute",
        early=4,
        batchnorm=False,
    ),
    # maxvit: stem, block 1 and 2 | block 3 and 4; each block's map is made of windows of 7
    Cut("maxvit_t", "stem blocks.*", early=3, smallest=224, step=224),
    Cut("vit_b_16", VIT, batchnorm=False, tokens=True, step=16, fixed=224, fixed_e2e=384),
    Cut("vit_l_16", VIT, batchnorm=False, tokens=True, step=16, fixed=224, fixed_e2e=512),
    Cut("vit_b_32 vit_l_32", VIT, batchnorm=False, tokens=True, smallest=32, step=32, fixed=224),
    Cut("vit_h_14", VIT, batchnorm=False, tokens=True, smallest=28, step=14, fixed=224, fixed_e2e=518),
)
ARCHS = {arch: cut for cut in CUTS for arch in cut.archs.split()}


def build_net(arch: str, size: int = 224) -> nn.Module:
    """Build the whole network, initialised at random, for inputs of `size` pixels a side."""
    from torchvision.models import get_model

    options: dict[str, Any] = {}
    if arch.startswith(("googlenet", "inception")):
        options["init_weights"] = True
    if arch.startswith("vit"):
        options["image_size"] = size
    if arch.startswith("maxvit"):
        options["input_size"] = (size, size)
    return get_model(arch, **options)


def shrink_stem(net: nn.Module, arch: str) -> None:
    """Replace the stem of `net` by the small one of `ModelParams.stem`, in place."""
    from torch import nn

    name, *pool = ARCHS[arch].stem.split()
    old = net.get_submodule(name)
    new = nn.Conv2d(old.in_channels, old.out_channels, 3, stride=1, padding=1, bias=old.bias is not None)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    net.set_submodule(name, new)
    for layer in pool:
        net.set_submodule(layer, nn.Identity())


def outline(arch: str, size: int | None = None) -> nn.Module:
    """Build the whole network on the meta device, where tensors have shapes but no content, in evaluation mode.

    Args:
        size: the input's side in pixels; None is the smallest.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class EmptyOnMeta(TorchFunctionMode):
        """Make what `torch.empty` makes on the meta device: all parameters.

        `torch.device("meta")` would do so with the sums that RegNet computes its widths by as well.
        """

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **{**(kwargs or {}), **({"device": "meta"} if func is torch.empty else {})})

    with EmptyOnMeta():
        return build_net(arch, size or ARCHS[arch].smallest).to("meta").eval()


def cut(net: nn.Module, arch: str) -> Backbone:
    """Cut a network into its layer groups, which share its modules."""
    from torch import nn

    family = ARCHS[arch]
    trunk: list[nn.Module] = []
    for name in family.trunk.split():
        module = net.get_submodule(name.removesuffix(".*"))
        trunk += module.children() if name.endswith(".*") else [module]
    early = len(trunk) // 2 if family.early is None else family.early
    if family.relu:
        trunk.append(nn.ReLU(inplace=True))
    if family.tokens:
        from unfreeze.model.backbones.tokens import Tokens

        trunk[0] = Tokens(net)
    return Backbone(nn.Sequential(*trunk[:early]), nn.Sequential(*trunk[early:]))


def resolve_normalisation(arch: str, weights: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give the mean and the standard deviation a channel that `weights` expect, of images in [0, 1].

    A file expects what torchvision's file of that name does. `none` and files of other names get those of
    the network's default weights.
    """
    from torchvision.models import get_model_weights

    if ARCHS[arch].transform_input:
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    presets = get_model_weights(arch)
    named = (preset for preset in presets if Path(weights).stem in (preset.name, Path(preset.url).stem))
    transforms = next(named, presets.DEFAULT).transforms()
    return tuple(transforms.mean), tuple(transforms.std)


def download_state(arch: str, name: str) -> dict[str, Tensor]:
    """Read the weights that torchvision has under `name`, by key; download their file if torch.hub lacks it.

    Raises:
        UserError: there are no such weights, their file is damaged or cannot be downloaded.
    """
    import torch
    import torchvision

    presets = torchvision.models.get_model_weights(arch)
    if name not in presets.__members__:
        raise UserError(
            f"model.weights = {name!r}: {arch} has {', '.join(presets.__members__)}; `none` or a path to a "
            f"{'/'.join(WEIGHTS_FILES)} file work too"
        )
    preset = presets[name]
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(preset.url).name
    if not file.is_file():
        try:
            return preset.get_state_dict(progress=True, check_hash=True)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"model.weights = {name}: {file.name} could not be downloaded ({error}). Without a network, put "
                f"that file into {file.parent}, or name a state dict of {arch} on disk in model.weights, or set "
                "model.weights to none and train from scratch"
            ) from None
    return read_state(file)


def rename_old_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of a file of any age the names that today's modules have."""
    for old, new in RENAMED:
        state = {re.sub(old, new, key): value for key, value in state.items()}
    return state
