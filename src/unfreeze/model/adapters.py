"""What a torchvision network does in its own forward, as a module."""

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer


class Tokens(nn.Module):
    """The first step of a ViT: images `[B, 3, H, W]` to tokens `[B, 1 + N, D]`, the class token first.

    Shares its parameters with `net`.
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
