"""What training writes down while it runs: every step and every epoch, as CSV and through DVCLive."""

from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from dvclive import Live
from scmrepo.exceptions import SCMError

from unfreeze.core import tables
from unfreeze.core.console import UserError
from unfreeze.task.base import Score
from unfreeze.train.fit import Step


@dataclass(frozen=True)
class Epoch:
    """One epoch: the mean loss of its steps, and loss and score on the validation rows afterwards."""

    epoch: int
    phase: str
    train_loss: float
    valid_loss: float
    valid_score: float
    """The headline of the task (see `task.base.Score`)."""

    @property
    def rank(self) -> tuple[float, float]:
        """Of two epochs the one of higher rank validates better: by score, then by loss."""
        return self.valid_score, -self.valid_loss


class History:
    """A context that keeps `steps.csv`, `epochs.csv` and DVCLive's `live/` in `folder` up to date by epoch."""

    def __init__(
        self, folder: Path, metric: str, state: dict[str, Any] | None = None, writes: bool = True
    ) -> None:
        """Start or go on.

        Args:
            metric: what the score of an epoch is: the task's headline.
            state: what `state` gave before an interruption; the history goes on from there.
            writes: False keeps the history in memory alone, as all ranks do but the first.
        """
        self.folder, self.metric = folder, metric
        self.steps: list[Step] = []
        self.epochs: list[Epoch] = []
        self.best: Epoch | None = None
        self.live: Live | None = None
        try:
            if writes:
                self.live = Live(str(folder / "live"), dvcyaml=None, save_dvc_exp=False, report=None)
        except SCMError as error:
            raise UserError(f"DVCLive needs a git repository with a commit ({error}): git commit first") from None
        if state:
            self.steps = [Step(**dict(zip(_names(Step), values, strict=True))) for values in state["steps"]]
            self.epochs = [Epoch(**dict(zip(_names(Epoch), values, strict=True))) for values in state["epochs"]]
            self.best = None if state["best"] is None else self.epochs[state["best"]]
            for epoch in self.epochs:
                self._log(epoch)
        self._write()

    def state(self) -> dict[str, Any]:
        """Return all of it, as JSON takes it."""
        return {
            "steps": [astuple(step) for step in self.steps],
            "epochs": [astuple(epoch) for epoch in self.epochs],
            "best": self.best.epoch if self.best else None,
        }

    def __enter__(self) -> "History":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.end()

    def record(self, steps: list[Step], phase: str, score: Score, may_be_best: bool = True) -> Epoch:
        """Add an epoch to the history. Steps and epochs are counted on from the phase before."""
        step, number = len(self.steps), len(self.epochs)
        self.steps += [Step(step + i, number, s.lr, s.loss) for i, s in enumerate(steps)]
        train_loss = sum(s.loss for s in steps) / len(steps)
        epoch = Epoch(number, phase, train_loss, score.loss, score.value)
        self.epochs.append(epoch)
        self._write()
        self._log(epoch)
        if may_be_best and (self.best is None or epoch.rank > self.best.rank):
            self.best = epoch
        return epoch

    def _log(self, epoch: Epoch) -> None:
        if not self.live:
            return
        self.live.log_metric("train/loss", epoch.train_loss)
        self.live.log_metric("valid/loss", epoch.valid_loss)
        self.live.log_metric(f"valid/{self.metric}", epoch.valid_score)
        self.live.next_step()

    def summary(self) -> dict[str, Any]:
        """Return how many epochs there were, which one was the best, and how the last one validated."""
        if not self.epochs or self.best is None:
            return {"epochs": 0}
        last = self.epochs[-1]
        valid = {"loss": last.valid_loss, self.metric: last.valid_score}
        return {"epochs": len(self.epochs), "best_epoch": self.best.epoch, "valid": valid}

    def __str__(self) -> str:
        if not self.epochs or self.best is None:
            return "no cycles: everything stays as it is"
        last, best = self.epochs[-1].valid_score, self.best.valid_score
        return f"{len(self.epochs)} epochs, validation {self.metric} {last:.4f}, at best {best:.4f}"

    def _write(self) -> None:
        if not self.live:
            return
        tables.write_rows(self.folder / "steps.csv", _names(Step), map(astuple, self.steps))
        tables.write_rows(self.folder / "epochs.csv", _names(Epoch), map(astuple, self.epochs))


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]
