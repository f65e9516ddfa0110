"""Pooling: from the backbone's last activations to the features that the head reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pool(activations: Tensor) -> Tensor:
    """Pool activations into two features a channel, `[B, 2C]`, in 32 bits where activations are bfloat16.

    Maps `[B, C, H, W]` give their maximum over the positions, then their average, as in the course.

    Tokens `[B, 1 + N, C]` of a ViT give the class token, then the average of the others, as in the linear
    evaluation of DINOv2 (Oquab et al. 2023). Pretraining reads the class token alone, so that a pool without it
    would lose what the network learned. No loss has shaped the last block's other tokens, so that a maximum over
    them says little.
    """
    import torch

    if activations.dtype == torch.bfloat16:
        activations = activations.float()
    if activations.ndim == 3:
        return torch.cat([activations[:, 0], activations[:, 1:].mean(1)], dim=1)
    return torch.cat([activations.amax((2, 3)), activations.mean((2, 3))], dim=1)
