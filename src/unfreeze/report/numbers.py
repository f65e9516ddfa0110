"""The numbers of the report's head and of its first table, with their intervals."""

from typing import Any

import numpy as np

from unfreeze import draws
from unfreeze.report.galleries import Predictions
from unfreeze.thresholds import f2_by_image

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
RESAMPLES = 1000  # of the bootstrap

Interval = tuple[float, float]


def wilson_interval(share: float, count: int) -> Interval:
    """The 95% confidence interval of a share observed in `count` > 0 cases (Wilson 1927)."""
    z = 1.96
    centre = share + z * z / (2 * count)
    half = z * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, (centre - half) / (1 + z * z / count)), min(1.0, (centre + half) / (1 + z * z / count))


def bootstrap_interval(values: np.ndarray, *key: int | str) -> Interval:
    """The 95% confidence interval of the mean of `values` `[N]`: percentiles of the means of samples drawn from
    them with replacement (Efron 1979), the draws seeded by `key`."""
    generator = draws.generator(*key)
    means = [values[generator.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    return _middle(means)


def intervals(metrics: dict[str, Any], shown: Predictions, seed: int) -> dict[str, Interval]:
    """95% intervals by metric, of the predictions `shown`: Wilson's of shares, else by bootstrap.

    The areas under curves and the calibration error have none.
    """
    key = (seed, "report", "bootstrap")
    found = {
        name: wilson_interval(metrics[name], metrics["count"])
        for name in ("accuracy", "top5", "subset_accuracy")
        if metrics.get(name) is not None
    }
    p = np.clip(shown.probabilities.astype(np.float64), 1e-15, 1 - 1e-15)
    if shown.multi:
        found["f2"] = bootstrap_interval(f2_by_image(shown.predicted, shown.actual), *key)
        found["log_loss"] = bootstrap_interval(-np.where(shown.actual > 0, np.log(p), np.log1p(-p)).mean(1), *key)
        return found
    found["log_loss"] = bootstrap_interval(-np.log(p[np.arange(len(p)), shown.actual]), *key)
    return found | _confusion_intervals(shown.actual, shown.predicted, len(shown.classes), *key)


def _confusion_intervals(
    actual: np.ndarray, predicted: np.ndarray, classes: int, *key: int | str
) -> dict[str, Interval]:
    """Of what the confusion matrix tells: to draw images again is to draw its cells again."""
    pairs, counts = np.unique(actual * classes + predicted, return_counts=True)
    drawn = draws.generator(*key).multinomial(len(actual), counts / counts.sum(), RESAMPLES).astype(np.float64)
    true, guess = np.divmod(pairs, classes)
    each = np.eye(classes)
    had, given = drawn @ each[true], drawn @ each[guess]  # whole numbers: exact however they are summed
    right = drawn @ (each[true] * (true == guess)[:, None])
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = (len(actual) ** 2 - (given**2).sum(1)) * (len(actual) ** 2 - (had**2).sum(1))
        matthews = (right.sum(1) * len(actual) - (had * given).sum(1)) / np.sqrt(spread)
    return {
        "precision": _middle(_mean_of_defined(right, given)),
        "recall": _middle(_mean_of_defined(right, had)),
        "f1": _middle(_mean_of_defined(2 * right, had + given)),
        "matthews": _middle(np.nan_to_num(matthews)),
    }


def _mean_of_defined(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The mean over classes of `above / below` `[RESAMPLES, C]` where that is defined."""
    return (above / np.maximum(below, 1)).sum(1) / np.maximum((below > 0).sum(1), 1)


def _middle(values: Any) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def headline(metrics: dict[str, Any], shown: Predictions, known: dict[str, Interval]) -> dict[str, Any]:
    """The first number with its interval, and the next four as tiles."""
    (key, _, form), *others = MULTI_METRICS if shown.multi else METRICS
    tiles = [
        (label, text(metrics[name], form), span(known.get(name), form))
        for name, label, form in others[:4]
        if name in metrics
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
