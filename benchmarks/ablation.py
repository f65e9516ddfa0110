"""What each technique of the recipe is worth: validation error over seeds, as two tables in Markdown.

    make ablation ARCHIVE=photos.7z WEIGHTS=mobilenet_v2.pth

The archive is one of photographs whose splits are given. One seed decides the head's first weights, the order of
the images, dropout and augmentation; the images and their splits are the same for all. Every line of the first
table is the one above with one thing changed, so that it says what that thing does here, on this much data. The
second table is of the head alone: what cached augmented views do for it, also on the sample's digits.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from unfreeze.console import progress
from unfreeze.data.archive import extract
from unfreeze.data.images import DecodeParams, decode_tar
from unfreeze.data.labels import from_folders
from unfreeze.data.split import SplitParams, make_splits
from unfreeze.data.store import open_array
from unfreeze.data.table import SplitTable, read_split, write_split
from unfreeze.evaluate.tta import predict_views
from unfreeze.files import read_csv
from unfreeze.model.head import HeadParams, build_head
from unfreeze.runtime import RuntimeParams, computes_half, start
from unfreeze.train.augment import AugmentParams, Images
from unfreeze.train.schedule import FinetuneParams, TrainHeadParams

ROOT = Path(__file__).parents[1]
VIEWS = (0, 4, 8)


@dataclass
class Task:
    """Images with their splits, and the recipe they are trained by."""

    images: Images
    table: SplitTable
    arch: str
    weights: str
    head: HeadParams
    train_head: TrainHeadParams
    finetune: FinetuneParams
    augment: AugmentParams


def prepare(folder: Path, archive: Path, recipe: Path, weights: str, size: int, fabric) -> Task:
    """Extract, decode and split `archive` as `recipe` says, at `size` pixels."""
    params = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    tar, index = folder / "extracted.tar", folder / "extracted.csv"
    pixels, images_csv, split_csv = folder / "pixels.npy", folder / "images.csv", folder / "split.csv"
    extract(archive, tar, index, 10**11)
    stored = round(size * params["decode"]["size"] / params["model"]["size"])
    decode = DecodeParams(**params["decode"] | {"size": stored})
    decode_tar(tar, index, decode, pixels, images_csv, folder / "rejected.csv")
    found = read_csv(images_csv)
    labels, _ = from_folders([row["path"] for row in found])
    splits = make_splits(labels, [row["pixels_sha256"] for row in found], SplitParams(**params["split"]))
    write_split(split_csv, found, [label.label for label in labels], splits.split, splits.fold, "single")
    array = open_array(pixels)
    return Task(
        Images(array, size, fabric.device),
        read_split(split_csv, len(array)),
        params["model"]["arch"],
        weights,
        HeadParams(**params["head"]),
        TrainHeadParams(**params["train_head"]),
        FinetuneParams(**params["finetune"]),
        AugmentParams(**params["augment"]),
    )


def cached(fabric, task: Task, views: int, seed: int):
    """Features of the plain view of all images, and of `views` augmented ones of those that train."""
    import torch
    from torch import nn

    from unfreeze.model.backbone import build_backbone
    from unfreeze.model.inference import for_inference
    from unfreeze.model.network import Network
    from unfreeze.train.head import Features
    from unfreeze.train.loop import predict

    backbone = build_backbone(task.arch, task.weights, seed, task.images.size)
    network = for_inference(Network(backbone, nn.Identity()).to(fabric.device), computes_half(fabric))
    everything, train = np.arange(len(task.table.targets)), task.table.rows["train"]
    plain = predict(fabric, network, task.images.plain, everything, 32)
    cache = plain.repeat(1 + views, 1, 1)
    for view in range(views):

        def augmented(rows, epoch, view=view):
            return task.images.augmented(rows, view, task.augment, seed, "precompute")

        cache[1 + view, torch.from_numpy(train)] = predict(fabric, network, augmented, train, 32)
    return Features(cache.to(fabric.device))


def trained_head(fabric, task: Task, features, seed: int):
    """A head on `features`, and its error on the validation images."""
    import torch

    from unfreeze.train.head import fit_head, predict_head

    targets = torch.from_numpy(task.table.targets).to(fabric.device)
    head = build_head(features.width, len(task.table.classes), task.head, seed).to(fabric.device)
    params = task.train_head
    for _ in fit_head(
        fabric, head, features, targets, task.table.rows["train"], params, params.lr, (seed, "train-head")
    ):
        pass
    return head, error(task, predict_head(fabric, head, features, task.table.rows["valid"]).numpy())


def error(task: Task, scores: np.ndarray) -> float:
    """Share of the validation images that `scores` `[V, C]` get wrong."""
    return float((scores.argmax(1) != task.table.targets[task.table.rows["valid"]]).mean())


def finetuned(fabric, task: Task, head, seed: int, snapshots: int = 1, **changes) -> Iterator[tuple[str, float]]:
    """Fine-tune from a copy of `head`; yields the errors of the plain view, of TTA, and of snapshots with TTA."""
    from copy import deepcopy

    from torch import channels_last

    from unfreeze.model.backbone import build_backbone
    from unfreeze.model.inference import for_inference
    from unfreeze.model.network import Network
    from unfreeze.train.finetune import Finetuning, snapshot_epochs
    from unfreeze.train.history import History

    params = task.finetune.model_copy(update=changes)
    backbone = build_backbone(task.arch, task.weights, seed, task.images.size)
    network = Network(backbone, deepcopy(head)).to(fabric.device, memory_format=channels_last)
    views, found = (task.table.rows["valid"], 4, task.augment, seed, 32, False), []

    def predicted():
        return predict_views(fabric, for_inference(network, computes_half(fabric)), task.images, *views)

    with tempfile.TemporaryDirectory() as folder, History(Path(folder), "accuracy") as history:
        how = (task.augment, params, None, seed, history, None)
        training = Finetuning(fabric, network, task.images, task.table, *how)
        kept = snapshot_epochs(training.phases, snapshots)
        for epoch in training:
            if epoch.epoch in kept:
                found.append(predicted()[1])
    plain, tta = predicted()
    yield "plain", error(task, plain)
    yield "tta", error(task, tta)
    yield "snapshots", error(task, np.mean([*found, tta], axis=0))


def row(name: str, errors: list[float]) -> str:
    """A line of a table: mean, standard deviation and range, in percent."""
    values = 100 * np.array(errors)
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return f"| {name} | {values.mean():.2f} | {spread:.2f} | {values.min():.2f} .. {values.max():.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("weights")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--size", type=int, default=224, help="pixels a side of what the network sees")
    args = parser.parse_args()
    fabric = start(RuntimeParams(device="auto", precision="auto", strict=False, threads="auto"))
    os.chdir(ROOT)
    seeds = range(1, args.seeds + 1)
    ladder: dict[str, list[float]] = {}
    by_views: dict[tuple[str, int], list[float]] = {}

    def note(name: str, value: float) -> None:
        ladder.setdefault(name, []).append(value)
        print(f"  {name}: {100 * value:.2f}%", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        photos = prepare(Path(one), args.archive, Path("recipes/photos.yaml"), args.weights, args.size, fabric)
        digits = prepare(Path(two), Path("data/raw/digits.7z"), Path("params.yaml"), "none", 32, fabric)
        with progress(len(seeds), "ablation", "seed") as bar:
            for seed in seeds:
                heads = {}
                for task, name in ((photos, args.archive.name), (digits, "digits.7z")):
                    features = cached(fabric, task, max(VIEWS), seed)
                    for views in VIEWS:
                        part = type(features)(features.views[: 1 + views])
                        heads[name, views], wrong = trained_head(fabric, task, part, seed)
                        by_views.setdefault((name, views), []).append(wrong)
                note("head only", by_views[args.archive.name, 0][-1])
                note(f"+ {VIEWS[-1]} augmented views in the cache", by_views[args.archive.name, VIEWS[-1]][-1])
                head = heads[args.archive.name, VIEWS[-1]]
                flat = {"frozen_cycles": 0, "schedule": "constant", "cycles": 1, "cycle_len": 3, "cycle_mult": 1}
                sgdr = {"frozen_cycles": 0, "schedule": "sgdr", "cycles": 2, "cycle_len": 1, "cycle_mult": 2}
                arms = [
                    ("+ unfreeze, one rate, the head's", flat | {"lr_multipliers": [1, 1, 1]}),
                    ("(or a tenth of it)", flat | {"lr_multipliers": [0.1, 0.1, 0.1]}),
                    ("+ differential rates (1/100, 1/10, 1)", flat),
                    ("+ SGDR, cycle_mult 2", sgdr),
                    ("the same without bn_freeze", sgdr | {"bn_freeze": False}),
                ]
                for name, changes in arms:
                    errors = dict(finetuned(fabric, photos, head, seed, 2 if changes is sgdr else 1, **changes))
                    note(name, errors["plain"])
                    if changes is sgdr:
                        note("+ TTA, 4 views", errors["tta"])
                        note("+ snapshots, 2", errors["snapshots"])
                bar.update(1)
    valid = len(photos.table.rows["valid"])
    print(f"Validation error of {args.archive.name} ({valid} images at {args.size} pixels, {photos.arch}), ")
    print(f"{len(seeds)} seeds, in percent; one image is {100 / valid:.2f}.\n")
    print("| | mean | std | range |\n|---|---|---|---|")
    print("\n".join(row(name, errors) for name, errors in ladder.items()))
    print("\nThe head alone, by augmented views in its cache:\n")
    print("| | mean | std | range |\n|---|---|---|---|")
    print("\n".join(row(f"{name}, K = {views}", errors) for (name, views), errors in by_views.items()))


if __name__ == "__main__":
    main()
