"""The kinds of tasks by name."""

from collections.abc import Sequence

from unfreeze.task.base import Task, Thresholds
from unfreeze.task.multi import Multi
from unfreeze.task.single import Single

TASKS: dict[str, type[Task]] = {task.kind: task for task in (Single, Multi)}
"""By `split.kind`."""


def build_task(classes: Sequence[str], thresholds: Thresholds) -> Task:
    """Return the task of a trained network, whose file names no kind: only several labels have thresholds."""
    return TASKS["multi" if thresholds else "single"](classes)
