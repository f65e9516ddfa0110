"""Labels from a table: finds the image of each id."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import repeat
from sys import intern

from unfreeze.core.console import UserError, few
from unfreeze.core.table_files import normal
from unfreeze.labels.columns import ID_NAMES, choose_columns
from unfreeze.labels.folders import get_given_split, shared_depth
from unfreeze.labels.label import Label
from unfreeze.labels.params import SplitParams
from unfreeze.labels.table import LabelTable
from unfreeze.task.kinds import TASKS

MISSING = {"", "na", "n/a", "nan", "null"}
"""The cells that are no group and no number, in lower case."""


def label_by_table(
    table: LabelTable, paths: Sequence[str], rejected: Sequence[str], params: SplitParams
) -> tuple[list[Label], list[tuple[str, str]]]:
    """Label each image by the table.

    An id is an image's path, the end of its path at a folder (`a/1.png`, `1.png`), or such an end without the
    suffix (`a/1`, `1`), tried in this order. `Task.read_labels` says what a label is. A split folder (train,
    valid, test) above a labelled image is its given split. Labels without an image are left out. Images without
    a label are predicted only: they are in the test split with label "", wherever they lie.

    Args:
        paths: of the images.
        rejected: paths of the images that could not be decoded, for the reasons alone.

    Returns:
        The label of each image. And what has no counterpart, sorted: (id, reason) of the labels without an image,
        (path, reason) of the images without a label.

    Raises:
        UserError: columns are in doubt; ids are empty, contradict each other or fit several images; a cell is no
            label, group or number; no id fits an image; labelled images lie inside and outside of split folders,
            or none of them is there to train on.
    """
    # 1. Read what the rows say.
    columns = choose_columns(table, params)
    ids = [normal(text) for text in table.texts(columns.id)]
    if "" in ids:
        raise UserError(f"{table.name}, {table.places[ids.index('')]}: {columns.id} is empty")
    row_labels = _read_rows(table, columns.labels, params)
    row_of_id = _index_ids(table, ids, row_labels)

    # 2. Find the image of each row.
    images_of_row = find_images(row_of_id, paths)
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
    depth = shared_depth(paths)
    unlabelled = Label("", None, "", (None,) * len(params.numbers))
    labels = []
    for path, row in zip(paths, row_of_image, strict=True):
        label = unlabelled if row is None else row_labels[row]
        if not label.label:
            label = replace(label, split="test", group="")
        elif split := get_given_split(path, depth):
            label = replace(label, split=split)
        labels.append(label)
    _check_given_splits(paths, labels)

    # 4. List what has no counterpart.
    rejected_rows = find_images(row_of_id, rejected)
    unmatched = [
        (name, "its image was rejected: left out" if row in rejected_rows else "no image: left out")
        for name, row in row_of_id.items()
        if row not in images_of_row
    ]
    unmatched += [
        (path, f"{'no label' if row is None else 'empty label'}: predicted only")
        for path, row, label in zip(paths, row_of_image, labels, strict=True)
        if not label.label
    ]
    return labels, sorted(unmatched)


def _read_rows(table: LabelTable, label_columns: Sequence[str], params: SplitParams) -> list[Label]:
    """Read label, group and numbers of each row; no split is known yet."""
    # Equal texts become one object: a million rows name few different labels.
    labels = [intern(label) for label in TASKS[params.kind].read_labels(table, label_columns)]
    groups = [""] * len(labels)
    if params.group != "none":
        groups = ["" if text.lower() in MISSING else text for text in table.texts(params.group)]
    columns = [_read_numbers(table, name) for name in params.numbers]
    numbers = zip(*columns, strict=True) if columns else repeat((), len(labels))
    return [
        Label(label, None, group, values) for label, group, values in zip(labels, groups, numbers, strict=True)
    ]


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


def _index_ids(table: LabelTable, ids: Sequence[str], row_labels: Sequence[Label]) -> dict[str, int]:
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
            f"{few(contradictions)}"
        )
    return row_of_id


def find_images(row_of_id: Mapping[str, int], paths: Sequence[str]) -> dict[int, list[int]]:
    """Find the images that each id can mean: by whole path, else by its end, else by its end without suffix.

    Only the names of ids are kept: a million images have eight names each.

    Returns:
        The images, ascending, by row of the id; an id that fits none is left out.
    """
    depth = shared_depth(paths)
    images_of_row: dict[int, list[int]] = {}
    for list_names in (_list_whole_paths, _list_ends, _list_ends_without_suffix):
        matches: dict[int, list[int]] = {}
        for image, path in enumerate(paths):
            for name in list_names(normal(path).split("/"), depth):
                row = row_of_id.get(name)
                if row is not None and row not in images_of_row:
                    matches.setdefault(row, []).append(image)
        images_of_row |= matches
    return images_of_row


def _list_whole_paths(parts: list[str], depth: int) -> set[str]:
    """List a path as it is, and below the folders that all images share."""
    return {"/".join(parts), "/".join(parts[depth:])}


def _list_ends(parts: list[str], depth: int) -> list[str]:
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _list_ends_without_suffix(parts: list[str], depth: int) -> list[str]:
    stem = parts[-1].rpartition(".")[0] or parts[-1]
    return _list_ends([*parts[:-1], stem], depth)


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
            f"{few(beside)}. Put all labelled images into split folders, or none"
        )
    if splits and not splits & {None, "train"}:
        raise UserError(f"all labelled images lie in {' and '.join(sorted(splits))}/: there is none to train on")
