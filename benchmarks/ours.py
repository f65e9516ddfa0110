"""The tasks of `benchmarks.speed` as the stages of this project do them."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contender import FINDER_STEPS, HEAD_EPOCHS, VIEWS, run, timed, wake
from unfreeze.core.allocator import keep_freed_memory
from unfreeze.device.runtime import RuntimeParams, computes_half, start

STEP = {
    "optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.0, "label_smoothing": 0.0, "clip_norm": 0.0,
    "balance": "none",
}  # fmt: skip
HEAD_LR, LR = 0.01, 0.003
SEED = 1
ROWS, WIDTH = 20_000, 1024


@dataclass(frozen=True)
class Setup:
    """Everything below the network."""

    fabric: Any
    folder: Path
    """Where arrays may be written."""
    table: Any
    images: Any
    backbone: Any
    head: Any
    """Its shape."""
    augment: Any


def prepare(args, result: dict) -> Setup:
    """Decode and split; `result` is told how long decoding took, before torch as in its stage."""
    from unfreeze.images.decode import DecodeParams, decode_tar
    from unfreeze.images.members import ExtractedTar
    from unfreeze.images.outs import ImageFiles

    folder = Path(tempfile.mkdtemp(prefix="ours-", dir=args.data))
    decode = DecodeParams(image_size=round(args.size * 292 / 256), fit="crop", channels="rgb", max_rejected=0.1)
    tar = ExtractedTar(tar=args.data / "extracted.tar", index=args.data / "extracted.csv")
    keep_freed_memory()
    with timed(result, "decode"):
        decode_tar(tar, decode, ImageFiles.in_folder(folder))
    fabric = start(RuntimeParams(device=args.device, precision=args.precision, strict=False, threads="auto"))
    wake(args.device)
    from unfreeze.core import tables
    from unfreeze.core.arrays import open_array
    from unfreeze.labels.folders import label_by_folders
    from unfreeze.labels.params import SplitParams
    from unfreeze.labels.split import make_splits
    from unfreeze.model.backbone import build_backbone
    from unfreeze.model.head import HeadParams
    from unfreeze.task.kinds import TASKS
    from unfreeze.task.split_table import read_split, write_split
    from unfreeze.views.augment import AugmentParams
    from unfreeze.views.images import Images

    rows = tables.read(folder / "images.csv", {"path": "text", "pixels_sha256": "text"})
    paths = rows["path"].tolist()
    labels, _ = label_by_folders(paths)
    params = SplitParams(
        labels="folders", kind="single", id_column="auto", label_column="auto", group="none", numbers=[], seed=1,
        train="all", valid=0.2, test=0, folds=0,
    )  # fmt: skip
    splits = make_splits(labels, rows["pixels_sha256"], params)
    write_split(
        folder / "split.csv",
        task=TASKS[params.kind],
        paths=paths,
        labels=[label.label for label in labels],
        split=splits.split,
        fold=splits.fold,
    )
    return Setup(
        fabric=fabric,
        folder=folder,
        table=read_split(folder / "split.csv", len(rows)),
        images=Images(open_array(folder / "pixels.npy"), args.size, fabric.device),
        backbone=build_backbone(args.arch, args.weights, SEED, args.size),
        head=HeadParams(hidden=[512], dropout=[0.25, 0.5]),
        augment=AugmentParams(set="side_on", max_zoom=1.1, pad=0),
    )


def features(args) -> dict:
    """Decode all images, and the frozen backbone's features of them."""
    result = {}
    setup = prepare(args, result)
    with timed(result, "forward"):
        result["images"], _ = _write_features(setup)
    result["seconds"] = result["decode"] + result["forward"]
    return result


def precompute(args) -> dict:
    """The features alone, of images that are decoded, by a network that is ready; a GPU computes them several
    times, for it is soon done."""
    result = {"images": 0}
    setup = prepare(args, result)
    network, times = _for_prediction(setup), 1
    if args.device == "cuda":
        _write_features(setup, network)  # the first pass loads the programs of each layer
        times = 5
    with timed(result, "seconds"):
        for _ in range(times):
            result["images"] += _write_features(setup, network)[0]
    return result


def frozen(args) -> dict:
    """Decode, features, and five epochs of the head on them."""
    result = {}
    setup = prepare(args, result)
    with timed(result, "forward"):
        _write_features(setup)
    with timed(result, "head"):
        _, result["score"] = _train_head(setup, args.batch)
    result["images"] = HEAD_EPOCHS * len(setup.table.rows["train"])
    result["seconds"] = result["decode"] + result["forward"] + result["head"]
    return result


def head(args) -> dict:
    """Five epochs of the course's head over ROWS x WIDTH random features in memory, in batches of 64."""
    fabric = start(RuntimeParams(device=args.device, precision="32", strict=False, threads="auto"))
    import torch

    from unfreeze.features.read import StoredFeatures
    from unfreeze.model.head import HeadParams
    from unfreeze.task.single import Single
    from unfreeze.train.head import HeadData

    features = np.random.default_rng(SEED).standard_normal((ROWS, WIDTH), np.float32)
    result, rows = {"images": HEAD_EPOCHS * ROWS}, np.arange(ROWS)
    data = HeadData(
        fabric=fabric,
        features=StoredFeatures([features], np.empty((ROWS, 0), np.float32), fabric.device),
        targets=torch.from_numpy(rows % 10).to(fabric.device),
        task=Single([str(digit) for digit in range(10)]),
    )
    with timed(result, "seconds"):
        _fit_head(data, HeadParams(hidden=[512], dropout=[0.25, 0.5]), rows, batch=64)
    return result


def unfrozen(args) -> dict:
    """Epochs of the whole network, validation included, after training the head on cached features."""
    from copy import deepcopy

    import torch

    from unfreeze.model.network import Network
    from unfreeze.train.finetune import Finetuning
    from unfreeze.train.history import History
    from unfreeze.train.schedule import FinetuneParams
    from unfreeze.views.images import Images, keep_on_gpu

    result = {}
    setup = prepare(args, result)
    _write_features(setup)
    head, _ = _train_head(setup, args.batch)
    params = FinetuneParams(
        **STEP, batch_size=args.batch, schedule="one_cycle", lr=LR, lr_multipliers=[0.1, 0.3, 1], frozen_cycles=0,
        cycles=1, cycle_len=args.epochs, cycle_mult=1, bn_freeze=False, mixup=0.0, snapshots=1, sizes=[],
        find_lr=0,
    )  # fmt: skip
    device = setup.fabric.device
    images = Images(keep_on_gpu(device, setup.images.pixels), args.size, device)
    for _ in range(1 + (args.device == "cuda")):  # the first time loads a GPU's programs
        network = deepcopy(Network(setup.backbone, head))
        network.to(device, memory_format=torch.channels_last)
        with History(setup.folder, setup.table.task.headline) as history, timed(result, "seconds"):
            tuning = Finetuning(
                fabric=setup.fabric,
                network=network,
                images=images,
                table=setup.table,
                augment=setup.augment,
                params=params,
                head_lr=None,
                seed=SEED,
                history=history,
                checkpoint=None,
            )
            list(tuning)
    result["images"] = args.epochs * len(setup.table.rows["train"])
    result["valid"] = args.epochs * len(setup.table.rows["valid"])
    result["score"] = history.epochs[-1].valid_score
    return result


def lr_find(args) -> dict:
    """The range test of the head on cached features."""
    from unfreeze.train.head import head_learner
    from unfreeze.train.lr_finder import FindLrParams, find_lr
    from unfreeze.train.schedule import StepParams

    result = {}
    setup = prepare(args, result)
    _write_features(setup)
    rows, data = setup.table.rows["train"], _read_head_data(setup)
    head = data.new_head(setup.head, SEED)
    with timed(result, "seconds"):
        learner = head_learner(
            data=data,
            head=head,
            rows=rows,
            params=StepParams(**STEP, batch_size=args.batch),
            key=(SEED, "find-lr"),
        )
        find_lr(FindLrParams(lr_min=1e-5, lr_max=10, steps=FINDER_STEPS), learner, rows)
    result["images"] = FINDER_STEPS * args.batch
    return result


def tta(args) -> dict:
    """The validation images by the plain view and four augmented ones."""
    import torch

    from unfreeze.evaluate.tta import Views, predict_views
    from unfreeze.model.fast.inference import for_inference
    from unfreeze.model.head import build_head
    from unfreeze.model.network import Network

    result = {}
    setup = prepare(args, result)
    with torch.no_grad():
        width = Network(setup.backbone, torch.nn.Identity()).eval()(setup.images.plain(np.arange(1))).shape[1]
    head = build_head(width, len(setup.table.classes), setup.head, SEED)
    network = Network(setup.backbone, head).to(setup.fabric.device, memory_format=torch.channels_last)
    rows = setup.table.rows["valid"]
    with timed(result, "seconds"):
        predict_views(
            fabric=setup.fabric,
            network=for_inference(network, computes_half(setup.fabric)),
            views=Views(images=setup.images, count=VIEWS, augment=setup.augment, seed=SEED),
            rows=rows,
            batch_size=args.batch,
            task=setup.table.task,
        )
    result["seconds"] += result["decode"] * len(rows) / len(setup.images.pixels)
    result["images"] = len(rows)
    return result


def _for_prediction(setup: Setup):
    """The frozen backbone."""
    from torch import nn

    from unfreeze.model.fast.inference import for_inference
    from unfreeze.model.network import Network

    network = Network(setup.backbone, nn.Identity()).to(setup.fabric.device)
    return for_inference(network, computes_half(setup.fabric))


def _write_features(setup: Setup, network=None) -> tuple[int, int]:
    from unfreeze.features.params import PrecomputeParams
    from unfreeze.features.write import write_features

    return write_features(
        folder=setup.folder / "features",
        fabric=setup.fabric,
        network=network or _for_prediction(setup),
        images=setup.images,
        params=PrecomputeParams(set="none", max_zoom=1, pad=0, skip=False, views=0),
        seed=SEED,
    )


def _read_head_data(setup: Setup):
    """What a head trains on."""
    import torch

    from unfreeze.core.arrays import write_array
    from unfreeze.features.read import read_features
    from unfreeze.train.head import HeadData

    device, numbers = setup.fabric.device, setup.folder / "numbers.npy"
    write_array(numbers, np.empty((len(setup.images.pixels), 0), np.float32))
    return HeadData(
        fabric=setup.fabric,
        features=read_features(folder=setup.folder / "features", numbers=numbers, device=device),
        targets=torch.from_numpy(setup.table.targets).to(device),
        task=setup.table.task,
    )


def _train_head(setup: Setup, batch: int) -> tuple:
    """The head after five epochs, and its accuracy on the validation images."""
    data, valid = _read_head_data(setup), setup.table.rows["valid"]
    head = _fit_head(data, setup.head, setup.table.rows["train"], batch)
    logits = data.predict(head, valid)
    return head, float((logits.argmax(1).numpy() == setup.table.targets[valid]).mean())


def _fit_head(data, shape, rows: np.ndarray, batch: int):
    """A head of this shape after five epochs on `rows`."""
    from unfreeze.train.head import fit_head
    from unfreeze.train.schedule import TrainHeadParams

    head = data.new_head(shape, SEED)
    params = TrainHeadParams(
        **STEP, batch_size=batch, schedule="one_cycle", lr=HEAD_LR, cycles=1, cycle_len=HEAD_EPOCHS, cycle_mult=1
    )  # fmt: skip
    for _ in fit_head(data=data, head=head, rows=rows, params=params, lr=HEAD_LR, key=(SEED, "train-head")):
        pass
    return head


if __name__ == "__main__":
    run({task.__name__: task for task in (features, precompute, frozen, head, unfrozen, lr_find, tta)})
