"""Writes what an evaluation found: metrics, predictions, and the tables behind the plots."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from unfreeze.data.store import span
from unfreeze.data.table import NO_LABELS, SplitTable
from unfreeze.evaluate import metrics, multilabel
from unfreeze.files import write_csv, write_json
from unfreeze.thresholds import Rule, tune

Metrics = dict[str, dict[str, dict]]
"""Split -> method -> name -> value, of the splits that have labels."""


def write_results(
    folder: Path, table: SplitTable, rows: np.ndarray, methods: Mapping[str, np.ndarray], rule: Rule = "global"
) -> Metrics:
    """Write metrics.json, predictions.csv, per_class.csv, confusion.csv, reliability.csv and actual_predicted.csv.

    Where an image can have several labels, each method has thresholds of its own, which maximise its F2 on the
    validation images; and there is a method more, "prevalence": the share of the training images that have a
    label is its probability for every image.

    Args:
        rows: the images that were predicted, of valid and test.
        methods: probabilities `[len(rows), C]` by name; those of "tta" are written as predictions.
        rule: of the thresholds.
    """
    found = (_multi if table.multi else _single)(folder, table, rows, methods, rule)
    write_json(folder / "metrics.json", found)
    return found


def _single(
    folder: Path, table: SplitTable, rows: np.ndarray, methods: Mapping[str, np.ndarray], rule: Rule
) -> Metrics:
    final = methods["tta"]
    found: Metrics = {}
    classwise, pairs, bins = [], [], []
    for part, chosen in _parts(table, rows):
        targets, p = table.targets[rows[chosen]], final[chosen]
        found[part] = {name: metrics.scores(each[chosen], targets) for name, each in methods.items()}
        classwise += [
            [part, name, row["precision"], row["recall"], row["f1"], row["support"]]
            for name, row in zip(table.classes, metrics.per_class(p, targets), strict=True)
        ]
        counts = metrics.confusion(p, targets)
        pairs += [
            [part, table.classes[actual], table.classes[predicted], counts[actual, predicted]]
            for actual, predicted in np.argwhere(counts)
        ]
        bins += [[part, *row.values()] for row in metrics.reliability(p, targets)]
        # DVC's confusion template counts rows itself: one a labelled image, of the split that matters most.
        truth = ([table.classes[t], table.classes[c]] for t, c in zip(targets, p.argmax(1), strict=True))

    write_csv(folder / "per_class.csv", ["split", "class", "precision", "recall", "f1", "support"], classwise)
    write_csv(folder / "confusion.csv", ["split", "actual", "predicted", "count"], pairs)
    write_csv(folder / "reliability.csv", ["split", "confidence", "accuracy", "count"], bins)
    write_csv(folder / "actual_predicted.csv", ["actual", "predicted"], truth)
    predicted = (table.classes[c] for c in final.argmax(1))
    _write_predictions(folder, table, rows, predicted, metrics.uncertainty(final), final)
    return found


def _multi(
    folder: Path, table: SplitTable, rows: np.ndarray, methods: Mapping[str, np.ndarray], rule: Rule
) -> Metrics:
    prevalence = table.targets[table.labelled("train")].mean(0, dtype=np.float64)
    methods = {"prevalence": np.broadcast_to(prevalence, (len(rows), len(prevalence))), **methods}
    final = methods["tta"]
    valid = np.isin(rows, table.labelled("valid"))
    thresholds = {name: tune(p[valid], table.targets[rows[valid]])[rule] for name, p in methods.items()}
    final_thresholds = thresholds["tta"]
    found: Metrics = {}
    labelwise, counts, bins = [], [], []
    for part, chosen in _parts(table, rows):
        targets, p = table.targets[rows[chosen]], final[chosen]
        found[part] = {
            name: multilabel.scores(each[chosen], targets, thresholds[name]) for name, each in methods.items()
        }
        labelwise += [
            [part, name, *row.values()]
            for name, row in zip(table.classes, multilabel.per_label(p, targets, final_thresholds), strict=True)
        ]
        counts += [
            [part, name, *row]
            for name, row in zip(
                table.classes, multilabel.confusion(p, targets, final_thresholds).tolist(), strict=True
            )
        ]
        bins += [[part, *row.values()] for row in multilabel.reliability(p, targets)]
        # A row for each label that an image has or gets: "-" stands for not having, or not getting it.
        truth = (
            [table.classes[c] if had else NO_LABELS, table.classes[c] if given else NO_LABELS]
            for actual, predicted in zip(targets > 0, p >= np.asarray(final_thresholds), strict=True)
            for c, (had, given) in enumerate(zip(actual, predicted, strict=True))
            if had or given
        )

    header = ["split", "class", "precision", "recall", "f1", "ap", "threshold", "support"]
    write_csv(folder / "per_class.csv", header, labelwise)
    write_csv(folder / "confusion.csv", ["split", "class", "tp", "fp", "fn", "tn"], counts)
    write_csv(folder / "reliability.csv", ["split", "confidence", "accuracy", "count"], bins)
    write_csv(folder / "actual_predicted.csv", ["actual", "predicted"], truth)
    predicted = (_names(table, row) for row in final >= np.asarray(final_thresholds))
    _write_predictions(folder, table, rows, predicted, multilabel.uncertainty(final, final_thresholds), final)
    return found


def _parts(table: SplitTable, rows: np.ndarray) -> list[tuple[str, np.ndarray | slice]]:
    """The splits with labelled images among `rows`, and which of `rows` these are."""
    parts = [(part, np.flatnonzero(np.isin(rows, table.labelled(part)))) for part in ("valid", "test")]
    return [(part, span(chosen)) for part, chosen in parts if len(chosen)]


def _write_predictions(
    folder: Path,
    table: SplitTable,
    rows: np.ndarray,
    predicted: Iterable[str],
    uncertainty: np.ndarray,
    probabilities: np.ndarray,
) -> None:
    tested = np.isin(rows, table.rows["test"])
    header = ["row", "path", "split", _column(table), "predicted", "uncertainty"]
    write_csv(
        folder / "predictions.csv",
        [*header, *(f"p_{name}" for name in table.classes)],
        (
            [r, table.paths[r], "test" if test else "valid", _label(table, r), name, float(u), *p.tolist()]
            for r, test, name, u, p in zip(rows, tested, predicted, uncertainty, probabilities, strict=True)
        ),
    )


def write_out_of_fold(path: Path, table: SplitTable, probabilities: Sequence[np.ndarray] = ()) -> None:
    """Write the probabilities `[M, C]` that the rows of the folds got from the heads of the other folds; without
    any only the header."""
    rows = np.flatnonzero(table.folds >= 0) if len(probabilities) else ()
    write_csv(
        path,
        ["row", "path", "fold", _column(table), *(f"p_{name}" for name in table.classes)],
        (
            [row, table.paths[row], table.folds[row], _label(table, row), *p.tolist()]
            for row, p in zip(rows, probabilities, strict=True)
        ),
    )


def _column(table: SplitTable) -> str:
    return "labels" if table.multi else "label"


def _label(table: SplitTable, row: int) -> str:
    """What split.csv says of it: a class, label names with a space between each two, or "" if it is unknown."""
    target = table.targets[row]
    if table.multi:
        return "" if np.isnan(target).any() else _names(table, target > 0)
    return table.classes[target] if target >= 0 else ""


def _names(table: SplitTable, chosen: np.ndarray) -> str:
    return " ".join(table.classes[c] for c in np.flatnonzero(chosen)) or NO_LABELS
