"""Which charts a report has, from the tables that the stages left."""

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from unfreeze.report import figures
from unfreeze.report.galleries import Predictions
from unfreeze.report.intervals import wilson_interval
from unfreeze.thresholds import f2_by_image

Table = Sequence[dict[str, str]]
"""A CSV as `files.read_csv` gives it, or of a row for each image `files.read_table`."""

GRID = np.linspace(0.01, 0.99, 99)
"""Thresholds of the curve of F2."""
MOST_SIZES = 500  # dots


def finder(name: str, curve: Table, found: dict[str, Any]) -> str:
    """A learning-rate finder's curve with its suggestions."""
    labels = {"steepest": "steepest descent", "minimum_tenth": "minimum / 10"}
    rates = {label: found.get(key) for key, label in labels.items()}
    suggestions = {label: rate for label, rate in rates.items() if rate is not None}
    return figures.lr_finder(name, *(column(curve, key) for key in ("lr", "loss", "smoothed")), suggestions)


def training(
    head_steps: Table, head_epochs: Table, finetune_steps: Table, finetune_epochs: Table, score: str
) -> dict[str, str]:
    """Losses and score by epoch of both stages over their learning rates, and these by step."""
    charts = {}
    steps = {"head": head_steps, "fine-tuning": finetune_steps}
    rates = {title: column(table, "lr") for title, table in steps.items() if table}
    if rates:
        charts["schedule"] = figures.schedule("schedule", rates)
    epochs = [*head_epochs, *finetune_epochs]
    if epochs:
        phases = [line["phase"] for line in epochs]
        under = [
            (_places(table, first), column(table, "lr"))
            for table, first in ((head_steps, 0), (finetune_steps, len(head_epochs)))
            if table
        ]
        losses = {"training": column(epochs, "train_loss"), "validation": column(epochs, "valid_loss")}
        charts["loss"] = figures.by_epoch("loss", "loss", losses, phases, under)
        scores = {"validation": column(epochs, "valid_score")}
        charts["score"] = figures.by_epoch("score", f"validation {score}", scores, phases, under)
    return charts


def _places(steps: Table, first: int) -> np.ndarray:
    """Where each step stands on an axis of epochs that starts at 0.5 + `first`."""
    epoch = np.array([int(line["epoch"]) for line in steps])
    count = np.bincount(epoch)
    within = np.arange(len(epoch)) - (np.cumsum(count) - count)[epoch]
    return first + 0.5 + epoch + within / count[epoch]


def reliability(bins: Table) -> str:
    """Accuracy over confidence; no bin is empty."""
    confidence, accuracy, count = (column(bins, name) for name in ("confidence", "accuracy", "count"))
    spans = [wilson_interval(share, n) for share, n in zip(accuracy, count, strict=True)]
    return figures.reliability("reliability", confidence, accuracy, count, spans)


def two_classes(shown: Predictions) -> dict[str, str]:
    """ROC and precision over recall of the second class."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    true, p = shown.actual == 1, shown.probabilities[:, 1]
    if true.all() or not true.any():
        return {}
    false_rate, true_rate, _ = roc_curve(true, p)
    precision, recall, _ = precision_recall_curve(true, p)
    return {
        "roc": figures.curve(
            "roc",
            ("false positive rate", "true positive rate"),
            {"this model": (false_rate, true_rate)},
            diagonal=True,
        ),
        "precision_recall": figures.curve(
            "precision-recall", ("recall", "precision"), {"this model": (recall, precision)}
        ),
    }


def threshold(shown: Predictions, used: Sequence[float]) -> str:
    """F2 and the share of images whose labels are all right, over one threshold for all labels."""
    predicted = (shown.probabilities >= level for level in GRID)  # one at a time: each is [N, C]
    found = [
        (f2_by_image(each, shown.actual).mean(), (each == (shown.actual > 0)).all(1).mean()) for each in predicted
    ]
    lines = {
        name: (GRID, values) for name, values in zip(("F2", "all right"), zip(*found, strict=True), strict=True)
    }
    marks = sorted(set(used)) if len(set(used)) == 1 else []
    return figures.curve("threshold", ("threshold", "of the images"), lines, marks=marks)


def sizes(images: Table) -> str:
    """Width and height of the images, the most frequent sizes."""
    counts = Counter((int(line["width"]), int(line["height"])) for line in images)
    common = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_SIZES]
    (width, height), count = zip(*(size for size, _ in common), strict=True), [n for _, n in common]
    return figures.sizes("sizes", width, height, count)


def column(table: Table, name: str) -> Sequence[float]:
    """A column's numbers, nan where it is empty."""
    return array("d", (float(line[name] or "nan") for line in table))
