"""What the earlier stages left for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unfreeze.core import paths, tables
from unfreeze.core.arrays import open_array
from unfreeze.core.console import UserError
from unfreeze.core.files import read_json
from unfreeze.core.metrics import DETAILS
from unfreeze.core.params import read_yaml
from unfreeze.report.problems import find_problems
from unfreeze.task.predictions import Predictions, read_held_out, read_predictions
from unfreeze.task.split_table import read_split

if TYPE_CHECKING:
    import pandas as pd

    from unfreeze.task.base import Task

STEPS = {"epoch": "int", "lr": "float"}
EPOCHS = {"phase": "text", "train_loss": "float", "valid_loss": "float", "valid_score": "float"}
LR_CURVE = {"lr": "float", "loss": "float", "smoothed": "float"}
RELIABILITY = {"split": "text", "confidence": "float", "accuracy": "float", "count": "int"}
IMAGES = {"width": "int", "height": "int", "format": "category"}
REJECTED = {"path": "text", "reason": "text"}
DUPLICATES = {"path": "text", "same_as": "text", "action": "category"}
GRADCAM = {"row": "int", "first": "text", "second": "text"}


@dataclass(frozen=True)
class Training:
    """How the head, or the whole network, was trained. The tables have no lines if it was not."""

    steps: pd.DataFrame
    """See STEPS."""
    epochs: pd.DataFrame
    """See EPOCHS."""
    lr_curve: pd.DataFrame
    """Of the learning-rate finder, see LR_CURVE."""
    lr_suggestions: dict[str, Any]
    """What it suggests: `steepest` and `minimum_tenth`, each a rate or None."""


@dataclass(frozen=True)
class Results:
    """What the earlier stages left. Each table has the columns of its constant in this module."""

    predictions: Predictions
    metrics: dict[str, Any]
    """results/evaluate/details.json: split -> way of predicting -> metric -> number or None."""
    per_class: pd.DataFrame
    """split, class, and `per_class_columns` of the task."""
    reliability: pd.DataFrame
    confusion: pd.DataFrame
    """split, and `confusion_columns` of the task."""
    head: Training
    finetune: Training
    cross_validation: dict[str, Any] | None
    """Scores of the head over folds, if there are any."""
    images: pd.DataFrame
    rejected: pd.DataFrame
    split: pd.DataFrame
    """split.csv, its index is `row`: path, label, split."""
    duplicates: pd.DataFrame
    reading: list[str]
    """What the split stage says of how it read the data, in lines."""
    features: np.ndarray
    """float32 `[M, F]` of all images, without rows if they were not computed."""
    heat: np.ndarray
    """gradcam.npy: uint8 `[K, 2, h, w]`."""
    gradcam: pd.DataFrame
    """The K lines of gradcam.csv."""
    problems: dict[str, pd.DataFrame]
    """See `find_problems`."""
    recipes: dict[str, dict[str, Any]]
    """The content of recipes/*.yaml by name."""


def read_results(seed: int) -> Results:
    """Read what the stages left, and look for problems of the data.

    Raises:
        UserError: a file is missing or damaged.
    """
    task = read_split(paths.SPLIT_CSV).task
    predictions = read_predictions(paths.EVALUATE / "predictions.csv", paths.EVALUATE / "probabilities.npy", task)
    features, split = open_array(paths.FEATURES / "plain.npy"), _read_split_frame(task)
    problems = find_problems(
        predictions,
        held_out=read_held_out(paths.TRAIN_HEAD / "out_of_fold.csv", task),
        split=split,
        features=features,
        seed=seed,
    )
    try:
        find_lr, train_head, finetune, metrics = (
            read_json(folder / DETAILS)
            for folder in (paths.FIND_LR, paths.TRAIN_HEAD, paths.FINETUNE, paths.EVALUATE)
        )
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is not here: run dvc repro report, which makes it") from None
    return Results(
        predictions=predictions,
        metrics=metrics,
        per_class=_read_scores("per_class.csv", ["class", *task.per_class_columns]),
        reliability=tables.read(paths.EVALUATE / "reliability.csv", RELIABILITY),
        confusion=_read_scores("confusion.csv", task.confusion_columns),
        head=_read_training(paths.TRAIN_HEAD, lr_curve=paths.FIND_LR / "curve.csv", lr_suggestions=find_lr),
        finetune=_read_training(paths.FINETUNE, lr_curve=paths.FINETUNE / "lr_curve.csv", lr_suggestions=finetune),
        cross_validation=train_head.get("cross_validation"),
        images=tables.read(paths.IMAGES_CSV, IMAGES),
        rejected=tables.read(paths.REJECTED_CSV, REJECTED),
        split=split,
        duplicates=tables.read(paths.DUPLICATES_CSV, DUPLICATES),
        reading=read_json(paths.SUMMARY)["lines"],
        features=features,
        heat=open_array(paths.EVALUATE / "gradcam.npy"),
        gradcam=tables.read(paths.EVALUATE / "gradcam.csv", GRADCAM),
        problems=problems,
        recipes={path.name: read_yaml(path) for path in sorted(paths.RECIPES.glob("*.yaml"))},
    )


def _read_split_frame(task: Task) -> pd.DataFrame:
    columns = {"row": "int", "path": "text", task.label_column: "text", "split": "category"}
    return tables.read(paths.SPLIT_CSV, columns).rename(columns={task.label_column: "label"}).set_index("row")


def _read_scores(name: str, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table of scores by class or pair of classes."""
    kinds = dict.fromkeys(("split", "class", "actual", "predicted"), "text")
    kinds |= dict.fromkeys(("support", "count", "tp", "fp", "fn", "tn"), "int")
    return tables.read(
        paths.EVALUATE / name, {column: kinds.get(column, "float") for column in ("split", *columns)}
    )


def _read_training(folder: Path, lr_curve: Path, lr_suggestions: dict[str, Any]) -> Training:
    return Training(
        steps=tables.read(folder / "steps.csv", STEPS),
        epochs=tables.read(folder / "epochs.csv", EPOCHS),
        lr_curve=tables.read(lr_curve, LR_CURVE),
        lr_suggestions=lr_suggestions,
    )
