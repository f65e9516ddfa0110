"""torchvision's classification networks, cut into an early and a late layer group below their pooling."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from unfreeze import draws
from unfreeze.console import UserError
from unfreeze.params import Section

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WEIGHTS_FILES = (".safetensors", ".pth", ".pt")
# Keys in torchvision's files of DenseNet and ViT that are older than the modules' names.
RENAMED = (
    (r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),
    (r"\.mlp\.linear_1\.", ".mlp.0."),
    (r"\.mlp\.linear_2\.", ".mlp.3."),
)


@dataclass(frozen=True)
class Cut:
    """How the networks of a family are cut.

    `trunk` names the modules below the pooling in the order they run; a name ending in ".*" stands for the
    children of that module. The first `early` of them form the early group, the others the late one; None is
    half of them, rounded down.
    """

    archs: str
    trunk: str
    early: int | None = None
    batchnorm: bool = True
    relu: bool = False
    """The network's forward applies a ReLU to the trunk's output."""
    tokens: bool = False
    """The first module's map becomes tokens: a class token and position embeddings are added."""
    transform_input: bool = False
    """With its weights, the network turns ImageNet's normalisation into (x - 0.5) / 0.5 by itself."""
    stem: str = ""
    """The first convolution, and the max-pool after it if there is one, where `model.stem` can be small."""
    smallest: int = 16
    """Pixels a side that the input needs."""
    step: int = 1
    """The input's side is a multiple of this."""
    fixed: int | None = None
    """The one size that weights with a torchvision name take: they hold an embedding of each position."""
    fixed_e2e: int | None = None
    """The one size of those named SWAG_E2E."""

    @property
    def sizes(self) -> str:
        """The sizes that the input can have, in words."""
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


def _known_arch(arch: str) -> str:
    if arch not in ARCHS:
        raise ValueError(f"is not a network that can be cut here; there are {', '.join(ARCHS)}")
    return arch


class ModelParams(Section):
    """`model`: the backbone."""

    arch: Annotated[str, AfterValidator(_known_arch)]
    """A torchvision name."""
    weights: Annotated[str, Field(min_length=1)]
    """`none`, a torchvision weights name such as IMAGENET1K_V1, or a .safetensors/.pth state dict of `arch`."""
    stem: Literal["imagenet", "small"]
    """imagenet: torchvision's. small: for images of about 32 pixels, the first convolution 3 x 3 with stride 1 and
    no max-pool after it (He et al. 2016, section 4.2), so that their maps are not shrunk before they are read."""
    size: Annotated[int, Field(ge=16, le=2048)]
    """Pixels a side of what the network sees."""

    def check_with(self, params: SimpleNamespace) -> None:
        how = ARCHS[self.arch]
        named = self.weights.startswith("IMAGENET1K")
        fixed = how.fixed_e2e if "SWAG_E2E" in self.weights else how.fixed
        wrong = self.size < how.smallest or self.size % how.step
        if wrong or (named and fixed not in (None, self.size)):
            raise ValueError(f"model.size = {self.size}: {self.arch} takes {how.sizes}")
        if self.size > params.decode.size:
            raise ValueError(
                f"model.size = {self.size}: images are stored at decode.size = {params.decode.size}; store them "
                "at that size or more (about 1.15 times leaves room for random crops)"
            )
        if params.finetune.bn_freeze and not how.batchnorm:
            raise ValueError(
                f"finetune.bn_freeze = {params.finetune.bn_freeze} has no effect: {self.arch} has no BatchNorm"
            )
        if self.stem == "small" and not how.stem:
            able = ", ".join(arch for arch, cut in ARCHS.items() if cut.stem)
            raise ValueError(f"model.stem = small: {self.arch} has none; there is one for {able}")
        for size in params.finetune.sizes:
            if how.tokens or how.fixed or how.step > 1:
                raise ValueError(f"finetune.sizes = {params.finetune.sizes}: {self.arch} is built for one size")
            if size < how.smallest:
                raise ValueError(f"finetune.sizes = {params.finetune.sizes}: {self.arch} takes {how.sizes}")
        if Path(self.weights).suffix in WEIGHTS_FILES and not Path(self.weights).is_file():
            raise ValueError(f"model.weights = {self.weights!r}: there is no such file")


@dataclass
class Backbone:
    """The two layer groups and what they expect: mean and standard deviation a channel, of images in [0, 1]."""

    early: nn.Sequential
    late: nn.Sequential
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def build_backbone(
    arch: str, weights: str, seed: int, size: int = 224, stem: str = "imagenet", channels: int = 3
) -> Backbone:
    """Build `arch`, load `weights` (see `ModelParams`) and cut it. `none` initialises from `seed`.

    `size` is the input's side in pixels, which ViT and MaxViT are built for; `stem` as in `ModelParams`; for other
    `channels` than 3 see `adapt_channels`.

    Raises:
        UserError: weights that cannot be had, are damaged or belong to another network.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draws.seed_of(seed, "backbone"))
        net = build_net(arch, size)
        if stem == "small":
            shrink_stem(net, arch)
    backbone = cut(net, arch)
    backbone.mean, backbone.std = normalisation(arch, weights)
    if Path(weights).suffix in WEIGHTS_FILES:
        _load(net, backbone, _read_state(Path(weights)), weights)
    elif weights != "none":
        _load(net, backbone, _download(arch, weights), weights)
    if channels != 3:
        adapt_channels(backbone, channels)
    return backbone


def normalise(backbone: Backbone, own: Mapping[str, Sequence[float]]) -> None:
    """Give the backbone the data's own `mean` and `std` a channel, where there are any: those of measured values,
    in data/normalisation.json. Images keep what the weights expect."""
    if own.get("mean"):
        backbone.mean, backbone.std = tuple(own["mean"]), tuple(own["std"])


def adapt_channels(backbone: Backbone, channels: int) -> None:
    """Make the first convolution take `channels` in place of RGB, in place.

    With 4 or more, the first three stay red, green and blue and each other one gets the mean of their weights;
    with 1 or 2, all get that mean. All weights are then scaled by 3 / channels (the rule of timm's
    `adapt_input_conv`), so that an image with the same grey in all its channels gives the response of RGB.

    RGB's normalisation differs a channel, the new one is the same for all, their mean. The weights take up the
    ratio of the standard deviations and a bias the difference of the means. That makes the responses equal, except
    at the outermost pixels, where the padding is that one mean grey instead of RGB's mean colour.
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


def normalisation(arch: str, weights: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation a channel that `weights` expect.

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


def build_net(arch: str, size: int = 224) -> nn.Module:
    """The whole torchvision network for inputs of `size` pixels a side, initialised at random."""
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
    """Make the stem of a torchvision network the small one of `ModelParams.stem`, in place."""
    from torch import nn

    name, *pool = ARCHS[arch].stem.split()
    old = net.get_submodule(name)
    new = nn.Conv2d(old.in_channels, old.out_channels, 3, stride=1, padding=1, bias=old.bias is not None)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    net.set_submodule(name, new)
    for layer in pool:
        net.set_submodule(layer, nn.Identity())


def outline(arch: str, size: int | None = None) -> nn.Module:
    """The whole network on the meta device, where tensors have shapes but no content, in evaluation mode.

    `size` as in `build_backbone`; None is the smallest.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class EmptyOnMeta(TorchFunctionMode):
        """Parameters are made by `torch.empty`. `torch.device("meta")` takes RegNet's own sums away as well."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **{**(kwargs or {}), **({"device": "meta"} if func is torch.empty else {})})

    with EmptyOnMeta():
        return build_net(arch, size or ARCHS[arch].smallest).to("meta").eval()


def cut(net: nn.Module, arch: str) -> Backbone:
    """Cut a torchvision network into its layer groups, which share its modules."""
    from torch import nn

    how = ARCHS[arch]
    trunk: list[nn.Module] = []
    for name in how.trunk.split():
        module = net.get_submodule(name.removesuffix(".*"))
        trunk += module.children() if name.endswith(".*") else [module]
    early = len(trunk) // 2 if how.early is None else how.early
    if how.relu:
        trunk.append(nn.ReLU(inplace=True))
    if how.tokens:
        from unfreeze.model.adapters import Tokens

        trunk[0] = Tokens(net)
    return Backbone(nn.Sequential(*trunk[:early]), nn.Sequential(*trunk[early:]))


def pool(activations: Tensor) -> Tensor:
    """The pair of features a channel, `[B, 2C]`.

    Of maps `[B, C, H, W]`: maximum, then average, over the positions, as the course. Of a ViT's tokens
    `[B, 1 + N, C]`: the class token, then the average of the others, as in the linear evaluation of DINOv2
    (Oquab et al. 2023). Pretraining reads the class token alone: a pool without it would lose what the network
    was trained to say, and no loss has shaped what the last block makes of the others, so that a maximum over
    them says little.

    Activations in bfloat16 are pooled in 32 bits.
    """
    import torch

    if activations.dtype == torch.bfloat16:
        activations = activations.float()
    if activations.ndim == 3:
        return torch.cat([activations[:, 0], activations[:, 1:].mean(1)], dim=1)
    return torch.cat([activations.amax((2, 3)), activations.mean((2, 3))], dim=1)


def _download(arch: str, name: str) -> dict[str, Tensor]:
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
    return _read_state(file)


def _read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a state-dict file. Nothing in it is ever executed."""
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"model.weights = {path}: there is no such file") from None
    except (
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
        KeyError,
        pickle.UnpicklingError,
        SafetensorError,
    ) as error:
        raise UserError(
            f"model.weights = {path}: the file is damaged, incomplete or no plain state dict "
            f"({str(error).splitlines()[0][:200] if str(error) else type(error).__name__})"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"model.weights = {path}: holds no state dict (a mapping from names to tensors)")
    return state


def _load(net: nn.Module, backbone: Backbone, state: dict[str, Tensor], source: str) -> None:
    """Load `state` into the backbone's part of `net`; the classifier's keys may be missing or of other shapes."""
    for old, new in RENAMED:
        state = {re.sub(old, new, key): value for key, value in state.items()}
    own = net.state_dict(keep_vars=True)
    groups = (backbone.early, backbone.late)
    kept = {id(tensor) for group in groups for tensor in group.state_dict(keep_vars=True).values()}
    needed = {key for key, tensor in own.items() if id(tensor) in kept}
    # Files from before BatchNorm counted its batches lack this counter, which nothing here uses.
    missing = sorted(key for key in needed - state.keys() if not key.endswith("num_batches_tracked"))
    shapes = sorted(
        f"{key} {list(state[key].shape)} instead of {list(own[key].shape)}"
        for key in needed & state.keys()
        if state[key].shape != own[key].shape
    )
    unknown = sorted(state.keys() - own.keys())
    cause = " (model.size?)" if "pos_embedding" in "".join(shapes) else ""
    cause = cause or (" (model.stem?)" if len(shapes) == 1 and "7, 7" in shapes[0] else "")
    other = f"has other shapes{cause}:"
    for what, keys in (("lacks", missing), (other, shapes), ("has unknown keys:", unknown)):
        if keys:
            listed = ", ".join(keys[:8]) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")
            raise UserError(f"model.weights = {source} does not fit {type(net).__name__}: it {what} {listed}")
    for key in needed & state.keys():
        own[key].data.copy_(state[key])


def main() -> None:
    """Print the table of networks: parameters of the groups, features of an image, and what they ask for."""
    import torch

    print(f"{'arch':20}{'early':>12}{'late':>13}{'features':>10}  {'BatchNorm':11}size")
    for arch, how in ARCHS.items():
        backbone = cut(outline(arch), arch)
        early, late = (sum(p.numel() for p in group.parameters()) for group in (backbone.early, backbone.late))
        images = torch.empty(1, 3, how.smallest, how.smallest, device="meta")
        width = pool(backbone.late(backbone.early(images))).shape[1]
        batchnorm = "yes" if how.batchnorm else "no"
        print(f"{arch:20}{early:12,}{late:13,}{width:10,}  {batchnorm:11}{how.sizes}")


if __name__ == "__main__":
    main()
