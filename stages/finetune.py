"""The whole network on augmented images, first frozen, then unfrozen: models/, results/finetune/."""

import shutil

from unfreeze import files, paths
from unfreeze.console import run
from unfreeze.data.images import DecodeParams
from unfreeze.data.store import open_array
from unfreeze.data.table import read_split
from unfreeze.model.backbone import ModelParams
from unfreeze.params import Seed, load
from unfreeze.runtime import RuntimeParams, environment, start
from unfreeze.train.augment import AugmentParams
from unfreeze.train.schedule import FinetuneParams


def main() -> str:
    params = load(
        "unfreeze-finetune",
        seed=Seed,
        decode=DecodeParams,
        model=ModelParams,
        augment=AugmentParams,
        finetune=FinetuneParams,
        runtime=RuntimeParams,
    )
    fabric = start(params.runtime)
    from torch import channels_last

    from unfreeze.model.network import assemble, save_network
    from unfreeze.train.augment import Images
    from unfreeze.train.finetune import Finetuning, snapshot_epochs
    from unfreeze.train.history import History
    from unfreeze.train.lr_finder import write_curve

    pixels, numbers = open_array(paths.PIXELS), open_array(paths.NUMBERS)
    table = read_split(paths.SPLIT_CSV, len(pixels))
    stored, augment = params.decode, params.augment.model_dump()
    standard = (files.read_json(paths.NORMALISATION), files.read_json(paths.NUMBERS_JSON))
    trained = (params.model, paths.HEAD, stored.fit, stored.size, augment, params.seed, stored.channels, *standard)
    network, card, head_lr = assemble(*trained)
    network.to(fabric.device, memory_format=channels_last)
    images = Images(pixels, params.model.size, fabric.device, numbers=numbers)
    training = Finetuning(fabric, network, images, table, params.augment, params.finetune, head_lr, params.seed)
    shutil.rmtree(paths.SNAPSHOTS, ignore_errors=True)  # of an earlier run: every file there predicts
    paths.SNAPSHOTS.mkdir(parents=True)
    kept = snapshot_epochs(training.phases, params.finetune.snapshots)
    with History(paths.FINETUNE, table.headline) as history:
        for phase, steps, valid in training:
            epoch = history.record(steps, phase.name, *valid[:2], may_be_best=phase.size == params.model.size)
            card.thresholds.update(valid.thresholds)
            if epoch is history.best:
                save_network(paths.BEST_MODEL, network, card)
            if epoch.epoch in kept:
                save_network(paths.SNAPSHOTS / f"epoch_{epoch.epoch:03}.safetensors", network, card)
    if not history.epochs:
        card.thresholds.update(training.validate(images).thresholds)
        save_network(paths.BEST_MODEL, network, card)
    save_network(paths.MODEL, network, card)
    write_curve(paths.FINETUNE / "lr_curve.csv", training.curve)
    files.write_json(paths.ENVIRONMENT, environment(params.runtime, fabric))  # no out: it differs by machine
    found = {"lr": training.lr, **training.suggestions, **history.summary()}
    files.write_json(paths.FINETUNE / "metrics.json", found)
    return str(history)


if __name__ == "__main__":
    run("unfreeze-finetune", main)
