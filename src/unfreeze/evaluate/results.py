"""Writes what an evaluation found: metrics, predictions, and the tables behind the plots."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unfreeze.core import tables
from unfreeze.core.arrays import span
from unfreeze.core.metrics import write_metrics
from unfreeze.task.base import Rule
from unfreeze.task.predictions import write_predictions, write_probabilities
from unfreeze.task.split_table import SplitTable

FINAL = "tta"
"""The method that is judged: network and test-time augmentation."""

NETWORKS = ("head", "plain", FINAL)
"""The methods that see images: the head on cached features, and the network with and without augmentation. Each
has an array of probabilities; without cached features that of the head has no rows."""

Scores = dict[str, dict[str, dict[str, Any]]]
"""Split -> method -> name -> value, of the splits that have labels."""


@dataclass(frozen=True)
class Evaluation:
    """What was predicted of some images of the validation and test splits, by several methods."""

    table: SplitTable
    rows: np.ndarray
    """The images, as rows of the split table."""
    methods: Mapping[str, np.ndarray]
    """Probabilities float64 `[len(rows), C]` by name; `FINAL` is among them."""
    thresholds: Mapping[str, list[float] | None]
    """Of each method; None where the task uses none."""

    @property
    def final(self) -> np.ndarray:
        """The probabilities of the method that is judged."""
        return self.methods[FINAL]

    @property
    def final_thresholds(self) -> list[float] | None:
        """Its thresholds."""
        return self.thresholds[FINAL]


def evaluate(table: SplitTable, rows: np.ndarray, methods: Mapping[str, np.ndarray], rule: Rule) -> Evaluation:
    """Add the task's baselines to the methods, and tune the thresholds of each on the validation images.

    Args:
        rows, methods: as in `Evaluation`.
        rule: of the thresholds.
    """
    task = table.task
    guesses = task.baselines(table.targets[table.labelled("train")])
    methods = {name: np.broadcast_to(guess, (len(rows), len(guess))) for name, guess in guesses.items()} | {
        **methods
    }
    valid = span(np.flatnonzero(np.isin(rows, table.labelled("valid"))))
    tuned = {name: task.tune(p[valid], table.targets[rows[valid]]) for name, p in methods.items()}
    return Evaluation(
        table=table,
        rows=rows,
        methods=methods,
        thresholds={name: by_rule.get(rule) for name, by_rule in tuned.items()},
    )


def write_results(folder: Path, evaluation: Evaluation) -> Scores:
    """Write metrics.json, details.json, predictions.csv, the probabilities of each method, per_class.csv,
    confusion.csv, reliability.csv and actual_predicted.csv.

    Returns:
        What details.json holds, not rounded.
    """
    table, rows, task = evaluation.table, evaluation.rows, evaluation.table.task
    final, thresholds = evaluation.final, evaluation.final_thresholds
    scores: Scores = {}
    per_class, confusion, reliability, pairs = [], [], [], []
    for part, chosen in _labelled_parts(table, rows):
        targets, p = table.targets[rows[chosen]], final[chosen]
        scores[part] = {
            name: task.scores(each[chosen], targets, evaluation.thresholds[name])
            for name, each in evaluation.methods.items()
        }
        numbers = zip(task.classes, task.per_class(p, targets, thresholds), strict=True)
        per_class += [[part, name, *row.values()] for name, row in numbers]
        confusion += [[part, *row.values()] for row in task.confusion(p, targets, thresholds)]
        reliability += [[part, *row.values()] for row in task.reliability(p, targets)]
        # DVC's confusion template counts rows itself: those of the split that matters most, the last one.
        pairs = task.pairs(p, targets, thresholds)

    tables.write_rows(folder / "per_class.csv", ["split", "class", *task.per_class_columns], per_class)
    tables.write_rows(folder / "confusion.csv", ["split", *task.confusion_columns], confusion)
    tables.write_rows(folder / "reliability.csv", ["split", "confidence", "accuracy", "count"], reliability)
    tables.write_rows(folder / "actual_predicted.csv", ["actual", "predicted"], pairs)
    write_predictions(folder / "predictions.csv", table, rows, final, thresholds)
    for name in NETWORKS:
        suffix = "" if name == FINAL else f"_{name}"
        probabilities = evaluation.methods.get(name, np.empty((0, len(task.classes))))
        write_probabilities(folder / f"probabilities{suffix}.npy", probabilities)
    write_metrics(folder, metrics=choose_metrics(scores, task.headline), details=scores)
    return scores


def choose_metrics(scores: Scores, headline: str) -> dict[str, float | None]:
    """Return what DVC compares of the method that is judged: `valid` and `test`, the headline of these splits, and
    `loss`, the log loss of the validation images. Splits without labels are left out."""
    final = {part: methods[FINAL] for part, methods in scores.items()}
    metrics = {part: final[part][headline] for part in final}
    if "valid" in final:
        metrics["loss"] = final["valid"]["log_loss"]
    return metrics


def _labelled_parts(table: SplitTable, rows: np.ndarray) -> list[tuple[str, np.ndarray | slice]]:
    """Return the splits with labelled images among `rows`, and which of `rows` these are."""
    parts = [(part, np.flatnonzero(np.isin(rows, table.labelled(part)))) for part in ("valid", "test")]
    return [(part, span(chosen)) for part, chosen in parts if len(chosen)]
