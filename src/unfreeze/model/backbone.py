"""The backbone that `model` in params.yaml describes. `unfreeze backbones` lists all there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from unfreeze.core import draws
from unfreeze.core.params import Section
from unfreeze.model.backbones.base import Backbone, adapt_channels
from unfreeze.model.backbones.torchvision import (
    ARCHS,
    build_net,
    cut,
    download_state,
    rename_old_keys,
    resolve_normalisation,
    shrink_stem,
)
from unfreeze.model.weights import WEIGHTS_FILES, load_state, read_state


def _check_arch(arch: str) -> str:
    if arch not in ARCHS:
        raise ValueError(f"is not a network that can be cut here; there are {', '.join(ARCHS)}")
    return arch


class ModelParams(Section):
    """`model`: the backbone."""

    arch: Annotated[str, AfterValidator(_check_arch)]
    """A torchvision name."""
    weights: Annotated[str, Field(min_length=1)]
    """`none`, a torchvision weights name such as IMAGENET1K_V1, or a .safetensors/.pth state dict of `arch`."""
    stem: Literal["imagenet", "small"]
    """imagenet: torchvision's. small: for images of about 32 pixels, the first convolution 3 x 3 with stride 1 and
    no max-pool after it (He et al. 2016, section 4.2), so that the first maps stay as large as the images."""
    image_size: Annotated[int, Field(ge=16, le=2048)]
    """Pixels a side of what the network sees."""

    def check_with(self, params: SimpleNamespace) -> Iterator[str]:
        family = ARCHS[self.arch]
        named = self.weights.startswith("IMAGENET1K")
        fixed = family.fixed_e2e if "SWAG_E2E" in self.weights else family.fixed
        wrong = self.image_size < family.smallest or self.image_size % family.step
        if wrong or (named and fixed not in (None, self.image_size)):
            yield (f"model.image_size = {self.image_size}: {self.arch} takes {family.sizes}")
        if self.image_size > params.decode.image_size:
            yield (
                f"model.image_size = {self.image_size}: images are stored at decode.image_size = "
                f"{params.decode.image_size}; store them at that size or more (about 1.15 times leaves room for "
                "random crops)"
            )
        if params.finetune.sets_batchnorm and not family.batchnorm:
            yield (f"finetune.bn_freeze = {params.finetune.bn_freeze} has no effect: {self.arch} has no BatchNorm")
        if self.stem == "small" and not family.stem:
            able = ", ".join(arch for arch, other in ARCHS.items() if other.stem)
            yield (f"model.stem = small: {self.arch} has none; there is one for {able}")
        for size in params.finetune.sizes if params.finetune.trains else []:
            if family.tokens or family.fixed or family.step > 1:
                yield (f"finetune.sizes = {params.finetune.sizes}: {self.arch} is built for one size")
            if size < family.smallest:
                yield (f"finetune.sizes = {params.finetune.sizes}: {self.arch} takes {family.sizes}")
        if Path(self.weights).suffix in WEIGHTS_FILES and not Path(self.weights).is_file():
            yield (f"model.weights = {self.weights!r}: there is no such file")


def build_backbone(
    arch: str, weights: str, seed: int, size: int = 224, stem: str = "imagenet", channels: int = 3
) -> Backbone:
    """Build `arch`, load `weights` and cut the network into its layer groups.

    Args:
        weights: as in `ModelParams`; `none` initialises from `seed`.
        size: the input's side in pixels, which ViT and MaxViT are built for.
        stem: as in `ModelParams`.
        channels: of the input; for other numbers than 3 see `adapt_channels`.

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
    backbone.mean, backbone.std = resolve_normalisation(arch, weights)
    if weights != "none":
        in_file = Path(weights).suffix in WEIGHTS_FILES
        state = read_state(Path(weights)) if in_file else download_state(arch, weights)
        load_state(net, backbone, rename_old_keys(state), source=weights)
    if channels != 3:
        adapt_channels(backbone, channels)
    return backbone
