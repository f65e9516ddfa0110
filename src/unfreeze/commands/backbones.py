"""The networks that `model.arch` in params.yaml takes, as a table in a terminal."""

from unfreeze.model.backbones.torchvision import ARCHS, cut, outline
from unfreeze.model.pool import pool


def format_table() -> str:
    """Format parameters of the layer groups, features of an image, and what each network asks for."""
    import torch

    lines = [f"{'arch':20}{'early':>12}{'late':>13}{'features':>10}  {'BatchNorm':11}size"]
    for arch, family in ARCHS.items():
        backbone = cut(outline(arch), arch)
        early, late = (sum(p.numel() for p in group.parameters()) for group in (backbone.early, backbone.late))
        images = torch.empty(1, 3, family.smallest, family.smallest, device="meta")
        width = pool(backbone.late(backbone.early(images))).shape[1]
        batchnorm = "yes" if family.batchnorm else "no"
        lines.append(f"{arch:20}{early:12,}{late:13,}{width:10,}  {batchnorm:11}{family.sizes}")
    return "\n".join(lines)
