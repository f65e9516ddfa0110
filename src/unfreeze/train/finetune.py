"""Steps 4 to 8 of the recipe: the head on augmented images, then the whole network, at one or growing sizes."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

import torch
from lightning_fabric import Fabric

from unfreeze.data.table import SplitTable
from unfreeze.model.inference import for_inference
from unfreeze.model.network import Network
from unfreeze.model.ranks import Ranks
from unfreeze.runtime import computes_half
from unfreeze.thresholds import Rule
from unfreeze.train.augment import AugmentParams, Images
from unfreeze.train.checkpoint import Checkpoint, fit_resumably
from unfreeze.train.history import History
from unfreeze.train.loop import Epoch, Learner, build_optimizer, loss_weight, predict, steps_per_epoch
from unfreeze.train.lr_finder import LR_MAX, LR_MIN, FindLrParams, Point, chosen, find_lr, suggest
from unfreeze.train.schedule import FinetuneParams, cycle_lengths, paces
from unfreeze.train.score import Score, score


@dataclass(frozen=True)
class Phase:
    """Cycles that are trained with one optimizer, as in one `fit` of the course."""

    name: str
    size: int
    """Pixels a side of what the network sees."""
    frozen: bool
    cycles: list[int]
    """Epochs of each cycle."""


def plan(params: FinetuneParams, size: int) -> list[Phase]:
    """The phases in their order: at each size frozen, then unfrozen; those without cycles are left out."""
    phases = []
    for each in params.sizes or [size]:
        at = f" {each}" if params.sizes else ""
        phases += [
            Phase(f"frozen{at}", each, True, [1] * params.frozen_cycles),
            Phase(
                f"unfrozen{at}", each, False, cycle_lengths(1, params.cycles, params.cycle_len, params.cycle_mult)
            ),
        ]
    return [phase for phase in phases if phase.cycles]


def snapshot_epochs(phases: list[Phase], snapshots: int) -> list[int]:
    """The epochs, counted over all phases, after which the network is kept beside the last one: the ends of the
    `snapshots` last cycles of the last phase but one (Huang et al. 2017)."""
    if not phases:
        return []
    before = sum(sum(phase.cycles) for phase in phases[:-1])
    return [before + end - 1 for end in accumulate(phases[-1].cycles)][-snapshots:-1]


class Finetuning:
    """Trains `network` in place while it is iterated over.

    Each iteration is an epoch as the history has it, judged by the plain views of the validation rows at the size
    of its phase. What the caller does then is done again if the run is interrupted before the next epoch.

    Attributes:
        snapshots: the epochs after which the network is to be kept.
        lr: the highest rate of the unfrozen cycles, `auto` until the range test has found it.
        curve: the range test of the whole network, empty before it and without it.
        suggestions: see `lr_finder.suggest`.
        thresholds: those of the last epoch (see `score.Score`).
    """

    def __init__(
        self,
        fabric: Fabric,
        network: Network,
        images: Images,
        table: SplitTable,
        augment: AugmentParams,
        params: FinetuneParams,
        head_lr: float | None,
        seed: int,
        history: History,
        checkpoint: Checkpoint | None,
    ) -> None:
        """Args:
        head_lr: what the frozen cycles take where `params.lr` is auto.
        history: of an interrupted run, whose checkpoint is `checkpoint`, or empty.
        checkpoint: None saves nothing.
        """
        self.fabric, self.network, self.images, self.table = fabric, network, images, table
        self.augment, self.params, self.head_lr, self.seed = augment, params, head_lr, seed
        self.phases = plan(params, images.size)
        self.snapshots = snapshot_epochs(self.phases, params.snapshots)
        self.targets = torch.from_numpy(table.targets).to(fabric.device)
        self.lr: float | str = params.lr
        self.curve: list[Point] = []
        self.suggestions: dict[str, float | None] = {}
        self.thresholds: dict[Rule, list[float]] = {}
        self.history, self.checkpoint = history, checkpoint
        if checkpoint and (info := checkpoint.info):
            checkpoint.restore(network)
            self.lr, self.suggestions, self.thresholds = info["lr"], info["suggestions"], info["thresholds"]
            self.curve = [Point(**point) for point in info["curve"]]

    def __iter__(self) -> Iterator[Epoch]:
        train = self.table.rows["train"]
        per_epoch = steps_per_epoch(len(train), self.params.batch_size)
        first = 0
        for phase in self.phases:
            images = self.images.at(phase.size)
            self.network.bn_freeze = self.params.bn_freeze is True and not phase.frozen
            self.network.freeze_to(2 if phase.frozen else 0, train_bn=self.params.bn_freeze == "train")
            if not phase.frozen and self.params.find_lr and not self.curve:
                finder = FindLrParams(lr_min=LR_MIN, lr_max=LR_MAX, steps=self.params.find_lr)
                # An interrupted test begins anew: what the checkpoint holds is from before it.
                stop = self.checkpoint.stop_if_asked if self.checkpoint else None
                self.curve = find_lr(finder, self._learner(images, "find-lr", self.network), train, stop)
                self.suggestions = suggest(self.curve)
                self.lr = chosen(self.lr, self.suggestions, "finetune.lr")
            lr = self.head_lr if phase.frozen and self.params.lr == "auto" else self.lr
            lengths = [epochs * per_epoch for epochs in phase.cycles]
            schedule = paces(self.params.schedule, lengths, self.params.momentum)
            body_still = phase.frozen and self.params.bn_freeze != "train"
            learner = self._learner(images, phase.name, self._with_still_body() if body_still else self.network)
            ran = (learner, train, lr, schedule, self.history, self.checkpoint, first, self._found, self.network)
            for steps in fit_resumably(*ran):
                loss, value, self.thresholds = self.validate(images)
                last_size = phase.size == self.images.size
                yield self.history.record(steps, phase.name, loss, value, may_be_best=last_size)
            first += sum(phase.cycles)

    def _found(self) -> dict[str, Any]:
        """What a checkpoint holds beside weights and history."""
        curve = [asdict(point) for point in self.curve]
        return {
            "lr": self.lr,
            "suggestions": self.suggestions,
            "thresholds": self.thresholds,
            "curve": curve,
        }

    def validate(self, images: Images) -> Score:
        """The score of the network as it is now."""
        valid = self.table.rows["valid"]
        logits = predict(self.fabric, self._as_it_predicts(), images.plain, valid, self.params.batch_size)
        return score(logits, self.targets[valid].cpu())

    def _as_it_predicts(self) -> Network:
        return for_inference(self.network, computes_half(self.fabric))

    def _with_still_body(self) -> Network:
        """The frozen network with the body as it predicts, and the same head, which trains."""
        network = self._as_it_predicts()
        network.head = self.network.head
        return network

    def _learner(self, images: Images, purpose: str, network: Network) -> Learner:
        """A learner of `network` with a new optimizer for what is unfrozen; `purpose` is what its draws are seeded
        for."""
        return Learner(
            self.fabric,
            network,
            build_optimizer(network.groups, self.params.lr_multipliers, self.params),
            lambda batch, epoch: images.augmented(batch, epoch, self.augment, self.seed, purpose),
            self.targets,
            self.params,
            (self.seed, purpose),
            self.params.mixup,
            loss_weight(self.targets, self.table.rows["train"], self.params),
            Ranks(self.fabric, network) if self.fabric.world_size > 1 else None,
        )
