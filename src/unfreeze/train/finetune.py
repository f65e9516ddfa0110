"""Steps 4 to 8 of the recipe: the head on augmented images, then the whole network, at one or growing sizes."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from unfreeze.device.ranks import Ranks
from unfreeze.device.runtime import computes_half
from unfreeze.model.fast.inference import for_inference
from unfreeze.model.network import Network
from unfreeze.task.base import Rule, Score
from unfreeze.task.split_table import SplitTable
from unfreeze.train.checkpoint import Checkpoint, Saving, fit_resumably
from unfreeze.train.fit import Plan
from unfreeze.train.history import Epoch, History
from unfreeze.train.learner import Learner, build_optimizer, steps_per_epoch, weigh_loss
from unfreeze.train.lr_finder import LR_MAX, LR_MIN, FindLrParams, Point, choose_lr, find_lr, suggest
from unfreeze.train.schedule import FinetuneParams, cycle_lengths, paces
from unfreeze.views.augment import AugmentParams
from unfreeze.views.images import Images
from unfreeze.views.predict import Predictor


@dataclass(frozen=True)
class Phase:
    """Cycles that are trained with one optimizer, as in one `fit` of the course."""

    name: str
    size: int
    """Pixels a side of what the network sees."""
    frozen: bool
    cycles: list[int]
    """Epochs of each cycle."""


def plan_phases(params: FinetuneParams, size: int) -> list[Phase]:
    """Return the phases in their order: at each size frozen, then unfrozen; those without cycles are left out."""
    if params.skip:
        return []
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
    """Return the epochs, counted over all phases, after which the network is kept beside the last one.

    They are the ends of the last `snapshots` cycles of the last phase, without the very last (Huang et al. 2017);
    of a network that stays frozen there are none.
    """
    if not phases or phases[-1].frozen:
        return []
    before = sum(sum(phase.cycles) for phase in phases[:-1])
    return [before + end - 1 for end in accumulate(phases[-1].cycles)][-snapshots:-1]


@dataclass(kw_only=True)
class Finetuning:
    """Trains `network` in place while it is iterated over.

    Each iteration is an epoch as the history has it, judged by the plain views of the validation rows at the size
    of its phase. What the caller does then is done again if the run is interrupted before the next epoch.
    """

    fabric: Fabric
    network: Network
    images: Images
    table: SplitTable
    augment: AugmentParams
    params: FinetuneParams
    head_lr: float | None
    """What the frozen cycles take where `params.lr` is auto."""
    seed: int
    history: History
    """Empty, or of an interrupted run, whose checkpoint is `checkpoint`."""
    checkpoint: Checkpoint | None
    """None saves nothing."""

    phases: list[Phase] = field(init=False)
    snapshots: list[int] = field(init=False)
    """The epochs after which the network is to be kept."""
    lr: float | str = field(init=False)
    """The highest rate of the unfrozen cycles, `auto` until the range test has found it."""
    curve: list[Point] = field(init=False, default_factory=list)
    """The range test of the whole network, empty before it and without it."""
    suggestions: dict[str, float | None] = field(init=False, default_factory=dict)
    """See `lr_finder.suggest`."""
    thresholds: dict[Rule, list[float]] = field(init=False, default_factory=dict)
    """Those of the last epoch (see `task.base.Score`)."""

    def __post_init__(self) -> None:
        self.phases = plan_phases(self.params, self.images.size)
        self.snapshots = snapshot_epochs(self.phases, self.params.snapshots)
        self.lr = self.params.lr
        self.targets = torch.from_numpy(self.table.targets).to(self.fabric.device)
        if self.checkpoint and (info := self.checkpoint.info):
            self.checkpoint.restore(self.network)
            self.lr, self.suggestions, self.thresholds = info["lr"], info["suggestions"], info["thresholds"]
            self.curve = [Point(**point) for point in info["curve"]]

    def __iter__(self) -> Iterator[Epoch]:
        train = self.table.rows["train"]
        per_epoch = steps_per_epoch(len(train), self.params.batch_size)
        first = 0
        for phase in self.phases:
            images = self.images.resize(phase.size)
            self.network.bn_freeze = self.params.bn_freeze is True and not phase.frozen
            self.network.freeze_to(2 if phase.frozen else 0, train_bn=self.params.bn_freeze == "train")
            if not phase.frozen and self.params.find_lr and not self.curve:
                self._find_lr(images, train)
            lengths = [epochs * per_epoch for epochs in phase.cycles]
            plan = Plan(
                rows=train,
                lr=self.head_lr if phase.frozen and self.params.lr == "auto" else self.lr,
                paces=paces(self.params.schedule, lengths, self.params.momentum),
            )
            saving = Saving(
                history=self.history,
                checkpoint=self.checkpoint,
                first_epoch=first,
                more=self._state,
                module=self.network,
            )
            body_still = phase.frozen and self.params.bn_freeze != "train"
            learner = self._learner(images, phase.name, self._with_still_body() if body_still else self.network)
            for steps in fit_resumably(learner, plan, saving):
                score = self.validate(images)
                self.thresholds = score.thresholds
                last_size = phase.size == self.images.size
                yield self.history.record(steps, phase.name, score, may_be_best=last_size)
            first += sum(phase.cycles)

    def validate(self, images: Images) -> Score:
        """Return the score of the network as it is now."""
        valid = self.table.rows["valid"]
        predictor = Predictor(self.fabric, self._folded(), images.plain, self.params.batch_size)
        return self.table.task.score(predictor.predict(valid), self.targets[valid].cpu())

    def _find_lr(self, images: Images, rows: np.ndarray) -> None:
        """Test the rates of the whole network; an interrupted test begins anew."""
        finder = FindLrParams(lr_min=LR_MIN, lr_max=LR_MAX, steps=self.params.find_lr)
        stop = self.checkpoint.stop_if_asked if self.checkpoint else None
        self.curve = find_lr(finder, self._learner(images, "find-lr", self.network), rows, stop)
        self.suggestions = suggest(self.curve)
        self.lr = choose_lr(self.lr, self.suggestions, "finetune.lr")

    def _state(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside weights and history."""
        return {
            "lr": self.lr,
            "suggestions": self.suggestions,
            "thresholds": self.thresholds,
            "curve": [asdict(point) for point in self.curve],
        }

    def _folded(self) -> Network:
        return for_inference(self.network, computes_half(self.fabric))

    def _with_still_body(self) -> Network:
        """Return the frozen network with its body as it predicts, and the same head, which trains."""
        network = self._folded()
        network.head = self.network.head
        return network

    def _learner(self, images: Images, purpose: str, network: Network) -> Learner:
        """Return a learner of `network` with a new optimizer for what is unfrozen; `purpose` seeds its draws."""
        return Learner(
            fabric=self.fabric,
            model=network,
            optimizer=build_optimizer(network.groups, self.params.lr_multipliers, self.params),
            inputs=lambda batch, epoch: images.augmented(batch, epoch, self.augment, self.seed, purpose),
            targets=self.targets,
            task=self.table.task,
            params=self.params,
            key=(self.seed, purpose),
            mixup=self.params.mixup,
            weight=weigh_loss(self.table.task, self.targets, self.table.rows["train"], self.params),
            ranks=Ranks(self.fabric, network) if self.fabric.world_size > 1 else None,
        )
