"""Steps 4 to 8 of the recipe: the head on augmented images, then the whole network."""

from collections.abc import Iterator
from itertools import accumulate

import torch
from lightning_fabric import Fabric

from unfreeze.data.table import SplitTable
from unfreeze.model.network import Network
from unfreeze.train.augment import AugmentParams, Images
from unfreeze.train.loop import Step, build_optimizer, fit, predict, score, steps_per_epoch
from unfreeze.train.schedule import FinetuneParams, cycle_lengths, paces


def snapshot_epochs(params: FinetuneParams) -> list[int]:
    """The epochs, counted over both phases, after which the network is kept beside the last one: the ends of the
    `snapshots` last cycles but one (Huang et al. 2017)."""
    lengths = cycle_lengths(1, params.cycles, params.cycle_len, params.cycle_mult)
    ends = [params.frozen_cycles + end - 1 for end in accumulate(lengths)]
    return ends[-params.snapshots : -1]


def finetune(
    fabric: Fabric,
    network: Network,
    images: Images,
    table: SplitTable,
    augment: AugmentParams,
    params: FinetuneParams,
    seed: int,
) -> Iterator[tuple[str, list[Step], tuple[float, float]]]:
    """Train `network` in place: `frozen_cycles` cycles of one epoch with the backbone frozen, then `cycles` with
    everything unfrozen, each phase with a new optimizer as in the course.

    Yields:
        After each epoch: "frozen" or "unfrozen", its steps, and (loss, accuracy) of the validation rows by
        their plain views.
    """
    train, valid = table.rows["train"], table.rows["valid"]
    targets = torch.from_numpy(table.targets).to(fabric.device)
    per_epoch = steps_per_epoch(len(train), params.batch_size)
    phases = [
        ("frozen", 2, cycle_lengths(per_epoch, params.frozen_cycles, 1, 1)),
        ("unfrozen", 0, cycle_lengths(per_epoch, params.cycles, params.cycle_len, params.cycle_mult)),
    ]
    for phase, group, lengths in phases:
        network.bn_freeze = params.bn_freeze is True and phase == "unfrozen"
        network.freeze_to(group, train_bn=params.bn_freeze == "train")
        epochs = fit(
            fabric,
            network,
            build_optimizer(network.groups, params.lr_multipliers, params),
            lambda batch, epoch, phase=phase: images.augmented(batch, epoch, augment, seed, phase),
            targets,
            train,
            params.lr,
            paces(params.schedule, lengths, params.momentum),
            params,
            (seed, phase),
            params.mixup,
        )
        for steps in epochs:
            logits = predict(fabric, network, images.plain, valid, params.batch_size)
            yield phase, steps, score(logits, targets[valid].cpu())
