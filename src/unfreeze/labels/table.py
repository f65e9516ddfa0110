"""Reads label files: the .csv, .tsv, .json or .jsonl tables that users bring along with their images.

A table is hostile. Its encoding, its quotes and the length of its lines are checked, and what does not fit is an
error that names the line.
"""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from unfreeze.core.console import UserError, few
from unfreeze.core.paths import TABLES
from unfreeze.core.table_files import find_table_files, read_table_file

SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n")
"""Before the headings, of Excel."""
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
BOX_KEYS = {"images", "annotations"}
"""Of the JSON files of COCO."""


@dataclass(frozen=True)
class LabelTable:
    """A table of labels: a line for each image, or for some of them (`task.base.LabelCells`).

    Attributes:
        name: for messages.
        columns: the cells by heading, in the order of the table: text, and in JSON also numbers, None and lists.
        places: where each line stands ("line 7"), for messages.
        folders: the folder of the file that each line stands in, which ids may be relative to.
    """

    name: str
    columns: Mapping[str, Iterable[Any]]
    places: Sequence[str]
    folders: Sequence[str] = ()

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


def read_label_files(name: str, folder: Path = TABLES) -> LabelTable:
    """Read the label file `name` of the archive, or all files that `name` may mean as one table.

    Args:
        name: its path in the archive, or the end of it (`labels.csv`, `metadata.csv` in each split folder).
        folder: of the archive's tables.

    Raises:
        UserError: a file cannot be read, or is no table (the message names the line); or several files end so and
            have different columns, or lie in one folder.
    """
    paths = find_table_files("split.labels", name, folder)
    parts = [_parse_file(*read_table_file("split.labels", path, folder)) for path in paths]
    first = parts[0]
    if any(part.columns.keys() != first.columns.keys() for part in parts):
        described = (f"{part.name} ({', '.join(list(part.columns)[:5])})" for part in parts)
        raise UserError(
            f"split.labels = {name} could be {few(described)}, which have different columns; write one of these "
            "paths"
        )
    folders = [folder for part in parts for folder in part.folders]
    if len(parts) == 1:
        return first
    return LabelTable(
        name=" and ".join(paths[:2]) + (f" and {len(paths) - 2} more" if len(paths) > 2 else ""),
        columns={column: [cell for part in parts for cell in part.columns[column]] for column in first.columns},
        places=[f"{part.name}, {place}" for part in parts for place in part.places],
        folders=folders,
    )


def _parse_file(path: str, data: bytes) -> LabelTable:
    text = _decode(path, data)
    suffix = path.lower().rpartition(".")[2]
    if suffix in ("json", "jsonl"):
        table = _parse_json(path, text, lines=suffix == "jsonl")
    else:
        hint = SEPARATOR_LINE.match(text)
        first_line = text.partition("\n")[0]
        separator = hint[1] if hint else max(",;\t|", key=first_line.count)
        if data.startswith(UTF16_MARKS):
            data = text.encode()
        del text  # a file may have 256 MB
        table = _parse_csv(path, data, separator, lines_before=1 if hint else 0)
    return replace(table, folders=[path.rpartition("/")[0]] * len(table.places))


def _decode(path: str, data: bytes) -> str:
    """Decode UTF-8 and, with a mark, UTF-16."""
    encoding = "utf-16" if data.startswith(UTF16_MARKS) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text ({error}); save it as CSV UTF-8, or convert it: "
            f"iconv -f WINDOWS-1252 -t UTF-8 {path.rpartition('/')[2]} (or the encoding that it has)"
        ) from None
    if "\0" in text:
        raise UserError(f"{path} holds zero bytes, so it is no text; save it as CSV UTF-8")
    return text


def _parse_csv(name: str, data: bytes, separator: str, lines_before: int) -> LabelTable:
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    for _ in range(lines_before):
        next(lines)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    headings: list[str] = []
    columns: list[list[str]] = []
    places = []
    where = f"{name}, line"
    try:
        for row in reader:
            if not row:
                continue
            if not headings:
                headings, columns = row, [[] for _ in row]
            elif len(row) != len(headings):
                raise UserError(
                    f"{where} {reader.line_num + lines_before}: {len(row)} cells under {len(headings)} headings; "
                    f"quote cells that hold the separator {separator!r}"
                )
            else:
                for column, cell in zip(columns, row, strict=True):
                    column.append(cell)
                places.append(f"line {reader.line_num + lines_before}")
    except csv.Error as error:
        raise UserError(f"{where} {reader.line_num + lines_before}: {error}") from None
    return LabelTable.build(name, [heading.strip() for heading in headings], columns, places)


def _parse_json(name: str, text: str, lines: bool) -> LabelTable:
    """Parse a list of objects, an object a line, or one object of an id and a label each: `{"1.jpg": "cat"}`."""
    content: Any = []
    rows = [line for line in text.split("\n") if line.strip()] if lines else [text]
    try:
        for row in rows:
            content.append(json.loads(row))
    except (ValueError, RecursionError) as error:
        place = f", line {len(content) + 1} of those that are not empty," if lines else ""
        raise UserError(f"{name}{place} is no JSON: {error}") from None
    content = content if lines else content[0]
    if isinstance(content, dict):
        if content.keys() >= BOX_KEYS:
            raise UserError(f"{name} holds boxes (COCO): a data set for detection, which is not read here")
        if content and not any(isinstance(cell, dict) for cell in content.values()):
            content = [{"id": key, "label": cell} for key, cell in content.items()]
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UserError(f'{name} must be a list of objects: [{{"id": "1", "label": "cat"}}, ...]')
    headings = list(dict.fromkeys(key for row in content for key in row))
    columns = [[row.get(key) for row in content] for key in headings]
    word = "line" if lines else "object"
    return LabelTable.build(name, headings, columns, [f"{word} {i}" for i in range(1, len(content) + 1)])
