"""A network as it predicts: the same function in fewer and cheaper operations."""

import copy
import operator
from collections import Counter

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from unfreeze.model import winograd
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
    """A copy that only predicts: each BatchNorm is folded into the convolution before it (Jacob et al. 2018,
    section 3.2), which changes what it says by rounding alone, and weights lie as convolutions read them fastest.
    The addition and the activation after a convolution are computed with it (on a GPU in bfloat16 alone), and on a
    CPU large convolutions in 32 bits by Winograd's algorithm (`winograd`).

    Args:
        half: the backbone computes in bfloat16, with 8 bits of precision. `network` itself is left as it is.
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    folded.early, folded.late = _fold(folded.early, half), _fold(folded.late, half)
    if half:
        folded.bf16 = True
        folded.early.bfloat16(), folded.late.bfloat16()
    return folded.to(memory_format=torch.channels_last)


def _fold(group: nn.Module, half: bool) -> nn.Module:
    weights = next((module.weight for module in group.modules() if isinstance(module, nn.BatchNorm2d)), None)
    if weights is None:
        return group
    folded = fuse(fx.symbolic_trace(group), inplace=True)
    if weights.dtype == torch.float32 and _can_join(weights.device, half):
        _join(folded, half)
    return folded


def _can_join(device: torch.device, half: bool) -> bool:
    """Whether there is a library that computes so: cuDNN in bfloat16; oneDNN with the instructions that it may use
    (ONEDNN_MAX_CPU_ISA)."""
    if device.type == "cuda":
        return half and torch.version.cuda is not None  # AMD's GPUs have another one
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return not half or torch.ops.mkldnn._is_mkldnn_bf16_supported()


class Joined(nn.Module):
    """A convolution, then the addition of another input, then an activation, in one pass over memory.

    These are the operations of oneDNN that torch's compiler puts in as well; here nothing needs to be compiled.
    """

    def __init__(self, conv: nn.Conv2d, activation: str | None, bounds: list[float]) -> None:
        super().__init__()
        self.conv, self.activation, self.bounds = conv, activation, bounds

    def forward(self, images: Tensor, other: Tensor | None = None) -> Tensor:
        conv, dtype = self.conv, self.conv.weight.dtype
        how = (conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups)
        if other is None:
            operation = torch.ops.mkldnn._convolution_pointwise
            return operation(images.to(dtype), *how, self.activation or "none", self.bounds, "")
        operation = torch.ops.mkldnn._convolution_pointwise.binary
        return operation(images.to(dtype), other.to(dtype), *how, "add", 1.0, self.activation, self.bounds, "")


class GpuJoined(Joined):
    """The same by cuDNN, which takes an addition along, and no activation but the ReLU."""

    @staticmethod
    def suits(conv: nn.Conv2d, activation: str | None) -> bool:
        """Whether cuDNN knows such a one."""
        return activation == "relu" and conv.groups == 1 and isinstance(conv.padding, tuple)

    def forward(self, images: Tensor, other: Tensor | None = None) -> Tensor:
        conv, dtype = self.conv, self.conv.weight.dtype
        how = (conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)
        if other is None:
            return torch.cudnn_convolution_relu(images.to(dtype), conv.weight, *how)
        return torch.cudnn_convolution_add_relu(images.to(dtype), conv.weight, other.to(dtype), 1.0, *how)


class Winograd(Joined):
    """The same by Winograd's algorithm, of as many and as large images as it is faster for."""

    weights: Tensor | None = None
    """Mapped when first they are needed, and beside the others: a network of small images needs none."""

    def forward(self, images: Tensor, other: Tensor | None = None) -> Tensor:
        if not winograd.pays(images):
            return super().forward(images, other)
        if self.weights is None:
            self.weights = winograd.mapped(self.conv.weight)
        return winograd.convolve(images, self.weights, self.conv.bias, other, self.activation == "relu")


def _join(network: fx.GraphModule, half: bool) -> None:
    """Put a `Joined` in the place of each convolution that is only added to, or activated, or both, as far as the
    device's library can, and a `Winograd` in the place of each that is faster so."""
    modules, before = dict(network.named_modules()), set()
    calls = Counter(node.target for node in network.graph.nodes)

    def what(node: fx.Node | None) -> object:
        """The function that the node calls, or the type of the module."""
        return type(modules[node.target]) if node and node.op == "call_module" else node and node.target

    def only_user(node: fx.Node) -> fx.Node | None:
        return next(iter(node.users)) if len(node.users) == 1 else None

    for node in list(network.graph.nodes):
        before.add(node)
        if what(node) is not nn.Conv2d or calls[node.target] > 1:
            continue
        spent, others, activation = [], [], (None, [])
        after = only_user(node)
        if what(after) in ADDITIONS and not after.kwargs:  # those would weigh it
            others = [each for each in after.args if each in before and each is not node]
            spent = [after] * len(others)
        after = only_user(spent[0] if spent else node)
        if what(after) in ACTIVATIONS:
            activation = ACTIVATIONS[what(after)]
            spent.append(after)
        conv = modules[node.target]
        kind, alone = Joined, False
        if conv.weight.is_cuda:
            if not GpuJoined.suits(conv, activation[0]):
                continue
            kind = GpuJoined
        elif not half and winograd.suits(conv) and activation[0] in (None, "relu"):
            kind, alone = Winograd, True  # even if nothing follows it
        if spent:
            spent[-1].replace_all_uses_with(node)
            for each in reversed(spent):
                network.graph.erase_node(each)
            node.args = (*node.args, *others)
        if spent or alone:
            network.set_submodule(node.target, kind(conv, *activation))
    network.recompile()
