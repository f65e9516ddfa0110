"""Which columns of a table of labels are the ids and the labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from unfreeze.core.console import UserError
from unfreeze.labels.params import SplitParams
from unfreeze.labels.table import LabelTable
from unfreeze.task.cells import is_flag_column, shorten_list

ID_NAMES = (
    *("id", "image", "image_name", "image_id", "img", "file", "filename", "file_name", "fname"),
    *("path", "filepath", "file_path", "image_path", "name"),
)
"""Headings of ids, in lower case. The first that a table has is taken."""
LABEL_NAMES = {
    *("label", "labels", "class", "classes", "class_name", "category", "categories", "breed", "species"),
    *("tag", "tags", "genre", "genres", "target", "y"),
}
"""Headings of labels, in lower case."""


@dataclass(frozen=True)
class LabelColumns:
    """The headings of the columns that say which image has which labels."""

    id: str
    labels: list[str]
    """One column of labels, or several of 0 and 1, one a label."""


def choose_columns(table: LabelTable, params: SplitParams) -> LabelColumns:
    """Choose the columns that `params` names; for `auto` choose by heading, else the only one that is left.

    Raises:
        UserError: a column that `params` names is missing, or several fit `auto`.
    """
    _check_names(table, params)
    columns = list(table.columns)
    taken = {params.id_column, params.label_column, params.group, *params.numbers}
    free = [name for name in columns if name not in taken]

    id_column = params.id_column
    if id_column == "auto":
        id_column = _choose_id_column(table, free)
    if params.label_column != "auto":
        return LabelColumns(id_column, [params.label_column])

    free = [name for name in free if name != id_column]
    candidates = [name for name in free if name.lower() in LABEL_NAMES] or free
    if len(candidates) != 1 and not (candidates and all(is_flag_column(table, name) for name in candidates)):
        raise UserError(
            f"{table.name}: which column holds the labels? Set split.label_column: "
            f"{shorten_list(candidates or columns)} (or leave one column of 0 and 1 for each label, beside the "
            "ids, and no other)"
        )
    return LabelColumns(id_column, candidates)


def _check_names(table: LabelTable, params: SplitParams) -> None:
    columns = list(table.columns)
    for key, name, unset in (
        ("id_column", params.id_column, "auto"),
        ("label_column", params.label_column, "auto"),
        ("group", params.group, "none"),
        *(("numbers", name, "") for name in params.numbers),
    ):
        if name != unset and name not in columns:
            close = get_close_matches(name, columns, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise UserError(
                f"split.{key} = {name} is no column of {table.name}{hint}; it has {shorten_list(columns)}"
            )


def _choose_id_column(table: LabelTable, free: Sequence[str]) -> str:
    by_lower_name = {name.lower(): name for name in reversed(free)}
    candidates = [by_lower_name[name] for name in ID_NAMES if name in by_lower_name]
    candidates += [name for name in free if name.lower() not in LABEL_NAMES]
    if not candidates:
        columns = shorten_list(list(table.columns))
        raise UserError(f"{table.name}: which column holds the ids? Set split.id_column: {columns}")
    return candidates[0]
