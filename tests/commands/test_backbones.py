"""The table of networks."""

from unfreeze.commands import backbones
from unfreeze.model.backbones.torchvision import ARCHS


def test_one_line_a_network(monkeypatch):
    monkeypatch.setattr(
        backbones, "ARCHS", {arch: ARCHS[arch] for arch in ("resnet18", "regnet_x_400mf", "vit_b_32")}
    )
    assert backbones.format_table().splitlines() == [
        "arch                       early         late  features  BatchNorm  size",
        "resnet18                 683,072   10,493,440     1,024  yes        16 pixels or more",
        "regnet_x_400mf            44,576    5,050,400       800  yes        16 pixels or more",
        "vit_b_32              44,889,600   42,528,768     1,536  no         "
        "multiples of 32, with torchvision's weights 224",
    ]
