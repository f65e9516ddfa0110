"""Chooses params for data that were looked at, and says why; what cannot be decided is a question."""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from unfreeze.archive.look import IMAGE_SUFFIXES, Look
from unfreeze.core.console import UserError, few
from unfreeze.core.table_files import write_table_files
from unfreeze.images.bands import BANDS
from unfreeze.images.convert import decode_image, is_candidate
from unfreeze.images.members import Rejection
from unfreeze.labels.columns import choose_columns, combine_tags, find_separator
from unfreeze.labels.label import Reading
from unfreeze.labels.names import find_pattern
from unfreeze.labels.params import SplitParams
from unfreeze.labels.sources import Files, read_labels
from unfreeze.labels.split import Splits, make_splits
from unfreeze.labels.summary import summarise
from unfreeze.labels.table import LabelTable, read_label_files
from unfreeze.task.cells import read_lists
from unfreeze.task.kinds import TASKS

SMALL_SIDE = 48
"""Pixels of the shorter side, up to which images are trained from scratch, in the median."""
FEW_IMAGES = 120
"""Images, up to which one small validation split says less than cross-validation."""
UNEVEN = 10
"""How many times as many images the largest class has as the smallest, from which on that is said."""
TAG_HEADINGS = {"tags", "labels", "genres", "attributes", "findings"}
ONE = next(kind for kind, task in TASKS.items() if task.labels_from_folders)
SEVERAL = next(kind for kind, task in TASKS.items() if task.splits_only_near_shares)
"""The values of `split.kind` for one class an image, and for any number of labels."""
BASE = {
    "kind": ONE,
    "id_column": "auto",
    "label_column": "auto",
    "group": "none",
    "numbers": [],
    "seed": 1,
    "train": "all",
    "valid": 0.2,
    "test": 0.0,
    "folds": 0,
}
"""The split section that data are read with."""


class Choice(NamedTuple):
    """A value for a key of params.yaml."""

    value: Any
    why: str


@dataclass(frozen=True)
class Question:
    """What cannot be decided: `split.labels`, and the values that it may have."""

    text: str
    answers: list[dict[str, Any]]
    """Of the `split` section, for each way to read the labels."""


@dataclass(frozen=True)
class Proposal:
    """What was found, and the params for it."""

    recipe: str
    """The name of the recipe whose values stand where nothing was chosen."""
    choices: dict[tuple[str, str], Choice]
    """By section and key."""
    lines: list[str]
    """What was found, in words."""
    question: Question | None


class Way(NamedTuple):
    """A way to read the labels that works."""

    split: dict[str, Any]
    reading: Reading


def propose(look: Look, recipe: str | None = None) -> Proposal:
    """Choose the params for data.

    Args:
        recipe: the name of the recipe to start from; None: it is chosen by the images' sizes and number.
    """
    candidates = [path for path in look.sizes if is_candidate(path)]
    images = [path for path in candidates if path.lower().endswith(IMAGE_SUFFIXES)] or candidates
    if not images and any(
        all(f'"{band}"'.encode() in data[:1000] for band in BANDS) for data in look.tables.values()
    ):
        return _propose_bands(look)
    if not images:
        tables = f"; name a folder that holds the images beside {few(look.tables)}" if look.tables else ""
        raise UserError(f"there is no image among {len(look.sizes):,} files, such as {few(look.sizes)}{tables}")
    lines, sides = _describe_images(look, images)

    # 1. The labels.
    with TemporaryDirectory() as folder:
        files = _lay_open(look, images, Path(folder))
        ways, errors = _find_ways(files, look)
        choices, question = _choose_labels(ways, errors)
        if question is None:
            way = ways[0]
            lines += _describe_reading(way, images)

    # 2. The recipe, the sizes and the splits.
    side = int(statistics.median(sides)) if sides else 256
    recipe = recipe or _choose_recipe(side, len(images), question or ways[0])
    choices |= _choose_sizes(side, recipe)
    if question is None:
        choices |= _choose_splits(ways[0])
    return Proposal(recipe, choices, lines + look.notes + look.remarks + look.unseen, question)


def _describe_images(look: Look, images: Sequence[str]) -> tuple[list[str], list[int]]:
    """Describe the sample; return the shorter side of each of its images too."""
    sides, long_sides, formats, modes, wrong = [], [], Counter(), Counter(), []
    for path, data in look.images.items():
        try:
            image = decode_image(data, 16, "squish", "rgb", path)
        except Rejection as error:
            wrong.append(f"{path}: {error}")
            continue
        sides.append(min(image.width, image.height))
        long_sides.append(max(image.width, image.height))
        formats[image.format] += 1
        modes[image.mode] += 1
    lines = [f"{len(images):,} images" + ("" if look.is_complete else " or more")]
    if sides:
        lines[0] += (
            f"; of {len(sides)}, the shorter side has {min(sides)} to {max(sides)} pixels, the longer one "
            f"{min(long_sides)} to {max(long_sides)}; "
            f"{', '.join(f'{n} {name}' for name, n in formats.most_common())}; modes {', '.join(modes)}"
        )
    if wrong:
        lines.append(f"{len(wrong)} of {len(look.images)} images cannot be decoded: {few(wrong)}")
    return lines, sides


def _lay_open(look: Look, images: Sequence[str], folder: Path) -> Files:
    """Write the tables where the readers of labels expect them."""
    content, rows = BytesIO(), []
    for path, data in sorted(look.tables.items()):
        rows.append((path, content.tell(), len(data), hashlib.sha256(data).hexdigest()))
        content.write(data)
    (folder / "all").write_bytes(content.getvalue())
    tables = folder / "tables"
    tables.mkdir()
    write_table_files(tables, folder / "all", rows)
    empty = [f"{path}/" for path in look.empty_folders]
    others = sorted([*(look.sizes.keys() - set(images)), *empty])
    return Files(images=images, rejected=[], others=others, tables=tables)


def _find_ways(files: Files, look: Look) -> tuple[list[Way], list[str]]:
    """Try every source of labels; return those that work, and why the others do not."""
    ways, errors = [], []
    for split in _list_sources(files, look):
        try:
            reading = read_labels(files, SplitParams(**(BASE | split)))
            make_splits(reading.labels, files.images, SplitParams(**(BASE | split)))
        except UserError as error:
            errors.append(f"split.labels = {split['labels']}: {error}")
            continue
        labelled = sum(bool(label.label) for label in reading.labels)
        if labelled >= 0.1 * len(files.images):
            ways.append(Way(split, reading))
        else:
            errors.append(
                f"split.labels = {split['labels']}: {labelled:,} of {len(files.images):,} images have a label"
            )
    if len(ways) > 1 and ways[0].split["labels"] != "folders" and ways[-1].split["labels"] == "folders":
        pairs = zip(ways[0].reading.labels, ways[-1].reading.labels, strict=True)
        if all(one.label == other.label for one, other in pairs if one.label):
            ways = ways[-1:]  # the table repeats what the folders say
    return ways, errors


def _list_sources(files: Files, look: Look) -> Iterator[dict[str, Any]]:
    """Yield the split sections to try: tables, then file names, then folders."""
    ends = Counter(path.rpartition("/")[2] for path in look.tables)
    for name, count in sorted(ends.items()):
        if "submission" in name.lower():
            continue
        paths = [path for path in look.tables if path.rpartition("/")[2] == name]
        for labels in [name] if count > 1 or len(paths) == 1 else paths:
            try:
                table = read_label_files(labels, files.tables)
                columns = choose_columns(table, SplitParams(**(BASE | {"labels": labels})), files.images)
                kind = SEVERAL if _has_several(table, columns.labels) else ONE
            except UserError:
                kind = ONE  # reading it again says what is wrong
            yield {"labels": labels, "kind": kind}
    if find_pattern(files.images):
        yield {"labels": "names", "kind": ONE}
    yield {"labels": "folders", "kind": ONE}


def _has_several(table: LabelTable, columns: Sequence[str]) -> bool:
    """Guess whether images have several labels: from columns of 0 and 1, lists, or tags that combine freely."""
    if len(columns) > 1:
        rows = zip(*(table.texts(column) for column in columns), strict=True)
        return any(sum(cell in ("1", "1.0", "True", "true") for cell in row) != 1 for row in rows)
    lists = read_lists(table, columns[0])
    if lists is not None:
        return any(items is not None and len(items) != 1 for items in lists)
    texts = table.texts(columns[0])
    is_named_so = columns[0].lower() in TAG_HEADINGS and find_separator(texts) is not None
    return combine_tags(texts) or is_named_so


def _choose_labels(
    ways: Sequence[Way], errors: Sequence[str]
) -> tuple[dict[tuple[str, str], Choice], Question | None]:
    if len(ways) == 1:
        split = ways[0].split
        kind = "any number of labels an image" if split["kind"] == SEVERAL else "one class an image"
        return {
            ("split", "labels"): Choice(split["labels"], "the only source that gives labels to the images"),
            ("split", "kind"): Choice(split["kind"], kind),
        }, None
    if ways:
        text = "the labels can be read in several ways: " + "; ".join(
            f"{way.split['labels']} ({len({label.label for label in way.reading.labels} - {''}):,} different ones)"
            for way in ways
        )
        return {}, Question(text, [way.split for way in ways])
    return {}, Question("no labels were found. " + "; ".join(errors), [])


def _describe_reading(way: Way, images: Sequence[str]) -> Iterator[str]:
    params = SplitParams(**(BASE | way.split))
    labels = way.reading.labels
    placed = Splits([label.split or "train" for label in labels], [], [], [])
    summary = summarise(way.reading, placed, images, params)
    yield from summary["lines"][:-1]
    given = Counter(label.split for label in labels if label.split)
    yield "splits that the data bring: " + (
        ", ".join(f"{name} {n:,}" for name, n in sorted(given.items())) or "none"
    )
    sizes = [sum(counts.values()) for counts in summary["classes"].values()]
    if sizes and max(sizes) > UNEVEN * min(sizes):
        yield (
            f"uneven: the largest class has {max(sizes):,} images and the smallest {min(sizes):,}; "
            "train_head.balance and finetune.balance weigh them"
        )


def _choose_recipe(side: int, images: int, way: Way | Question) -> str:
    if side <= SMALL_SIDE:
        return "cifar"
    if isinstance(way, Way) and way.split["kind"] == SEVERAL:
        return "multi_label"
    return "tiny" if images <= FEW_IMAGES else "photos"


def _choose_sizes(side: int, recipe: str) -> dict[tuple[str, str], Choice]:
    if recipe == "radar_bands":
        return {}
    if recipe == "cifar":
        size = max(16, min(64, (side + 7) // 8 * 8))
        why = f"images have about {side} pixels a side"
        return {
            ("decode", "image_size"): Choice(size, why),
            ("model", "image_size"): Choice(size, "as they are stored"),
            ("finetune", "sizes"): Choice([], "one size"),
        }
    size = max(64, min(224, side // 32 * 32))
    why = f"images have about {side} pixels on their shorter side"
    return {
        ("decode", "image_size"): Choice(round(size * 1.15 / 4) * 4, "1.15 x model.image_size, for crops"),
        ("model", "image_size"): Choice(size, why),
    }


def _choose_splits(way: Way) -> dict[tuple[str, str], Choice]:
    given: Mapping[str | None, int] = Counter(label.split for label in way.reading.labels if label.label)
    if given["test"]:
        return {("split", "test"): Choice(0.2, "not used: the data bring a labelled test set")}
    return {("split", "test"): Choice(0.2, "the data bring no labelled test set: a fifth is kept for it")}


def _propose_bands(look: Look) -> Proposal:
    lines = [f"records of radar bands in {few(path for path in look.tables)}"]
    choices = {("split", "labels"): Choice("records", "labels are fields of the records")}
    return Proposal("radar_bands", choices, lines + look.notes + look.remarks + look.unseen, None)
