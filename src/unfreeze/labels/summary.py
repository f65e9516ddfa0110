"""What the split stage says that it read, in lines and in data/summary.json."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unfreeze.core.console import few
from unfreeze.labels.label import Label, Reading
from unfreeze.labels.params import SplitParams
from unfreeze.labels.split import Splits
from unfreeze.task.base import Task
from unfreeze.task.kinds import TASKS
from unfreeze.task.split_table import PARTS

SHOWN = 5
"""Classes at each end that a line shows, the largest and the smallest."""


def summarise(reading: Reading, splits: Splits, paths: Sequence[str], params: SplitParams) -> dict[str, Any]:
    """Return what was read and how, as data/summary.json holds it.

    Returns:
        `task`; `labels`, where they come from; `columns` by use; `classes`, the images of each by split; `splits`,
        the images of each, and which were made here; `duplicates`, images with the pixels of another; `left_out`,
        images and labels that are not used, by reason and with examples; `facts`, what was taken where the data
        could be read in another way; `lines`, all that in words.
    """
    task = TASKS[params.kind]
    summary = {
        "task": params.kind,
        "labels": reading.source,
        "columns": dict(reading.columns),
        "classes": _count_classes(reading.labels, splits.split, task),
        "splits": {part: splits.split.count(part) for part in PARTS} | {"made": splits.new_parts},
        "duplicates": len(splits.duplicates),
        "left_out": _list_left_out(reading, splits, paths),
        "facts": [*reading.facts, *_describe_classes(reading.labels, splits, params)],
    }
    return summary | {"lines": _describe(summary)}


def _count_classes(
    labels: Sequence[Label], split: Sequence[str | None], task: type[Task]
) -> dict[str, dict[str, int]]:
    pairs = Counter((label.label, part) for label, part in zip(labels, split, strict=True) if part)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(PARTS, 0))
    for (text, part), count in pairs.items():
        for name in task.names(text):
            counts[name][part] += count
    return {name: counts[name] for name in sorted(counts)}


def _list_left_out(reading: Reading, splits: Splits, paths: Sequence[str]) -> list[dict[str, Any]]:
    names: dict[str, list[str]] = defaultdict(list)
    for name, reason in reading.unmatched:
        names[reason].append(name)
    dropped = {duplicate.image for duplicate in splits.duplicates if duplicate.action == "dropped"}
    for image, (label, part) in enumerate(zip(reading.labels, splits.split, strict=True)):
        if part is None:
            if image in dropped:
                reason = "a copy of an image in another split: left out"
            elif label.split == "out":
                reason = "split.folders: out"
            else:
                reason = "split.rare: drop" if label.label in splits.rare else "beyond split.train: left out"
            names[reason].append(paths[image])
    return [
        {"reason": reason, "count": len(some), "examples": sorted(some)[:3]}
        for reason, some in sorted(names.items())
    ]


def _describe_classes(labels: Sequence[Label], splits: Splits, params: SplitParams) -> Iterator[str]:
    if params.merge:
        yield f"merged classes: {few(f'{name} is {other}' for name, other in params.merge.items())}"
    if splits.rare:
        what = "they are left out" if params.rare == "drop" else "they only train"
        yield (
            f"{len(splits.rare):,} classes have too few different images to be in train, "
            f"{' and '.join(splits.new_parts)}, such as {few(splits.rare)}: {what} (split.rare: {params.rare})"
        )
    names = {name for label in set(labels) for name in TASKS[params.kind].names(label.label)}
    if len(names) > 2 and all(re.fullmatch(r"[-+]?\d+([.,]\d+)?", name) for name in names):
        yield f"all {len(names):,} classes are numbers: each is a class, as a digit is, and no quantity"


def _describe(summary: Mapping[str, Any]) -> list[str]:
    """Return the lines that the stage prints and the report shows; the last one tells the splits."""
    classes = {name: sum(counts.values()) for name, counts in summary["classes"].items()}
    by_size = sorted(classes, key=lambda name: (-classes[name], name))
    shown = [f"{name} {classes[name]:,}" for name in by_size]
    if len(shown) > 2 * SHOWN:
        shown[SHOWN:-SHOWN] = [f"... {len(shown) - 2 * SHOWN:,} more ..."]
    lines = [f"labels from {summary['labels']}; {len(classes):,} classes: {', '.join(shown)}"]
    if columns := [f"{use} {', '.join(names)}" for use, names in summary["columns"].items() if names]:
        lines.append(f"columns: {'; '.join(columns)}")
    lines += summary["facts"]
    lines += [
        f"{out['count']:,} x {out['reason']}, such as {', '.join(out['examples'])}" for out in summary["left_out"]
    ]
    splits = summary["splits"]
    counts = ", ".join(f"{splits[part]:,} {part}" for part in PARTS)
    made = f"made here: {', '.join(splits['made'])}" if splits["made"] else "all given"
    return [*lines, f"{len(classes):,} classes, {counts}; {made}; {summary['duplicates']:,} duplicates"]
