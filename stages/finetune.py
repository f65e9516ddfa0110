"""The whole network on augmented images, first frozen, then unfrozen: models/, results/finetune/."""

from unfreeze import files, paths
from unfreeze.console import run
from unfreeze.data.images import DecodeParams
from unfreeze.data.store import open_array
from unfreeze.data.table import read_split
from unfreeze.model.backbone import ModelParams
from unfreeze.params import Seed, load
from unfreeze.runtime import TrainingRuntimeParams, environment, start
from unfreeze.train.augment import AugmentParams
from unfreeze.train.schedule import FinetuneParams


def main() -> str:
    params = load(
        "unfreeze-finetune", seed=Seed, decode=DecodeParams, model=ModelParams, augment=AugmentParams,
        finetune=FinetuneParams, runtime=TrainingRuntimeParams,
    )  # fmt: skip
    fabric = start(params.runtime, devices=params.runtime.devices)
    from torch import channels_last

    from unfreeze.model.network import assemble, save_network
    from unfreeze.train.augment import Images, kept_on
    from unfreeze.train.checkpoint import Checkpoint
    from unfreeze.train.finetune import Finetuning
    from unfreeze.train.history import History
    from unfreeze.train.lr_finder import write_curve

    pixels, numbers = open_array(paths.PIXELS), open_array(paths.NUMBERS)
    table = read_split(paths.SPLIT_CSV, len(pixels))
    stored, augment = params.decode, params.augment.model_dump()
    standard = (files.read_json(paths.NORMALISATION), files.read_json(paths.NUMBERS_JSON))
    trained = (params.model, paths.HEAD, stored.fit, stored.size, augment, params.seed, stored.channels, *standard)
    network, card, head_lr = assemble(*trained)
    network.to(fabric.device, memory_format=channels_last)
    images = Images(kept_on(fabric.device, pixels), params.model.size, fabric.device, numbers=numbers)
    training = (params.augment, params.finetune, head_lr, params.seed)

    checkpoint, first = Checkpoint("unfreeze-finetune", fabric), fabric.is_global_zero  # which writes for all
    # Until the end they stand beside the checkpoint: DVC deletes outs before it runs a stage again.
    best, snapshots = checkpoint.folder / paths.BEST_MODEL.name, checkpoint.folder / paths.SNAPSHOTS.name
    with checkpoint, History(paths.FINETUNE, table.headline, checkpoint.info, first) as history:
        tuning = Finetuning(fabric, network, images, table, *training, history, checkpoint)
        for epoch in tuning:
            card.thresholds.update(tuning.thresholds)
            if first and epoch is history.best:
                save_network(best, network, card)
            if first and epoch.epoch in tuning.snapshots:
                save_network(snapshots / f"epoch_{epoch.epoch:03}.safetensors", network, card)
    card.thresholds.update(tuning.thresholds if history.epochs else tuning.validate(images).thresholds)
    if not first:
        return ""
    save_network(paths.MODEL, network, card)
    files.copy(best if history.epochs else paths.MODEL, paths.BEST_MODEL)
    files.copy_folder(snapshots, paths.SNAPSHOTS)  # every file there predicts
    write_curve(paths.FINETUNE / "lr_curve.csv", tuning.curve)
    files.write_json(paths.ENVIRONMENT, environment(params.runtime, fabric))  # no out: it differs by machine
    files.write_json(paths.FINETUNE / "metrics.json", {"lr": tuning.lr, **tuning.suggestions, **history.summary()})
    checkpoint.remove()
    return str(history)


if __name__ == "__main__":
    run("unfreeze-finetune", main)
