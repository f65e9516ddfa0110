"""The report: one HTML page that needs no other file, no network and no script.

Its size is bounded whatever the data: galleries by class stop at a number of bytes, tables at a number of
lines, and the page says what it left out. Names from the data are hostile: jinja2 escapes them, and the
page's Content-Security-Policy forbids scripts and requests.
"""

import base64
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unfreeze import draws
from unfreeze.console import UserError
from unfreeze.data.table import NO_LABELS
from unfreeze.report import figures, galleries
from unfreeze.report.galleries import Predictions
from unfreeze.thresholds import f2_by_image

Table = list[dict[str, str]]
"""A CSV as `files.read_csv` gives it."""

_TINY = 64  # px: up to here an image is kept exactly and enlarged by whole pixels
_THUMBNAIL = 160  # px: longest side of any picture
_PICTURE_BYTES = 6_000_000  # of all pictures together, so that the page stays under 8 MB
_MOST_LINES = 400  # of any table
_MATRIX = 20  # classes: more make an unreadable matrix, the most confused pairs are shown alone

_METRICS = [
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
_MULTI_METRICS = [
    ("f2", "F2 ↑", "{:.3f}"),
    ("map", "mAP ↑", "{:.3f}"),
    ("subset_accuracy", "all right ↑", "{:.1%}"),
    ("log_loss", "log loss ↓", "{:.3f}"),
    ("precision", "precision ↑", "{:.3f}"),
    ("recall", "recall ↑", "{:.3f}"),
    ("f1", "F1 ↑", "{:.3f}"),
]
_RESAMPLES = 1000  # of the bootstrap
_VARIANTS = {
    "prevalence": "label frequencies",
    "head": "head alone",
    "plain": "whole network",
    "tta": "whole network, TTA",
}


@dataclass(frozen=True)
class Results:
    """What the earlier stages left, by file; the columns and keys are those of the stages that write them."""

    predictions: Predictions
    metrics: dict[str, Any]
    per_class: Table
    reliability: Table
    confusion: Table
    lr_curve: Table
    lr_suggestions: dict[str, Any]
    head_steps: Table
    head_epochs: Table
    head_metrics: dict[str, Any]
    finetune_steps: Table
    finetune_epochs: Table
    finetune_curve: Table
    finetune_metrics: dict[str, Any]
    images: Table
    rejected: Table
    split: Table
    duplicates: Table


def render(results: Results, pixels: np.ndarray, params: dict[str, Any]) -> str:
    """The page as HTML text.

    Args:
        results: see `Results`.
        pixels: uint8 `[M, S, S, 3]`, may be a memory map: only the pictures shown are read.
        params: params.yaml's `seed`, `model` and `report`.

    Raises:
        UserError: if predictions.csv names a row that `pixels` does not have.
    """
    split = "test" if "test" in results.metrics else "valid"
    everything = results.predictions
    shown = everything.take(np.flatnonzero((everything.split == split) & everything.labelled))
    if len(shown.row) and (shown.row.min() < 0 or shown.row.max() >= len(pixels)):
        raise UserError(f"predictions.csv names a row outside the {len(pixels)} stored images: run dvc repro")
    confusion = [] if shown.multi else [line for line in results.confusion if line["split"] == split]
    columns = {"precision": "precision", "recall": "recall", "f1": "F1"}
    if shown.multi:
        columns = {"threshold": "threshold", "ap": "AP", **columns}
    choose = _multi_galleries if shown.multi else _galleries
    return _template().render(
        multi=shown.multi,
        split=split,
        split_name={"test": "test", "valid": "validation"}[split],
        params=params,
        classes=shown.classes,
        headline=_headline(results.metrics[split]["tta"], shown, params["seed"]),
        variants=_variants(results.metrics, _MULTI_METRICS if shown.multi else _METRICS),
        gains=_gains(results.metrics[split], shown.multi),
        cross_validation=results.head_metrics.get("cross_validation"),
        matrix=_matrix(confusion, shown.classes) if len(shown.classes) <= _MATRIX and not shown.multi else None,
        pairs=_confused_pairs(confusion, 12),
        per_class=_weakest_first([line for line in results.per_class if line["split"] == split], list(columns)),
        class_columns=list(columns.values()),
        charts=_charts(results, split, shown.multi),
        data=_data(results),
        size=pixels.shape[1],
        tiny=pixels.shape[1] <= _TINY,
        **choose(shown, pixels, params["report"]["per_gallery"], params["seed"]),
    )


def thumbnail(image: np.ndarray) -> str:
    """A data URI of an image uint8 `[S, S, 3]`: up to 64 px exact (PNG), else a JPEG of at most 160 px."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image))
    stream = io.BytesIO()
    if max(picture.size) <= _TINY:
        kind = "png"
        picture.save(stream, "PNG", optimize=True)
    else:
        kind = "jpeg"
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
        picture.save(stream, "JPEG", quality=78, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def shorten(text: str, longest: int = 120) -> str:
    """`text` with its middle replaced by "…" if it has more than `longest` characters."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95% confidence interval of a share observed in `count` > 0 cases (Wilson 1927)."""
    z = 1.96
    centre = share + z * z / (2 * count)
    half = z * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, (centre - half) / (1 + z * z / count)), min(1.0, (centre + half) / (1 + z * z / count))


def bootstrap_interval(values: np.ndarray, *key: int | str) -> tuple[float, float]:
    """The 95% confidence interval of the mean of `values` `[N]`: percentiles of the means of samples drawn from
    them with replacement (Efron 1979), the draws seeded by `key`."""
    generator = draws.generator(*key)
    means = [values[generator.integers(0, len(values), len(values))].mean() for _ in range(_RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _template() -> Any:
    import jinja2
    from markupsafe import Markup, escape

    def breakable(text: str) -> Markup:
        return Markup(re.sub(r"[/_]", r"\g<0><wbr>", str(escape(text))))  # no escaped character holds either

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        short=shorten,
        breakable=breakable,
        percent="{:.1%}".format,
        number="{:,}".format,
        plural=lambda count, noun, nouns="": f"{count:,} {noun if count == 1 else nouns or noun + 's'}",
    )
    return environment.get_template("page.html.j2")


def _headline(metrics: dict[str, Any], shown: Predictions, seed: int) -> dict[str, Any]:
    if shown.multi:
        name, value, form = "F2", metrics["f2"], "{:.3f}"
        low, high = bootstrap_interval(f2_by_image(shown.predicted, shown.actual), seed, "report", "bootstrap")
    else:
        name, value, form = "accuracy", metrics["accuracy"], "{:.1%}"
        low, high = wilson_interval(value, metrics["count"])
    known = (_MULTI_METRICS if shown.multi else _METRICS)[1:5]
    tiles = [(label, _shown(metrics.get(key), form)) for key, label, form in known if key in metrics]
    value, low, high = (form.format(number) for number in (value, low, high))
    return {"name": name, "value": value, "count": metrics["count"], "low": low, "high": high, "tiles": tiles}


def _variants(metrics: dict[str, Any], known: list[tuple[str, str, str]]) -> dict[str, Any]:
    """The table of numbers: a line for each split and way of predicting, `None` where one is undefined."""
    given = {key for ways in metrics.values() for numbers in ways.values() for key in numbers}
    columns = [metric for metric in known if metric[0] in given]
    lines = []
    for split in ("valid", "test"):
        for way, label in _VARIANTS.items():
            if numbers := metrics.get(split, {}).get(way):
                cells = [_shown(numbers.get(key), form) for key, _, form in columns]
                lines.append((split, label, numbers["count"], cells))
    return {"columns": [label for _, label, _ in columns], "lines": lines}


def _shown(value: float | None, form: str) -> str | None:
    return None if value is None else form.format(value)


def _gains(ways: dict[str, Any], multi: bool) -> list[str]:
    """What fine-tuning and TTA changed on a split, in points of accuracy, or in F2."""
    key, scale, form = ("f2", 1, "{:+.3f}") if multi else ("accuracy", 100, "{:+.1f} points")
    steps = [("head", "plain", "the whole network over the head alone"), ("plain", "tta", "TTA")]
    return [
        f"{what} {form.format(scale * (ways[after][key] - ways[before][key]))}"
        for before, after, what in steps
        if before in ways
    ]


def _galleries(shown: Predictions, pixels: np.ndarray, count: int, seed: int) -> dict[str, Any]:
    """The five galleries of the labelled predictions `shown`."""

    def pictures(positions: np.ndarray) -> list[dict[str, Any]]:
        return [_picture(shown, pixels, int(i)) for i in positions]

    correct = pictures(galleries.some_correct(shown.actual, shown.predicted, count, seed))
    incorrect = pictures(galleries.some_incorrect(shown.actual, shown.predicted, count, seed))
    uncertain = pictures(galleries.most_uncertain(shown.uncertainty, count))
    room = _PICTURE_BYTES - _bytes([*correct, *incorrect, *uncertain])

    def by_class(choose: Callable[..., np.ndarray], room: int) -> list[dict[str, Any]]:
        groups = []
        for index, images, mistakes in order:
            group = pictures(choose(shown.probabilities, shown.actual, shown.predicted, index, count))
            room -= _bytes(group)
            if room < 0:
                break
            name = shown.classes[index]
            groups.append({"name": name, "images": images, "mistakes": mistakes, "pictures": group})
        return groups

    order = galleries.by_mistakes(shown.actual, shown.predicted, len(shown.classes))
    most_incorrect = by_class(galleries.most_incorrect, room // 2)
    room -= sum(_bytes(group["pictures"]) for group in most_incorrect)
    flawless = [shown.classes[index] for index, _, mistakes in order if not mistakes]
    return {
        "correct": correct,
        "incorrect": incorrect,
        "uncertain": uncertain,
        "most_correct": by_class(galleries.most_correct, room),
        "most_incorrect": [group for group in most_incorrect if group["pictures"]],
        "classes_seen": len(order),
        "flawless": flawless,
    }


def _multi_galleries(shown: Predictions, pixels: np.ndarray, count: int, seed: int) -> dict[str, Any]:
    """The galleries of the labelled predictions `shown`, where an image can have several labels."""

    def pictures(positions: np.ndarray) -> list[dict[str, Any]]:
        return [_multi_picture(shown, pixels, int(i)) for i in positions]

    right = (shown.actual == shown.predicted).all(1).astype(int)
    correct = pictures(galleries.some_correct(np.ones_like(right), right, count, seed))
    incorrect = pictures(galleries.some_incorrect(np.ones_like(right), right, count, seed))
    uncertain = pictures(galleries.most_uncertain(shown.uncertainty, count))
    room = (_PICTURE_BYTES - _bytes([*correct, *incorrect, *uncertain])) // 3
    order = galleries.labels_by_mistakes(shown.actual, shown.predicted)

    def by_label(had: bool, given: bool) -> dict[str, Any]:
        groups, left, total = [], room, 0
        for index, images, mistakes in order:
            chosen = galleries.of_label(shown, index, had, given, count)
            total += len(chosen) > 0
            group = pictures(chosen) if left > 0 else []
            left -= _bytes(group)
            if group and left >= 0:
                name = shown.classes[index]
                groups.append({"name": name, "images": images, "mistakes": mistakes, "pictures": group})
        return {"groups": groups, "total": total}

    return {
        "correct": correct,
        "incorrect": incorrect,
        "uncertain": uncertain,
        "by_label": [
            (
                "Most right of each label",
                "They have the label and get it, the surest first.",
                by_label(True, True),
            ),
            ("Most missed of each label", "They have the label: its lowest probabilities.", by_label(True, False)),
            (
                "Most wrongly given of each label",
                "They have not the label and get it: its highest probabilities.",
                by_label(False, True),
            ),
        ],
    }


def _multi_picture(shown: Predictions, pixels: np.ndarray, i: int) -> dict[str, Any]:
    """Image `i` with the labels that it has or gets, the most probable first."""
    order = np.argsort(-shown.probabilities[i], kind="stable")
    verdicts = {(1, 1): "right", (0, 1): "wrong", (1, 0): "missed"}
    labels = [
        (shown.classes[c], float(shown.probabilities[i, c]), verdict)
        for c in order
        if (verdict := verdicts.get((int(shown.actual[i, c]), int(shown.predicted[i, c]))))
    ]
    return {"uri": thumbnail(pixels[shown.row[i]]), "path": shown.path[i], "labels": labels}


def _bytes(pictures: list[dict[str, Any]]) -> int:
    return sum(len(picture["uri"]) for picture in pictures)


def _picture(shown: Predictions, pixels: np.ndarray, i: int) -> dict[str, Any]:
    """Image `i` with what its caption says."""
    probabilities = shown.probabilities[i]
    actual, predicted = int(shown.actual[i]), int(shown.predicted[i])
    second = next((int(k) for k in np.argsort(-probabilities, kind="stable")[:2] if k != predicted), None)
    return {
        "uri": thumbnail(pixels[shown.row[i]]),
        "path": shown.path[i],
        "right": actual == predicted,
        "actual": shown.classes[actual],
        "actual_probability": float(probabilities[actual]),
        "predicted": shown.classes[predicted],
        "probability": float(probabilities[predicted]),
        "second": None if second is None else shown.classes[second],
        "second_probability": None if second is None else float(probabilities[second]),
    }


def _matrix(confusion: Table, classes: list[str]) -> list[dict[str, Any]]:
    """Lines (actual class) of cells (predicted class, images, strength of the tint in percent)."""
    counts = {(line["actual"], line["predicted"]): int(line["count"]) for line in confusion}
    lines = []
    for actual in classes:
        row = [counts.get((actual, predicted), 0) for predicted in classes]
        tints = [60 * (n / max(1, sum(row))) ** 0.5 for n in row]  # the root makes a few mistakes visible
        lines.append({"name": actual, "cells": list(zip(classes, row, tints, strict=True))})
    return lines


def _confused_pairs(confusion: Table, most: int) -> list[dict[str, Any]]:
    """The most frequent mistakes: actual and predicted class, images, share of the actual class's images."""
    images: Counter[str] = Counter()
    for line in confusion:
        images[line["actual"]] += int(line["count"])
    wrong = [line for line in confusion if line["actual"] != line["predicted"] and int(line["count"])]
    wrong.sort(key=lambda line: (-int(line["count"]), line["actual"], line["predicted"]))
    return [
        {
            "actual": line["actual"],
            "predicted": line["predicted"],
            "count": int(line["count"]),
            "share": int(line["count"]) / images[line["actual"]],
        }
        for line in wrong[:most]
    ]


def _weakest_first(per_class: Table, keys: list[str]) -> list[dict[str, Any]]:
    """The per-class lines with the numbers of `keys`, the lowest of the last, F1, first and the undefined last."""
    lines = [
        {
            "name": line["class"],
            "support": int(line["support"]),
            "numbers": [_float(line[key]) for key in keys],
        }
        for line in per_class
    ]
    lines.sort(key=lambda line: float("inf") if line["numbers"][-1] is None else line["numbers"][-1])
    return lines[:_MOST_LINES]


def _charts(results: Results, split: str, multi: bool) -> dict[str, str]:
    """SVG by name; a stage that did not train has none."""
    charts = {}
    for name, curve, found in (
        ("lr_finder", results.lr_curve, results.lr_suggestions),
        ("network_finder", results.finetune_curve, results.finetune_metrics),
    ):
        if curve:
            labels = {"steepest": "steepest descent", "minimum_tenth": "minimum / 10"}
            rates = {label: found.get(key) for key, label in labels.items()}
            suggestions = {label: rate for label, rate in rates.items() if rate is not None}
            columns = (_column(curve, column) for column in ("lr", "loss", "smoothed"))
            charts[name] = figures.lr_finder(name.replace("_", "-"), *columns, suggestions)
    steps = {"head": results.head_steps, "fine-tuning": results.finetune_steps}
    rates = {title: _column(table, "lr") for title, table in steps.items() if table}
    if rates:
        charts["schedule"] = figures.schedule("schedule", rates)
    epochs = [*results.head_epochs, *results.finetune_epochs]
    if epochs:
        phases = [line["phase"] for line in epochs]
        losses = {"training": _column(epochs, "train_loss"), "validation": _column(epochs, "valid_loss")}
        charts["loss"] = figures.by_epoch("loss", "loss", losses, phases)
        score, name = {"validation": _column(epochs, "valid_score")}, "F2" if multi else "accuracy"
        charts["score"] = figures.by_epoch("score", f"validation {name}", score, phases)
    bins = [line for line in results.reliability if line["split"] == split and int(line["count"])]
    if bins:
        columns = (_column(bins, name) for name in ("confidence", "accuracy", "count"))
        charts["reliability"] = figures.reliability("reliability", *columns)
    return charts


def _data(results: Results) -> dict[str, Any]:
    """What was in the archive: counts by class and split, sizes, rejected files and duplicates."""
    counts = Counter((label, line["split"]) for line in results.split for label in _labels(line))
    images = Counter(line["split"] for line in results.split)
    splits = [name for name in ("train", "valid", "test", "") if any(split == name for _, split in counts)]
    labels = sorted({label for label, _ in counts}, key=lambda label: (not label, label))
    lines = [(label, [counts[label, split] for split in splits]) for label in labels]
    widths, heights = _column(results.images, "width"), _column(results.images, "height")
    return {
        "train": images["train"],
        "splits": splits,
        "totals": [images[split] for split in splits],
        "lines": lines[:_MOST_LINES],
        "labels": len(labels),
        "images": len(results.images),
        "width": (int(min(widths)), int(np.median(widths)), int(max(widths))) if widths else None,
        "height": (int(min(heights)), int(np.median(heights)), int(max(heights))) if heights else None,
        "formats": Counter(line["format"] for line in results.images).most_common(8),
        "reasons": Counter(line["reason"] for line in results.rejected).most_common(20),
        "rejected": results.rejected[:50],
        "rejected_count": len(results.rejected),
        "actions": Counter(line["action"] for line in results.duplicates).most_common(),
        "duplicates": results.duplicates[:50],
        "duplicate_count": len(results.duplicates),
    }


def _labels(line: dict[str, str]) -> list[str]:
    """Those of a line of split.csv: one, `` if it is unknown; or any number of labels."""
    if "label" in line:
        return [line["label"]]
    return ["no label"] if line["labels"] == NO_LABELS else line["labels"].split(" ")


def _column(table: Table, name: str) -> Sequence[float]:
    """A column's numbers, nan where it is empty."""
    return [float(line[name] or "nan") for line in table]


def _float(text: str) -> float | None:
    return float(text) if text else None
