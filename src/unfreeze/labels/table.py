"""Reads label files: the .csv, .tsv or .json tables that users bring along with their images.

A table is hostile. Its encoding, its quotes and the length of its lines are checked, and what does not fit is an
error that names the line.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from unfreeze.core.console import UserError, few
from unfreeze.core.paths import TABLES
from unfreeze.core.table_files import read_table_file


@dataclass(frozen=True)
class LabelTable:
    """A table of labels: a line for each image, or for some of them (`task.base.LabelCells`).

    Attributes:
        name: for messages.
        columns: the cells by heading, in the order of the table: text, and in JSON also numbers, None and lists.
        places: where each line stands ("line 7"), for messages.
    """

    name: str
    columns: Mapping[str, Iterable[Any]]
    places: Sequence[str]

    @classmethod
    def build(
        cls, name: str, headings: Sequence[str], columns: Iterable[Iterable[Any]], places: Sequence[str]
    ) -> Self:
        """Check the headings and build a table of the columns below them; a column without a name is left out.

        Raises:
            UserError: a heading is repeated or unprintable, there are fewer than two columns, or no line.
        """
        names = [heading for heading in headings if heading]  # pandas writes its index without a name
        if len(set(names)) < len(names):
            repeated = {heading for heading in names if names.count(heading) > 1}
            raise UserError(f"{name}: several columns are called {few(repeated)}; rename them")
        if unprintable := [heading for heading in names if not heading.isprintable()]:
            raise UserError(f"{name}: unprintable characters in the heading {unprintable[0][:50]!r}; rename it")
        if len(names) < 2 or not places:
            raise UserError(
                f"{name}: a label file has headings, a column of ids and one of labels, and a line for each "
                f"image; found {len(places)} lines under {few(names) or 'no heading'}"
            )
        by_name = {heading: cells for heading, cells in zip(headings, columns, strict=True) if heading}
        return cls(name, by_name, places)

    def cells(self, column: str) -> list[Any]:
        """Return the cells of a column as they are."""
        return list(self.columns[column])

    def texts(self, column: str) -> list[str]:
        """Return the cells of a column as text without white space around; "" for an empty one.

        Raises:
            UserError: a cell holds a list or an object (in JSON), or unprintable characters.
        """
        return [self.text(row, column, cell) for row, cell in enumerate(self.columns[column])]

    def text(self, row: int, column: str, cell: Any) -> str:
        """Return a cell of `row`, or one part of it, as `texts` does."""
        if isinstance(cell, (list, dict)):
            kind = "a list" if isinstance(cell, list) else "an object"
            raise UserError(f"{self.name}, {self.places[row]}: {column} is {kind}, one value is expected")
        text = "" if cell is None else str(cell).strip()
        if not text.isprintable():
            raise UserError(f"{self.name}, {self.places[row]}: {column} has unprintable characters: {text[:50]!r}")
        return text


def read_label_file(name: str, folder: Path = TABLES) -> LabelTable:
    """Read the label file `name` of the archive.

    Args:
        name: its path in the archive, or the end of it (`labels.csv`) if no other table ends so.
        folder: of the archive's tables.

    Raises:
        UserError: `read_table_file` cannot read it, or it is no table; the message names the line.
    """
    path, data = read_table_file("split.labels", name, folder)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error}); save it as CSV UTF-8") from None
    if "\0" in text:
        raise UserError(f"{path} holds zero bytes, so it is no text; save it as CSV UTF-8")
    if path.lower().endswith(".json"):
        return _parse_json(path, text)
    first_line = text.partition("\n")[0]
    separator = max(",;\t", key=first_line.count)
    del text  # a file may have 256 MB
    return _parse_csv(path, data, separator)


def _parse_csv(name: str, data: bytes, separator: str) -> LabelTable:
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    reader = csv.reader(lines, delimiter=separator, strict=True)
    headings: list[str] = []
    columns: list[list[str]] = []
    places = []
    try:
        for row in reader:
            if not row:
                continue
            if not headings:
                headings, columns = row, [[] for _ in row]
            elif len(row) != len(headings):
                raise UserError(
                    f"{name}, line {reader.line_num}: {len(row)} cells under {len(headings)} headings; quote "
                    f"cells that hold the separator {separator!r}"
                )
            else:
                for column, cell in zip(columns, row, strict=True):
                    column.append(cell)
                places.append(f"line {reader.line_num}")
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}: {error}") from None
    return LabelTable.build(name, [heading.strip() for heading in headings], columns, places)


def _parse_json(name: str, text: str) -> LabelTable:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is no JSON: {error}") from None
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UserError(f'{name} must be a list of objects: [{{"id": "1", "label": "cat"}}, ...]')
    headings = list(dict.fromkeys(key for row in content for key in row))
    columns = [[row.get(key) for row in content] for key in headings]
    return LabelTable.build(name, headings, columns, [f"object {i}" for i in range(1, len(content) + 1)])
