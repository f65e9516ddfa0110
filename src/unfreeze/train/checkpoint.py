"""Interrupted training goes on from where it was, and ends with the bytes it would have ended with anyway.

A checkpoint is no out of its stage, for DVC deletes outs before it runs a stage. It lies in a folder whose name
holds the fingerprint of the stage, so that one of other params, data or code is never picked up.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from unfreeze.core import draws
from unfreeze.core.console import UserError
from unfreeze.core.files import replacing
from unfreeze.core.paths import CHECKPOINTS
from unfreeze.device.runtime import read_checkpoint_minutes
from unfreeze.train.fingerprint import fingerprint
from unfreeze.train.fit import Plan, Position, Step, fit
from unfreeze.train.history import History
from unfreeze.train.learner import Learner, steps_per_epoch

State = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors by name, and the rest as JSON takes it."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Checkpoint:
    """The checkpoint of one run of a stage, and a context that turns SIGINT and SIGTERM into a save.

    Attributes:
        folder: where it lies. Callers may put there what else must outlive a kill.
        state: what an interrupted run of the same params, data and code has saved; None if there was none.
    """

    def __init__(self, stage: str, fabric: Fabric | None = None) -> None:
        """Open the checkpoint.

        Args:
            stage: its name in dvc.yaml.
            fabric: whose ranks stop together, and of which the first one saves; None: this process alone.

        Raises:
            UserError: it is damaged, or the ranks do not see the same.
        """
        self._fabric = fabric if fabric and fabric.world_size > 1 else None
        self._first = not self._fabric or self._fabric.is_global_zero
        self.folder = root() / f"{stage}-{fingerprint(stage)}"
        self._file = self.folder / "state.safetensors"
        self.state = self._read()
        if self._fabric:
            self._compare()
        self._stage, self._seconds = stage, 60 * read_checkpoint_minutes()
        self._saved = time.monotonic()
        self._signal = 0

    @property
    def info(self) -> dict[str, Any] | None:
        """The state without its tensors."""
        return self.state[1] if self.state else None

    def __enter__(self) -> "Checkpoint":
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        if self._first and (stale := describe_stale(self._stage, self.folder)):
            print(f"{self._stage}: {stale}", file=sys.stderr)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number

    def save_if_due(self, state: Callable[[], State], now: bool = False) -> None:
        """Save what `state` returns if the time has come, or if `now`, or if a signal has come to any rank.

        Raises:
            SystemExit: a signal has come; the status is 128 + its number, of other ranks than the first 0.
        """
        stop = self._asked()
        if self._first and (now or stop or time.monotonic() - self._saved >= self._seconds):
            tensors, info = state()
            with replacing(self._file) as temporary:
                plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
                save_file(plain, temporary, metadata={"unfreeze": json.dumps(info)})
            self._saved = time.monotonic()
        self._end(stop)

    def stop_if_asked(self) -> None:
        """End if a signal has come to any rank, with what was saved before.

        Raises:
            SystemExit: as of `save_if_due`.
        """
        self._end(self._asked())

    def _asked(self) -> int:
        """Return the number of the signal that has come to any rank, or 0.

        A rank that stopped alone would leave the others waiting for it in the next step.
        """
        if not self._fabric:
            return self._signal
        signals = torch.tensor(self._signal, device=self._fabric.device)
        dist.all_reduce(signals, dist.ReduceOp.MAX)
        return signals.item()

    def _end(self, number: int) -> None:
        if not number:
            return
        if self._fabric:  # who ended before it is saved would take the first rank along
            self._fabric.barrier()
        if not self._first:
            raise SystemExit(0)
        kept = f"what was learnt is kept in {self.folder}, and dvc repro goes on from there"
        if not self._file.is_file():
            kept = "nothing was learnt yet"
        print(f"{self._stage}: stopped by {signal.Signals(number).name}; {kept}", file=sys.stderr)
        raise SystemExit(128 + number)

    def restore(self, model: nn.Module) -> None:
        """Give `model` the weights of the state, if there is one."""
        if self.state:
            tensors = self.state[0].items()
            model.load_state_dict({k.removeprefix("model."): v for k, v in tensors if k.startswith("model.")})

    def remove(self) -> None:
        """Delete the checkpoint; the stage has what it wanted."""
        self._file.unlink(missing_ok=True)  # first: it is of no use without what lies beside it
        shutil.rmtree(self.folder, ignore_errors=True)

    def _compare(self) -> None:
        """Check that all ranks go on from the same place: others would wait for each other for ever."""
        number = draws.seed_of(self.folder.name, json.dumps(self.info))
        lowest = torch.tensor(number, device=self._fabric.device)
        highest = lowest.clone()
        dist.all_reduce(lowest, dist.ReduceOp.MIN)
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        if lowest != highest:
            raise UserError(
                f"the machines see different params, data, code or checkpoints ({self.folder}): they must share "
                "the project's folder"
            )

    def _read(self) -> State | None:
        if not self._file.is_file():
            return None
        try:
            with safe_open(self._file, framework="pt") as file:
                info = json.loads((file.metadata() or {})["unfreeze"])
                return {name: file.get_tensor(name) for name in file.keys()}, info  # noqa: SIM118
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise UserError(f"{self._file} is damaged ({error}): make clean-checkpoints, then dvc repro") from None


def root() -> Path:
    """Return where checkpoints lie: in the repository, also of experiments that DVC runs in a copy of it."""
    return Path(os.environ.get("DVC_ROOT", ".")) / CHECKPOINTS


def describe_stale(stage: str, mine: Path) -> str:
    """Return a sentence about checkpoints of this stage that nobody will go on from, with their size; or ""."""
    stale = [folder for folder in root().glob(f"{stage}-*") if folder != mine]
    size = sum(file.stat().st_size for folder in stale for file in folder.rglob("*") if file.is_file())
    if not stale:
        return ""
    return f"{len(stale)} checkpoints of other params or data take {size / 1e6:,.0f} MB: make clean-checkpoints"


def pack(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the tensors of a model and of its optimizer, under names of their own."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items() if value is not None}
    return tensors


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimizer of the same parameters the state that `pack` took of it."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, part = name.split(".", 2)
            state.setdefault(int(index), {})[part] = value
    # Fused optimizers go through memory as it lies: what belongs to a weight must lie as the weight does.
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for index, parts in state.items():
        for part, value in parts.items():
            if value.shape == weights[index].shape:
                parts[part] = torch.empty_like(weights[index], dtype=value.dtype).copy_(value)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


@dataclass(frozen=True)
class Saving:
    """What a fit that can be interrupted keeps."""

    history: History
    checkpoint: Checkpoint | None
    """None saves nothing."""
    first_epoch: int = 0
    """How many epochs of the history came before this fit."""
    more: Callable[[], dict[str, Any]] = dict
    """Returns what to keep besides."""
    module: nn.Module | None = None
    """Whose weights are kept; None: those of the learner's model."""


def fit_resumably(learner: Learner, plan: Plan, saving: Saving) -> Iterator[list[Step]]:
    """Fit as `fit.fit` does, save as it goes, and go on from where the checkpoint left it.

    The caller has restored the model's weights and the history, and records each epoch in the history before it
    asks for the next one.
    """
    history, checkpoint = saving.history, saving.checkpoint
    done = len(history.epochs) - saving.first_epoch
    partial: list[Step] = []
    # Steps and optimizer are those of the fit that was interrupted, and not of one that comes after it.
    if checkpoint and checkpoint.state and len(checkpoint.state[1]["epochs"]) == len(history.epochs):
        tensors, info = checkpoint.state
        partial = [Step(**step) for step in info["partial"]]
        over = done * steps_per_epoch(len(plan.rows), learner.params.batch_size) >= len(plan.paces)
        if (done or partial) and not over:  # else what was saved is of the next phase's optimizer
            restore_optimizer(learner.optimizer, tensors)
    taken: list[Step] = []

    def state() -> State:
        info = {**history.state(), "partial": [asdict(step) for step in taken], **saving.more()}
        return pack(saving.module or learner.model, learner.optimizer), info

    def save(steps: list[Step], now: bool) -> None:
        taken[:] = steps
        if checkpoint:
            checkpoint.save_if_due(state, now)

    for steps in fit(learner, plan, Position(done, partial), lambda steps: save(steps, now=False)):
        yield steps
        save([], now=True)
