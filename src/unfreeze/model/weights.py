"""Pretrained weights: read a state-dict file, load its tensors into a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unfreeze.core.console import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unfreeze.model.backbones.base import Backbone

WEIGHTS_FILES = (".safetensors", ".pth", ".pt")
"""Suffixes that make `model.weights` a path."""
LISTED = 8
"""Keys that an error lists."""


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a state-dict file, by key. Nothing in the file is ever executed.

    Raises:
        UserError: there is no such file, it is damaged, or it holds anything but a mapping from names to tensors.
    """
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


def load_state(net: nn.Module, backbone: Backbone, state: dict[str, Tensor], source: str) -> None:
    """Copy `state` into the tensors of `net` that `backbone` shares, in place.

    The classifier's keys may be missing or have other shapes.

    Args:
        source: `model.weights`, for errors.

    Raises:
        UserError: the backbone needs a key that `state` lacks or has in another shape, or `net` does not know one.
    """
    own = net.state_dict(keep_vars=True)
    groups = (backbone.early, backbone.late)
    shared = {id(tensor) for group in groups for tensor in group.state_dict(keep_vars=True).values()}
    needed = {key for key, tensor in own.items() if id(tensor) in shared}
    # Files from before BatchNorm counted its batches lack this counter, which nothing here uses.
    missing = sorted(key for key in needed - state.keys() if not key.endswith("num_batches_tracked"))
    shapes = sorted(
        f"{key} {list(state[key].shape)} instead of {list(own[key].shape)}"
        for key in needed & state.keys()
        if state[key].shape != own[key].shape
    )
    unknown = sorted(state.keys() - own.keys())
    cause = " (model.image_size?)" if "pos_embedding" in "".join(shapes) else ""
    cause = cause or (" (model.stem?)" if len(shapes) == 1 and "7, 7" in shapes[0] else "")
    differs = f"has other shapes{cause}:"
    for problem, keys in (("lacks", missing), (differs, shapes), ("has unknown keys:", unknown)):
        if keys:
            listed = ", ".join(keys[:LISTED]) + (f" and {len(keys) - LISTED} more" if len(keys) > LISTED else "")
            raise UserError(f"model.weights = {source} does not fit {type(net).__name__}: it {problem} {listed}")
    for key in needed & state.keys():
        own[key].data.copy_(state[key])
