"""One class an image: softmax, cross-entropy, accuracy.

Targets are int64 `[N]` in 0..C-1, -1 where there is no label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from unfreeze.core.console import UserError, few
from unfreeze.task.base import CellRules, LabelCells, Metric, Row, Rule, Score, SubmissionFormat, Task
from unfreeze.task.cells import read_flags, read_lists, shorten_list

if TYPE_CHECKING:
    from torch import Tensor, nn

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


class Single(Task):
    """One class an image."""

    kind = "single"
    label_column = "label"
    headline = "accuracy"
    metrics = (
        Metric("accuracy", "accuracy", percent=True),
        Metric("top5", "top-5", percent=True),
        Metric("log_loss", "log loss", higher_is_better=False),
        Metric("roc_auc", "ROC AUC"),
        Metric("ece", "ECE", higher_is_better=False),
        Metric("precision", "precision"),
        Metric("recall", "recall"),
        Metric("f1", "F1"),
        Metric("matthews", "MCC"),
    )
    fewest_classes = 2
    labels_from_folders = True
    can_draw_balanced = True
    uses_thresholds = False
    splits_only_near_shares = False
    per_class_columns = ("precision", "recall", "f1", "support")
    confusion_columns = ("actual", "predicted", "count")
    submission_format = "probabilities"
    submission_heading = "label"

    # --- Labels

    @staticmethod
    def read_labels(table: LabelCells, columns: Sequence[str], rules: CellRules) -> list[str]:
        if len(columns) == 1:
            lists = read_lists(table, columns[0])
            if lists is None:
                return table.texts(columns[0])
            rows, what = lists, f"labels are in {columns[0]}"
        else:
            rows, what = read_flags(table, columns, rules), f"of the columns {shorten_list(columns)} are 1"
        for place, names in zip(table.places, rows, strict=True):
            if names is not None and len(names) != 1:
                raise UserError(
                    f"{table.name}, {place}: {len(names)} {what}; with split.kind = single exactly one is (or set "
                    "split.kind: multi)"
                )
        return [names[0] if names else "" for names in rows]

    @staticmethod
    def names(label: str) -> list[str]:
        return [label] if label else []

    @staticmethod
    def join(names: Iterable[str]) -> str:
        return next(iter(names), "")

    def encode(self, labels: Sequence[str]) -> np.ndarray:
        index = {name: i for i, name in enumerate(self.classes)} | {"": -1}
        return np.fromiter(map(index.__getitem__, labels), np.int64, len(labels))

    def blank_targets(self, images: int) -> np.ndarray:
        return np.full(images, -1)

    def is_labelled(self, targets: np.ndarray) -> np.ndarray:
        return targets >= 0

    def describe(self, targets: np.ndarray) -> list[str]:
        return [self.classes[target] if target >= 0 else "" for target in targets.tolist()]

    # --- Training

    def loss(
        self, logits: Tensor, targets: Tensor, smoothing: float = 0.0, weight: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy; smoothing spreads a share of the target over all classes (Szegedy et al. 2016)."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits.float(), targets, weight, label_smoothing=smoothing)

    def mixable(self, targets: Tensor) -> Tensor:
        # Weighted like this the loss is a mean over images, whatever the classes of the others.
        from torch.nn.functional import one_hot

        return one_hot(targets, len(self.classes)).float()

    def loss_weight(self, targets: Tensor) -> Tensor:
        """The weight of a class is inverse to its number of images; its mean over all images is 1."""
        import torch

        counts = torch.bincount(targets, minlength=len(self.classes))
        return len(targets) / (torch.count_nonzero(counts) * counts.clamp(min=1))

    def score(self, logits: Tensor, targets: Tensor) -> Score:
        """Cross-entropy and accuracy, in 64 bits."""
        from torch.nn.functional import cross_entropy

        logits = logits.double()
        accuracy = (logits.argmax(1) == targets).double().mean()
        return Score(cross_entropy(logits, targets).item(), accuracy.item(), {})

    # --- Probabilities and decisions

    def activation(self) -> nn.Module:
        from torch import nn

        return nn.Softmax(1)

    def tune(self, probabilities: np.ndarray, targets: np.ndarray) -> dict[Rule, list[float]]:
        return {}

    def decide(self, probabilities: np.ndarray, thresholds: Sequence[float] | None) -> np.ndarray:
        """The most probable class, int64 `[N]`; of equals the first."""
        return probabilities.argmax(1)

    def confidence(self, probabilities: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        return probabilities[np.arange(len(predicted)), predicted]

    def uncertainty(self, probabilities: np.ndarray, thresholds: Sequence[float] | None) -> np.ndarray:
        """1 less the margin between the two most probable classes."""
        from unfreeze.task import metrics

        return metrics.uncertainty(probabilities)

    def rank_mistakes(self, probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How little the true class is expected; what it was taken for, and what it is (or the runner-up)."""
        from unfreeze.task import metrics

        own, two = probabilities[np.arange(len(targets)), targets], metrics.top_classes(probabilities, 2)
        wrong = np.where(two[:, 0] == targets, -1.0, 1 - own)
        two[:, 1] = np.where(two[:, 0] == targets, two[:, 1], targets)
        return wrong, two

    # --- Metrics

    def baselines(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        return {}

    def scores(
        self, probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float] | None = None
    ) -> dict[str, float | int | None]:
        from unfreeze.task import metrics

        return metrics.scores(probabilities, targets)

    def fold_scores(self, probabilities: np.ndarray, targets: np.ndarray, folds: np.ndarray) -> Row:
        from unfreeze.task import metrics

        return metrics.fold_scores(probabilities, targets, folds)

    def per_class(
        self, probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float] | None
    ) -> list[Row]:
        from unfreeze.task import metrics

        return metrics.per_class(probabilities, targets)

    def confusion(
        self, probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float] | None
    ) -> list[Row]:
        """The cells of the confusion matrix that are not empty."""
        from unfreeze.task import metrics

        pairs, counts = metrics.confused_pairs(probabilities, targets)
        return [
            {"actual": self.classes[actual], "predicted": self.classes[predicted], "count": count}
            for (actual, predicted), count in zip(pairs.tolist(), counts.tolist(), strict=True)
        ]

    def reliability(self, probabilities: np.ndarray, targets: np.ndarray) -> list[Row]:
        from unfreeze.task import metrics

        return metrics.reliability(probabilities, targets)

    def pairs(
        self, probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float] | None
    ) -> list[tuple[str, str]]:
        predicted = self.decide(probabilities, thresholds)
        return list(zip(self.describe(targets), self.describe(predicted), strict=True))

    # --- Submissions

    @property
    def has_positive(self) -> bool:
        return len(self.classes) == 2

    def infer_submission_format(self, sample: str, heading: str, cells: set[str]) -> SubmissionFormat:
        """Of two classes: 0 and 1 that name no class are flags, numbers with a point are probabilities."""
        numbers = all(map(NUMBER.fullmatch, cells))
        if self.has_positive and cells <= {"0", "1"} and not cells <= set(self.classes):
            return "flags"
        if self.has_positive and numbers and not all(cell.lstrip("+-").isdigit() for cell in cells):
            return "probabilities"
        if numbers and not all(map(NUMBER.fullmatch, self.classes)):
            raise UserError(
                f"{sample}: {heading!r} holds numbers such as {min(cells)}, but the classes are "
                f"{few(self.classes)}. Write their names with submission.format: labels, or name the classes by "
                "the competition's numbers"
            )
        return "labels"

    def submission_label(self, label: str) -> str:
        return label
