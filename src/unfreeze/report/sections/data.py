"""What was in the archive: counts by class and split, sizes, rejected files and duplicates."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from unfreeze.report.results import Results
from unfreeze.task.base import Task

if TYPE_CHECKING:
    import pandas as pd

MOST_LINES = 400
"""Of the table of classes."""
MOST_FILES = 50
"""Of the lists of rejected files and duplicates."""
MOST_REASONS, MOST_FORMATS = 20, 8
PARTS = {"train": "to train", "valid": "to validate", "test": "to test"}


def build(results: Results) -> dict[str, Any]:
    """Build the section, and the counts that the page's head tells."""
    counts = _count_classes(results.split, results.predictions.task)
    images = Counter(results.split["split"])
    parts = [name for name in (*PARTS, "") if any(part == name for _, part in counts)]
    labels = sorted({label for label, _ in counts}, key=lambda label: (not label, label))
    lines = [(label, [counts[label, part] for part in parts]) for label in labels]
    return {
        "train": images["train"],
        "parts": [(name, images[part]) for part, name in PARTS.items() if images[part]],
        "splits": parts,
        "totals": [images[part] for part in parts],
        "lines": lines[:MOST_LINES],
        "most": max((sum(line) for label, line in lines if label), default=1),
        "labels": len(labels),
        "images": len(results.images),
        "width": _summarise(results.images["width"]),
        "height": _summarise(results.images["height"]),
        "formats": Counter(results.images["format"]).most_common(MOST_FORMATS),
        "reasons": Counter(results.rejected["reason"]).most_common(MOST_REASONS),
        "rejected": results.rejected[:MOST_FILES].to_dict("records"),
        "rejected_count": len(results.rejected),
        "actions": Counter(results.duplicates["action"]).most_common(),
        "duplicates": results.duplicates[:MOST_FILES].to_dict("records"),
        "duplicate_count": len(results.duplicates),
        "reading": results.reading[:MOST_FILES],
    }


def _count_classes(split: pd.DataFrame, task: Task) -> Counter[tuple[str, str]]:
    """Count images by (class, split). An image has several labels, none ("no label"), or is unlabelled ("")."""
    counts: Counter[tuple[str, str]] = Counter()
    for (label, part), images in split.groupby(["label", "split"], observed=True).size().items():
        for name in task.names(label) or ["no label" if label else ""]:
            counts[name, part] += int(images)
    return counts


def _summarise(lengths: pd.Series) -> tuple[int, int, int] | None:
    """Return lowest, median and highest; None of no images."""
    return (int(lengths.min()), int(lengths.median()), int(lengths.max())) if len(lengths) else None
