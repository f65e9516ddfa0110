"""Which columns of a table of labels are the ids, the labels and the splits: by cells, then by headings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from unfreeze.core.console import UserError
from unfreeze.core.table_files import normal
from unfreeze.labels.ids import IMAGE_SUFFIX
from unfreeze.labels.layout import name_split
from unfreeze.labels.params import SplitParams
from unfreeze.labels.table import LabelTable
from unfreeze.task.cells import FLAGS, is_flag_column, shorten_list
from unfreeze.task.tags import SEPARATORS

ID_NAMES = (
    *("id", "image", "image_name", "image_id", "img", "file", "filename", "file_name", "fname"),
    *("path", "filepath", "file_path", "image_path", "name"),
)
"""Headings of ids, in lower case. Of several columns that fit the images alike, the first of these is taken."""
LABEL_NAMES = {
    *("label", "labels", "class", "classes", "class_name", "category", "categories", "breed", "species"),
    *("tag", "tags", "genre", "genres", "target", "y"),
}
"""Headings of labels, in lower case."""
SPLIT_NAMES = {"split", "splits", "set", "subset", "partition", "fold", "phase", "usage", "dataset", "data_split"}
"""Headings of given splits, in lower case."""
SPLIT_FLAGS = {
    **dict.fromkeys(("is_valid", "is_val", "is_validation", "valid", "val"), ("train", "valid")),
    **dict.fromkeys(("is_test", "test"), ("train", "test")),
    **dict.fromkeys(("is_train", "train"), ("test", "train")),
}
"""Headings of given splits whose cells are 0 and 1, in lower case, and what these stand for."""
SAMPLE = 500
"""Rows whose cells are compared with the names of the images."""


@dataclass(frozen=True)
class LabelColumns:
    """The headings of the columns, by use."""

    id: str
    labels: list[str]
    """One column of labels, or several of 0 and 1, one a label."""
    split: str | None = None
    unused: Sequence[str] = field(default_factory=list)


def choose_columns(table: LabelTable, params: SplitParams, paths: Sequence[str]) -> LabelColumns:
    """Choose the columns that `params` names; for `auto`, those whose cells fit.

    The ids are the column whose cells name images. A column called split, set, partition and the like, or
    is_valid, gives splits if its cells do. The labels are the column of that name, else the only one left that has
    equal cells, or all that are left if they hold 0 and 1.

    Args:
        paths: of the images.

    Raises:
        UserError: a column that `params` names is missing, or several fit `auto`.
    """
    _check_names(table, params)
    named = [params.label_column] if isinstance(params.label_column, str) else params.label_column
    taken = {params.id_column, params.split_column, params.group, *named, *params.numbers}
    free = [name for name in table.columns if name not in taken]

    split = params.split_column if params.split_column not in ("auto", "none") else None
    if params.split_column == "auto":
        split = _choose_split_column(table, free, params)
        free = [name for name in free if name != split]

    id_column, fitting = params.id_column, set()
    if id_column == "auto":
        id_column, fitting = _choose_id_column(table, free, paths)
    free = [name for name in free if name != id_column]

    labels = named if params.label_column != "auto" else _choose_label_columns(table, free, fitting)
    return LabelColumns(id_column, labels, split, [name for name in free if name not in labels])


def _check_names(table: LabelTable, params: SplitParams) -> None:
    columns = list(table.columns)
    labels = [params.label_column] if isinstance(params.label_column, str) else params.label_column
    for key, name, unset in (
        ("id_column", params.id_column, "auto"),
        *(("label_column", name, "auto") for name in labels),
        ("split_column", "auto" if params.split_column == "none" else params.split_column, "auto"),
        ("group", params.group, "none"),
        *(("numbers", name, "") for name in params.numbers),
    ):
        if name != unset and name not in columns:
            close = get_close_matches(name, columns, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise UserError(
                f"split.{key} = {name} is no column of {table.name}{hint}; it has {shorten_list(columns)}"
            )


def read_split_cell(column: str, cell: str, folders: Mapping[str, str]) -> str | None:
    """Return the split that a cell of the split column gives, as `FolderUse`; None if it gives none."""
    if cell in folders:
        return folders[cell]
    if column.lower() in SPLIT_FLAGS and cell.lower() in FLAGS:
        return SPLIT_FLAGS[column.lower()][FLAGS[cell.lower()]]
    return name_split(cell)


def _choose_split_column(table: LabelTable, free: Sequence[str], params: SplitParams) -> str | None:
    fitting = []
    for name in free:
        if name.lower() not in SPLIT_NAMES and name.lower() not in SPLIT_FLAGS:
            continue
        cells = {str(cell).strip() for cell in table.cells(name)}
        if all(read_split_cell(name, cell, params.folders) not in (None, "class") for cell in cells):
            fitting.append(name)
        elif name.lower() != "fold" and name.lower() in SPLIT_NAMES and cells <= {"0", "1", "2", "3"}:
            values = ", ".join(
                f'"{cell}": {split}'
                for cell, split in zip(sorted(cells), ("train", "valid", "test", "out"), strict=False)
            )
            raise UserError(
                f"{table.name}: {name} may give the splits, but its cells are {shorten_list(sorted(cells))}. Say "
                f"what they mean, split.folders: {{{values}}}; or set split.split_column: none"
            )
    if len(fitting) > 1:
        raise UserError(
            f"{table.name}: which column gives the splits? Set split.split_column: "
            f"{_show(table, fitting)}, or none"
        )
    return fitting[0] if fitting else None


def _choose_id_column(table: LabelTable, free: Sequence[str], paths: Sequence[str]) -> tuple[str, set[str]]:
    """Return the column of ids, and all columns whose cells name images."""
    candidates = [name for name in free if name.lower() not in LABEL_NAMES]
    by_lower_name = {name.lower(): name for name in reversed(candidates)}
    candidates = [by_lower_name[name] for name in ID_NAMES if name in by_lower_name]
    candidates += [name for name in free if name not in candidates and name.lower() not in LABEL_NAMES]
    if not candidates:
        raise UserError(
            f"{table.name}: which column holds the ids? Set split.id_column: {shorten_list(list(table.columns))}"
        )
    keys = {name: _read_keys(table, name) for name in candidates}
    wanted = {key for some in keys.values() for key in some}
    images = set()
    for path in paths:
        if (key := _name_key(path)) in wanted:
            images.add(key)
    share = {name: sum(key in images for key in set(some)) / max(1, len(some)) for name, some in keys.items()}
    best = max(share.values())
    fitting = [name for name in candidates if share[name] >= max(0.3, 0.8 * best)]
    if not fitting:
        return candidates[0], set()
    rivals = [name for name in fitting if keys[name] != keys[fitting[0]]]
    if rivals and not _has_suffixes(table, fitting[0]) and any(_has_suffixes(table, name) for name in rivals):
        fitting = [name for name in fitting if _has_suffixes(table, name)]  # file names, beside numbers of rows
        rivals = [name for name in fitting if keys[name] != keys[fitting[0]]]
    if [name for name in rivals if name.lower() in ID_NAMES or fitting[0].lower() not in ID_NAMES]:
        raise UserError(
            f"{table.name}: the cells of several columns name images, and not the same ones. Set split.id_column: "
            f"{_show(table, fitting)}"
        )
    return fitting[0], set(fitting)


def _read_keys(table: LabelTable, column: str) -> list[str]:
    """Return the keys of some cells of a column; of no cell that is a list."""
    cells = table.cells(column)
    some = cells[:: max(1, len(cells) // SAMPLE)]
    return [_name_key(str(cell)) for cell in some if cell not in (None, "") and not isinstance(cell, (list, dict))]


def _name_key(name: str) -> str:
    """Return what ids and images have in common however the id is written (`labels.ids`)."""
    key = IMAGE_SUFFIX.sub("", normal(name.strip()).rpartition("/")[2]).casefold()
    return key.removesuffix(".0").lstrip("0") or "0" if key.removesuffix(".0").isdecimal() else key


def _has_suffixes(table: LabelTable, column: str) -> bool:
    return bool(IMAGE_SUFFIX.search(next((str(cell) for cell in table.cells(column) if cell), "")))


def _choose_label_columns(table: LabelTable, free: Sequence[str], fitting: set[str]) -> list[str]:
    candidates = [name for name in free if name.lower() in LABEL_NAMES]
    if len(candidates) == 1:
        return candidates
    if not candidates:
        candidates = [
            name for name in free if is_flag_column(table, name) or (name not in fitting and _repeats(table, name))
        ] or list(free)
        if len(candidates) == 1 or (candidates and all(is_flag_column(table, name) for name in candidates)):
            return candidates
    flags = [name for name in candidates if is_flag_column(table, name)]
    hint = f"; or to all that hold 0 and 1: [{', '.join(flags)}]" if len(flags) > 1 else ""
    raise UserError(
        f"{table.name}: which column holds the labels? Set split.label_column to one of "
        f"{_show(table, candidates or list(table.columns))}{hint}"
    )


def _repeats(table: LabelTable, column: str) -> bool:
    """Whether some cells of a column are equal, as labels are; or there are too few cells to tell."""
    cells = table.cells(column)
    return len(cells) < 10 or len({str(cell) for cell in cells}) < len(cells)


def _show(table: LabelTable, columns: Sequence[str]) -> str:
    """Return up to 20 columns, each with a cell as an example."""
    examples = (next((str(cell) for cell in table.cells(name) if cell not in (None, "")), "") for name in columns)
    shown = [f"{name} ({example[:30]})" for name, example in zip(columns, examples, strict=True)]
    return shorten_list(shown)


def combine_tags(texts: Iterable[str]) -> bool:
    """Whether cells look like several tags each: their parts are fewer than the cells, so that they recur."""
    cells = {text for text in texts if text}
    mark = find_separator(cells)
    parts = [part.strip() for cell in cells for part in cell.split(mark)]
    return len(parts) > len(cells) and len(cells) > 1.2 * len(set(parts))


def find_separator(cells: Iterable[str]) -> str | None:
    """Return the first of `SEPARATORS` that a cell has; None is white space."""
    cells = set(cells)
    return next((mark for mark in SEPARATORS if any(mark in cell for cell in cells)), None)
