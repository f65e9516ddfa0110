"""Two experiments side by side in results/compare/index.html: `unfreeze compare A B`.

A and B are names of DVC experiments, git revisions, or `workspace`. Their files come from git and from DVC's cache
or remote; the pictures come from the workspace.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unfreeze.core import paths, tables
from unfreeze.core.arrays import open_array
from unfreeze.core.console import UserError
from unfreeze.core.files import read_json, write_text
from unfreeze.core.metrics import DETAILS
from unfreeze.core.params import read_yaml
from unfreeze.report.comparison import Side, render
from unfreeze.report.pictures import Pictures
from unfreeze.task.kinds import TASKS

if TYPE_CHECKING:
    import pandas as pd

    from unfreeze.task.base import Task

WORKSPACE = "workspace"
SCORES = paths.EVALUATE / DETAILS
PREDICTIONS = paths.EVALUATE / "predictions.csv"
EPOCHS = [paths.TRAIN_HEAD / "epochs.csv", paths.FINETUNE / "epochs.csv"]
FILES = [paths.PARAMS, *EPOCHS, SCORES, PREDICTIONS]
"""What is read of each experiment."""


def write_comparison(before: str, after: str) -> Path:
    """Write the page of two experiments; return its path.

    Raises:
        UserError: there is no such experiment, a file of it cannot be had or read, or the two predict different
            things.
    """
    a, b = read_side(before), read_side(after)
    if a.task is not b.task:
        raise UserError("one of them predicts a class and the other several labels: they cannot be compared")
    pictures = Pictures(open_array(paths.PIXELS), a.params["seed"])
    images = tables.read(paths.IMAGES_CSV, {"path": "text", "row": "int"})
    rows = dict(zip(images["path"], images["row"].tolist(), strict=True))
    write_text(paths.COMPARE_HTML, render(a, b, pictures, rows))
    return paths.COMPARE_HTML


def read_side(name: str) -> Side:
    """Read the files of the experiment, revision or workspace `name`."""
    if name == WORKSPACE:
        return _read_folder(name, Path())
    with tempfile.TemporaryDirectory() as folder:
        fetch(name, Path(folder))
        return _read_folder(name, Path(folder))


def fetch(name: str, folder: Path, files: Sequence[Path] = FILES) -> None:
    """Write `files` of experiment or revision `name` to `folder`, from git, DVC's cache or its remote.

    Raises:
        UserError: there is no such experiment, it has no such file, or the file's content cannot be had.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        try:
            tree = DVCFileSystem(rev=name)
            with tree.open(str(path), mode="rb") as file:
                (folder / path).write_bytes(file.read())
        except FileNotFoundError:
            if not tree.exists(str(path)):
                raise UserError(f"{name} has no {path}: this stage did not run there") from None
            raise UserError(
                f"{name}: {path} is neither in DVC's cache nor in its default remote. `dvc fetch --all-commits -r "
                f"REMOTE` gets it from another remote; `dvc exp apply {name}` (of a commit `git checkout {name}`) "
                "and then `dvc repro` make it anew"
            ) from None
        except DvcException as error:
            raise UserError(f"{name}, {path}: {error}; `dvc exp show` lists the experiments") from None


def _read_folder(name: str, folder: Path) -> Side:
    import pandas as pd

    for path in FILES:
        if not (folder / path).is_file():
            raise UserError(f"{name}: {path} is not here; dvc repro makes it")
    try:
        task, predictions = read_labels(folder / PREDICTIONS)
        epochs = [tables.read(folder / path, {"valid_loss": "float", "valid_score": "float"}) for path in EPOCHS]
        return Side(
            name=name,
            params=read_yaml(folder / paths.PARAMS),
            metrics=read_json(folder / SCORES),
            epochs=pd.concat(epochs, ignore_index=True),
            predictions=predictions,
            task=task,
        )
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def read_labels(path: Path) -> tuple[type[Task], pd.DataFrame]:
    """Read path, split, actual and predicted label of each image as texts, and the task that they are of.

    Each task has its own heading of the labels.
    """
    header = tables.read_header(path)
    for task in TASKS.values():
        label = task.label_column
        if label in header:
            columns = {"path": "text", "split": "text", label: "text", "predicted": "text"}
            return task, tables.read(path, columns).rename(columns={label: "actual"})
    headings = " or ".join(task.label_column for task in TASKS.values())
    raise UserError(f"{path} has no column {headings}: run dvc repro, which makes it anew")
