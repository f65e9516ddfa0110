"""What each of several ranks runs for tests/device/test_ranks.py: `train_on_ranks.py FOLDER RANKS`."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from small_training import split_table, start_finetuning
from torch import nn
from torchvision.ops import StochasticDepth

from unfreeze.core import draws
from unfreeze.device.runtime import TrainingRuntimeParams, start
from unfreeze.model.backbones.base import Backbone
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.network import Network
from unfreeze.task.multi import Multi
from unfreeze.task.single import Single
from unfreeze.train.history import History
from unfreeze.train.schedule import FinetuneParams
from unfreeze.views.augment import AugmentParams
from unfreeze.views.images import Images
from unfreeze.views.predict import Predictor

ROWS = 26 + 13
"""Batches of 8, 8, 8 and 2 train: three ranks share them unevenly, and of the last one the first has no row."""
PARAMS = {
    "batch_size": 8, "optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-3, "label_smoothing": 0.0,
    "clip_norm": 0.0, "balance": "none", "schedule": "sgdr", "lr": 0.05, "lr_multipliers": [0.1, 0.3, 1],
    "frozen_cycles": 1, "cycles": 1, "cycle_len": 2, "cycle_mult": 1, "bn_freeze": False, "mixup": 0.0,
    "snapshots": 1, "sizes": [], "find_lr": 0,
}  # fmt: skip
CASES = {
    "plain": {},
    "mixup, clipped, lr auto": {"mixup": 0.4, "clip_norm": 0.5, "find_lr": 20, "lr": 0.02, "optimizer": "adamw"},
    "balanced loss, bn_freeze": {"balance": "loss", "bn_freeze": True, "label_smoothing": 0.1},
    "balanced draws, train_bn": {"balance": "sample", "bn_freeze": "train"},
    "several labels": {"balance": "loss", "mixup": 0.4},
}


class Doubles(Images):
    """Images in 64 bits, so that nothing but a fault makes more than a tiny difference."""

    def resize(self, size):
        return self

    def plain(self, rows, epoch=0):
        images, numbers = super().plain(rows)
        return images.double(), numbers.double()

    def augmented(self, rows, epoch, params, *key):
        images, numbers = super().augmented(rows, epoch, params, *key)
        return images.double(), numbers.double()


def conv(channels, out, stride):
    return nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)


def build() -> Network:
    """With what sees other rows than its own: BatchNorm, stochastic depth, and dropout in the head."""
    torch.manual_seed(0)
    early = nn.Sequential(conv(3, 6, 2), nn.BatchNorm2d(6), nn.ReLU())
    late = nn.Sequential(nn.Sequential(conv(6, 8, 2), StochasticDepth(0.4, "row"), nn.BatchNorm2d(8)), nn.ReLU())
    head = build_head(2 * 8 + 1, 3, HeadParams(hidden=[16], dropout=[0.25, 0.5]), 1)
    return Network(Backbone(early, late), head).double()


def train(fabric, folder: Path, case: str) -> tuple[dict[str, np.ndarray], list[float]]:
    """Return the weights and the logits of the validation rows afterwards, and the loss of each step."""
    task = Multi if case == "several labels" else Single
    targets = np.arange(ROWS) % 3 // (1 + np.arange(ROWS) % 2)  # unequally frequent
    if task is Multi:
        targets = (draws.uniform(np.arange(ROWS), 3, 0, "labels") < [0.5, 0.3, 0.1]).astype(np.float32)
    pixels = (draws.uniform(np.arange(ROWS), 12 * 12 * 3, 0, "pixels") * 256).astype(np.uint8)
    numbers = draws.uniform(np.arange(ROWS), 1, 0, "numbers").astype(np.float32)
    table = split_table(task(["a", "b", "c"]), targets, train=26)
    images = Doubles(pixels.reshape(-1, 12, 12, 3), 8, fabric.device, numbers=numbers)
    network = build()
    with History(folder / case, table.task.headline, writes=fabric.is_global_zero) as history:
        params = FinetuneParams(**PARAMS | CASES[case])
        augment = AugmentParams(set="top_down", max_zoom=1.1, pad=0)
        list(start_finetuning(fabric, network, images, table, history, params=params, augment=augment))
    logits = Predictor(fabric, network, images.plain, batch_size=4).predict(table.rows["valid"])
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    return weights | {"logits": logits.numpy()}, [step.loss for step in history.steps]


def main(folder: Path, ranks: int) -> None:
    params = TrainingRuntimeParams(device="cpu", precision="32", strict=False, threads=1, devices=ranks)
    fabric = start(params, devices=ranks)
    mine = folder / f"{fabric.global_rank} of {ranks}"
    for case in CASES:
        left, losses = train(fabric, mine, case)
        (mine / case).mkdir(parents=True, exist_ok=True)
        np.savez(mine / case / "left.npz", **left)
        (mine / case / "losses.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
