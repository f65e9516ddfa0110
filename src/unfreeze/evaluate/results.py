"""Writes what an evaluation found: metrics, predictions, and the tables behind the plots."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unfreeze.data.table import SplitTable
from unfreeze.evaluate.metrics import confusion, per_class, reliability, scores, uncertainty
from unfreeze.files import write_csv, write_json


def write_results(
    folder: Path, table: SplitTable, rows: np.ndarray, methods: Mapping[str, np.ndarray]
) -> dict[str, dict[str, dict]]:
    """Write metrics.json, predictions.csv, per_class.csv, confusion.csv, reliability.csv and actual_predicted.csv.

    Args:
        rows: the images that were predicted, of valid and test.
        methods: probabilities `[len(rows), C]` by name; those of "tta" are written as predictions.

    Returns:
        The metrics: split -> method -> name -> value, of the splits that have labels.
    """
    final = methods["tta"]
    metrics: dict[str, dict[str, dict]] = {}
    classwise, pairs, bins = [], [], []
    for part in ("valid", "test"):
        chosen = np.isin(rows, table.labelled(part))
        if not chosen.any():
            continue
        targets = table.targets[rows[chosen]]
        metrics[part] = {name: scores(p[chosen], targets) for name, p in methods.items()}
        for name, row in zip(table.classes, per_class(final[chosen], targets), strict=True):
            classwise.append([part, name, row["precision"], row["recall"], row["f1"], row["support"]])
        counts = confusion(final[chosen], targets)
        pairs += [
            [part, table.classes[actual], table.classes[predicted], counts[actual, predicted]]
            for actual, predicted in np.argwhere(counts)
        ]
        bins += [[part, *row.values()] for row in reliability(final[chosen], targets)]
        # DVC's confusion template counts rows itself: one a labelled image, of the split that matters most.
        truth = [
            [table.classes[t], table.classes[p]] for t, p in zip(targets, final[chosen].argmax(1), strict=True)
        ]

    write_json(folder / "metrics.json", metrics)
    write_csv(folder / "per_class.csv", ["split", "class", "precision", "recall", "f1", "support"], classwise)
    write_csv(folder / "confusion.csv", ["split", "actual", "predicted", "count"], pairs)
    write_csv(folder / "reliability.csv", ["split", "confidence", "accuracy", "count"], bins)
    write_csv(folder / "actual_predicted.csv", ["actual", "predicted"], truth)
    part_of = {row: part for part in ("valid", "test") for row in table.rows[part].tolist()}
    header = ["row", "path", "split", "label", "predicted", "uncertainty", *(f"p_{c}" for c in table.classes)]
    write_csv(
        folder / "predictions.csv",
        header,
        (
            [r, table.paths[r], part_of[r], _label(table, r), table.classes[p.argmax()], u, *p.tolist()]
            for r, p, u in zip(rows.tolist(), final, uncertainty(final).tolist(), strict=True)
        ),
    )
    return metrics


def write_out_of_fold(path: Path, table: SplitTable, probabilities: np.ndarray | None = None) -> None:
    """Write the probabilities `[N, C]` that each row of a fold got from the head of the other folds; without any
    only the header."""
    write_csv(
        path,
        ["row", "path", "fold", "label", *(f"p_{name}" for name in table.classes)],
        (
            [row, table.paths[row], table.folds[row], _label(table, row), *probabilities[row].tolist()]
            for row in (np.flatnonzero(table.folds >= 0).tolist() if probabilities is not None else [])
        ),
    )


def _label(table: SplitTable, row: int) -> str:
    return table.classes[table.targets[row]] if table.targets[row] >= 0 else ""
