"""Convolutions that take along the addition and the activation after them, in one pass over memory."""

import torch
from torch import Tensor, nn

from unfreeze.model.fast import winograd


class FusedConv(nn.Module):
    """A convolution, then the addition of another input, then an activation, by oneDNN.

    torch's compiler puts in the same operations; here nothing needs to be compiled.

    Args:
        activation: its name in oneDNN; None: there is none.
        bounds: the activation's parameters.
    """

    def __init__(self, conv: nn.Conv2d, activation: str | None, bounds: list[float]) -> None:
        super().__init__()
        self.conv, self.activation, self.bounds = conv, activation, bounds

    def forward(self, images: Tensor, other: Tensor | None = None) -> Tensor:
        """Convolve `images` `[B, C, H, W]`, add `other` `[B, K, H, W]` if there is one, activate."""
        conv, weight = self.conv, self.conv.weight
        images = images.to(weight.dtype)
        if other is None:
            return torch.ops.mkldnn._convolution_pointwise(
                images, weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups,
                self.activation or "none", self.bounds, "",
            )  # fmt: skip
        return torch.ops.mkldnn._convolution_pointwise.binary(
            images, other.to(weight.dtype), weight, conv.bias,
            conv.padding, conv.stride, conv.dilation, conv.groups,
            "add", 1.0, self.activation, self.bounds, "",
        )  # fmt: skip


class CudnnFusedConv(FusedConv):
    """The same by cuDNN, whose only activation is the ReLU."""

    @staticmethod
    def supports(conv: nn.Conv2d, activation: str | None) -> bool:
        """Say whether cuDNN computes `conv` with `activation`."""
        return activation == "relu" and conv.groups == 1 and isinstance(conv.padding, tuple)

    def forward(self, images: Tensor, other: Tensor | None = None) -> Tensor:
        conv, weight = self.conv, self.conv.weight
        images = images.to(weight.dtype)
        if other is None:
            return torch.cudnn_convolution_relu(
                images, weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups
            )
        return torch.cudnn_convolution_add_relu(
            images, weight, other.to(weight.dtype), 1.0,
            conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups,
        )  # fmt: skip


class WinogradConv(FusedConv):
    """The same by Winograd's algorithm, for batches that are large enough to gain by it."""

    transformed: Tensor | None = None
    """The weights as `winograd.convolve` takes them. They are made when they are first needed: a network of small
    images needs none."""

    def forward(self, images: Tensor, other: Tensor | None = None) -> Tensor:
        if not winograd.is_faster(images):
            return super().forward(images, other)
        if self.transformed is None:
            self.transformed = winograd.transform_weights(self.conv.weight)
        relu = self.activation == "relu"
        return winograd.convolve(images, self.transformed, self.conv.bias, other=other, relu=relu)
