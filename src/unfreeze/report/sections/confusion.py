"""Which classes are taken for which, and how each of them fares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unfreeze.task.base import Task
from unfreeze.task.multi import Multi
from unfreeze.task.single import Single

if TYPE_CHECKING:
    import pandas as pd

MOST_LINES = 400
"""Of the table of classes."""
MATRIX = 20
"""Classes: with more the matrix is drawn as a map of dots without numbers."""
MOST_CELLS = 4000
"""Of such a map."""
MOST_PAIRS = 12
COLUMNS = {
    "threshold": "threshold",
    "ap": "AP",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}
"""Of the table of classes, if the task has them."""


def build(confusion: pd.DataFrame, per_class: pd.DataFrame, task: Task, split: str) -> dict[str, Any]:
    """Build the section of a split.

    Args:
        confusion, per_class: see `Results`.
    """
    columns = [name for name in COLUMNS if name in task.per_class_columns]
    return {
        **_BUILDERS[task.kind](confusion[confusion["split"] == split], task.classes),
        "per_class": _list_weakest(per_class[per_class["split"] == split], columns),
        "columns": [COLUMNS[name] for name in columns],
    }


def _build_matrix(confusion: pd.DataFrame, classes: list[str]) -> dict[str, Any]:
    """Build the matrix, or its cells as dots if there are many classes, and the confused pairs."""
    few = len(classes) <= MATRIX
    return {
        "matrix": _draw_matrix(confusion, classes) if few else None,
        "cells": [] if few else _draw_cells(confusion, classes),
        "pairs": _list_pairs(confusion),
    }


def _build_nothing(confusion: pd.DataFrame, classes: list[str]) -> dict[str, Any]:
    """Labels are not taken for each other: there is no matrix."""
    return {"matrix": None, "cells": [], "pairs": []}


_BUILDERS = {Single.kind: _build_matrix, Multi.kind: _build_nothing}


def _draw_matrix(confusion: pd.DataFrame, classes: list[str]) -> list[dict[str, Any]]:
    """Return lines (actual class) of cells (predicted class, images, strength of the tint in percent)."""
    counts = confusion.set_index(["actual", "predicted"])["count"].to_dict()
    lines = []
    for actual in classes:
        row = [counts.get((actual, predicted), 0) for predicted in classes]
        tints = [60 * (n / max(1, sum(row))) ** 0.5 for n in row]  # the root makes a few mistakes visible
        lines.append({"name": actual, "cells": list(zip(classes, row, tints, strict=True))})
    return lines


def _draw_cells(confusion: pd.DataFrame, classes: list[str]) -> list[tuple[int, int, int, float]]:
    """Return (actual class, predicted class, images, strength from 0 to 1) of the largest cells."""
    index = {name: i for i, name in enumerate(classes)}
    cells = confusion.assign(total=confusion.groupby("actual")["count"].transform("sum"))
    for name in ("actual", "predicted"):
        cells[name] = [index[each] for each in cells[name]]
    largest = cells.sort_values(["count", "actual", "predicted"], ascending=[False, True, True])[:MOST_CELLS]
    columns = largest[["actual", "predicted", "count", "total"]]
    return [
        (actual, predicted, count, round(0.25 + 0.75 * (count / total) ** 0.5, 2))
        for actual, predicted, count, total in columns.itertuples(index=False, name=None)
        if count
    ]


def _list_pairs(confusion: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the most frequent mistakes: actual and predicted class, images, their share of the actual class."""
    images = confusion.groupby("actual")["count"].transform("sum")
    pairs = confusion.assign(share=confusion["count"] / images)[["actual", "predicted", "count", "share"]]
    mistakes = pairs[(pairs["actual"] != pairs["predicted"]) & (pairs["count"] > 0)]
    most = mistakes.sort_values(["count", "actual", "predicted"], ascending=[False, True, True])[:MOST_PAIRS]
    return most.to_dict("records")


def _list_weakest(per_class: pd.DataFrame, columns: list[str]) -> list[dict[str, Any]]:
    """Return the lines of classes, the lowest of the last column, F1, first and the undefined last."""
    weakest = per_class.sort_values(columns[-1], kind="stable", na_position="last")[:MOST_LINES]
    scores = weakest[columns].to_numpy(np.float64).tolist()
    return [
        {"name": name, "support": support, "scores": [None if np.isnan(each) else each for each in line]}
        for name, support, line in zip(weakest["class"], weakest["support"], scores, strict=True)
    ]
