"""The numbers of the page's head and of its first table, with their intervals."""

from typing import Any

from unfreeze.report.intervals import RESAMPLES, Interval, count_rank_resamples, wilson_interval
from unfreeze.task.base import Metric, Task
from unfreeze.task.predictions import Predictions

VARIANTS = {
    "prevalence": "label frequencies",
    "head": "head alone",
    "plain": "whole network",
    "tta": "whole network, TTA",
}
"""Ways of predicting, with their names."""
FROZEN = VARIANTS | {"plain": "frozen backbone and head", "tta": "frozen backbone and head, TTA"}
"""The same where nothing was fine-tuned."""
TILES = 4


def build(
    metrics: dict[str, Any], shown: Predictions, split: str, intervals: dict[str, Interval], finetuned: bool
) -> dict[str, Any]:
    """Build the head and the section of numbers.

    Args:
        metrics: split -> way of predicting -> metric -> number or None.
        shown: the labelled predictions of `split`.
        intervals: of the metrics of `split` with TTA, by metric.
        finetuned: whether the network had any epoch.
    """
    names = VARIANTS if finetuned else FROZEN
    gains = _describe_gains(metrics[split], shown.task.metrics[0])
    return {
        "headline": _build_headline(metrics[split]["tta"], shown.task, intervals),
        "variants": _build_variants(metrics, shown.task, split, intervals, names),
        "gains": gains if finetuned else gains[-1:],
        "resamples": RESAMPLES,
        "rank_resamples": count_rank_resamples(len(shown.row), len(shown.classes)),
    }


def title(metric: Metric) -> str:
    """Return the metric's title with an arrow towards the better."""
    return f"{metric.title} {'↑' if metric.higher_is_better else '↓'}"


def format_value(metric: Metric, value: float | None) -> str | None:
    """Return a value as it is shown; None if it is undefined."""
    if value is None:
        return None
    return f"{value:.1%}" if metric.percent else f"{value:.3f}"


def format_interval(metric: Metric, interval: Interval | None) -> str | None:
    """Return an interval as it is shown; None if there is none."""
    if interval is None:
        return None
    low, high = (format_value(metric, bound) for bound in interval)
    return f"{low.removesuffix('%')}–{high}"  # noqa: RUF001


def _build_headline(scores: dict[str, Any], task: Task, intervals: dict[str, Interval]) -> dict[str, Any]:
    """Build the first metric with its interval, and the next ones as tiles."""
    first, *others = task.metrics
    low, high = (format_value(first, bound) for bound in intervals[first.key])
    tiles = [metric for metric in others if metric.key in scores][:TILES]
    return {
        "name": first.title,
        "value": format_value(first, scores[first.key]),
        "count": scores["count"],
        "low": low,
        "high": high,
        "tiles": [
            (
                title(metric),
                format_value(metric, scores[metric.key]),
                format_interval(metric, intervals.get(metric.key)),
            )
            for metric in tiles
        ],
    }


def _build_variants(
    metrics: dict[str, Any], task: Task, split: str, intervals: dict[str, Interval], names: dict[str, str]
) -> dict[str, Any]:
    """Build the table of numbers: a line for each split and way of predicting.

    An interval stands below a number where it is known: of TTA on `split`, and of every accuracy.
    """
    keys = {key for ways in metrics.values() for scores in ways.values() for key in scores}
    columns = [metric for metric in task.metrics if metric.key in keys]
    lines = []
    for part in ("valid", "test"):
        for way, name in names.items():
            scores = metrics.get(part, {}).get(way)
            if not scores:
                continue
            best = (part, way) == (split, "tta")
            known = dict(intervals) if best else {}
            if scores.get("accuracy") is not None:
                known.setdefault("accuracy", wilson_interval(scores["accuracy"], scores["count"]))
            cells = [
                (format_value(metric, scores.get(metric.key)), format_interval(metric, known.get(metric.key)))
                for metric in columns
            ]
            lines.append({"split": part, "way": name, "count": scores["count"], "cells": cells, "best": best})
    return {"columns": [title(metric) for metric in columns], "lines": lines}


def _describe_gains(ways: dict[str, Any], metric: Metric) -> list[str]:
    """Say what fine-tuning and, last, TTA changed on a split, in the first metric."""
    steps = [("head", "plain", "the whole network over the head alone"), ("plain", "tta", "TTA")]
    return [
        f"{what} {format_difference(metric, ways[after][metric.key] - ways[before][metric.key])}"
        for before, after, what in steps
        if before in ways
    ]


def format_difference(metric: Metric, difference: float) -> str:
    """Return a difference of two values with its sign, of percents in points."""
    return f"{100 * difference:+.1f} points" if metric.percent else f"{difference:+.3f}"
