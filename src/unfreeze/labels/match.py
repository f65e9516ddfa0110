"""Labels from a table."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import repeat
from sys import intern

from unfreeze.core.console import UserError, few
from unfreeze.core.table_files import normal
from unfreeze.labels.columns import ID_NAMES, LabelColumns, choose_columns, combine_tags, read_split_cell
from unfreeze.labels.ids import find_images, match_ids
from unfreeze.labels.label import Label, Reading
from unfreeze.labels.layout import read_layout
from unfreeze.labels.params import SplitParams
from unfreeze.labels.table import LabelTable
from unfreeze.task.base import CellRules
from unfreeze.task.cells import minus_is_absent
from unfreeze.task.kinds import TASKS

MISSING = {"", "na", "n/a", "nan", "null"}
"""The cells that are no group and no number, in lower case."""


def label_by_table(
    table: LabelTable, paths: Sequence[str], rejected: Sequence[str], params: SplitParams
) -> Reading:
    """Label each image by the table.

    `choose_columns` says which columns are taken, `match_ids` which image an id means. An id may be relative to
    the folder of its table. `Task.read_labels` says what a label is. A split column, or a split folder above a
    labelled image, gives its split. Labels without an image are left out. Images without a label are predicted
    only: they are in the test split with label "", wherever they lie.

    Args:
        paths: of the images.
        rejected: paths of the images that could not be decoded, for the reasons alone.

    Returns:
        The reading; `unmatched` holds (id, reason) of the labels without an image, and (path, reason) of the
        images without a label.

    Raises:
        UserError: columns are in doubt; ids are empty, contradict each other or fit several images; a cell is no
            label, group, split or number; no id fits an image; labelled images lie inside and outside of split
            folders, or none of them is there to train on.
    """
    # 1. Read what the rows say.
    columns = choose_columns(table, params, paths)
    ids = [normal(text) for text in table.texts(columns.id)]
    if "" in ids:
        raise UserError(f"{table.name}, {table.places[ids.index('')]}: {columns.id} is empty")
    row_labels = _read_rows(table, columns, params)
    row_of_id = _index_ids(table, columns.id, _join_folders(table, ids, paths), row_labels)

    # 2. Find the image of each row.
    images_of_row, facts = match_ids(row_of_id, paths)
    row_of_image = _choose_rows(table, row_of_id, row_labels, images_of_row, paths)
    if not images_of_row:
        raise UserError(
            f"{table.name}: no {columns.id!r} fits an image. An id is {next(iter(row_of_id), '')!r}, an image is "
            f"{paths[0] if paths else ''!r}. An id is a path, a file name or a name without suffix; "
            "split.id_column names another column"
        )
    if columns.id.lower() not in ID_NAMES and (named := find_images({normal(columns.id): 0}, paths)):
        raise UserError(
            f"{table.name}: line 1 names the image {paths[named[0][0]]}; add a line of headings above it"
        )

    # 3. Label the images.
    layout = read_layout(paths, params)
    unlabelled = Label("", None, "", (None,) * len(params.numbers))
    labels, folder_gives = [], False
    for path, row in zip(paths, row_of_image, strict=True):
        label = unlabelled if row is None else row_labels[row]
        split = layout.read(path)[0]
        if "out" in (split, label.split):
            label = replace(unlabelled, split="out")
        elif not label.label or "predict" in (split, label.split):
            label = replace(label, label="", split="test", group="")
        elif columns.split is None and split:
            label, folder_gives = replace(label, split=split), True
        elif split in ("valid", "test") and split != label.split:  # a folder train/ may hold all labelled images
            raise UserError(
                f"{path} lies in {split}, and {table.name} has {label.split} in {columns.split}. Set "
                "split.split_column: none, or in split.folders the folder to `class`, which is no split"
            )
        labels.append(label)
    _check_given_splits(paths, labels)

    # 4. Say what was taken, and what has no counterpart.
    rejected_rows = find_images(row_of_id, rejected)
    unmatched = [
        (name, "its image was rejected: left out" if row in rejected_rows else "no image: left out")
        for name, row in row_of_id.items()
        if row not in images_of_row
    ]
    unmatched += [
        (path, f"{'no label' if row is None else 'empty label'}: predicted only")
        for path, row, label in zip(paths, row_of_image, labels, strict=True)
        if not label.label and label.split != "out"
    ]
    if len(columns.labels) > 1 and minus_is_absent(table, columns.labels):
        facts.append("-1 stands for 0: the columns of labels hold -1 and 1 alone")
    if not params.only_near_shares and combine_tags(label.label for label in row_labels):
        facts.append(
            f"cells of {columns.labels[0]} look like several labels each, and each cell is taken for one class: "
            "split.kind: multi takes them apart"
        )
    return Reading(
        source=table.name,
        labels=labels,
        facts=[*facts, *(layout.describe() if folder_gives else [])],
        columns={
            "ids": [columns.id],
            "labels": columns.labels,
            "splits": [columns.split] if columns.split else [],
            "group": [params.group] if params.group != "none" else [],
            "numbers": params.numbers,
            "not used": columns.unused,
        },
        unmatched=sorted(unmatched),
    )


def _join_folders(table: LabelTable, ids: list[str], paths: Sequence[str]) -> list[str]:
    """Put the folder of the table before the ids that name an image there."""
    if not any(table.folders):
        return ids
    folders = set(table.folders)
    empty = [folder for folder in folders if not any(path.startswith(f"{folder}/") for path in paths)]
    if len(folders) > 1 and empty:
        raise UserError(
            f"split.labels could be several files, in {few(folders)}, and in {few(empty)} there is no image; "
            "write the path of one"
        )
    names = {normal(path) for path in paths}
    names |= {name.rpartition(".")[0] for name in names}
    joined = (f"{normal(folder)}/{name}" for folder, name in zip(table.folders, ids, strict=True))
    return [long if long in names else name for long, name in zip(joined, ids, strict=True)]


def _read_rows(table: LabelTable, columns: LabelColumns, params: SplitParams) -> list[Label]:
    """Read label, split, group and numbers of each row."""
    rules = CellRules(params.separator, params.none, params.blank, params.uncertain)
    # Equal texts become one object: a million rows name few different labels.
    labels = [intern(label) for label in TASKS[params.kind].read_labels(table, columns.labels, rules)]
    splits: Iterable[str | None] = repeat(None, len(labels))
    if columns.split:
        splits = _read_splits(table, columns.split, params)
    groups = [""] * len(labels)
    if params.group != "none":
        groups = ["" if text.lower() in MISSING else text for text in table.texts(params.group)]
    values = [_read_numbers(table, name) for name in params.numbers]
    numbers = zip(*values, strict=True) if values else repeat((), len(labels))
    rows = zip(labels, splits, groups, numbers, strict=True)
    return [Label(label, split, group, values) for label, split, group, values in rows]


def _read_splits(table: LabelTable, column: str, params: SplitParams) -> list[str]:
    splits = []
    for place, text in zip(table.places, table.texts(column), strict=True):
        split = read_split_cell(column, text, params.folders)
        if split is None or split == "class":
            raise UserError(
                f"{table.name}, {place}: {column} is {text[:50]!r}, which is no split; say what it is: "
                f'split.folders: {{"{text[:50]}": train}}, or set split.split_column: none'
            )
        splits.append(split)
    return splits


def _read_numbers(table: LabelTable, column: str) -> list[float | None]:
    """Read a column of numbers, None where one is missing (`MISSING`)."""
    numbers: list[float | None] = []
    for place, text in zip(table.places, table.texts(column), strict=True):
        try:
            number = None if text.lower() in MISSING else float(text)
        except ValueError:
            number = math.nan
        if number is not None and not math.isfinite(number):
            raise UserError(
                f"{table.name}, {place}: {column} is {text[:50]!r}; split.numbers takes numbers, and for missing "
                "ones an empty cell or na"
            )
        numbers.append(number)
    return numbers


def _index_ids(table: LabelTable, column: str, ids: Sequence[str], row_labels: Sequence[Label]) -> dict[str, int]:
    """Return the first row of each id. Rows that repeat it must say the same."""
    row_of_id: dict[str, int] = {}
    contradictions = []
    for row, name in enumerate(ids):
        first = row_of_id.setdefault(name, row)
        if row_labels[first] != row_labels[row]:
            contradictions.append(f"{name} ({table.places[first]} and {table.places[row]})")
    if contradictions:
        raise UserError(
            f"{table.name}: {len(contradictions)} repeated ids with another label, group or number: "
            f"{few(contradictions)}. The ids are those of {column}; split.id_column names another column"
        )
    return row_of_id


def _choose_rows(
    table: LabelTable,
    row_of_id: Mapping[str, int],
    row_labels: Sequence[Label],
    images_of_row: Mapping[int, Sequence[int]],
    paths: Sequence[str],
) -> list[int | None]:
    """Return the first row of each image, None where it has none. Rows that repeat an image must say the same."""
    row_of_image: list[int | None] = [None] * len(paths)
    ambiguous, contradictions = [], []
    for name, row in row_of_id.items():
        images = images_of_row.get(row, ())
        if len(images) > 1:
            ambiguous.append(f"{name} ({few([paths[image] for image in images])})")
            continue
        for image in images:
            first = row_of_image[image]
            if first is None:
                row_of_image[image] = row
            elif row_labels[first] != row_labels[row]:
                contradictions.append(f"{paths[image]} ({table.places[first]} and {table.places[row]})")
    if ambiguous:
        raise UserError(
            f"{table.name}: {len(ambiguous)} ids fit several images: {few(ambiguous)}. "
            "Write the paths of the images, with suffix, instead"
        )
    if contradictions:
        raise UserError(
            f"{table.name}: {len(contradictions)} images have several different labels: {few(contradictions)}"
        )
    return row_of_image


def _check_given_splits(paths: Sequence[str], labels: Sequence[Label]) -> None:
    splits = {label.split for label in labels if label.label}
    if len(splits) > 1 and None in splits:
        beside = [path for path, label in zip(paths, labels, strict=True) if label.split is None]
        raise UserError(
            f"{len(beside)} labelled images lie beside the split folders (train, valid, test) and not in one: "
            f"{few(beside)}. Put all labelled images into split folders, or none; or name folders in split.folders"
        )
    if splits and not splits & {None, "train"}:
        raise UserError(f"all labelled images lie in {' and '.join(sorted(splits))}/: there is none to train on")
