"""Data problems worth a look: labels that may be wrong, near duplicates across the split, and outliers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from unfreeze.core.arrays import blocks, scratch
from unfreeze.report.label_errors import find_class_errors, find_label_errors
from unfreeze.report.similarity import Directions, find_near_duplicates, find_outliers
from unfreeze.task.multi import Multi
from unfreeze.task.predictions import HeldOut, Predictions
from unfreeze.task.single import Single

if TYPE_CHECKING:
    import pandas as pd

MOST, MOST_OUTLIERS = 1000, 100
"""Lines of a list."""


def find_problems(
    predictions: Predictions, held_out: HeldOut, split: pd.DataFrame, features: np.ndarray, seed: int
) -> dict[str, pd.DataFrame]:
    """Return the lists label_errors, near_duplicates and outliers.

    Args:
        predictions: of validation and test.
        held_out: of training images by heads that did not see them; may be empty.
        split: path, label and split by row.
        features: float32 `[M, F]` of all images; without rows there are no near duplicates and outliers.

    Returns:
        tables with row, path, split, label, and what is odd: likely, p_label, p_likely (or, of several labels,
        suspect, has_it, probability); similar_to, similar_row, similarity; similarity.
    """
    train = split.index[split["split"] == "train"].to_numpy()
    others = split.index[split["split"] != "train"].to_numpy()
    near_duplicates: list[tuple[int, int, float]] = []
    outliers: list[tuple[int, float]] = []
    if len(features) and len(train):
        directions = Directions(features, train, seed)
        near_duplicates = find_near_duplicates(directions, others, train)[:MOST]
        outliers = find_outliers(directions, np.sort(split.index.to_numpy()), MOST_OUTLIERS)
    return {
        "label_errors": _list_label_errors(predictions, held_out, split),
        "near_duplicates": _describe(split, [row for row, _, _ in near_duplicates]).assign(
            similar_to=split.loc[_rows([other for _, other, _ in near_duplicates]), "path"].tolist(),
            similar_row=_rows([other for _, other, _ in near_duplicates]),
            similarity=[similarity for *_, similarity in near_duplicates],
        ),
        "outliers": _describe(split, [row for row, _ in outliers]).assign(
            similarity=[similarity for _, similarity in outliers]
        ),
    }


def _list_label_errors(predictions: Predictions, held_out: HeldOut, split: pd.DataFrame) -> pd.DataFrame:
    labelled = predictions.labelled
    extra = ~np.isin(held_out.row, predictions.row[labelled])  # validation rows have better predictions by now
    rows = np.concatenate([predictions.row[labelled], held_out.row[extra]])
    actual = _join((predictions.actual, labelled), (held_out.actual, extra))
    p = _join((predictions.probabilities, labelled), (held_out.probabilities, extra))
    return _LISTS[predictions.task.kind](split, rows, actual, p, predictions.classes)


def _list_class_errors(
    split: pd.DataFrame, rows: np.ndarray, actual: np.ndarray, p: np.ndarray, classes: list[str]
) -> pd.DataFrame:
    errors = find_class_errors(p, actual)[:MOST]
    return _describe(split, [rows[i] for i, _, _ in errors]).assign(
        likely=[classes[likely] for _, _, likely in errors],
        p_label=[_round(p[i, label]) for i, label, _ in errors],
        p_likely=[_round(p[i, likely]) for i, _, likely in errors],
    )


def _list_errors_of_several(
    split: pd.DataFrame, rows: np.ndarray, actual: np.ndarray, p: np.ndarray, classes: list[str]
) -> pd.DataFrame:
    errors = find_label_errors(p, actual)[:MOST]
    return _describe(split, [rows[i] for i, _, _ in errors]).assign(
        suspect=[classes[label] for _, label, _ in errors],
        has_it=["yes" if has else "no" for _, _, has in errors],
        probability=[_round(p[i, label]) for i, label, _ in errors],
    )


_LISTS = {Single.kind: _list_class_errors, Multi.kind: _list_errors_of_several}


def _describe(split: pd.DataFrame, rows: Sequence[int]) -> pd.DataFrame:
    """Return row, path, split and label of images."""
    return split.loc[_rows(rows), ["path", "split", "label"]].reset_index()


def _rows(rows: Sequence[int]) -> np.ndarray:
    return np.array(rows, np.int64)


def _round(probability: float) -> float:
    return round(float(probability), 6)


def _join(*parts: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Copy the chosen rows of each array, one after the other, into a scratch file."""
    first, _ = parts[0]
    joined, end = scratch((sum(int(chosen.sum()) for _, chosen in parts), *first.shape[1:]), first.dtype), 0
    for array, chosen in parts:
        rows = np.flatnonzero(chosen)
        for block in blocks(len(rows), math.prod(array.shape[1:])):
            batch = array[rows[block]]
            joined[end : end + len(batch)] = batch
            end += len(batch)
    return joined
