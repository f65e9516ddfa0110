"""Checks that every split has the classes that it needs."""

from collections import Counter
from collections.abc import Sequence

from unfreeze.core.console import UserError
from unfreeze.labels.label import Label
from unfreeze.task.base import Task
from unfreeze.task.split_table import PARTS


def check_classes(labels: Sequence[Label], split: Sequence[str | None], task: type[Task]) -> list[str]:
    """Return warnings about the classes that valid or test lacks.

    Raises:
        UserError: train lacks a class, or valid lacks all.
    """
    counts = Counter(
        (part, name) for part, label in zip(split, labels, strict=True) if part for name in task.names(label.label)
    )
    classes = sorted({name for _, name in counts})
    warnings = []
    for part in PARTS:
        missing = [name for name in classes if not counts[part, name]]
        if part == "train" and missing:
            raise UserError(
                f"no image is left to train on in class {', '.join(missing[:10])}: its images repeat test or "
                "validation images, or none could be decoded, or all lie in the other splits"
            )
        if part == "valid" and len(missing) == len(classes):
            raise UserError(
                "no image to validate on: the classes have too few images, or split.valid is too small"
            )
        if missing and len(missing) < len(classes):
            more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
            warnings.append(
                f"{part} has no image of {', '.join(missing[:10])}{more}: their scores are undefined there"
            )
    return warnings
