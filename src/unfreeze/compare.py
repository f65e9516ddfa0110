"""Two experiments side by side in results/compare/index.html: `python -m unfreeze.compare A B`.

A and B are names of DVC experiments, git revisions, or `workspace`. Their files come from git and from DVC's cache
or remote; the pictures come from the workspace.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from unfreeze import paths
from unfreeze.console import UserError
from unfreeze.data.store import open_array
from unfreeze.files import read_csv, read_json, write_text
from unfreeze.params import read_yaml
from unfreeze.report.comparison import Side, render
from unfreeze.report.galleries import read_predictions
from unfreeze.report.pictures import Pictures

WORKSPACE = "workspace"
FILES = [
    paths.PARAMS,
    paths.TRAIN_HEAD / "epochs.csv",
    paths.FINETUNE / "epochs.csv",
    paths.EVALUATE / "metrics.json",
    paths.EVALUATE / "predictions.csv",
]


def fetch(name: str, folder: Path) -> None:
    """Write the FILES of experiment or revision `name` to `folder`.

    Raises:
        UserError: there is no such experiment, or a file of it cannot be had.
    """
    import dvc.api
    from dvc.exceptions import DvcException

    for path in FILES:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        try:
            with dvc.api.open(str(path), rev=name, mode="rb") as file:
                (folder / path).write_bytes(file.read())
        except FileNotFoundError:
            raise UserError(f"{name} has no {path}, or DVC has it neither in its cache nor in a remote") from None
        except DvcException as error:
            raise UserError(f"{name}, {path}: {error}; `dvc exp show` lists the experiments") from None


def side(name: str) -> Side:
    """The experiment `name` as its files tell it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path() if name == WORKSPACE else Path(temporary)
        if name != WORKSPACE:
            fetch(name, folder)
        try:
            return Side(
                name=name,
                params=read_yaml(folder / paths.PARAMS),
                metrics=read_json(folder / paths.EVALUATE / "metrics.json"),
                epochs=[
                    line
                    for stage in (paths.TRAIN_HEAD, paths.FINETUNE)
                    for line in read_csv(folder / stage / "epochs.csv")
                ],
                predictions=read_predictions(folder / paths.EVALUATE / "predictions.csv"),
            )
        except FileNotFoundError as error:
            raise UserError(f"{name}: {error.filename} is not here; dvc repro makes it") from None


def main(names: tuple[str, str]) -> str:
    """Write the page; returns where it is."""
    one, other = map(side, names)
    if one.predictions.multi != other.predictions.multi:
        raise UserError("one of them predicts a class and the other several labels: they cannot be compared")
    pixels = Pictures(open_array(paths.PIXELS), one.params["seed"])
    rows = {line["path"]: int(line["row"]) for line in read_csv(paths.IMAGES_CSV)}
    write_text(paths.COMPARE_HTML, render(one, other, pixels, rows))
    return f"{paths.COMPARE_HTML}: open it in a browser"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m unfreeze.compare", description=__doc__.partition("\n")[0])
    parser.add_argument("before", metavar="A", help="an experiment, a revision, or workspace")
    parser.add_argument("after", metavar="B")
    given = parser.parse_args()
    try:
        print(main((given.before, given.after)))
    except UserError as error:
        sys.exit(f"compare: {error}")
