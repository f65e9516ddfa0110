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
from lightning_fabric import Fabric

from unfreeze.archive.extract import Destination, extract
from unfreeze.core import tables
from unfreeze.core.arrays import open_array
from unfreeze.core.console import progress
from unfreeze.device.runtime import RuntimeParams, computes_half, start
from unfreeze.evaluate.tta import Views, predict_views
from unfreeze.images.decode import DecodeParams, decode_tar
from unfreeze.images.members import ExtractedTar
from unfreeze.images.outs import ImageFiles
from unfreeze.labels.folders import label_by_folders
from unfreeze.labels.params import SplitParams
from unfreeze.labels.split import make_splits
from unfreeze.model.head import HeadParams
from unfreeze.task.kinds import TASKS
from unfreeze.task.split_table import SplitTable, read_split, write_split
from unfreeze.train.schedule import FinetuneParams, TrainHeadParams
from unfreeze.views.augment import AugmentParams
from unfreeze.views.images import Images

ROOT = Path(__file__).parents[1]
VIEWS = (0, 4, 8)
BATCH = 32
"""Images that are predicted at once."""


@dataclass(frozen=True)
class Case:
    """Images with their splits, and the recipe they are trained by."""

    fabric: Fabric
    images: Images
    table: SplitTable
    arch: str
    weights: str
    head: HeadParams
    train_head: TrainHeadParams
    finetune: FinetuneParams
    augment: AugmentParams


def prepare(fabric: Fabric, folder: Path, archive: Path, recipe: Path, weights: str, size: int) -> Case:
    """Extract, decode and split `archive` as `recipe` says, at `size` pixels."""
    params = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    tar, index, files = folder / "extracted.tar", folder / "extracted.csv", ImageFiles.in_folder(folder)
    extract(archive, Destination(tar, index), 10**11)
    stored = round(size * params["decode"]["image_size"] / params["model"]["image_size"])
    decode = DecodeParams(**params["decode"] | {"image_size": stored})
    decode_tar(ExtractedTar(tar=tar, index=index), decode, files)
    rows = tables.read(files.images, {"path": "text", "pixels_sha256": "text"})
    paths = rows["path"].tolist()
    labels, _ = label_by_folders(paths)
    splits = make_splits(labels, rows["pixels_sha256"], SplitParams(**params["split"]))
    write_split(
        folder / "split.csv",
        task=TASKS["single"],
        paths=paths,
        labels=[label.label for label in labels],
        split=splits.split,
        fold=splits.fold,
    )
    pixels = open_array(files.pixels)
    return Case(
        fabric=fabric,
        images=Images(pixels, size, fabric.device),
        table=read_split(folder / "split.csv", len(pixels)),
        arch=params["model"]["arch"],
        weights=weights,
        head=HeadParams(**params["head"]),
        train_head=TrainHeadParams(**params["train_head"]),
        finetune=FinetuneParams(**params["finetune"]),
        augment=AugmentParams(**params["augment"]),
    )


def compute_features(case: Case, views: int, seed: int):
    """Features of the plain view of all images, and of `views` augmented ones of those that train."""
    import torch
    from torch import nn

    from unfreeze.features.read import Features
    from unfreeze.model.backbone import build_backbone
    from unfreeze.model.fast.inference import for_inference
    from unfreeze.model.network import Network
    from unfreeze.views.predict import Predictor

    backbone = build_backbone(case.arch, case.weights, seed, case.images.size)
    network = for_inference(Network(backbone, nn.Identity()).to(case.fabric.device), computes_half(case.fabric))
    everything, train = np.arange(len(case.table.targets)), case.table.rows["train"]
    plain = Predictor(case.fabric, network, case.images.plain, BATCH).predict(everything)

    def augmented(rows: np.ndarray, view: int):
        return case.images.augmented(rows, view, case.augment, seed, "precompute")

    cache, predictor = plain.repeat(1 + views, 1, 1), Predictor(case.fabric, network, augmented, BATCH)
    for view in range(views):
        cache[1 + view, torch.from_numpy(train)] = predictor.predict(train, view)
    return Features(cache.to(case.fabric.device))


def train_head(case: Case, features, seed: int):
    """A head on `features`, and its error on the validation images."""
    import torch

    from unfreeze.train.head import HeadData, fit_head

    targets = torch.from_numpy(case.table.targets).to(case.fabric.device)
    data = HeadData(fabric=case.fabric, features=features, targets=targets, task=case.table.task)
    head = data.new_head(case.head, seed)
    for _ in fit_head(
        data=data,
        head=head,
        rows=case.table.rows["train"],
        params=case.train_head,
        lr=case.train_head.lr,
        key=(seed, "train-head"),
    ):
        pass
    return head, error(case, data.predict(head, case.table.rows["valid"]).numpy())


def error(case: Case, scores: np.ndarray) -> float:
    """Share of the validation images that `scores` `[V, C]` get wrong."""
    return float((scores.argmax(1) != case.table.targets[case.table.rows["valid"]]).mean())


def finetune(case: Case, head, seed: int, snapshots: int = 1, **changes) -> Iterator[tuple[str, float]]:
    """Fine-tune from a copy of `head`; yields the errors of the plain view, of TTA, and of snapshots with TTA."""
    from copy import deepcopy

    from torch import channels_last

    from unfreeze.model.backbone import build_backbone
    from unfreeze.model.fast.inference import for_inference
    from unfreeze.model.network import Network
    from unfreeze.train.finetune import Finetuning, snapshot_epochs
    from unfreeze.train.history import History

    backbone = build_backbone(case.arch, case.weights, seed, case.images.size)
    network = Network(backbone, deepcopy(head)).to(case.fabric.device, memory_format=channels_last)
    views = Views(images=case.images, count=4, augment=case.augment, seed=seed)

    def predict() -> tuple[np.ndarray, np.ndarray]:
        return predict_views(
            fabric=case.fabric,
            network=for_inference(network, computes_half(case.fabric)),
            views=views,
            rows=case.table.rows["valid"],
            batch_size=BATCH,
            task=case.table.task,
        )

    earlier = []
    with tempfile.TemporaryDirectory() as folder, History(Path(folder), case.table.task.headline) as history:
        training = Finetuning(
            fabric=case.fabric,
            network=network,
            images=case.images,
            table=case.table,
            augment=case.augment,
            params=case.finetune.model_copy(update=changes),
            head_lr=None,
            seed=seed,
            history=history,
            checkpoint=None,
        )
        kept = snapshot_epochs(training.phases, snapshots)
        for epoch in training:
            if epoch.epoch in kept:
                earlier.append(predict()[1])
    plain, tta = predict()
    yield "plain", error(case, plain)
    yield "tta", error(case, tta)
    yield "snapshots", error(case, np.mean([*earlier, tta], axis=0))


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
        photos = prepare(fabric, Path(one), args.archive, Path("recipes/photos.yaml"), args.weights, args.size)
        digits = prepare(fabric, Path(two), Path("data/raw/digits.7z"), Path("params.yaml"), "none", size=32)
        with progress(len(seeds), "ablation", "seed") as bar:
            for seed in seeds:
                heads = {}
                for case, name in ((photos, args.archive.name), (digits, "digits.7z")):
                    features = compute_features(case, max(VIEWS), seed)
                    for views in VIEWS:
                        part = type(features)(features.views[: 1 + views])
                        heads[name, views], wrong = train_head(case, part, seed)
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
                    errors = dict(finetune(photos, head, seed, 2 if changes is sgdr else 1, **changes))
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
