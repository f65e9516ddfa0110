"""Made-up results to render reports of."""

from dataclasses import replace

import numpy as np

from unfreeze.data.table import PARTS
from unfreeze.report.galleries import Predictions
from unfreeze.report.page import Results


def params(per_gallery: int = 4, weights: str = "IMAGENET1K_V1") -> dict:
    return {
        "seed": 1,
        "model": {"arch": "resnet18", "weights": weights, "size": 8},
        "report": {"per_gallery": per_gallery},
        "runtime": {"strict": True},
    }


def lines(header: str, *rows: tuple) -> list[dict[str, str]]:
    return [dict(zip(header.split(), map(str, row), strict=True)) for row in rows]


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
    return Results(
        predictions=Predictions(
            classes, np.arange(count), names, np.full(count, PARTS.index(split)), actual, predicted,
            np.full(count, 0.4, dtype=np.float32), probabilities,
        ),
        metrics={split: {"plain": {**number, "accuracy": 0.5}, "tta": number}},
        per_class=lines(
            "split class precision recall f1 support", *((split, name, "", 0.5, 0.5, 2) for name in classes)
        ),
        reliability=lines("split confidence accuracy count", (split, 0.8, 0.9, count)),
        confusion=lines(
            "split actual predicted count",
            *((split, classes[a], classes[p], n) for (a, p), n in pairs.items()),
        ),
        lr_curve=lines("step lr loss smoothed", (0, 1e-5, 2, 2), (1, 1e-3, 1, 1), (2, 1, "nan", 5)),
        lr_suggestions={"steepest": 1e-3, "minimum_tenth": None},
        head_steps=lines("step epoch lr loss", (0, 0, 0.1, 1), (1, 0, 0.05, 1)),
        head_epochs=lines("epoch phase train_loss valid_loss valid_score", (0, "head", 1, 1, 0.5)),
        head_metrics={},
        finetune_steps=lines("step epoch lr loss", (0, 0, 0.1, 1), (1, 1, 0.05, 1)),
        finetune_epochs=lines(
            "epoch phase train_loss valid_loss valid_score",
            (0, "frozen", 1, 1, 0.5),
            (1, "unfrozen", 1, "", ""),
        ),
        finetune_curve=lines("step lr loss smoothed", (0, 1e-5, 2, 2), (1, 1e-3, 1, 1), (2, 1, 3, 3)),
        finetune_metrics={"lr": 1e-4, "steepest": 1e-3, "minimum_tenth": 1e-4},
        images=lines("width height format", (40, 30, "JPEG"), (80, 30, "PNG")),
        rejected=lines("path reason"),
        split=lines(
            "row path label split fold",
            *((i, name, classes[actual[i]], split, 0) for i, name in enumerate(names)),
            (count, "unlabelled.png", "", "test", ""),
            (count + 1, "duplicate.png", classes[0], "", ""),
        ),
        duplicates=lines("path same_as action"),
        features=np.random.default_rng(0).normal(size=(count + 2, 6)).astype(np.float32),
        heat=np.full((1, 2, 2, 2), 200, np.uint8),
        heat_rows=lines("row first second", (0, classes[0], classes[1])),
        problems={
            "label_errors": lines("row path split label likely p_label p_likely",
                                  (0, "a.png", split, "x", "y", 0.1, 0.9)),
            "near_duplicates": lines("row path split label similar_to similar_row similarity",
                                     (0, "a.png", split, "x", "b.png", 1, 0.97)),
            "outliers": [],
        },
        recipes={"photos.yaml": {"seed": 1, "model": {"arch": "resnet34"}}},
    )  # fmt: skip


def pixels(count: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def several(split: str = "test", unlabelled: bool = False) -> Results:
    """Six images of three labels, of which nobody has the last; threshold 0.5."""
    classes = ["cat", "dog", "<i>owl"]
    actual = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]], dtype=np.int8)
    probabilities = np.array(
        [[0.9, 0.1, 0.0], [0.8, 0.3, 0.0], [0.6, 0.7, 0.1], [0.1, 0.1, 0.1], [0.2, 0.1, 0.95], [0.4, 0.2, 0.1]],
        dtype=np.float32,
    )
    texts = ["cat", "cat dog", "dog", "-", "-", "cat"]
    if unlabelled:
        actual[5], texts[5] = -1, ""
    number = {"count": 6, "f2": (1 + 5 / 9 + 5 / 6 + 1) / 6, "map": 0.5, "precision": 0.5, "recall": None,
              "f1": 0.5, "subset_accuracy": 1 / 3, "log_loss": 0.25}  # fmt: skip
    return replace(
        results(["cat", "dog"], 6),
        predictions=Predictions(
            classes, np.arange(6), [f"{i}.png" for i in range(6)], np.full(6, PARTS.index(split)), actual,
            (probabilities >= 0.5).astype(np.int8), np.arange(6, dtype=np.float32) / 6, probabilities,
        ),
        metrics={split: {way: number for way in ("prevalence", "plain", "tta")}},
        per_class=lines("split class precision recall f1 ap threshold support",
                        *((split, name, 0.5, "", "", 0.25, 0.5, 2) for name in classes)),
        reliability=lines("split confidence accuracy count", (split, 0.8, 0.9, 18)),
        confusion=lines("split class tp fp fn tn", *((split, name, 1, 1, 1, 3) for name in classes)),
        split=lines(
            "row path labels split fold", *((i, f"{i}.png", text, split, 0) for i, text in enumerate(texts))
        ),
        heat_rows=lines("row first second", (0, classes[2], "dog")),
        problems={"label_errors": lines("row path split label suspect has_it probability",
                                        (0, "a.png", split, "cat", "dog", "no", 0.9)),
                  "near_duplicates": [], "outliers": []},
    )  # fmt: skip
