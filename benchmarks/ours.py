"""The tasks of `benchmarks.speed` as the stages of this project do them."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks.contender import FINDER_STEPS, HEAD_EPOCHS, VIEWS, run, timed, wake
from unfreeze.allocator import keep_freed_memory
from unfreeze.runtime import RuntimeParams, computes_half, start

STEP = {
    "optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.0, "label_smoothing": 0.0, "clip_norm": 0.0,
    "balance": "none",
}  # fmt: skip
HEAD_LR, LR = 0.01, 0.003
SEED = 1
ROWS, WIDTH = 20_000, 1024


def prepare(args, found) -> SimpleNamespace:
    """Everything below the network, with `found` told how long decoding took, before torch as in its stage."""
    from unfreeze.data.images import DecodeParams, decode_tar

    folder = Path(tempfile.mkdtemp(prefix="ours-", dir=args.data))
    paths = [folder / name for name in ("pixels.npy", "images.csv", "rejected.csv")]
    decode = DecodeParams(size=round(args.size * 292 / 256), fit="crop", channels="rgb", max_rejected=0.1)
    keep_freed_memory()
    with timed(found, "decode"):
        decode_tar(args.data / "extracted.tar", args.data / "extracted.csv", decode, *paths)
    fabric = start(RuntimeParams(device=args.device, precision=args.precision, strict=False, threads="auto"))
    wake(args.device)
    from unfreeze.data.labels import from_folders
    from unfreeze.data.split import SplitParams, make_splits
    from unfreeze.data.store import open_array
    from unfreeze.data.table import read_split, write_split
    from unfreeze.files import read_csv
    from unfreeze.model.backbone import build_backbone
    from unfreeze.model.head import HeadParams
    from unfreeze.train.augment import AugmentParams, Images

    rows = read_csv(folder / "images.csv")
    labels, _ = from_folders([row["path"] for row in rows])
    given = SplitParams(
        labels="folders", kind="single", id_column="auto", label_column="auto", group="none", numbers=[], seed=1,
        train="all", valid=0.2, test=0, folds=0,
    )  # fmt: skip
    splits = make_splits(labels, [row["pixels_sha256"] for row in rows], given)
    names = [label.label for label in labels]
    write_split(folder / "split.csv", rows, names, splits.split, splits.fold, "single")
    table = read_split(folder / "split.csv", len(rows))
    images = Images(open_array(folder / "pixels.npy"), args.size, fabric.device)
    return SimpleNamespace(
        fabric=fabric,
        folder=folder,
        table=table,
        images=images,
        backbone=build_backbone(args.arch, args.weights, SEED, args.size),
        head=HeadParams(hidden=[512], dropout=[0.25, 0.5]),
        augment=AugmentParams(set="side_on", max_zoom=1.1, pad=0),
    )


def features(args) -> dict:
    """Decode all images, and the frozen backbone's features of them."""
    found = {}
    task = prepare(args, found)
    with timed(found, "forward"):
        found["images"], _ = _write_features(task)
    found["seconds"] = found["decode"] + found["forward"]
    return found


def precompute(args) -> dict:
    """The features alone, of images that are decoded, by a network that is ready; a GPU computes them several
    times, for it is soon done."""
    found = {"images": 0}
    task = prepare(args, found)
    network, times = _as_it_predicts(task), 1
    if args.device == "cuda":
        _write_features(task, network)  # the first pass loads the programs of each layer
        times = 5
    with timed(found, "seconds"):
        for _ in range(times):
            found["images"] += _write_features(task, network)[0]
    return found


def frozen(args) -> dict:
    """Decode, features, and five epochs of the head on them."""
    found = {}
    task = prepare(args, found)
    with timed(found, "forward"):
        _write_features(task)
    with timed(found, "head"):
        _, found["score"] = _train_head(task, args.batch)
    found["images"] = HEAD_EPOCHS * len(task.table.rows["train"])
    found["seconds"] = found["decode"] + found["forward"] + found["head"]
    return found


def head(args) -> dict:
    """Five epochs of the course's head over ROWS x WIDTH random features in memory, in batches of 64."""
    fabric = start(RuntimeParams(device=args.device, precision="32", strict=False, threads="auto"))
    import torch

    from unfreeze.model.head import HeadParams
    from unfreeze.train.head import StoredFeatures

    features = np.random.default_rng(SEED).standard_normal((ROWS, WIDTH), np.float32)
    cache = StoredFeatures([features], np.empty((ROWS, 0), np.float32), fabric.device)
    found, rows = {"images": HEAD_EPOCHS * ROWS}, np.arange(ROWS)
    targets = torch.from_numpy(rows % 10).to(fabric.device)
    with timed(found, "seconds"):
        _fit_head(fabric, cache, HeadParams(hidden=[512], dropout=[0.25, 0.5]), targets, 10, rows, 64)
    return found


def unfrozen(args) -> dict:
    """Epochs of the whole network, validation included, after training the head on cached features."""
    from copy import deepcopy

    import torch

    from unfreeze.model.network import Network
    from unfreeze.train.augment import Images, kept_on
    from unfreeze.train.finetune import Finetuning
    from unfreeze.train.history import History
    from unfreeze.train.schedule import FinetuneParams

    found = {}
    task = prepare(args, found)
    _write_features(task)
    head, _ = _train_head(task, args.batch)
    params = FinetuneParams(
        **STEP, batch_size=args.batch, schedule="one_cycle", lr=LR, lr_multipliers=[0.1, 0.3, 1], frozen_cycles=0,
        cycles=1, cycle_len=args.epochs, cycle_mult=1, bn_freeze=False, mixup=0.0, snapshots=1, sizes=[],
        find_lr=0,
    )  # fmt: skip
    images = Images(kept_on(task.fabric.device, task.images.pixels), args.size, task.fabric.device)
    for _ in range(1 + (args.device == "cuda")):  # the first time loads a GPU's programs
        network = deepcopy(Network(task.backbone, head))
        network.to(task.fabric.device, memory_format=torch.channels_last)
        tuned = (task.fabric, network, images, task.table, task.augment, params, None, SEED)
        with History(task.folder, "accuracy") as history, timed(found, "seconds"):
            list(Finetuning(*tuned, history, None))
    found["images"] = args.epochs * len(task.table.rows["train"])
    found["valid"] = args.epochs * len(task.table.rows["valid"])
    found["score"] = history.epochs[-1].valid_score
    return found


def lr_find(args) -> dict:
    """The range test of the head on cached features."""
    import torch

    from unfreeze.model.head import build_head
    from unfreeze.train.head import head_learner
    from unfreeze.train.lr_finder import FindLrParams, find_lr
    from unfreeze.train.schedule import StepParams

    found = {}
    task = prepare(args, found)
    _write_features(task)
    rows = task.table.rows["train"]
    cache = _read_features(task)
    head = build_head(cache.width, len(task.table.classes), task.head, SEED).to(task.fabric.device)
    targets = torch.from_numpy(task.table.targets).to(task.fabric.device)
    with timed(found, "seconds"):
        learner = head_learner(
            task.fabric, head, cache, targets, rows, StepParams(**STEP, batch_size=args.batch), (SEED, "find-lr")
        )
        find_lr(FindLrParams(lr_min=1e-5, lr_max=10, steps=FINDER_STEPS), learner, rows)
    found["images"] = FINDER_STEPS * args.batch
    return found


def tta(args) -> dict:
    """The validation images by the plain view and four augmented ones."""
    import torch

    from unfreeze.evaluate.tta import predict_views
    from unfreeze.model.head import build_head
    from unfreeze.model.inference import for_inference
    from unfreeze.model.network import Network

    found = {}
    task = prepare(args, found)
    with torch.no_grad():
        width = Network(task.backbone, torch.nn.Identity()).eval()(task.images.plain(np.arange(1))).shape[1]
    head = build_head(width, len(task.table.classes), task.head, SEED)
    network = Network(task.backbone, head).to(task.fabric.device, memory_format=torch.channels_last)
    rows = task.table.rows["valid"]
    with timed(found, "seconds"):
        network = for_inference(network, computes_half(task.fabric))
        predict_views(task.fabric, network, task.images, rows, VIEWS, task.augment, SEED, args.batch)
    found["seconds"] += found["decode"] * len(rows) / len(task.images.pixels)
    found["images"] = len(rows)
    return found


def _as_it_predicts(task):
    """The frozen backbone."""
    from torch import nn

    from unfreeze.model.inference import for_inference
    from unfreeze.model.network import Network

    network = Network(task.backbone, nn.Identity()).to(task.fabric.device)
    return for_inference(network, computes_half(task.fabric))


def _write_features(task, network=None) -> tuple[int, int]:
    from unfreeze.train.augment import PrecomputeParams
    from unfreeze.train.precompute import write_features

    network = network or _as_it_predicts(task)
    plain = PrecomputeParams(set="none", max_zoom=1, pad=0, skip=False, views=0)
    return write_features(task.folder / "features", task.fabric, network, task.images, plain, SEED)


def _read_features(task):
    from unfreeze.data.store import write_array
    from unfreeze.train.head import read_features

    write_array(task.folder / "numbers.npy", np.empty((len(task.images.pixels), 0), np.float32))
    return read_features(task.folder / "features", task.folder / "numbers.npy", task.fabric.device)


def _train_head(task, batch: int) -> tuple:
    """The head after five epochs, and its accuracy on the validation images."""
    import torch

    from unfreeze.train.head import predict_head

    cache, table = _read_features(task), task.table
    targets = torch.from_numpy(table.targets).to(task.fabric.device)
    head = _fit_head(task.fabric, cache, task.head, targets, len(table.classes), table.rows["train"], batch)
    logits = predict_head(task.fabric, head, cache, table.rows["valid"])
    return head, float((logits.argmax(1).numpy() == table.targets[table.rows["valid"]]).mean())


def _fit_head(fabric, cache, shape, targets, classes: int, rows: np.ndarray, batch: int):
    """A head of this shape after five epochs on `rows`."""
    from unfreeze.model.head import build_head
    from unfreeze.train.head import fit_head
    from unfreeze.train.schedule import TrainHeadParams

    head = build_head(cache.width, classes, shape, SEED).to(fabric.device)
    params = TrainHeadParams(
        **STEP, batch_size=batch, schedule="one_cycle", lr=HEAD_LR, cycles=1, cycle_len=HEAD_EPOCHS, cycle_mult=1
    )  # fmt: skip
    for _ in fit_head(fabric, head, cache, targets, rows, params, HEAD_LR, (SEED, "train-head")):
        pass
    return head


if __name__ == "__main__":
    run({task.__name__: task for task in (features, precompute, frozen, head, unfrozen, lr_find, tta)})
