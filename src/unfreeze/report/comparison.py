"""Two experiments side by side, in one HTML page that needs no other file, no network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unfreeze.report import figures, making
from unfreeze.report.album import TINY, Album, PixelArray, choose_side
from unfreeze.report.sections.scores import VARIANTS, format_difference, format_value, title
from unfreeze.report.template import hash_script, load_template, read_beside, shorten

if TYPE_CHECKING:
    import pandas as pd

    from unfreeze.task.base import Metric, Task

MOST_PICTURES = 48
"""Of each kind."""
MOST_BYTES = 3_000_000


@dataclass(frozen=True)
class Side:
    """One of the experiments."""

    name: str
    params: dict[str, Any]
    metrics: dict[str, Any]
    """results/evaluate/details.json: split -> way of predicting -> metric -> number or None."""
    epochs: pd.DataFrame
    """valid_loss and valid_score, float64: of the head, then of fine-tuning."""
    predictions: pd.DataFrame
    """Texts: path, split, and the labels actual and predicted; actual is "" of an unlabelled image."""
    task: type[Task]


def render(a: Side, b: Side, pixels: PixelArray, rows: Mapping[str, int]) -> str:
    """Return the page as HTML text. Both experiments have the same task.

    Args:
        pixels: uint8 `[M, S, S, 3]`, of which row `rows[path]` is the image of a path; an image that has none is
            named without its picture.
    """
    split = "test" if "test" in a.metrics and "test" in b.metrics else "valid"
    both = _join_predictions(a, b, split)
    was_right, is_right = (both[f"actual_{side}"] == both[f"predicted_{side}"] for side in "ab")
    better, worse = both[~was_right & is_right], both[was_right & ~is_right]
    shown = [rows[path] for path in (*better["path"], *worse["path"]) if path in rows]
    album = Album(pixels, choose_side(pixels, shown, count=len(shown), room=MOST_BYTES))

    def list_pictures(changed: pd.DataFrame) -> list[dict[str, Any]]:
        return [
            {
                "uri": album.uri(rows[line["path"]]) if line["path"] in rows else None,
                "path": line["path"],
                "label": _name(a.task, line["actual_a"]),
                "before": _name(a.task, line["predicted_a"]),
                "after": _name(a.task, line["predicted_b"]),
            }
            for line in changed[:MOST_PICTURES].to_dict("records")
        ]

    script, score = read_beside("viewer.js"), a.task.metrics[0].title
    losses, scores = ([side.epochs[name] for side in (a, b)] for name in ("valid_loss", "valid_score"))
    return load_template("comparison.html.j2").render(
        names=[shorten(side.name) for side in (a, b)],
        metrics=_list_differences(a.metrics, b.metrics, a.task.metrics),
        changes=making.list_changes(b.params, a.params) + _list_removed(a.params, b.params),
        charts=[
            ("Validation loss", figures.draw_overlay("loss", "validation loss", losses)),
            (f"Validation {score}", figures.draw_overlay("score", f"validation {score}", scores)),
        ],
        split_name={"test": "test", "valid": "validation"}[split],
        better=list_pictures(better),
        worse=list_pictures(worse),
        counts=(len(better), len(worse), len(both)),
        chance=sign_test(len(better), len(worse)),
        tiny=pixels.shape[1] <= TINY,
        style=read_beside("page.css"),
        script=script,
        script_hash=hash_script(script),
    )


def sign_test(one: int, other: int) -> float:
    """Return the probability that fair coins divide images as unevenly as this, or more (McNemar's test, exact).

    Args:
        one, other: how many images changed to either side.
    """
    count, least = one + other, min(one, other)
    return min(1.0, 2 * sum(math.comb(count, k) for k in range(least + 1)) / 2**count)


def _join_predictions(a: Side, b: Side, split: str) -> pd.DataFrame:
    """Return the labelled images of `split` that both predicted, in a's order: path, and each side's actual_a,
    predicted_a, actual_b and predicted_b, for a label may have changed."""
    one, other = (
        side.predictions.loc[
            (side.predictions["split"] == split) & (side.predictions["actual"] != ""),
            ["path", "actual", "predicted"],
        ]
        for side in (a, b)
    )
    return one.merge(other, on="path", how="inner", suffixes=("_a", "_b"))


def _name(task: type[Task], label: str) -> str:
    return " ".join(task.names(label)) or "no label"


def _list_differences(a: dict[str, Any], b: dict[str, Any], metrics: tuple[Metric, ...]) -> list[dict[str, Any]]:
    """List each split, way of predicting and metric that either has: both values, what b has more, and whether
    that is better."""
    lines = []
    for part in ("valid", "test"):
        for way, name in VARIANTS.items():
            one, other = (side.get(part, {}).get(way, {}) for side in (a, b))
            for metric in metrics:
                if metric.key not in one and metric.key not in other:
                    continue
                values = one.get(metric.key), other.get(metric.key)
                gap = None if None in values else values[1] - values[0]
                lines.append(
                    {
                        "part": part,
                        "way": name,
                        "metric": title(metric),
                        "pair": [format_value(metric, value) for value in values],
                        "gap": _format_gap(metric, gap),
                        "verdict": ("gain" if gap * metric.sign > 0 else "loss") if gap else "",
                    }
                )
    return lines


def _format_gap(metric: Metric, gap: float | None) -> str | None:
    if gap is None:
        return None
    return format_difference(metric, gap) if gap else "="


def _list_removed(a: dict[str, Any], b: dict[str, Any]) -> list[making.Change]:
    """List the params that only a has."""
    after = making.flatten(b)
    return [(key, value, "–") for key, value in making.flatten(a).items() if key not in after]  # noqa: RUF001
