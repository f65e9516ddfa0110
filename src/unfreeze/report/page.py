"""The report: one HTML page that needs no other file and no network.

It is complete without its script, which adds what can be clicked. Its size is bounded whatever the data: galleries
by class stop at a number of bytes, tables at a number of lines, and the page says what it left out. Names from the
data are hostile: jinja2 escapes them, the script only ever sets them as text, and the page's
Content-Security-Policy forbids all requests and any script but this one.
"""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unfreeze.console import UserError
from unfreeze.data.table import NO_LABELS, PARTS
from unfreeze.report import charts, galleries, making, numbers, problems
from unfreeze.report.album import TINY, Album, Readable, side_for, thumbnail
from unfreeze.report.charts import Table, column
from unfreeze.report.galleries import Predictions
from unfreeze.report.intervals import RESAMPLES, intervals, resamples_of_ranks

_GALLERY_BYTES = 3_500_000  # of the pictures in galleries, so that the page stays under 8 MB
_SEARCH_BYTES = 2_000_000  # of the pictures to search
_SEARCH_IMAGES = 1500
_SEARCH_SIDE = 112  # px
_LOOKED_SIDE = 160  # px
_COARSE = 3  # places a side: a map of fewer does not say where the network looked
_MOST_LABELS = 12  # under a picture
_MOST_LINES = 400  # of any table
_MATRIX = 20  # classes: with more the matrix is drawn as a map of dots without numbers
_MOST_CELLS = 4000  # of such a map
_MAP_BACKGROUND = 1500  # training images
_COLOURS = 10  # classes that have a colour of their own in the style sheet
_PROBLEMS = 12  # pictures of each list


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
    features: np.ndarray
    """float32 `[M, F]`, without rows where there are none."""
    heat: np.ndarray
    """gradcam.npy: uint8 `[K, 2, h, w]`."""
    heat_rows: Table
    problems: dict[str, Table]
    """See `problems.tables`."""
    recipes: dict[str, dict[str, Any]]
    """The content of recipes/*.yaml by name."""


def render(results: Results, pixels: Readable, params: dict[str, Any]) -> str:
    """The page as HTML text.

    Args:
        results: see `Results`.
        pixels: uint8 `[M, S, S, 3]`, may be a memory map: only the pictures shown are read.
        params: params.yaml, as far as it has to do with the result.

    Raises:
        UserError: if predictions.csv names a row that `pixels` does not have.
    """
    split = "test" if "test" in results.metrics else "valid"
    everything = results.predictions
    shown = everything.take(np.flatnonzero((everything.split == PARTS.index(split)) & everything.labelled))
    if len(shown.row) and (shown.row.min() < 0 or shown.row.max() >= len(pixels)):
        raise UserError(f"predictions.csv names a row outside the {len(pixels)} stored images: run dvc repro")
    seed, count = params["seed"], params["report"]["per_gallery"]
    expected = min(len(shown.row), (3 + 2 * len(shown.classes)) * count)
    album = Album(pixels, side_for(pixels, shown.row, expected, _GALLERY_BYTES))
    known = intervals(results.metrics[split]["tta"], shown, seed)
    confusion = [] if shown.multi else [line for line in results.confusion if line["split"] == split]
    columns = {"precision": "precision", "recall": "recall", "f1": "F1"}
    if shown.multi:
        columns = {"threshold": "threshold", "ap": "AP", **columns}
    choose = _multi_galleries if shown.multi else _galleries
    found = _searchable(shown, pixels)
    script = read_beside("viewer.js") + "\n" + read_beside("page.js")
    return template("page.html.j2").render(
        multi=shown.multi,
        split=split,
        split_name={"test": "test", "valid": "validation"}[split],
        params=params,
        making=dict(zip(("recipe", "changes"), making.closest(params, results.recipes), strict=True)),
        all_params=making.flat(params),
        classes=shown.classes,
        headline=numbers.headline(results.metrics[split]["tta"], shown, known),
        variants=numbers.variants(results.metrics, shown.multi, split, known),
        resamples=(RESAMPLES, resamples_of_ranks(len(shown.row), len(shown.classes))),
        gains=numbers.gains(results.metrics[split], shown.multi),
        cross_validation=results.head_metrics.get("cross_validation"),
        matrix=_matrix(confusion, shown.classes) if len(shown.classes) <= _MATRIX and not shown.multi else None,
        cells=_cells(confusion, shown.classes) if len(shown.classes) > _MATRIX and not shown.multi else [],
        pairs=_confused_pairs(confusion, 12),
        per_class=_weakest_first([line for line in results.per_class if line["split"] == split], list(columns)),
        class_columns=list(columns.values()),
        charts=_charts(results, shown, split),
        data=_data(results),
        counted=_counted(results),
        has_features=len(results.features) > 0,
        looked=_looked(results, shown, pixels, params["model"]["size"]),
        problems=_problems(results, shown, album),
        map=_map(results, shown, seed, len(found["images"])),
        found=found,
        size=pixels.shape[1],
        tiny=pixels.shape[1] <= TINY,
        style=read_beside("page.css"),
        script=script,
        script_hash=hash_of(script),
        **choose(shown, album, count, seed),
    )


def shorten(text: str, longest: int = 120) -> str:
    """`text` with its middle replaced by "…" if it has more than `longest` characters."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def read_beside(name: str) -> str:
    """The text of a file that stands beside this module."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8").strip()


def hash_of(script: str) -> str:
    """What a Content-Security-Policy allows this script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def template(name: str) -> Any:
    """A template that stands beside this module: it escapes every value."""
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
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    environment.filters.update(
        short=shorten,
        breakable=breakable,
        percent="{:.1%}".format,
        number="{:,}".format,
        plural=lambda count, noun, nouns="": f"{count:,} {noun if count == 1 else nouns or noun + 's'}",
    )
    return environment.get_template(name)


# --- Galleries


def _galleries(shown: Predictions, album: Album, count: int, seed: int) -> dict[str, Any]:
    """The five galleries of the labelled predictions `shown`."""

    def pictures(positions: np.ndarray) -> list[dict[str, Any]]:
        return [_picture(shown, album, int(i)) for i in positions]

    correct = pictures(galleries.some_correct(shown.actual, shown.predicted, count, seed))
    incorrect = pictures(galleries.some_incorrect(shown.actual, shown.predicted, count, seed))
    uncertain = pictures(galleries.most_uncertain(shown.uncertainty, count))
    room = _GALLERY_BYTES - _bytes([*correct, *incorrect, *uncertain])

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


def _multi_galleries(shown: Predictions, album: Album, count: int, seed: int) -> dict[str, Any]:
    """The galleries of the labelled predictions `shown`, where an image can have several labels."""

    def pictures(positions: np.ndarray) -> list[dict[str, Any]]:
        return [_multi_picture(shown, album, int(i)) for i in positions]

    right = (shown.actual == shown.predicted).all(1).astype(int)
    correct = pictures(galleries.some_correct(np.ones_like(right), right, count, seed))
    incorrect = pictures(galleries.some_incorrect(np.ones_like(right), right, count, seed))
    uncertain = pictures(galleries.most_uncertain(shown.uncertainty, count))
    room = (_GALLERY_BYTES - _bytes([*correct, *incorrect, *uncertain])) // 3
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


def _picture(shown: Predictions, album: Album, i: int) -> dict[str, Any]:
    """Image `i` with what its caption says."""
    probabilities = shown.probabilities[i]
    actual, predicted = int(shown.actual[i]), int(shown.predicted[i])
    second = next((int(k) for k in np.argsort(-probabilities, kind="stable")[:2] if k != predicted), None)
    row = int(shown.row[i])
    return {
        "uri": album.uri(row),
        "row": row,
        "path": shown.path[i],
        "right": actual == predicted,
        "actual": shown.classes[actual],
        "actual_probability": float(probabilities[actual]),
        "predicted": shown.classes[predicted],
        "probability": float(probabilities[predicted]),
        "second": None if second is None else shown.classes[second],
        "second_probability": None if second is None else float(probabilities[second]),
    }


def _multi_picture(shown: Predictions, album: Album, i: int) -> dict[str, Any]:
    """Image `i` with the labels that it has or gets, the most probable first."""
    row, verdicts = int(shown.row[i]), ("right", "wrong", "missed")
    labels = [(shown.classes[c], p, verdicts[verdict]) for c, p, verdict in _verdicts(shown, i)]
    more = max(0, len(labels) - _MOST_LABELS)
    return {
        "uri": album.uri(row),
        "row": row,
        "path": shown.path[i],
        "labels": labels[:_MOST_LABELS],
        "more": more,
    }


def _verdicts(shown: Predictions, i: int) -> list[tuple[int, float, int]]:
    """(label, probability, 0 right | 1 wrong | 2 missed) of the labels that image `i` has or gets, the most
    probable first."""
    verdicts = {(1, 1): 0, (0, 1): 1, (1, 0): 2}
    order = np.argsort(-shown.probabilities[i], kind="stable")
    return [
        (int(c), float(shown.probabilities[i, c]), verdict)
        for c in order
        if (verdict := verdicts.get((int(shown.actual[i, c]), int(shown.predicted[i, c])))) is not None
    ]


def _bytes(pictures: list[dict[str, Any]]) -> int:
    return sum(len(picture["uri"]) for picture in pictures)


def _searchable(shown: Predictions, pixels: Readable) -> dict[str, Any]:
    """The images that the page's script can search, as many as there is room for: of each its row, path, true and
    predicted class with their probabilities (or its labels), and uncertainty; and the pictures."""
    album, room, images, uris = Album(pixels, _SEARCH_SIDE), _SEARCH_BYTES, [], []
    for i in galleries.explored(shown)[:_SEARCH_IMAGES].tolist():
        uri = album.uri(int(shown.row[i]))
        room -= len(uri)
        if room < 0:
            break
        unsure = round(float(shown.uncertainty[i]), 4)
        if shown.multi:
            verdicts = [[c, round(p, 4), verdict] for c, p, verdict in _verdicts(shown, i)]
            images.append([shown.path[i], verdicts, unsure])
        else:
            actual, predicted = int(shown.actual[i]), int(shown.predicted[i])
            p = [round(float(shown.probabilities[i, k]), 4) for k in (actual, predicted)]
            images.append([shown.path[i], actual, predicted, *p, unsure])
        uris.append(uri)
    return {"classes": shown.classes, "multi": shown.multi, "images": images, "uris": uris, "of": len(shown.row)}


# --- Confusions


def _matrix(confusion: Table, classes: list[str]) -> list[dict[str, Any]]:
    """Lines (actual class) of cells (predicted class, images, strength of the tint in percent)."""
    counts = {(line["actual"], line["predicted"]): int(line["count"]) for line in confusion}
    lines = []
    for actual in classes:
        row = [counts.get((actual, predicted), 0) for predicted in classes]
        tints = [60 * (n / max(1, sum(row))) ** 0.5 for n in row]  # the root makes a few mistakes visible
        lines.append({"name": actual, "cells": list(zip(classes, row, tints, strict=True))})
    return lines


def _cells(confusion: Table, classes: list[str]) -> list[tuple[int, int, int, float]]:
    """(actual class, predicted class, images, strength from 0 to 1) of the largest cells that are not empty."""
    place = {name: i for i, name in enumerate(classes)}
    cells = [(place[line["actual"]], place[line["predicted"]], int(line["count"])) for line in confusion]
    total = Counter({actual: 0 for actual, *_ in cells})
    for actual, _, count in cells:
        total[actual] += count
    cells.sort(key=lambda cell: (-cell[2], cell))
    return [(a, p, n, round(0.25 + 0.75 * (n / total[a]) ** 0.5, 2)) for a, p, n in cells[:_MOST_CELLS] if n]


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
            "numbers": [float(line[key]) if line[key] else None for key in keys],
        }
        for line in per_class
    ]
    lines.sort(key=lambda line: float("inf") if line["numbers"][-1] is None else line["numbers"][-1])
    return lines[:_MOST_LINES]


def _charts(results: Results, shown: Predictions, split: str) -> dict[str, str]:
    """SVG by name; a stage that did not train has none."""
    found = {}
    if results.lr_curve:
        found["lr_finder"] = charts.finder("lr-finder", results.lr_curve, results.lr_suggestions)
    if results.finetune_curve:
        found["network_finder"] = charts.finder("network-finder", results.finetune_curve, results.finetune_metrics)
    found |= charts.training(
        results.head_steps,
        results.head_epochs,
        results.finetune_steps,
        results.finetune_epochs,
        "F2" if shown.multi else "accuracy",
    )
    bins = [line for line in results.reliability if line["split"] == split and int(line["count"])]
    if bins:
        found["reliability"] = charts.reliability(bins)
    if shown.multi:
        used = [float(line["threshold"]) for line in results.per_class if line["split"] == split]
        found["threshold"] = charts.threshold(shown, used)
    elif len(shown.classes) == 2:
        found |= charts.two_classes(shown)
    if len({(line["width"], line["height"]) for line in results.images}) > 1:
        found["sizes"] = charts.sizes(results.images)
    return found


# --- Where it looked, and problems


def _looked(results: Results, shown: Predictions, pixels: Readable, size: int) -> list[dict[str, Any]]:
    """Of each image of gradcam.csv: its picture as the network saw it, and two with the places that spoke for two
    classes. None if the maps are too coarse."""
    if min(results.heat.shape[2:]) < _COARSE:
        return []
    wanted = {int(line["row"]) for line in results.heat_rows}
    place = {row: i for i, row in enumerate(map(int, shown.row)) if row in wanted}
    start = round((pixels.shape[1] - size) / 2)
    found = []
    for heat, line in zip(results.heat, results.heat_rows, strict=True):
        i = place[int(line["row"])]
        view = pixels[int(line["row"])][start : start + size, start : start + size]
        names = (line["first"], line["second"])
        speaking = [
            (
                name,
                float(shown.probabilities[i, shown.classes.index(name)]),
                thumbnail(_lit(view, each), _LOOKED_SIDE),
            )
            for name, each in zip(names, heat, strict=True)
        ]
        found.append({"uri": thumbnail(view, _LOOKED_SIDE), "path": shown.path[i], "speaking": speaking,
                      "is": _true(shown, i)})  # fmt: skip
    return found


def _true(shown: Predictions, i: int) -> str:
    if not shown.multi:
        return shown.classes[shown.actual[i]]
    return ", ".join(shown.classes[c] for c in np.flatnonzero(shown.actual[i])) or "no label"


def _lit(view: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The view in grey and dim, and in its colours and bright where `heat` uint8 `[h, w]` is high."""
    from PIL import Image

    shade = Image.fromarray(heat).resize(view.shape[1::-1], Image.Resampling.BICUBIC)
    weight = np.asarray(shade, dtype=np.float64)[..., None] / 255
    grey = view.mean(2, keepdims=True) * 0.45
    warm = np.array([255.0, 140.0, 0.0])
    return np.rint(grey * (1 - weight) + weight * (0.72 * view + 0.28 * warm)).astype(np.uint8)


def _problems(results: Results, shown: Predictions, album: Album) -> list[dict[str, Any]]:
    """The lists with the pictures of their first lines."""
    parts = Counter(line["split"] for line in results.split)
    many = (parts["valid"] + parts["test"]) * parts["train"] > problems.MOST_PAIRS
    some = " Of so many pairs only those of images alike to the same few were compared: some may be missing."
    several = "Labels that an image has or lacks although the model, which did not train on it, thinks otherwise."
    texts = {
        "label_errors": (
            "Labels that may be wrong",
            several
            if shown.multi
            else "Images that the model, which did not train on them, takes for another class as surely as it "
            "usually takes images of that class (confident learning).",
        ),
        "near_duplicates": (
            "Near duplicates across the split",
            "Held-out images beside the training image that they are most like: these may make the numbers too "
            "good." + some * many,
        ),
        "outliers": ("Outliers", "Images that are least like any training image."),
    }
    found = []
    for name, (title, note) in texts.items():
        lines = results.problems[name]
        pictures = [
            {
                "uri": album.uri(int(line["row"])),
                "other": album.uri(int(line["similar_row"])) if "similar_row" in line else None,
                "lines": _oddity(line),
                "path": line["path"],
            }
            for line in lines[:_PROBLEMS]
        ]
        found.append({"name": name, "title": title, "note": note, "count": len(lines), "pictures": pictures})
    return found


def _oddity(line: dict[str, str]) -> list[str]:
    """What is odd about a line, in words."""
    label = line["label"] or "unlabelled"
    if "likely" in line:
        return [
            f"labelled {label}, {float(line['p_label']):.1%}",
            f"or {line['likely']}, {float(line['p_likely']):.1%}?",
        ]
    if "suspect" in line:
        what = "has" if line["has_it"] == "yes" else "lacks"
        return [f"{what} {line['suspect']}: {float(line['probability']):.1%}?"]
    if "similar_to" in line:
        return [f"{line['split']}: {label}", f"{float(line['similarity']):.3f} like {line['similar_to']}"]
    return [f"{line['split']}: {label}", f"at most {float(line['similarity']):.3f} like another"]


def _map(results: Results, shown: Predictions, seed: int, count: int) -> dict[str, Any] | None:
    """Points of the first `count` images to search, and of some training images behind them: x and y in an area of
    1000 x 640, each with its colour; None without features."""
    train = np.array([int(line["row"]) for line in results.split if line["split"] == "train"], dtype=np.int64)
    if not len(results.features) or not len(train) or not count:
        return None
    front = galleries.explored(shown)[:count]
    behind = train[:: max(1, len(train) // _MAP_BACKGROUND)][:_MAP_BACKGROUND]
    rows = np.concatenate([shown.row[front], behind]).tolist()
    directions = problems.Directions(results.features, train, seed)
    places = problems.landscape(directions, np.array(rows), seed)
    low, high = places.min(0), places.max(0)
    x, y = np.round(20 + (places - low) / np.maximum(high - low, 1e-9) * (960, 600), 1).T.tolist()
    wanted = set(rows)
    label = {row: _labels(line)[0] for line in results.split if (row := int(line["row"])) in wanted}
    index = {name: i for i, name in enumerate(shown.classes)}
    colours = [index.get(label[row], -1) for row in rows]
    wrong = (shown.actual != shown.predicted)[front]
    wrong = wrong.any(1) if shown.multi else wrong
    points = list(zip(x, y, colours, strict=True))
    return {
        "front": [(*point, bool(bad)) for point, bad in zip(points, wrong, strict=False)],
        "behind": points[len(front) :],
        "few": len(shown.classes) <= _COLOURS,
    }


def _data(results: Results) -> dict[str, Any]:
    """What was in the archive: counts by class and split, sizes, rejected files and duplicates."""
    counts = Counter((label, line["split"]) for line in results.split for label in _labels(line))
    images = Counter(line["split"] for line in results.split)
    splits = [name for name in ("train", "valid", "test", "") if any(split == name for _, split in counts)]
    labels = sorted({label for label, _ in counts}, key=lambda label: (not label, label))
    lines = [(label, [counts[label, split] for split in splits]) for label in labels]
    widths, heights = column(results.images, "width"), column(results.images, "height")
    return {
        "train": images["train"],
        "splits": splits,
        "totals": [images[split] for split in splits],
        "lines": lines[:_MOST_LINES],
        "most": max((sum(each) for label, each in lines if label), default=1),
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


def _counted(results: Results) -> list[tuple[str, int]]:
    """How many images each part has."""
    parts = Counter(line["split"] for line in results.split)
    names = {"train": "to train", "valid": "to validate", "test": "to test"}
    return [(name, parts[part]) for part, name in names.items() if parts[part]]


def _labels(line: dict[str, str]) -> list[str]:
    """Those of a line of split.csv: one, `` if it is unknown; or any number of labels."""
    if "label" in line:
        return [line["label"]]
    return ["no label"] if line["labels"] == NO_LABELS else line["labels"].split(" ")
