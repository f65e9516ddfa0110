"""The file that a competition takes: a row for each unlabelled test image, as its sample submission has them.

The sample gives the header, the spelling and the order of the ids, and the number of rows. Its columns and the
cells of its first rows say what to write; `submission.format` says so instead where they mislead:

- several columns: one a class, in any order. Cells that are all `0` or `1`: flags; else probabilities.
- one column, several labels an image: the labels with spaces between them.
- one column, two classes, numbers with a point (`0.5`): the probability of the positive class; `0` or `1` that
  are no names of classes: 1 where the positive class is predicted.
- one column otherwise: the name of the class.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from unfreeze.core import tables
from unfreeze.core.console import UserError, few
from unfreeze.core.params import Section
from unfreeze.core.table_files import normal, read_table_file
from unfreeze.task.base import SubmissionFormat, Task
from unfreeze.task.split_table import SplitTable

if TYPE_CHECKING:
    from unfreeze.evaluate.results import Evaluation

FIRST = 100
"""Rows of a sample whose cells say what to write."""
LINES_AT_ONCE = 1000
"""Lines that are made at once."""
POSITIVE = {"1", "1.0", "true", "yes"}
"""Names of a positive class, beside the heading of its column, with or without `is_`."""
NOWHERE, AMBIGUOUS = -2, -1


def _sample(value: str) -> str:
    if value != "none" and not value.lower().endswith(".csv"):
        raise ValueError("must be `none`, or the name of a .csv file in the archive")
    return value


class SubmissionParams(Section):
    """`submission`: what results/evaluate/submission.csv looks like."""

    sample: Annotated[str, AfterValidator(_sample)]
    """The competition's sample submission, a .csv file in the archive; `none`: every class has a column of
    probabilities (several labels an image: one column of labels), and ids are the images' paths."""
    format: Literal["auto", SubmissionFormat]
    """What stands in the columns; `auto`: what the sample shows."""
    positive: Annotated[str, Field(min_length=1)]
    """The class that a single column of numbers is about; `auto`: found by its name."""

    def check_with(self, params: SimpleNamespace) -> Iterator[str]:
        if self.sample == "none" and self.positive != "auto":
            yield (f"submission.positive = {self.positive} has no effect with submission.sample = none; set auto")


@dataclass(frozen=True)
class Plan:
    """What the rows of a submission are."""

    header: list[str]
    ids: Sequence[str]
    """As they are written."""
    rows: np.ndarray
    """The image of each id as its row in the split table, int64 `[len(ids)]`."""
    format: SubmissionFormat
    columns: list[int]
    """The class of each column of numbers."""
    task: Task


def plan_submission(params: SubmissionParams, table: SplitTable, tables_folder: Path) -> Plan:
    """Plan how to write predictions of the unlabelled test images down, by the sample that `params` names.

    Args:
        tables_folder: where extract laid the tables open.

    Raises:
        UserError: as of `plan`.
    """
    if params.sample == "none":
        return plan(params, table, None)
    sample = read_table_file("submission.sample", params.sample, tables_folder)
    return plan(params, table, sample)


def plan(params: SubmissionParams, table: SplitTable, sample: tuple[str, bytes] | None) -> Plan:
    """Plan how to write predictions of the unlabelled test images down.

    Args:
        sample: the name and the content of the sample submission.

    Raises:
        UserError: a sample that cannot be read, columns that do not fit the classes, ids that do not fit the
            images one to one.
    """
    rows, task = table.unlabelled("test"), table.task
    images = [table.paths[row] for row in rows.tolist()]
    if sample is None:
        form = task.submission_format if params.format == "auto" else params.format
        by_label = form == "labels"
        names = [task.submission_heading] if by_label else task.classes
        columns = [] if by_label else list(range(len(task.classes)))
        return Plan(["id", *names], images, rows, form, columns, task)

    name, content = sample
    header, ids, cells = _read(name, content)
    form = _infer_format(name, header, cells, task) if params.format == "auto" else params.format
    columns = _match_columns(name, header, form, task, params.positive)
    return Plan(header, ids, rows[_order(name, ids, images)], form, columns, task)


def write_submission(path: Path, plan: Plan, evaluation: Evaluation) -> str:
    """Write the submission of what was evaluated, one line after the other.

    The images of the plan are among those of the evaluation.

    Returns:
        What it holds, in words; nothing where no test image is without a label.
    """
    place = np.full(evaluation.rows.max() + 1, -1)
    place[evaluation.rows] = np.arange(len(evaluation.rows))
    cells = _cells(plan, evaluation, place[plan.rows])
    tables.write_rows(path, plan.header, ([name, *row] for name, row in zip(plan.ids, cells, strict=True)))
    return f"submission of {len(plan.ids):,} rows of {plan.format}" if len(plan.ids) else ""


def _cells(plan: Plan, evaluation: Evaluation, places: np.ndarray) -> Iterator[list[object]]:
    """Yield the cells of each line beside its id; a block of them is held at a time."""
    task = plan.task
    for start in range(0, len(places), LINES_AT_ONCE):
        block = places[start : start + LINES_AT_ONCE]
        if plan.format == "probabilities":
            yield from evaluation.final[np.ix_(block, plan.columns)].tolist()
            continue
        predicted = task.decide(evaluation.final[block], evaluation.final_thresholds)
        for label in task.describe(predicted):
            if plan.format == "labels":
                yield [task.submission_label(label)]
            else:
                names = set(task.names(label))
                yield [int(task.classes[column] in names) for column in plan.columns]


# --- The sample


def _read(name: str, content: bytes) -> tuple[list[str], list[str], list[list[str]]]:
    """The header, all ids (the first column), and the other cells of the first rows."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline=""), strict=True)
    ids, cells = [], []
    try:
        rows = (row for row in reader if row)
        header = next(rows, [])
        for row in rows:
            if len(row) != len(header):
                raise UserError(
                    f"{name}, line {reader.line_num}: {len(row)} cells under {len(header)} headings; "
                    "a sample submission has a comma between any two"
                )
            ids.append(row[0])
            if len(cells) < FIRST:
                cells.append([cell.strip() for cell in row[1:]])
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}: {error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text ({error}); save it as CSV UTF-8") from None
    if len(header) < 2 or not ids:
        raise UserError(
            f"{name}: a sample submission has a column of ids and one or more for the predictions, and a line "
            f"for each test image; found {len(ids)} lines under {few(map(repr, header)) or 'no heading'}"
        )
    return header, ids, cells


def _infer_format(name: str, header: list[str], cells: list[list[str]], task: Task) -> SubmissionFormat:
    different = {cell for row in cells for cell in row}
    if len(header) > 2:
        return "flags" if different <= {"0", "1"} else "probabilities"
    return task.infer_submission_format(name, header[1], different)


def _match_columns(name: str, header: list[str], form: SubmissionFormat, task: Task, positive: str) -> list[int]:
    """Return the class of each column of numbers."""
    only = len(header) == 2 and form != "labels"
    if positive != "auto" and not only:
        raise UserError(
            f"submission.positive = {positive} has no effect: {name} asks for "
            f"{form if form == 'labels' else 'a column for each class'}; set auto"
        )
    if form == "labels" and len(header) > 2:
        raise UserError(
            f"submission.format = labels takes one column beside the ids; {name} has {len(header) - 1}: "
            "set probabilities or flags"
        )
    if form == "labels":
        return []
    if not only:
        return _class_columns(name, header[1:], task.classes)
    if not task.has_positive:
        raise UserError(
            f"submission.format = {form}: the only column {header[1]!r} of {name} can say this of two classes, "
            f"but there are {len(task.classes)}; set labels"
        )
    return [_positive(name, header[1], task.classes, positive)]


def _positive(name: str, heading: str, classes: Sequence[str], wanted: str) -> int:
    if wanted in classes:
        return classes.index(wanted)
    named = _plain(heading)
    fitting = [i for i, c in enumerate(classes) if _plain(c) in POSITIVE | {named, named.removeprefix("is_")}]
    if wanted != "auto" or len(fitting) != 1:
        raise UserError(
            f"submission.positive = {wanted}: which class is {heading!r} of {name} about? Set it to "
            f"{' or '.join(classes)}"
        )
    return fitting[0]


def _class_columns(name: str, headings: Sequence[str], classes: Sequence[str]) -> list[int]:
    """The class that each heading names: exactly, else but for case, white space, `_` and `-`."""
    exact = {text: i for i, text in enumerate(classes)}
    left = [text for text in classes if text not in headings]
    count = Counter(map(_plain, left))
    loose = {_plain(text): exact[text] for text in left if count[_plain(text)] == 1}
    found = [exact.get(heading, loose.get(_plain(heading))) for heading in headings]
    unknown = [repr(heading) for heading, at in zip(headings, found, strict=True) if at is None]
    lacking = [repr(text) for i, text in enumerate(classes) if i not in found]
    if unknown or lacking:
        raise UserError(
            f"{name}: its columns and the classes differ: {few(unknown) or 'no column'} without a class, "
            f"{few(lacking) or 'no class'} without a column. Name the classes as the columns"
        )
    if len(set(found)) < len(found):
        twice = [repr(heading) for heading, at in zip(headings, found, strict=True) if found.count(at) > 1]
        raise UserError(f"{name}: several columns are of the same class: {few(twice)}; remove all but one")
    return found


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", "_", normal(text).strip().casefold())


# --- Its ids


def _order(name: str, ids: Sequence[str], paths: Sequence[str]) -> np.ndarray:
    """Which image each id means: int64 `[len(ids)]`, every image once.

    An id is an image's path or the end of it at a folder, all ids with or all without suffix; the first tells.
    """
    depths = {text.count("/") for text in map(normal, ids)}
    first = f"/{_key(ids[0])}"
    where = _endings(paths, depths, bare=not any(f"/{normal(path)}".endswith(first) for path in paths))
    order = np.fromiter((where.get(_key(text), NOWHERE) for text in ids), np.int64, len(ids))

    def named(rows: np.ndarray) -> str:
        return f"{len(rows):,} ids ({few(repr(ids[row]) for row in rows)})"

    if len(lost := np.flatnonzero(order == NOWHERE)):
        raise UserError(
            f"{name}: {named(lost)} are none of the {len(paths):,} unlabelled test images"
            f"{f', such as {paths[0]!r}' if paths else ''}. Is one in data/images/rejected.csv, or labelled?"
        )
    if len(ambiguous := np.flatnonzero(order == AMBIGUOUS)):
        raise UserError(f"{name}: {named(ambiguous)} fit several images; write more of their paths, with suffix")
    count = np.bincount(order, minlength=len(paths))
    if len(repeated := np.flatnonzero(count[order] > 1)):
        raise UserError(f"{name}: {named(repeated)} are not the only ones of their images; remove the others")
    if len(missing := np.flatnonzero(count == 0)):
        raise UserError(
            f"{name}: {len(missing):,} unlabelled test images are not among its ids: "
            f"{few(paths[image] for image in missing)}. Add them to it, or take them out of the archive"
        )
    return order


def _endings(paths: Sequence[str], depths: set[int], bare: bool) -> dict[str, int]:
    """The image that each end of a path with so many folders means (AMBIGUOUS: several), `bare` without suffix."""
    found: dict[str, int] = {}
    for image, path in enumerate(map(normal, paths)):
        folder, _, file = path.rpartition("/")
        parts = [*folder.split("/"), (bare and file.rpartition(".")[0]) or file]
        for depth in depths:
            if depth <= path.count("/"):
                key = "/".join(parts[-1 - depth :])
                found[key] = AMBIGUOUS if key in found else image
    return found


def _key(text: str) -> str:
    return normal(text.strip())
