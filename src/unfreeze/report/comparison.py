"""Two experiments side by side, in one HTML page that needs no other file, no network."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unfreeze.data.table import PARTS
from unfreeze.report import figures, making
from unfreeze.report.album import TINY, Album, Readable, side_for
from unfreeze.report.charts import Table, column
from unfreeze.report.galleries import Predictions
from unfreeze.report.numbers import METRICS, MULTI_METRICS, VARIANTS, text
from unfreeze.report.page import hash_of, read_beside, shorten, template

_MOST = 48  # pictures of each kind
_BYTES = 3_000_000


@dataclass(frozen=True)
class Side:
    """One of the experiments."""

    name: str
    params: dict[str, Any]
    metrics: dict[str, Any]
    epochs: Table
    """Of the head, then of fine-tuning."""
    predictions: Predictions


def render(a: Side, b: Side, pixels: Readable, rows: Mapping[str, int]) -> str:
    """The page as HTML text.

    Args:
        pixels: uint8 `[M, S, S, 3]`, of which row `rows[path]` is the image of a path; an image that has none is
            named without its picture.
    """
    split = "test" if "test" in a.metrics and "test" in b.metrics else "valid"
    multi = a.predictions.multi
    better, worse, both = _changed(a.predictions, b.predictions, split)
    shown = [rows[path] for path, *_ in (*better, *worse) if path in rows]
    album = Album(pixels, side_for(pixels, shown, len(shown), _BYTES))

    def pictures(changed: list[tuple[str, str, str, str]]) -> list[dict[str, Any]]:
        return [
            {
                "uri": album.uri(rows[path]) if path in rows else None,
                "path": path, "is": actual, "before": before, "after": after,
            }
            for path, actual, before, after in changed[:_MOST]
        ]  # fmt: skip

    script = read_beside("viewer.js")
    score = "F2" if multi else "accuracy"
    losses, scores = ([column(side.epochs, key) for side in (a, b)] for key in ("valid_loss", "valid_score"))
    return template("comparison.html.j2").render(
        names=[shorten(side.name) for side in (a, b)],
        metrics=_differences(a.metrics, b.metrics, MULTI_METRICS if multi else METRICS),
        changes=making.changes(b.params, a.params) + _removed(a.params, b.params),
        charts=[
            ("Validation loss", figures.overlay("loss", "validation loss", losses)),
            (f"Validation {score}", figures.overlay("score", f"validation {score}", scores)),
        ],
        split_name={"test": "test", "valid": "validation"}[split],
        better=pictures(better),
        worse=pictures(worse),
        counts=(len(better), len(worse), both),
        chance=sign_test(len(better), len(worse)),
        tiny=pixels.shape[1] <= TINY,
        style=read_beside("page.css"),
        script=script,
        script_hash=hash_of(script),
    )


def sign_test(one: int, other: int) -> float:
    """The probability that images that changed sides by the toss of a coin divide as unevenly as this, or more
    (McNemar's test, exact)."""
    count, least = one + other, min(one, other)
    return min(1.0, 2 * sum(math.comb(count, k) for k in range(least + 1)) / 2**count)


def _changed(
    a: Predictions, b: Predictions, split: str
) -> tuple[list[tuple[str, str, str, str]], list[tuple[str, str, str, str]], int]:
    """(path, true, predicted by a, predicted by b) of the images of `split` that only b has right, and only a; and
    how many images both predicted."""
    one, other = (_by_path(side, split) for side in (a, b))
    both = [path for path in one if path in other]
    better, worse = [], []
    for path in both:
        (actual, before, was_right), (_, after, is_right) = one[path], other[path]
        if was_right != is_right:
            (better if is_right else worse).append((path, actual, before, after))
    return better, worse, len(both)


def _by_path(side: Predictions, split: str) -> dict[str, tuple[str, str, bool]]:
    """True and predicted, as text, and whether these are the same, of the labelled images of `split`."""
    found = {}
    for i in np.flatnonzero((side.split == PARTS.index(split)) & side.labelled).tolist():
        if side.multi:
            actual, predicted = (
                " ".join(side.classes[c] for c in np.flatnonzero(labels[i])) or "no label"
                for labels in (side.actual, side.predicted)
            )
        else:
            actual, predicted = side.classes[side.actual[i]], side.classes[side.predicted[i]]
        found[side.path[i]] = actual, predicted, actual == predicted
    return found


def _differences(a: dict[str, Any], b: dict[str, Any], known: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """A line for each split, way of predicting and metric that either has: both numbers, what b has more, and
    whether that is better."""
    lines = []
    for part in ("valid", "test"):
        for way, label in VARIANTS.items():
            one, other = (side.get(part, {}).get(way, {}) for side in (a, b))
            for key, title, form in known:
                if key not in one and key not in other:
                    continue
                values = one.get(key), other.get(key)
                line = {"part": part, "way": label, "metric": title, "pair": [text(v, form) for v in values]}
                gap = None if None in values else values[1] - values[0]
                good = (gap > 0) == title.endswith("↑") if gap else None
                lines.append(
                    line | {"gap": _gap(gap, form), "verdict": {True: "gain", False: "loss"}.get(good, "")}
                )
    return lines


def _gap(gap: float | None, form: str) -> str | None:
    if not gap:
        return "=" if gap == 0 else None
    return f"{100 * gap:+.1f} points" if "%" in form else f"{gap:+.3f}"


def _removed(a: dict[str, Any], b: dict[str, Any]) -> list[making.Change]:
    """The params that only a has."""
    after = making.flat(b)
    return [(key, value, "–") for key, value in making.flat(a).items() if key not in after]  # noqa: RUF001
