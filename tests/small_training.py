"""Small training problems that the tests of several rooms share."""

from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from unfreeze.features.read import Features
from unfreeze.model.head import HeadParams
from unfreeze.model.network import Network
from unfreeze.task.base import Task
from unfreeze.task.multi import Multi
from unfreeze.task.single import Single
from unfreeze.task.split_table import SplitTable
from unfreeze.train.finetune import Finetuning
from unfreeze.train.head import HeadData
from unfreeze.train.history import History
from unfreeze.train.schedule import FinetuneParams, StepParams, TrainHeadParams
from unfreeze.views.augment import AugmentParams
from unfreeze.views.images import Images

CPU = torch.device("cpu")
PLAIN = {
    "batch_size": 8, "optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.0, "label_smoothing": 0.0,
    "clip_norm": 0.0, "balance": "none",
}  # fmt: skip
"""A step without anything besides."""
HEAD = HeadParams(hidden=[16], dropout=[0.25, 0.5])
CLASSES = ["a", "b", "c"]


def step_params(**changes: Any) -> StepParams:
    return StepParams(**PLAIN | changes)


def head_params(**changes: Any) -> TrainHeadParams:
    schedule = {"schedule": "sgdr", "lr": 0.05, "cycles": 2, "cycle_len": 2, "cycle_mult": 2}
    return TrainHeadParams(**PLAIN | schedule | changes)


def finetune_params(**changes: Any) -> FinetuneParams:
    """One frozen and one unfrozen epoch."""
    schedule = {
        "schedule": "sgdr", "lr": 0.01, "lr_multipliers": [0.01, 0.1, 1], "frozen_cycles": 1, "cycles": 1,
        "cycle_len": 1, "cycle_mult": 1, "bn_freeze": False, "mixup": 0.0, "snapshots": 1, "sizes": [],
        "find_lr": 0,
    }  # fmt: skip
    return FinetuneParams(**PLAIN | schedule | changes)


def single_problem(fabric: Fabric) -> HeadData:
    """60 rows of three classes that features tell apart."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(60) % 3
    features = torch.randn(60, 5, generator=generator) * 0.3 + torch.eye(3, 5)[targets] * 2
    return head_data(fabric, features, targets, Single(CLASSES))


def multi_problem(fabric: Fabric) -> HeadData:
    """60 rows with any of three labels, which features tell; nobody labelled the last 6."""
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(60, 3, generator=generator) < 0.3).float()
    features = torch.randn(60, 5, generator=generator) * 0.3 + targets @ torch.eye(3, 5) * 2
    targets[54:] = float("nan")
    return head_data(fabric, features, targets, Multi(CLASSES))


def head_data(fabric: Fabric, features: Tensor, targets: Tensor, task: Task) -> HeadData:
    """Return data for heads on one view of each row; `features` is `[N, F]`."""
    return HeadData(fabric=fabric, features=Features(features[None]), targets=targets, task=task)


def split_table(task: Task, targets: np.ndarray, train: int) -> SplitTable:
    """Return a table whose first `train` rows train and whose other ones validate."""
    count = len(targets)
    rows = {"train": np.arange(train), "valid": np.arange(train, count), "test": np.arange(0)}
    return SplitTable(task=task, rows=rows, targets=targets, folds=np.full(count, -1), paths=[""] * count)


def start_finetuning(
    fabric: Fabric, network: Network, images: Images, table: SplitTable, history: History, **changes: Any
) -> Finetuning:
    """Return a fine-tuning of `finetune_params` without a checkpoint, but for the fields in `changes`."""
    fields = {
        "augment": AugmentParams(set="side_on", max_zoom=1.1, pad=0), "params": finetune_params(), "head_lr": None,
        "seed": 1, "checkpoint": None,
    }  # fmt: skip
    return Finetuning(
        fabric=fabric, network=network, images=images, table=table, history=history, **fields | changes
    )
