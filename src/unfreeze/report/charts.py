"""Which charts a report has, from the tables that the stages left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unfreeze.report import figures
from unfreeze.report.intervals import wilson_interval
from unfreeze.report.results import Results, Training
from unfreeze.task.predictions import Predictions
from unfreeze.task.thresholds import f2_by_image

if TYPE_CHECKING:
    import pandas as pd

THRESHOLDS = np.linspace(0.01, 0.99, 99)
"""Of the curve of F2."""
MOST_SIZES = 500
"""Dots of the chart of sizes."""


def draw_charts(results: Results, shown: Predictions, split: str) -> dict[str, str]:
    """Return SVG by name. A stage that did not train has no chart.

    Args:
        shown: the labelled predictions of `split`.
    """
    task, charts = shown.task, {}
    for name, training in (("lr_finder", results.head), ("network_finder", results.finetune)):
        if len(training.lr_curve):
            charts[name] = _draw_lr_finder(name.replace("_", "-"), training.lr_curve, training.lr_suggestions)
    charts |= _draw_training(results.head, results.finetune, task.metrics[0].title)
    bins = results.reliability
    bins = bins[(bins["split"] == split) & (bins["count"] > 0)]
    if len(bins):
        charts["reliability"] = _draw_reliability(bins)
    if task.uses_thresholds:
        used = results.per_class.loc[results.per_class["split"] == split, "threshold"]
        charts["threshold"] = _draw_thresholds(shown, used.tolist())
    elif len(shown.classes) == 2:
        charts |= _draw_two_classes(shown)
    sizes = results.images.groupby(["width", "height"]).size()
    if len(sizes) > 1:
        charts["sizes"] = _draw_sizes(sizes)
    return charts


def _draw_lr_finder(name: str, curve: pd.DataFrame, suggestions: dict[str, Any]) -> str:
    """Draw a learning-rate finder's curve with its suggestions."""
    titles = {"steepest": "steepest descent", "minimum_tenth": "minimum / 10"}
    rates = {title: suggestions.get(key) for key, title in titles.items()}
    return figures.draw_lr_finder(
        name,
        lr=curve["lr"],
        loss=curve["loss"],
        smoothed=curve["smoothed"],
        suggestions={title: rate for title, rate in rates.items() if rate is not None},
    )


def _draw_training(head: Training, finetune: Training, score: str) -> dict[str, str]:
    """Draw losses and score by epoch of both stages over their learning rates, and these by step."""
    import pandas as pd

    charts = {}
    rates = {
        title: training.steps["lr"]
        for title, training in (("head", head), ("fine-tuning", finetune))
        if len(training.steps)
    }
    if rates:
        charts["schedule"] = figures.draw_schedule("schedule", rates)
    epochs = pd.concat([head.epochs, finetune.epochs])
    if len(epochs):
        phases = epochs["phase"].tolist()
        below = [
            (_place_steps(training.steps, first), training.steps["lr"])
            for training, first in ((head, 0), (finetune, len(head.epochs)))
            if len(training.steps)
        ]
        losses = {"training": epochs["train_loss"], "validation": epochs["valid_loss"]}
        charts["loss"] = figures.draw_epochs("loss", "loss", losses, phases, below)
        scores = {"validation": epochs["valid_score"]}
        charts["score"] = figures.draw_epochs("score", f"validation {score}", scores, phases, below)
    return charts


def _place_steps(steps: pd.DataFrame, first: int) -> np.ndarray:
    """Return where each step stands on an axis of epochs that starts at 0.5 + `first`."""
    epoch = steps["epoch"].to_numpy()
    count = np.bincount(epoch)
    within = np.arange(len(epoch)) - (np.cumsum(count) - count)[epoch]
    return first + 0.5 + epoch + within / count[epoch]


def _draw_reliability(bins: pd.DataFrame) -> str:
    """Draw accuracy over confidence; no bin is empty."""
    accuracy, count = bins["accuracy"].tolist(), bins["count"].tolist()
    return figures.draw_reliability(
        "reliability",
        confidence=bins["confidence"].tolist(),
        accuracy=accuracy,
        count=count,
        intervals=[wilson_interval(share, n) for share, n in zip(accuracy, count, strict=True)],
    )


def _draw_two_classes(shown: Predictions) -> dict[str, str]:
    """Draw ROC and precision over recall of the second class."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    positive, p = shown.actual == 1, shown.probabilities[:, 1]
    if positive.all() or not positive.any():
        return {}
    false_rate, true_rate, _ = roc_curve(positive, p)
    precision, recall, _ = precision_recall_curve(positive, p)
    return {
        "roc": figures.draw_curves(
            "roc",
            ("false positive rate", "true positive rate"),
            {"this model": (false_rate, true_rate)},
            diagonal=True,
        ),
        "precision_recall": figures.draw_curves(
            "precision-recall", ("recall", "precision"), {"this model": (recall, precision)}
        ),
    }


def _draw_thresholds(shown: Predictions, used: Sequence[float]) -> str:
    """Draw F2, and the share of images whose labels are all right, over one threshold for all labels."""
    f2, all_right = [], []
    for threshold in THRESHOLDS:  # one at a time: what is predicted is [N, C]
        predicted = shown.probabilities >= threshold
        f2.append(f2_by_image(predicted, shown.actual).mean())
        all_right.append((predicted == (shown.actual > 0)).all(1).mean())
    lines = {"F2": (THRESHOLDS, f2), "all right": (THRESHOLDS, all_right)}
    marks = sorted(set(used)) if len(set(used)) == 1 else []
    return figures.draw_curves("threshold", ("threshold", "of the images"), lines, marks=marks)


def _draw_sizes(images: pd.Series) -> str:
    """Draw width and height of the images, the most frequent sizes.

    Args:
        images: how many have a size, by (width, height).
    """
    common = images.sort_index().sort_values(ascending=False, kind="stable")[:MOST_SIZES]
    width, height = (common.index.get_level_values(name).tolist() for name in ("width", "height"))
    return figures.draw_sizes("sizes", width, height, common.tolist())
