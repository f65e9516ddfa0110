"""The whole network on augmented images, first frozen, then unfrozen: models/, results/finetune/."""

from unfreeze.core import files, paths
from unfreeze.core.arrays import open_array
from unfreeze.core.console import run
from unfreeze.core.metrics import write_metrics
from unfreeze.core.params import Seed, load
from unfreeze.device.runtime import TrainingRuntimeParams, describe_environment, start
from unfreeze.model.backbone import ModelParams
from unfreeze.task.split_table import read_split
from unfreeze.train.schedule import FinetuneParams
from unfreeze.views.augment import AugmentParams


def main() -> str:
    # 1. Params and devices.
    params = load(
        "unfreeze-finetune", seed=Seed, model=ModelParams, augment=AugmentParams, finetune=FinetuneParams,
        runtime=TrainingRuntimeParams,
    )  # fmt: skip
    fabric = start(params.runtime, devices=params.runtime.devices)
    from torch import channels_last

    from unfreeze.model.card import read_stored_data
    from unfreeze.model.network import assemble, save_network
    from unfreeze.train.checkpoint import Checkpoint
    from unfreeze.train.environment import record_environment
    from unfreeze.train.finetune import Finetuning
    from unfreeze.train.history import History
    from unfreeze.train.lr_finder import write_curve
    from unfreeze.views.images import Images, keep_on_gpu

    # 2. The images, and the backbone under the trained head.
    pixels, numbers = open_array(paths.PIXELS), open_array(paths.NUMBERS)
    table = read_split(paths.SPLIT_CSV, len(pixels))
    network, card, head_lr = assemble(
        model=params.model,
        head=paths.HEAD,
        data=read_stored_data(paths.IMAGES_CARD, paths.NORMALISATION, paths.NUMBERS_JSON),
        augment=params.augment.model_dump(),
        seed=params.seed,
    )
    network.to(fabric.device, memory_format=channels_last)
    kept = keep_on_gpu(fabric.device, pixels) if params.finetune.trains else pixels
    images = Images(kept, params.model.image_size, fabric.device, numbers=numbers)

    # 3. Train, from where an interrupted run left off. The first rank writes for all. Until the end the networks
    # stand beside the checkpoint: DVC deletes outs before it runs a stage again.
    checkpoint, first = Checkpoint("unfreeze-finetune", fabric), fabric.is_global_zero
    best, snapshots = checkpoint.folder / paths.BEST_MODEL.name, checkpoint.folder / paths.SNAPSHOTS.name
    with checkpoint, History(paths.FINETUNE, table.task.headline, checkpoint.info, first) as history:
        tuning = Finetuning(
            fabric=fabric,
            network=network,
            images=images,
            table=table,
            augment=params.augment,
            params=params.finetune,
            head_lr=head_lr,
            seed=params.seed,
            history=history,
            checkpoint=checkpoint,
        )
        if first and not checkpoint.state:  # the last and the best network, each twice, and the snapshots too
            network_bytes = sum(tensor.nbytes for tensor in network.state_dict().values())
            needed = (4 + 2 * len(tuning.snapshots)) * network_bytes
            files.require_space(paths.MODEL, needed, "the networks")
        for epoch in tuning:
            card.thresholds.update(tuning.thresholds)
            if first and epoch is history.best:
                save_network(best, network, card)
            if first and epoch.epoch in tuning.snapshots:
                save_network(snapshots / f"epoch_{epoch.epoch:03}.safetensors", network, card)
    untrained = None if history.epochs else tuning.validate(images)
    card.thresholds.update(untrained.thresholds if untrained else tuning.thresholds)
    if not first:
        return ""

    # 4. Write the networks and what training found out.
    save_network(paths.MODEL, network, card)
    files.copy(best if history.epochs else paths.MODEL, paths.BEST_MODEL)
    files.copy_folder(snapshots, paths.SNAPSHOTS)  # every network there predicts
    files.write_json(paths.SNAPSHOTS / "epochs.json", tuning.snapshots)  # DVC warns of an empty folder
    write_curve(paths.FINETUNE / "lr_curve.csv", tuning.curve)
    record_environment(paths.ENVIRONMENT, describe_environment(params.runtime, fabric), paths.MODEL)
    if untrained:
        details = {"epochs": 0, "valid": {"loss": untrained.loss, table.task.headline: untrained.value}}
    else:
        lr = head_lr if tuning.lr == "auto" else tuning.lr  # nothing was unfrozen
        details = {"lr": lr, **tuning.suggestions, **history.summary()}
    metrics = {"network_lr": tuning.lr} if params.finetune.lr == "auto" and tuning.curve else {}
    write_metrics(paths.FINETUNE, metrics=metrics, details=details)
    checkpoint.remove()
    if untrained:
        why = "skipped (finetune.skip)" if params.finetune.skip else "no cycles"
        valid = f"validation {table.task.headline} {untrained.value:.4f}"
        return f"{why}: the head on the frozen backbone is the model, {valid}"
    return str(history)


if __name__ == "__main__":
    run("unfreeze-finetune", main)
