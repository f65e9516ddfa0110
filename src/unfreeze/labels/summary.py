"""The line that the split stage ends with."""

from collections import Counter
from collections.abc import Sequence

from unfreeze.labels.label import Label
from unfreeze.labels.split import Splits
from unfreeze.task.base import Task
from unfreeze.task.split_table import PARTS


def describe_splits(
    labels: Sequence[Label], splits: Splits, unmatched: Sequence[tuple[str, str]], task: type[Task]
) -> str:
    """Say how many classes there are, how many images each split has, and what found no counterpart."""
    classes = {name for text in {label.label for label in labels} for name in task.names(text)}
    counts = Counter(splits.split)
    reasons = Counter(reason for _, reason in unmatched)
    return (
        f"{len(classes)} classes, {', '.join(f'{counts[part]:,} {part}' for part in PARTS)}, "
        f"{len(splits.duplicates)} duplicates; made here: {', '.join(splits.new_parts) or 'none, all given'}"
        + "".join(f"; {count:,} x {reason}" for reason, count in sorted(reasons.items()))
    )
