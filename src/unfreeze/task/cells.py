"""Cells of users' label tables that several tasks read alike: columns of 0 and 1, and lists."""

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

from unfreeze.core.console import UserError
from unfreeze.task.base import CellRules, LabelCells

FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
"""The cells of a column that says of each image whether it has one label, in any case."""
MINUS = {"-1", "-1.0"}
"""Uncertain beside 0 and 1; where no cell is 0, `absent`."""
UNCERTAIN = {"uncertain", "unsure", "u", "?"}
"""Cells that say that one does not know, in lower case."""
_ADJACENT = re.compile(r"""['"]\s+['"]""")
"""Texts without a comma between them, as NumPy prints arrays. Python would join them."""


def is_flag_column(table: LabelCells, column: str) -> bool:
    """Whether all cells of a column are flags, uncertain or empty."""
    known = {*FLAGS, *MINUS, *UNCERTAIN, ""}
    return all(
        cell is None or (not isinstance(cell, (list, dict)) and str(cell).strip().lower() in known)
        for cell in table.cells(column)
    )


def minus_is_absent(table: LabelCells, columns: Sequence[str]) -> bool:
    """Whether -1 stands for 0 in columns of flags: they hold -1 and 1, and never 0."""
    words = {str(cell).strip().lower() for column in columns for cell in table.cells(column)}
    return bool(words & MINUS) and words <= {*MINUS, "1", "1.0", "none", ""}


def read_flags(table: LabelCells, columns: Sequence[str], rules: CellRules) -> list[list[str] | None]:
    """Return the names of the columns that are 1 in each row; None where nobody labelled the image.

    Raises:
        UserError: a cell is no flag; it is empty or uncertain, and `rules` do not say what that means.
    """
    meanings: dict[str, str] = {word: "present" if flag else "absent" for word, flag in FLAGS.items()}
    meanings |= dict.fromkeys(UNCERTAIN, rules.uncertain) | {"": rules.blank}
    meanings |= dict.fromkeys(MINUS, "absent" if minus_is_absent(table, columns) else rules.uncertain)
    texts = [table.texts(column) for column in columns]
    rows: list[list[str] | None] = []
    for place, cells in zip(table.places, zip(*texts, strict=True), strict=True):
        if rules.blank == "error" and not any(cells):
            rows.append(None)
            continue
        said = [meanings.get(cell.lower()) for cell in cells]
        for name, cell, meaning in zip(columns, cells, said, strict=True):
            if meaning in (None, "error"):
                raise UserError(f"{table.name}, {place}: {_explain(name, cell, meaning)}")
        names = [name for name, meaning in zip(columns, said, strict=True) if meaning == "present"]
        rows.append(None if "unlabelled" in said else names)
    return rows


def _explain(column: str, cell: str, meaning: str | None) -> str:
    if meaning is None:
        return f"{column} is {cell[:50]!r}; 0 or 1 is expected"
    key, what = ("blank", "is empty") if not cell else ("uncertain", f"is {cell}, which is neither 0 nor 1")
    return f"{column} {what}; set split.{key}: absent, present or unlabelled (the image is predicted only)"


def read_lists(table: LabelCells, column: str) -> list[list[str] | None] | None:
    """Read a column of lists, of JSON or written as text by pandas or NumPy; None if it is none.

    Lists of 0 and 1, all of one length, in which a value repeats, are one-hot: they give places, from `0` on.

    Returns:
        The items of each row as text; None of a row that is empty.
    """
    cells = table.cells(column)
    parsed: list[list[Any] | None] = []
    for cell in cells:
        if cell is None or cell == "" or isinstance(cell, list):
            parsed.append(cell or ([] if isinstance(cell, list) else None))
            continue
        items = _parse_list(cell.strip()) if isinstance(cell, str) else None
        if items is None:
            return None
        parsed.append(items)
    lists = [items for items in parsed if items is not None]
    if not lists:
        return None
    flags = [[str(item).lower() for item in items] for items in lists]
    lengths = {len(items) for items in flags}
    if (
        len(lengths) == 1
        and lengths.pop() > 1
        and all(word in FLAGS for items in flags for word in items)
        and any(len(set(items)) < len(items) for items in flags)
    ):
        parsed = [
            items and [str(i) for i, item in enumerate(items) if FLAGS[str(item).lower()]] for items in parsed
        ]
    return [
        None if items is None else [table.text(row, column, item) for item in items]
        for row, items in enumerate(parsed)
    ]


def _parse_list(text: str) -> list[Any] | None:
    """Parse a list, tuple or set of texts and numbers; None if `text` is none."""
    if len(text) < 2 or text[0] + text[-1] not in ("[]", "()", "{}"):
        return None
    if _ADJACENT.search(text):
        return [one or other for one, other in re.findall(r"""'([^']*)'|"([^"]*)\"""", text)]
    if re.fullmatch(r"[\[(]\s*[-\d.]+(\s+[-\d.]+)+\s*[\])]", text):
        return text[1:-1].split()
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        try:
            items = ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
    if isinstance(items, set):
        items = sorted(items, key=str)
    return list(items) if isinstance(items, (list, tuple)) else None


def shorten_list(columns: Sequence[str]) -> str:
    """Return up to 20 names of columns, as messages show them."""
    return ", ".join(columns[:20]) + (" ..." if len(columns) > 20 else "")
