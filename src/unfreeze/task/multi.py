"""Any number of labels an image: sigmoid, binary cross-entropy, F2 at tuned thresholds.

Targets are float32 `[N, C]`, 1 for each label that an image has and 0 for each other one; NaN all along the rows
of images that nobody labelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from unfreeze.core.arrays import scratch
from unfreeze.core.console import UserError, few
from unfreeze.task.base import CellRules, LabelCells, Metric, Row, Rule, Score, SubmissionFormat, Task
from unfreeze.task.cells import is_flag_column, read_flags
from unfreeze.task.tags import read_tags

if TYPE_CHECKING:
    from torch import Tensor, nn

NO_LABELS = "-"
"""The label of an image that is known to have none of the labels; "" is one that nobody labelled."""
MAX_WEIGHT = 100.0
"""Bound of the weights of labels in the loss."""


class Multi(Task):
    """Any number of labels an image.

    A label in split.csv is the image's tags, sorted, with spaces between them and `_` for each space within one.
    """

    kind = "multi"
    label_column = "labels"
    headline = "f2"
    metrics = (
        Metric("f2", "F2"),
        Metric("map", "mAP"),
        Metric("subset_accuracy", "all right", percent=True),
        Metric("log_loss", "log loss", higher_is_better=False),
        Metric("precision", "precision"),
        Metric("recall", "recall"),
        Metric("f1", "F1"),
    )
    fewest_classes = 1
    labels_from_folders = False
    can_draw_balanced = False
    uses_thresholds = True
    splits_only_near_shares = True
    per_class_columns = ("precision", "recall", "f1", "ap", "threshold", "support")
    confusion_columns = ("class", "tp", "fp", "fn", "tn")
    submission_format = "labels"
    submission_heading = "tags"

    # --- Labels

    @staticmethod
    def read_labels(table: LabelCells, columns: Sequence[str], rules: CellRules) -> list[str]:
        if len(columns) > 1 or is_flag_column(table, columns[0]):
            tags = read_flags(table, columns, rules)
        else:
            tags = read_tags(table, columns[0], rules.separator)
        if rules.none:
            tags = _drop_none(table, tags, rules.none)
        names: dict[str, str] = {}
        for tag in sorted({tag for row in tags if row is not None for tag in row}):
            name = "_".join(tag.split())
            if name == NO_LABELS:
                raise UserError(f"{table.name}: {tag!r} stands for no label at all; rename this label")
            if name in names:
                raise UserError(
                    f"{table.name}: the labels {names[name]!r} and {tag!r} would both be {name!r}; rename one"
                )
            names[name] = tag
        name_of = {tag: name for name, tag in names.items()}
        return ["" if row is None else " ".join(sorted(name_of[tag] for tag in row)) or NO_LABELS for row in tags]

    @staticmethod
    def names(label: str) -> list[str]:
        return [] if label == NO_LABELS else label.split()

    @staticmethod
    def join(names: Iterable[str]) -> str:
        return " ".join(sorted(set(names))) or NO_LABELS

    def encode(self, labels: Sequence[str]) -> np.ndarray:
        index = {name: i for i, name in enumerate(self.classes)}
        targets = scratch((len(labels), len(self.classes)), np.float32)
        for target, label in zip(targets, labels, strict=True):
            if label:
                target[[index[name] for name in self.names(label)]] = 1
            else:
                target[:] = np.nan
        return targets

    def blank_targets(self, images: int) -> np.ndarray:
        targets = scratch((images, len(self.classes)), np.float32)
        targets[:] = np.nan
        return targets

    def is_labelled(self, targets: np.ndarray) -> np.ndarray:
        return ~np.isnan(targets).any(1)

    def describe(self, targets: np.ndarray) -> list[str]:
        return [
            "" if np.isnan(row).any() else " ".join(self.classes[c] for c in np.flatnonzero(row)) or NO_LABELS
            for row in np.asarray(targets, np.float32)
        ]

    # --- Training

    def loss(
        self, logits: Tensor, targets: Tensor, smoothing: float = 0.0, weight: Tensor | None = None
    ) -> Tensor:
        """The mean over labels of binary cross-entropy; smoothing spreads over yes and no of each label."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        soft = targets * (1 - smoothing) + smoothing / 2
        return binary_cross_entropy_with_logits(logits.float(), soft, pos_weight=weight)

    def mixable(self, targets: Tensor) -> Tensor:
        return targets

    def loss_weight(self, targets: Tensor) -> Tensor:
        """The loss of a label that an image has weighs as many times that of one that it has not as there are
        images without it for each with it, but at most 100 times, or 1/100: more would let one image decide a
        step."""
        having = targets.sum(0)
        return ((len(targets) - having) / having.clamp(min=1)).clamp(1 / MAX_WEIGHT, MAX_WEIGHT)

    def score(self, logits: Tensor, targets: Tensor) -> Score:
        """Mean binary cross-entropy, and F2 at the one threshold that maximises it on these very rows; 64 bits."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        from unfreeze.task import thresholds

        logits = logits.double()
        loss = binary_cross_entropy_with_logits(logits, targets.double()).item()
        probabilities, actual = self.activate(logits), targets.numpy()
        tuned = thresholds.tune(probabilities, actual)
        return Score(loss, thresholds.f2(probabilities, actual, tuned["global"]), tuned)

    # --- Probabilities and decisions

    def activation(self) -> nn.Module:
        from torch import nn

        return nn.Sigmoid()

    def tune(self, probabilities: np.ndarray, targets: np.ndarray) -> dict[Rule, list[float]]:
        from unfreeze.task import thresholds

        return thresholds.tune(probabilities, targets)

    def decide(self, probabilities: np.ndarray, thresholds: Sequence[float] | None) -> np.ndarray:
        """The labels at or above their thresholds: int8 `[N, C]`, 1 for each."""
        return (probabilities >= np.asarray(thresholds)).astype(np.int8)

    def confidence(self, probabilities: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """The lowest probability of a label that is given; where none is given, of the most probable not being
        there."""
        from unfreeze.task import metrics

        def of(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
            given = np.where(labels > 0, p, np.inf).min(1)
            return np.where(np.isfinite(given), given, 1 - p.max(1))

        return metrics.in_blocks(of, probabilities, predicted)

    def uncertainty(self, probabilities: np.ndarray, thresholds: Sequence[float] | None) -> np.ndarray:
        """How near the nearest probability is to its threshold."""
        from unfreeze.task import multilabel

        return multilabel.uncertainty(probabilities, thresholds)

    def rank_mistakes(self, probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The widest gap of a probability to the truth, and the two labels with the widest ones."""
        from unfreeze.task import metrics

        def of(p: np.ndarray, t: np.ndarray) -> np.ndarray:
            return np.abs(p - t).max(1)

        def two_of(p: np.ndarray, t: np.ndarray) -> np.ndarray:
            return metrics.top_classes(np.abs(p - t), 2)

        wrong = metrics.in_blocks(of, probabilities, targets)
        return wrong, metrics.in_blocks(two_of, probabilities, targets)

    # --- Metrics

    def baselines(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        """`prevalence`: the share of the training images that have a label is its probability for every image."""
        return {"prevalence": targets.mean(0, dtype=np.float64)}

    def scores(
        self, probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float] | None = None
    ) -> dict[str, float | int | None]:
        from unfreeze.task import multilabel

        return multilabel.scores(probabilities, targets, thresholds)

    def fold_scores(self, probabilities: np.ndarray, targets: np.ndarray, folds: np.ndarray) -> Row:
        from unfreeze.task import multilabel

        return multilabel.fold_scores(probabilities, targets, folds)

    def per_class(
        self, probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float] | None
    ) -> list[Row]:
        from unfreeze.task import multilabel

        return multilabel.per_label(probabilities, targets, thresholds)

    def confusion(
        self, probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float] | None
    ) -> list[Row]:
        """Of each label the images that have and get it, only get it, only have it, and neither."""
        from unfreeze.task import multilabel

        counts = multilabel.confusion(probabilities, targets, thresholds).tolist()
        return [
            dict(zip(self.confusion_columns, (name, *row), strict=True))
            for name, row in zip(self.classes, counts, strict=True)
        ]

    def reliability(self, probabilities: np.ndarray, targets: np.ndarray) -> list[Row]:
        from unfreeze.task import multilabel

        return multilabel.reliability(probabilities, targets)

    def pairs(
        self, probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float] | None
    ) -> list[tuple[str, str]]:
        """One for each label that an image has or gets; NO_LABELS stands for not having, or not getting it."""
        return [
            (self.classes[c] if had else NO_LABELS, self.classes[c] if given else NO_LABELS)
            for actual, predicted in zip(targets > 0, self.decide(probabilities, thresholds), strict=True)
            for c, (had, given) in enumerate(zip(actual, predicted, strict=True))
            if had or given
        ]

    # --- Submissions

    @property
    def has_positive(self) -> bool:
        return False

    def infer_submission_format(self, sample: str, heading: str, cells: set[str]) -> SubmissionFormat:
        return "labels"

    def submission_label(self, label: str) -> str:
        return "" if label == NO_LABELS else label


def _drop_none(table: LabelCells, tags: Sequence[Iterable[str] | None], none: str) -> list[Iterable[str] | None]:
    """Return the tags without the one that stands for none."""
    if not any(row and none in row for row in tags):
        raise UserError(f"split.none = {none} is no label of {table.name}")
    for place, row in zip(table.places, tags, strict=True):
        if row and none in row and len(set(row)) > 1:
            raise UserError(f"{table.name}, {place}: {none!r} (split.none) beside other labels: {few(row)}")
    return [() if row and none in row else row for row in tags]
