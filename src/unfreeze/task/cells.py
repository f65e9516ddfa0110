"""Cells of users' label tables that several tasks read alike: columns of 0 and 1."""

from collections.abc import Sequence

from unfreeze.core.console import UserError
from unfreeze.task.base import LabelCells

FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
"""The cells of a column that says of each image whether it has one label, in any case."""


def is_flag_column(table: LabelCells, column: str) -> bool:
    """Whether all cells of a column are flags or empty."""
    return all(
        cell is None or (not isinstance(cell, (list, dict)) and str(cell).strip().lower() in {*FLAGS, ""})
        for cell in table.cells(column)
    )


def read_flags(table: LabelCells, columns: Sequence[str]) -> list[list[str] | None]:
    """Return the names of the columns that are 1 in each row; None where all are empty.

    Raises:
        UserError: some columns of a row are empty and others are not.
    """
    texts = [table.texts(column) for column in columns]
    rows: list[list[str] | None] = []
    for place, cells in zip(table.places, zip(*texts, strict=True), strict=True):
        if any(cells) and not all(cells):
            raise UserError(f"{table.name}, {place}: {columns[cells.index('')]} is empty; 0 or 1 is expected")
        names = [name for name, cell in zip(columns, cells, strict=True) if cell and FLAGS[cell.lower()]]
        rows.append(names if any(cells) else None)
    return rows


def shorten_list(columns: Sequence[str]) -> str:
    """Return up to 20 names of columns, as messages show them."""
    return ", ".join(columns[:20]) + (" ..." if len(columns) > 20 else "")
