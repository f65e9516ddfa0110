"""The part of a torchvision ViT's own forward that comes before its blocks, as a module."""

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer


class Tokens(nn.Module):
    """Turn images `[B, C, H, W]` into tokens `[B, 1 + N, D]`, the class token first, as `net` does.

    N is the number of patches. The parameters are those of `net`.
    """

    def __init__(self, net: VisionTransformer) -> None:
        super().__init__()
        self.patches = net.conv_proj
        self.class_token = net.class_token
        self.position = net.encoder.pos_embedding
        self.dropout = net.encoder.dropout

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(images.shape[0], -1, -1), patches], dim=1)
        return self.dropout(tokens + self.position)
