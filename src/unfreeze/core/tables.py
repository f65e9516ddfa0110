"""Tables as CSV files: UTF-8 with one line of headings, Unix line ends, the same bytes for the same content.

pandas holds them, and pyarrow parses them. Nothing is guessed while reading: the caller says what each column is,
so that `NA`, `None`, `nan` and `01` stay the texts they are, and a number comes back to the bit. The parser of
pandas would fill up a line that is too short, and cut one that is too long if only some columns are read. It also
takes 2 to 6 times as long.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

from unfreeze.core.console import UserError
from unfreeze.core.files import replacing

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["text", "category", "int", "float"]
"""What a column holds. `int`: whole numbers of 64 bits, -1 where a cell is empty. `float`: 64 bits, NaN there.
`category`: text of which few different values occur; the categories are in order."""

CHUNK = 1 << 24
"""Bytes parsed at once; no line may be longer."""


def read(path: Path, columns: Mapping[str, Kind] | None = None) -> pd.DataFrame:
    """Read the named columns of a table, in this order; None reads all of them as text.

    The index of the frame is 0, 1, 2 ... Blank lines are skipped: no writer here leaves any.

    Raises:
        UserError: the file is missing, ends within a line, lacks a column or repeats a heading, or a line does not
            fit the headings or a cell its column.
    """
    import pandas as pd
    import pyarrow
    from pyarrow import csv as parser

    header = read_header(path)
    _check_end(path)
    kinds = dict.fromkeys(header, "text") if columns is None else dict(columns)
    if missing := [name for name in kinds if name not in header]:
        raise UserError(f"{path} has no column {missing[0]!r}: run dvc repro, which makes it anew")
    text = pyarrow.string()
    types = {"text": text, "category": text, "int": pyarrow.int64(), "float": pyarrow.float64()}
    try:
        table = parser.read_csv(
            path,
            read_options=parser.ReadOptions(use_threads=False, block_size=CHUNK),
            parse_options=parser.ParseOptions(newlines_in_values=True),
            convert_options=parser.ConvertOptions(
                include_columns=list(kinds),
                column_types={name: types[kind] for name, kind in kinds.items()},
                null_values=[""],
                strings_can_be_null=False,
            ),
        )
    except pyarrow.ArrowException as error:
        reason = str(error).partition("\n")[0][:200]  # it may quote a line
        reason = re.sub(r"column #(\d+)", lambda match: f"column {header[int(match[1])]!r}", reason)
        raise _damaged(path, reason) from None
    for i, name in enumerate(kinds):
        if kinds[name] == "int":
            table = table.set_column(i, name, table.column(i).fill_null(-1))
    frame = table.to_pandas(types_mapper={text: pd.StringDtype("pyarrow")}.get)
    for name, kind in kinds.items():
        if kind == "category":
            frame[name] = frame[name].astype("category")
    return frame


def read_header(path: Path) -> list[str]:
    """Read the headings of a table.

    Raises:
        UserError: the file is missing or damaged, or repeats a heading.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), [])
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run dvc repro (or dvc pull)") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise _damaged(path, error) from None
    if not header:
        raise _damaged(path, "it has no headings")
    if repeated := {name for name in header if header.count(name) > 1}:
        raise UserError(f"{path}: several columns are called {min(repeated)!r}")
    return header


def _check_end(path: Path) -> None:
    """Refuse a file that was cut off within a line, or within a quoted cell: its quotes are no pairs."""
    quotes, last = 0, b""
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            quotes += chunk.count(b'"')
            last = chunk[-1:]
    if last != b"\n":
        raise _damaged(path, "it ends within a line")
    if quotes % 2:
        raise _damaged(path, "a quote is not closed")


def _damaged(path: Path, reason: object) -> UserError:
    return UserError(f"{path} is damaged ({reason}): delete it and run dvc repro")


def write(path: Path, frame: pd.DataFrame) -> None:
    """Write a data frame without its index. Missing values become empty cells."""
    with _replacing_lines(path) as lines:
        frame.to_csv(lines, index=False, lineterminator=CRLF)


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows as they come, one held at a time. None becomes an empty cell, and a NaN `nan`."""
    with _replacing_lines(path) as lines:
        writer = csv.writer(lines, lineterminator=CRLF)
        writer.writerow(header)
        writer.writerows(rows)


CRLF = "\r\n"
"""Ends the lines that are handed to `_Lines`. The csv module of Python 3.11 quotes a cell with a carriage return
only if the line's end has one; without quotes it would end the line for a reader."""


class _Lines:
    """A stream that gives each line written to it, which ends with CRLF, a Unix line end."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.removesuffix(CRLF) + "\n")


@contextmanager
def _replacing_lines(path: Path) -> Iterator[_Lines]:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield _Lines(file)
