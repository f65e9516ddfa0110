"""Made-up results to render reports of."""

from dataclasses import replace

import numpy as np
import pandas as pd

from unfreeze.report.comparison import Side
from unfreeze.report.results import DUPLICATES, EPOCHS, LR_CURVE, REJECTED, STEPS, Results, Training
from unfreeze.task.multi import Multi
from unfreeze.task.predictions import Predictions
from unfreeze.task.single import Single
from unfreeze.task.split_table import PARTS


def params(per_gallery: int = 4, weights: str = "IMAGENET1K_V1") -> dict:
    return {
        "seed": 1,
        "model": {"arch": "resnet18", "weights": weights, "image_size": 8},
        "report": {"per_gallery": per_gallery},
        "runtime": {"strict": True},
    }


def table(columns: dict[str, str] | str, *rows: tuple) -> pd.DataFrame:
    """A table as `tables.read` gives it, with columns of these kinds; or as pandas infers them from the rows."""
    kinds = dict.fromkeys(columns.split()) if isinstance(columns, str) else columns
    types = {"text": pd.StringDtype("pyarrow"), "category": "category", "int": "int64", "float": "float64"}
    frame = pd.DataFrame(list(rows), columns=list(kinds))
    return frame.astype({name: types[kind] for name, kind in kinds.items() if kind})


def split_table(*rows: tuple) -> pd.DataFrame:
    """A table of row, path, label and split."""
    return table("row path label split", *rows).set_index("row")


def without_lines(training: Training, *names: str) -> Training:
    """`training` with empty tables of these names."""
    return replace(training, **{name: getattr(training, name)[:0] for name in names})


def results(classes: list[str], count: int, wrong: int = 3, split: str = "test") -> Results:
    """`count` images of the classes in turn, the first `wrong` of them taken for the next class."""
    c = len(classes)
    actual = np.arange(count) % c
    predicted = np.where(np.arange(count) < wrong, (actual + 1) % c, actual)
    probabilities = np.full((count, c), 0.2 / (c - 1), dtype=np.float32)
    probabilities[np.arange(count), predicted] = 0.8
    names = [f"{classes[k]}/{i}.png" for i, k in enumerate(actual)]
    number = {"count": count, "accuracy": 1 - wrong / count, "log_loss": 0.25, "roc_auc": None, "ece": 0.1}
    pairs: dict[tuple[int, int], int] = {}
    for pair in zip(actual.tolist(), predicted.tolist(), strict=True):
        pairs[pair] = pairs.get(pair, 0) + 1
    nan = float("nan")
    return Results(
        predictions=Predictions(
            task=Single(classes),
            row=np.arange(count),
            path=np.array(names, object),
            split=np.full(count, PARTS.index(split)),
            actual=actual,
            predicted=predicted,
            uncertainty=np.full(count, 0.4, dtype=np.float32),
            probabilities=probabilities,
        ),
        metrics={split: {"plain": {**number, "accuracy": 0.5}, "tta": number}},
        per_class=table(
            "split class precision recall f1 support", *((split, name, nan, 0.5, 0.5, 2) for name in classes)
        ),
        reliability=table("split confidence accuracy count", (split, 0.8, 0.9, count)),
        confusion=table(
            "split actual predicted count",
            *((split, classes[a], classes[p], n) for (a, p), n in pairs.items()),
        ),
        head=Training(
            steps=table(STEPS, (0, 0.1), (0, 0.05)),
            epochs=table(EPOCHS, ("head", 1, 1, 0.5)),
            lr_curve=table(LR_CURVE, (1e-5, 2, 2), (1e-3, 1, 1), (1, nan, 5)),
            lr_suggestions={"steepest": 1e-3, "minimum_tenth": None},
        ),
        finetune=Training(
            steps=table(STEPS, (0, 0.1), (1, 0.05)),
            epochs=table(EPOCHS, ("frozen", 1, 1, 0.5), ("unfrozen", 1, nan, nan)),
            lr_curve=table(LR_CURVE, (1e-5, 2, 2), (1e-3, 1, 1), (1, 3, 3)),
            lr_suggestions={"lr": 1e-4, "steepest": 1e-3, "minimum_tenth": 1e-4},
        ),
        cross_validation=None,
        images=table("width height format", (40, 30, "JPEG"), (80, 30, "PNG")),
        rejected=table(REJECTED),
        split=split_table(
            *((i, name, classes[actual[i]], split) for i, name in enumerate(names)),
            (count, "unlabelled.png", "", "test"),
            (count + 1, "duplicate.png", classes[0], ""),
        ),
        duplicates=table(DUPLICATES),
        reading=["labels from folders; 2 classes", "splits are given by folders: <b>train</b>/ is train"],
        features=np.random.default_rng(0).normal(size=(count + 2, 6)).astype(np.float32),
        heat=np.full((1, 2, 2, 2), 200, np.uint8),
        gradcam=table("row first second", (0, classes[0], classes[1])),
        problems={
            "label_errors": table(
                "row path split label likely p_label p_likely", (0, "a.png", split, "x", "y", 0.1, 0.9)
            ),
            "near_duplicates": table(
                "row path split label similar_to similar_row similarity",
                (0, "a.png", split, "x", "b.png", 1, 0.97),
            ),
            "outliers": table("row path split label similarity"),
        },
        recipes={"photos.yaml": {"seed": 1, "model": {"arch": "resnet34"}}},
    )


def pixels(count: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def several(split: str = "test", unlabelled: bool = False) -> Results:
    """Six images of three labels, of which nobody has the last; threshold 0.5."""
    task = Multi(["cat", "dog", "<i>owl"])
    texts = ["cat", "cat dog", "dog", "-", "-", "" if unlabelled else "cat"]
    probabilities = np.array(
        [[0.9, 0.1, 0.0], [0.8, 0.3, 0.0], [0.6, 0.7, 0.1], [0.1, 0.1, 0.1], [0.2, 0.1, 0.95], [0.4, 0.2, 0.1]],
        dtype=np.float32,
    )
    number = {"count": 6, "f2": (1 + 5 / 9 + 5 / 6 + 1) / 6, "map": 0.5, "precision": 0.5, "recall": None,
              "f1": 0.5, "subset_accuracy": 1 / 3, "log_loss": 0.25}  # fmt: skip
    nan, given = float("nan"), results(["cat", "dog"], 6)
    return replace(
        given,
        predictions=Predictions(
            task=task,
            row=np.arange(6),
            path=np.array([f"{i}.png" for i in range(6)], object),
            split=np.full(6, PARTS.index(split)),
            actual=task.encode(texts),
            predicted=(probabilities >= 0.5).astype(np.float32),
            uncertainty=np.arange(6, dtype=np.float32) / 6,
            probabilities=probabilities,
        ),
        metrics={split: {way: number for way in ("prevalence", "plain", "tta")}},
        per_class=table(
            "split class precision recall f1 ap threshold support",
            *((split, name, 0.5, nan, nan, 0.25, 0.5, 2) for name in task.classes),
        ),
        reliability=table("split confidence accuracy count", (split, 0.8, 0.9, 18)),
        confusion=table("split class tp fp fn tn", *((split, name, 1, 1, 1, 3) for name in task.classes)),
        split=split_table(*((i, f"{i}.png", text, split) for i, text in enumerate(texts))),
        gradcam=table("row first second", (0, "<i>owl", "dog")),
        problems={
            **given.problems,
            "label_errors": table(
                "row path split label suspect has_it probability", (0, "a.png", split, "cat", "dog", "no", 0.9)
            ),
            "near_duplicates": given.problems["near_duplicates"][:0],
        },
    )


def side(name: str, given: Results, **changes: object) -> Side:
    """One side of a comparison, whose params have these `changes`."""
    shown = given.predictions
    predictions = pd.DataFrame(
        {
            "path": shown.path,
            "split": [PARTS[part] for part in shown.split],
            "actual": shown.task.describe(shown.actual),
            "predicted": shown.task.describe(shown.predicted),
        },
        dtype=pd.StringDtype("pyarrow"),
    )
    return Side(
        name=name,
        params=params() | changes,
        metrics=given.metrics,
        epochs=pd.concat([given.head.epochs, given.finetune.epochs]),
        predictions=predictions,
        task=type(shown.task),
    )
