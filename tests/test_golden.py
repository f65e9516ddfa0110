"""Twenty losses of the head and of fine-tuning on a fixed tiny input, in full precision.

A change that must not alter numbers leaves tests/golden/ alone; one that may writes it anew with
`python tests/test_golden.py`.
"""

import json
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import pytest
import torch
from small_training import split_table, start_finetuning

from unfreeze.core import draws
from unfreeze.device.runtime import RuntimeParams, start
from unfreeze.features.read import Features
from unfreeze.model.backbone import build_backbone
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.network import Network
from unfreeze.task.single import Single
from unfreeze.train.head import HeadData, fit_head
from unfreeze.train.history import History
from unfreeze.train.schedule import FinetuneParams, TrainHeadParams
from unfreeze.views import augment
from unfreeze.views.images import Images

GOLDEN = Path(__file__).parent / "golden"
HEAD = HeadParams(hidden=[16], dropout=[0.25, 0.5])
STEP = {
    "batch_size": 8,
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 1e-3,
    "label_smoothing": 0.0,
    "clip_norm": 0.0,
    "balance": "none",
    "schedule": "sgdr",
}


def in_64_bits(images):
    """Stored images as `augment` reads them, but in 64 bits: training would blow the rounding of 32 bits, which
    differs between CPUs and thread counts, up to percents."""
    return images.permute(0, 3, 1, 2).double() / 255


def one_cpu():
    return start(RuntimeParams(device="cpu", precision="32", strict=False, threads="auto"))


def head_losses() -> list[float]:
    targets = torch.arange(40) % 3
    features = torch.from_numpy(draws.uniform(np.arange(40), 6, 0, "golden")).float() + torch.eye(3, 6)[targets]
    head = build_head(6, 3, HEAD, 1)
    params = TrainHeadParams(**STEP, lr=0.05, cycles=2, cycle_len=2, cycle_mult=1)
    data = HeadData(fabric=one_cpu(), features=Features(features[None]), targets=targets, task=Single(list("abc")))
    epochs = fit_head(data, head, rows=np.arange(40), params=params, lr=params.lr, key=(1, "golden"))
    return [step.loss for step in chain(*epochs)]


def finetune_losses() -> list[float]:
    pixels = (draws.uniform(np.arange(56), 36 * 36 * 3, 0, "golden") * 256).astype(np.uint8).reshape(-1, 36, 36, 3)
    table = split_table(Single(["a", "b"]), np.arange(56) % 2, train=40)
    network = Network(build_backbone("resnet18", "none", 1), build_head(1024, 2, HEAD, 1))
    params = FinetuneParams(
        **STEP, lr=0.01, lr_multipliers=[0.01, 0.1, 1], frozen_cycles=1, cycles=2, cycle_len=1, cycle_mult=2,
        bn_freeze=True, mixup=0.0, snapshots=1, sizes=[], find_lr=0,
    )  # fmt: skip
    doubles = patch.object(augment, "_as_float", in_64_bits)
    with doubles, TemporaryDirectory() as folder, History(Path(folder), "accuracy") as history:
        images = Images(pixels, 32, torch.device("cpu"))
        list(start_finetuning(one_cpu(), network.double(), images, table, history, params=params))
    return [step.loss for step in history.steps]


LOSSES = {"head": head_losses, "finetune": finetune_losses}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_the_golden_ones(name):
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    assert len(golden) == 20
    # Other instruction sets and thread counts round differently: room for that and for nothing else.
    assert LOSSES[name]() == pytest.approx(golden, rel=1e-4)


if __name__ == "__main__":
    for name, losses in LOSSES.items():
        (GOLDEN / f"{name}.json").write_text(json.dumps(losses(), indent=1) + "\n")
