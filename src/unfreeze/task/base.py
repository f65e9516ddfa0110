"""The one seam for what is predicted: a class, several labels, later a number.

Each kind is a `Task`. The training loop, the schedules, the evaluation and the submission ask the task and know no
kind themselves. Tensors and arrays of targets have one row an image; what a row holds is the task's own business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

Rule = Literal["global", "per_label"]
"""Of thresholds: one for all labels, or one for each."""
Thresholds = Mapping[Rule, Sequence[float]]
"""By rule, the probability `[C]` from which on each label counts. Empty where a task needs none."""
SubmissionFormat = Literal["labels", "probabilities", "flags"]
Row = dict[str, Any]
"""A line of a table: heading -> cell."""


@dataclass(frozen=True)
class Metric:
    """A number that a task is judged by."""

    key: str
    """In details.json."""
    title: str
    higher_is_better: bool = True
    percent: bool = False
    """It is shown in percent."""

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return 1 if self.higher_is_better else -1


class Score(NamedTuple):
    """How a model does on the validation rows after an epoch; never reweighted."""

    loss: float
    """The task's own loss, averaged over the rows."""
    value: float
    """The task's headline."""
    thresholds: dict[Rule, list[float]]
    """Tuned on these very rows: good for comparing epochs, and a little optimistic."""


@dataclass(frozen=True)
class CellRules:
    """How the cells of labels are read; `labels.params.SplitParams` says what the values mean."""

    separator: str = "auto"
    none: str = ""
    blank: str = "error"
    uncertain: str = "error"


class LabelCells(Protocol):
    """A table of labels as users bring it; `places[i]` says where row i stands ("line 7")."""

    name: str
    places: Sequence[str]

    def cells(self, column: str) -> list[Any]:
        """Return the cells of a column as they are."""

    def texts(self, column: str) -> list[str]:
        """Return the cells of a column as text, "" for an empty one."""

    def text(self, row: int, column: str, cell: Any) -> str:
        """Return one cell, or one part of it, as text."""


class Task(ABC):
    """What is predicted of an image.

    Attributes:
        kind: the value of `split.kind`.
        label_column: the heading of the labels in split.csv and predictions.csv.
        headline: the metric that a model is judged by first.
        metrics: all metrics that are shown, in their order; the first is the headline.
        fewest_classes: with fewer a model has nothing to learn.
        labels_from_folders: whether a folder can say what an image is.
        can_draw_balanced: whether images can be drawn so that all classes are equally frequent.
        uses_thresholds: whether probabilities are compared with thresholds of their own.
        splits_only_near_shares: whether images carry several labels, so that splits only come near their shares.
    """

    kind: ClassVar[str]
    label_column: ClassVar[str]
    headline: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    fewest_classes: ClassVar[int]
    labels_from_folders: ClassVar[bool]
    can_draw_balanced: ClassVar[bool]
    uses_thresholds: ClassVar[bool]
    splits_only_near_shares: ClassVar[bool]
    per_class_columns: ClassVar[tuple[str, ...]]
    """Of the table by class, after its name."""
    confusion_columns: ClassVar[tuple[str, ...]]
    submission_format: ClassVar[SubmissionFormat]
    """Without a sample that says otherwise."""
    submission_heading: ClassVar[str]
    """Of the one column of labels, without a sample."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)

    # --- Labels as users and split.csv write them

    @staticmethod
    @abstractmethod
    def read_labels(table: LabelCells, columns: Sequence[str], rules: CellRules) -> list[str]:
        """Return the label of each row as split.csv writes it, "" where nobody labelled the image.

        Args:
            columns: one column of labels, or several of 0 and 1, one a label.

        Raises:
            UserError: a cell that is no label; the message names its line.
        """

    @staticmethod
    @abstractmethod
    def names(label: str) -> list[str]:
        """Return the classes that a label names."""

    @staticmethod
    @abstractmethod
    def join(names: Iterable[str]) -> str:
        """Return the label that names these classes."""

    @classmethod
    def of_labels(cls, labels: Sequence[str]) -> Task:
        """Return the task whose classes these labels name, in order of their names."""
        return cls(sorted({name for label in set(labels) for name in cls.names(label)}))

    @abstractmethod
    def encode(self, labels: Sequence[str]) -> np.ndarray:
        """Return one target for each label.

        Raises:
            KeyError: a label names a class that the task has not.
        """

    @abstractmethod
    def blank_targets(self, images: int) -> np.ndarray:
        """Return targets of so many images of which no label is known."""

    @abstractmethod
    def is_labelled(self, targets: np.ndarray) -> np.ndarray:
        """Return which targets are known: bool `[N]`."""

    @abstractmethod
    def describe(self, targets: np.ndarray) -> list[str]:
        """Return the label of each target as split.csv writes it, "" where it is unknown."""

    # --- Training

    @abstractmethod
    def loss(
        self, logits: Tensor, targets: Tensor, smoothing: float = 0.0, weight: Tensor | None = None
    ) -> Tensor:
        """Return the mean loss of logits `[B, C]`.

        Args:
            targets: as the task encodes them, or as `mixable` returns them.
            smoothing: the share of a target that is spread over what it is not.
            weight: see `loss_weight`.
        """

    @abstractmethod
    def mixable(self, targets: Tensor) -> Tensor:
        """Return targets that can be mixed with others and weighted an image at a time: float32 `[B, C]`."""

    @abstractmethod
    def loss_weight(self, targets: Tensor) -> Tensor:
        """Return what `balance: loss` weighs the loss with, float32 `[C]`, from the targets that train."""

    @abstractmethod
    def score(self, logits: Tensor, targets: Tensor) -> Score:
        """Return the score of logits `[N, C]` of the validation rows, on the CPU."""

    # --- Probabilities and decisions

    @abstractmethod
    def activation(self) -> nn.Module:
        """Return the layer that turns logits into probabilities."""

    def activate(self, logits: Tensor) -> np.ndarray:
        """Return probabilities float64 `[N, C]` of logits `[N, C]`."""
        return self.activation()(logits.double()).numpy()

    @abstractmethod
    def tune(self, probabilities: np.ndarray, targets: np.ndarray) -> dict[Rule, list[float]]:
        """Return the thresholds that serve the headline best on these images; {} where the task uses none."""

    @abstractmethod
    def decide(self, probabilities: np.ndarray, thresholds: Sequence[float] | None) -> np.ndarray:
        """Return what is predicted, as targets, of probabilities `[N, C]`."""

    @abstractmethod
    def confidence(self, probabilities: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return the probability of what is predicted: float64 `[N]`."""

    @abstractmethod
    def uncertainty(self, probabilities: np.ndarray, thresholds: Sequence[float] | None) -> np.ndarray:
        """Return how near each image is to another decision: float64 `[N]` in 0..1, 1 at a tie."""

    @abstractmethod
    def rank_mistakes(self, probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how wrong each image is, float64 `[N]`, at or below 0 where that is no mistake at all; and the
        two classes `[N, 2]` that tell why."""

    # --- Metrics

    @abstractmethod
    def baselines(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        """Return by name what a guess that never saw an image would say: float64 `[C]`, from training targets."""

    @abstractmethod
    def scores(
        self, probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float] | None = None
    ) -> dict[str, float | int | None]:
        """Return the numbers of one split by name, the count of its images first.

        Without `thresholds` those are taken that serve the headline best on these very images.
        """

    @abstractmethod
    def fold_scores(self, probabilities: np.ndarray, targets: np.ndarray, folds: np.ndarray) -> Row:
        """Return mean and standard deviation over folds of the headline and one more metric; `folds` is int64
        `[N]`, -1 is no fold."""

    @abstractmethod
    def per_class(
        self, probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float] | None
    ) -> list[Row]:
        """Return the numbers of each class under `per_class_columns`; None where one is undefined."""

    @abstractmethod
    def confusion(
        self, probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float] | None
    ) -> list[Row]:
        """Return the table of confusions under `confusion_columns`."""

    @abstractmethod
    def reliability(self, probabilities: np.ndarray, targets: np.ndarray) -> list[Row]:
        """Return mean confidence, accuracy and count of each bin of confidence that is not empty."""

    @abstractmethod
    def pairs(
        self, probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float] | None
    ) -> list[tuple[str, str]]:
        """Return (actual, predicted) class names, for a plot that counts them itself."""

    # --- What a competition takes

    @property
    @abstractmethod
    def has_positive(self) -> bool:
        """Whether one column of numbers can say the prediction."""

    @abstractmethod
    def infer_submission_format(self, sample: str, heading: str, cells: set[str]) -> SubmissionFormat:
        """Return the format that the only column of a sample submission asks for, from its first cells.

        Raises:
            UserError: numbers that are no names of classes.
        """

    @abstractmethod
    def submission_label(self, label: str) -> str:
        """Return a label as a submission writes it."""
