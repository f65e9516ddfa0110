"""A network as it predicts: the same function in fewer and cheaper operations."""

import copy
import operator
from collections import Counter

import torch
from torch import fx, nn
from torch.fx.experimental.optimization import fuse

from unfreeze.model.fast import winograd
from unfreeze.model.fast.fused_conv import CudnnFusedConv, FusedConv, WinogradConv
from unfreeze.model.network import Network

ADDITIONS = (operator.add, operator.iadd, torch.add)
ACTIVATIONS = {
    nn.ReLU: ("relu", []),
    nn.functional.relu: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.Hardswish: ("hardswish", []),
    nn.SiLU: ("swish", []),
}
"""oneDNN's names of activations, and their bounds."""


def for_inference(network: Network, half: bool = False) -> Network:
    """Copy `network` into one that only predicts, and faster. `network` itself stays as it is.

    - Each BatchNorm is folded into the convolution before it (Jacob et al. 2018, section 3.2). That changes the
      logits by rounding alone.
    - Weights lie in memory as convolutions read them fastest (channels last).
    - The addition and the activation after a convolution are computed with it: on CPUs, and on GPUs in bfloat16.
    - On CPUs large convolutions in 32 bits are computed by Winograd's algorithm (`winograd`).

    Args:
        half: the backbone computes in bfloat16, with 8 bits of precision.
    """
    fast = copy.deepcopy(network).eval().requires_grad_(False)
    fast.early, fast.late = _optimise(fast.early, half), _optimise(fast.late, half)
    if half:
        fast.bf16 = True
        fast.early.bfloat16(), fast.late.bfloat16()
    return fast.to(memory_format=torch.channels_last)


def _optimise(group: nn.Module, half: bool) -> nn.Module:
    """Fold the BatchNorm layers of a layer group and fuse its convolutions. Without BatchNorm, leave it."""
    weights = next((module.weight for module in group.modules() if isinstance(module, nn.BatchNorm2d)), None)
    if weights is None:
        return group
    traced = fuse(fx.symbolic_trace(group), inplace=True)
    if weights.dtype == torch.float32 and _can_fuse(weights.device, half):
        _fuse_convolutions(traced, half)
    return traced


def _can_fuse(device: torch.device, half: bool) -> bool:
    """Say whether a library computes a convolution with what follows it.

    On GPUs cuDNN does, in bfloat16. On CPUs oneDNN does; in bfloat16 it needs instructions that the CPU may lack
    or ONEDNN_MAX_CPU_ISA forbid.
    """
    if device.type == "cuda":
        return half and torch.version.cuda is not None  # AMD's GPUs have another library
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return not half or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _fuse_convolutions(traced: fx.GraphModule, half: bool) -> None:
    """Replace convolutions by fused ones, in place.

    A convolution takes along an addition, an activation, or both, if nothing else reads what it gives, and if the
    device's library can. One that Winograd's algorithm is faster for is replaced even if nothing follows it.
    """
    modules, earlier = dict(traced.named_modules()), set()
    calls = Counter(node.target for node in traced.graph.nodes)

    def operation_of(node: fx.Node | None) -> object:
        """The function that the node calls, or the type of the module."""
        return type(modules[node.target]) if node and node.op == "call_module" else node and node.target

    def only_user(node: fx.Node) -> fx.Node | None:
        return next(iter(node.users)) if len(node.users) == 1 else None

    for node in list(traced.graph.nodes):
        earlier.add(node)
        if operation_of(node) is not nn.Conv2d or calls[node.target] > 1:
            continue
        absorbed, others, (activation, bounds) = [], [], (None, [])
        following = only_user(node)
        if operation_of(following) in ADDITIONS and not following.kwargs:  # keywords would weigh the addition
            others = [each for each in following.args if each in earlier and each is not node]
            absorbed = [following] * len(others)
        following = only_user(absorbed[0] if absorbed else node)
        if operation_of(following) in ACTIVATIONS:
            activation, bounds = ACTIVATIONS[operation_of(following)]
            absorbed.append(following)
        conv = modules[node.target]
        kind = FusedConv
        if conv.weight.is_cuda:
            if not CudnnFusedConv.supports(conv, activation):
                continue
            kind = CudnnFusedConv
        elif not half and winograd.supports(conv) and activation in (None, "relu"):
            kind = WinogradConv
        if absorbed:
            absorbed[-1].replace_all_uses_with(node)
            for each in reversed(absorbed):
                traced.graph.erase_node(each)
            node.args = (*node.args, *others)
        if absorbed or kind is WinogradConv:
            traced.set_submodule(node.target, kind(conv, activation, bounds))
    traced.recompile()
