"""Labels from a table that came along with the images: a .csv, .tsv or .json file inside the archive.

A table is read as hostile: its size, its checksum, its encoding, its quotes and the length of its lines are
checked, and what does not fit is an error that names the line.
"""

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from unfreeze.console import UserError
from unfreeze.data.labels import Label, few, given_split, shared_depth
from unfreeze.data.split import SplitParams
from unfreeze.data.table import NO_LABELS
from unfreeze.data.table_file import normal, read_file

ID_NAMES = (
    *("id", "image", "image_name", "image_id", "img", "file", "filename", "file_name", "fname"),
    *("path", "filepath", "file_path", "image_path", "name"),
)
"""Names of the column of ids, in any case, the first that is there."""
LABEL_NAMES = {
    *("label", "labels", "class", "classes", "class_name", "category", "categories", "breed", "species"),
    *("tag", "tags", "genre", "genres", "target", "y"),
}
FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
"""The cells of a column that says of each image whether it has one label, in any case."""
MISSING = {"", "na", "n/a", "nan", "null"}
"""The cells that are no group and no number, in any case."""
TAG_SEPARATORS = ",;|"
"""If a cell has one of them, it separates the tags of all cells; else white space does."""


@dataclass(frozen=True)
class Table:
    """The rows of a label file; `places[i]` says where `rows[i]` stands ("line 7")."""

    name: str
    header: list[str]
    rows: list[Sequence[Any]]
    places: list[str]

    def cells(self, column: str) -> list[Any]:
        """The cells of a column as they are: text, and in JSON also numbers, None and lists."""
        at = self.header.index(column)
        return [row[at] for row in self.rows]

    def texts(self, column: str) -> list[str]:
        """The cells of a column as text without white space around; "" for an empty one.

        Raises:
            UserError: a JSON cell that holds a list or an object.
        """
        return [self.text(i, column, cell) for i, cell in enumerate(self.cells(column))]

    def text(self, row: int, column: str, cell: Any) -> str:
        if isinstance(cell, (list, dict)):
            kind = "a list" if isinstance(cell, list) else "an object"
            raise UserError(f"{self.name}, {self.places[row]}: {column} is {kind}, one value is expected")
        text = "" if cell is None else str(cell).strip()
        if not text.isprintable():
            raise UserError(f"{self.name}, {self.places[row]}: {column} has unprintable characters: {text[:50]!r}")
        return text


def read_table(
    name: str, index: Sequence[Mapping[str, str]], tar: Path, images: Sequence[Mapping[str, str]] = ()
) -> Table:
    """Read the label file `name` out of the tar of everything extracted, or the fields of the records.

    Args:
        name: its path in the tar, or the end of it (`labels.csv`) if no other file ends so. `records`: what
            images.csv says of the records that held the bands.
        index: the rows of the tar's index: path, offset, size, sha256.
        images: the rows of images.csv.

    Raises:
        UserError: no or several such files, a file that is too big, not what was extracted, or no table.
    """
    if name == "records":
        return _from_records(images)
    path, data = read_file("split.labels", name, index, tar)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error}); save it as CSV UTF-8") from None
    if "\0" in text:
        raise UserError(f"{path} holds zero bytes, so it is no text; save it as CSV UTF-8")
    return _parse_json(path, text) if path.lower().endswith(".json") else _parse_csv(path, text)


def from_table(
    table: Table, images: Sequence[str], rejected: Sequence[str], params: SplitParams
) -> tuple[list[Label], list[tuple[str, str]]]:
    """The label of each image, and what found no counterpart: (path or id, reason), sorted.

    An id is an image's path, the end of its path at a folder (`a/1.png`, `1.png`), or such an end without the
    suffix (`a/1`, `1`), tried in this order. A split folder (train, valid, test) above a labelled image is its
    given split. Labels without an image are left out. Images without a label are predicted only: they are in
    the test split with label "", wherever they lie.

    `kind: single`: a label is a class, whose name may have spaces; an empty cell is no label. Of several 0/1
    columns exactly one is 1. `kind: multi`: a label is the image's tags, sorted, with spaces between them and
    `_` for each space within one; `-` for an image that has none, which is known and not unlabelled.

    Args:
        images: paths of the images.
        rejected: paths of the images that could not be decoded, for the reasons alone.

    Raises:
        UserError: columns that cannot be found, ids that are empty, contradict each other or fit several
            images, cells that are no label, no match at all, labelled images inside and outside of split
            folders or none to train on.
    """
    id_column, label_columns = _columns(table, params)
    ids = [normal(text) for text in table.texts(id_column)]
    if "" in ids:
        raise UserError(f"{table.name}, {table.places[ids.index('')]}: {id_column} is empty")
    labels = _multi(table, label_columns) if params.kind == "multi" else _single(table, label_columns)
    groups = [""] * len(ids) if params.group == "none" else table.texts(params.group)
    groups = ["" if group.lower() in MISSING else group for group in groups]
    numbers = [_numbers(table, name) for name in params.numbers]
    meaning = list(zip(labels, groups, zip(*numbers, strict=True) if numbers else [()] * len(ids), strict=True))
    row_of = _unique(table, ids, meaning)

    endings = _endings(images)
    matched, unmatched = _match_all(table, row_of, meaning, images, endings, _endings(rejected))
    if not matched:
        raise UserError(
            f"{table.name}: no {id_column!r} fits an image. An id is {next(iter(row_of), '')!r}, an image is "
            f"{images[0] if images else ''!r}. An id is a path, a file name or a name without suffix; "
            "split.id_column names another column"
        )
    if id_column.lower() not in ID_NAMES and (named := _match(endings, normal(id_column))):
        raise UserError(
            f"{table.name}: line 1 names the image {images[named[0]]}; add a line of headings above it"
        )

    depth = shared_depth(images)
    found = []
    for i, path in enumerate(images):
        label, group, known = meaning[matched[i]] if i in matched else ("", "", (None,) * len(numbers))
        place = (given_split(path, depth), group) if label else ("test", "")
        found.append(Label(label, *place, known))
        if not label:
            unmatched.append((path, f"{'empty label' if i in matched else 'no label'}: predicted only"))
    _check_given(images, found)
    return found, sorted(unmatched)


def _from_records(images: Sequence[Mapping[str, str]]) -> Table:
    """The fields of the records, which follow the columns of every images.csv."""
    after = list(images[0]).index("format") + 1 if images else 0
    header = ["path", *list(images[0])[after:]] if images else []
    rows = [[image[name] for name in header] for image in images]
    return _checked(Table("the records", header, rows, [image["path"] for image in images]))


def _parse_csv(name: str, text: str) -> Table:
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] | None = None
    rows, places = [], []
    try:
        for row in reader:
            if not row:
                continue
            if header is None:
                header = row
            elif len(row) != len(header):
                raise UserError(
                    f"{name}, line {reader.line_num}: {len(row)} cells under {len(header)} headings; quote cells "
                    f"that hold the separator {separator!r}"
                )
            else:
                rows.append(row)
                places.append(f"line {reader.line_num}")
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}: {error}") from None
    return _checked(Table(name, [heading.strip() for heading in header or []], rows, places))


def _parse_json(name: str, text: str) -> Table:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is no JSON: {error}") from None
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UserError(f'{name} must be a list of objects: [{{"id": "1", "label": "cat"}}, ...]')
    header = list(dict.fromkeys(key for row in content for key in row))
    rows = [[row.get(key) for key in header] for row in content]
    return _checked(Table(name, header, rows, [f"object {i}" for i in range(1, len(rows) + 1)]))


def _checked(table: Table) -> Table:
    named = [heading for heading in table.header if heading]  # pandas leaves its index without a name
    if len(set(named)) < len(named):
        twice = sorted({heading for heading in named if named.count(heading) > 1})
        raise UserError(f"{table.name}: several columns are called {few(twice)}; rename them")
    if unprintable := [heading for heading in named if not heading.isprintable()]:
        raise UserError(f"{table.name}: unprintable characters in the heading {unprintable[0][:50]!r}; rename it")
    if len(named) < 2 or not table.rows:
        raise UserError(
            f"{table.name}: a label file has headings, a column of ids and one of labels, and a line for each "
            f"image; found {len(table.rows)} lines under {few(named) or 'no heading'}"
        )
    return table


def _columns(table: Table, params: SplitParams) -> tuple[str, list[str]]:
    """The column of ids and the columns of labels: one, or one of 0/1 for each label."""
    columns = [heading for heading in table.header if heading]
    for key, name, unset in (
        ("id_column", params.id_column, "auto"),
        ("label_column", params.label_column, "auto"),
        ("group", params.group, "none"),
        *(("numbers", name, "") for name in params.numbers),
    ):
        if name != unset and name not in columns:
            close = get_close_matches(name, columns, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise UserError(f"split.{key} = {name} is no column of {table.name}{hint}; it has {_some(columns)}")
    taken = {params.id_column, params.label_column, params.group, *params.numbers}
    free = [name for name in columns if name not in taken]

    id_column = params.id_column
    if id_column == "auto":
        named = {name.lower(): name for name in reversed(free)}
        fitting = [named[name] for name in ID_NAMES if name in named]
        fitting += [name for name in free if name.lower() not in LABEL_NAMES]
        if not fitting:
            raise UserError(f"{table.name}: which column holds the ids? Set split.id_column: {_some(columns)}")
        id_column = fitting[0]
    if params.label_column != "auto":
        return id_column, [params.label_column]
    free = [name for name in free if name != id_column]
    fitting = [name for name in free if name.lower() in LABEL_NAMES] or free
    if len(fitting) != 1 and not (fitting and all(_is_flags(table, name) for name in fitting)):
        raise UserError(
            f"{table.name}: which column holds the labels? Set split.label_column: {_some(fitting or columns)} "
            "(or leave one column of 0 and 1 for each label, beside the ids, and no other)"
        )
    return id_column, fitting


def _some(columns: Sequence[str]) -> str:
    return ", ".join(columns[:20]) + (" ..." if len(columns) > 20 else "")


def _is_flags(table: Table, column: str) -> bool:
    return all(
        cell is None or (not isinstance(cell, (list, dict)) and str(cell).strip().lower() in {*FLAGS, ""})
        for cell in table.cells(column)
    )


def _single(table: Table, columns: Sequence[str]) -> list[str]:
    """The class of each row, "" for none."""
    if len(columns) == 1:
        return table.texts(columns[0])
    classes = []
    for place, names in zip(table.places, _flagged(table, columns), strict=True):
        if names is not None and len(names) != 1:
            raise UserError(
                f"{table.name}, {place}: {len(names)} of the columns {_some(columns)} are 1; with "
                "split.kind = single exactly one is (or set split.kind: multi)"
            )
        classes.append(names[0] if names else "")
    return classes


def _multi(table: Table, columns: Sequence[str]) -> list[str]:
    """The labels of each row as text, "" for a row of 0/1 columns that are all empty."""
    if len(columns) > 1 or _is_flags(table, columns[0]):
        tags = _flagged(table, columns)
    else:
        tags = _tags(table, columns[0])
    names: dict[str, str] = {}
    for tag in sorted({tag for row in tags if row is not None for tag in row}):
        name = "_".join(tag.split())
        if name == NO_LABELS:
            raise UserError(f"{table.name}: {tag!r} stands for no label at all; rename this label")
        if name in names:
            raise UserError(
                f"{table.name}: the labels {names[name]!r} and {tag!r} would both be {name!r}; rename one"
            )
        names[name] = tag
    name_of = {tag: name for name, tag in names.items()}
    return ["" if row is None else " ".join(sorted(name_of[tag] for tag in row)) or NO_LABELS for row in tags]


def _flagged(table: Table, columns: Sequence[str]) -> list[list[str] | None]:
    """The names of the columns that are 1 in each row; None where all are empty."""
    texts = [table.texts(column) for column in columns]
    found: list[list[str] | None] = []
    for place, cells in zip(table.places, zip(*texts, strict=True), strict=True):
        if any(cells) and not all(cells):
            raise UserError(f"{table.name}, {place}: {columns[cells.index('')]} is empty; 0 or 1 is expected")
        on = [name for name, cell in zip(columns, cells, strict=True) if cell and FLAGS[cell.lower()]]
        found.append(on if any(cells) else None)
    return found


def _tags(table: Table, column: str) -> list[set[str]]:
    """The different tags of each row. A cell of JSON may be a list of them."""
    cells = table.cells(column)
    lists = {i: cell for i, cell in enumerate(cells) if isinstance(cell, list)}
    texts = ["" if i in lists else table.text(i, column, cell) for i, cell in enumerate(cells)]
    separators = [mark for mark in TAG_SEPARATORS if any(mark in text for text in texts)]
    if len(separators) > 1:
        raise UserError(f"{table.name}: {column} has {' and '.join(separators)}; use one of them between labels")
    tags = [
        [table.text(i, column, tag) for tag in lists[i]]
        if i in lists
        else [tag.strip() for tag in text.split(separators[0] if separators else None)]
        for i, text in enumerate(texts)
    ]
    return [set(row) - {""} for row in tags]


def _numbers(table: Table, column: str) -> list[float | None]:
    """The numbers of a column, None where one is missing (`MISSING`)."""
    numbers: list[float | None] = []
    for place, text in zip(table.places, table.texts(column), strict=True):
        try:
            numbers.append(None if text.lower() in MISSING else float(text))
        except ValueError:
            numbers.append(math.nan)
        if numbers[-1] is not None and not math.isfinite(numbers[-1]):
            raise UserError(
                f"{table.name}, {place}: {column} is {text[:50]!r}; split.numbers takes numbers, and for missing "
                "ones an empty cell or na"
            )
    return numbers


def _unique(table: Table, ids: Sequence[str], meaning: Sequence[tuple]) -> dict[str, int]:
    """The first row of each id; rows that repeat it must say the same: label, group and numbers."""
    row_of: dict[str, int] = {}
    contrary = []
    for row, name in enumerate(ids):
        if meaning[row_of.setdefault(name, row)] != meaning[row]:
            contrary.append(f"{name} ({table.places[row_of[name]]} and {table.places[row]})")
    if contrary:
        raise UserError(
            f"{table.name}: {len(contrary)} repeated ids with another label, group or number: {few(contrary)}"
        )
    return row_of


def _match_all(
    table: Table,
    row_of: Mapping[str, int],
    meaning: Sequence[tuple],
    images: Sequence[str],
    endings: Sequence[Mapping[str, list[int]]],
    rejected_endings: Sequence[Mapping[str, list[int]]],
) -> tuple[dict[int, int], list[tuple[str, str]]]:
    """The row of each image that has one, and (id, reason) of the rows that have no image."""
    matched: dict[int, int] = {}
    unmatched, ambiguous, contrary = [], [], []
    for name, row in row_of.items():
        fitting = _match(endings, name)
        if len(fitting) > 1:
            ambiguous.append(f"{name} ({few([images[i] for i in fitting])})")
        elif not fitting:
            lost = _match(rejected_endings, name)
            unmatched.append((name, "its image was rejected: left out" if lost else "no image: left out"))
        elif meaning[matched.setdefault(fitting[0], row)] != meaning[row]:
            contrary.append(f"{images[fitting[0]]} ({table.places[matched[fitting[0]]]} and {table.places[row]})")
    if ambiguous:
        raise UserError(
            f"{table.name}: {len(ambiguous)} ids fit several images: {few(ambiguous)}. "
            "Write the paths of the images, with suffix, instead"
        )
    if contrary:
        raise UserError(f"{table.name}: {len(contrary)} images have several different labels: {few(contrary)}")
    return matched, unmatched


def _endings(paths: Sequence[str]) -> list[dict[str, list[int]]]:
    """Which paths an id may mean: by whole path, by its end, by its end without suffix."""
    depth = shared_depth(paths)
    whole, ends, bare = defaultdict(list), defaultdict(list), defaultdict(list)
    for i, path in enumerate(paths):
        parts = normal(path).split("/")
        stem = parts[-1].rpartition(".")[0] or parts[-1]
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            ends[end].append(i)
            bare["/".join([*parts[start:-1], stem])].append(i)
            if start in (0, depth):
                whole[end].append(i)
    return [whole, ends, bare]


def _match(endings: Sequence[Mapping[str, list[int]]], name: str) -> list[int]:
    return next((by_name[name] for by_name in endings if name in by_name), [])


def _check_given(images: Sequence[str], labels: Sequence[Label]) -> None:
    splits = {label.split for label in labels if label.label}
    if len(splits) > 1 and None in splits:
        beside = [path for path, label in zip(images, labels, strict=True) if label.split is None]
        raise UserError(
            f"{len(beside)} labelled images lie beside the split folders (train, valid, test) and not in one: "
            f"{few(beside)}. Put all labelled images into split folders, or none"
        )
    if splits and not splits & {None, "train"}:
        raise UserError(f"all labelled images lie in {' and '.join(sorted(splits))}/: there is none to train on")
