"""The numbers of the report's head and of its first table, with their intervals."""

from typing import Any

from unfreeze.report.galleries import Predictions
from unfreeze.report.intervals import Interval, wilson_interval

METRICS = [
    ("accuracy", "accuracy ↑", "{:.1%}"),
    ("top5", "top-5 ↑", "{:.1%}"),
    ("log_loss", "log loss ↓", "{:.3f}"),
    ("roc_auc", "ROC AUC ↑", "{:.3f}"),
    ("ece", "ECE ↓", "{:.3f}"),
    ("precision", "precision ↑", "{:.3f}"),
    ("recall", "recall ↑", "{:.3f}"),
    ("f1", "F1 ↑", "{:.3f}"),
    ("matthews", "MCC ↑", "{:.3f}"),
]
MULTI_METRICS = [
    ("f2", "F2 ↑", "{:.3f}"),
    ("map", "mAP ↑", "{:.3f}"),
    ("subset_accuracy", "all right ↑", "{:.1%}"),
    ("log_loss", "log loss ↓", "{:.3f}"),
    ("precision", "precision ↑", "{:.3f}"),
    ("recall", "recall ↑", "{:.3f}"),
    ("f1", "F1 ↑", "{:.3f}"),
]
VARIANTS = {
    "prevalence": "label frequencies",
    "head": "head alone",
    "plain": "whole network",
    "tta": "whole network, TTA",
}


def headline(metrics: dict[str, Any], shown: Predictions, known: dict[str, Interval]) -> dict[str, Any]:
    """The first number with its interval, and the next four as tiles."""
    (key, _, form), *others = MULTI_METRICS if shown.multi else METRICS
    tiles = [
        (label, text(metrics[name], form), span(known.get(name), form))
        for name, label, form in [each for each in others if each[0] in metrics][:4]
    ]
    low, high = (form.format(number) for number in known[key])
    name = "F2" if shown.multi else "accuracy"
    return {
        "name": name, "value": form.format(metrics[key]), "count": metrics["count"], "low": low, "high": high,
        "tiles": tiles,
    }  # fmt: skip


def variants(metrics: dict[str, Any], multi: bool, split: str, known: dict[str, Interval]) -> dict[str, Any]:
    """The table of numbers: a line for each split and way of predicting, `None` where one is undefined, with the
    interval where it is known: of TTA on `split`, and of accuracy."""
    given = {key for ways in metrics.values() for numbers in ways.values() for key in numbers}
    columns = [metric for metric in (MULTI_METRICS if multi else METRICS) if metric[0] in given]
    lines = []
    for part in ("valid", "test"):
        for way, label in VARIANTS.items():
            if numbers := metrics.get(part, {}).get(way):
                found = known if (part, way) == (split, "tta") else {}
                if numbers.get("accuracy") is not None:
                    found = {"accuracy": wilson_interval(numbers["accuracy"], numbers["count"]), **found}
                cells = [(text(numbers.get(key), form), span(found.get(key), form)) for key, _, form in columns]
                lines.append((part, label, numbers["count"], cells, (part, way) == (split, "tta")))
    return {"columns": [label for _, label, _ in columns], "lines": lines}


def text(value: float | None, form: str) -> str | None:
    """`value` as it is shown; None if it is undefined."""
    return None if value is None else form.format(value)


def span(interval: Interval | None, form: str) -> str | None:
    """An interval as it is shown; None if there is none."""
    if interval is None:
        return None
    low, high = (form.format(number) for number in interval)
    return f"{low.removesuffix('%')}–{high}"  # noqa: RUF001


def gains(ways: dict[str, Any], multi: bool) -> list[str]:
    """What fine-tuning and TTA changed on a split, in points of accuracy, or in F2."""
    key, scale, form = ("f2", 1, "{:+.3f}") if multi else ("accuracy", 100, "{:+.1f} points")
    steps = [("head", "plain", "the whole network over the head alone"), ("plain", "tta", "TTA")]
    return [
        f"{what} {form.format(scale * (ways[after][key] - ways[before][key]))}"
        for before, after, what in steps
        if before in ways
    ]
