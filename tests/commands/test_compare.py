"""Two revisions of a project, compared."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from unfreeze.commands.app import main
from unfreeze.commands.compare import fetch, read_side, write_comparison
from unfreeze.core import tables
from unfreeze.core.arrays import write_array
from unfreeze.core.console import UserError
from unfreeze.core.files import write_json
from unfreeze.task.multi import Multi
from unfreeze.task.single import Single

EPOCHS = ["epoch", "phase", "train_loss", "valid_loss", "valid_score"]
HEADER = ["row", "path", "split", "label", "predicted", "probability", "uncertainty", "top_1", "p_1"]


def write(folder: Path, predicted: str, seed: int) -> None:
    """The files of a run whose only image, a cat, is taken for `predicted`."""
    (folder / "params.yaml").write_text(yaml.safe_dump({"seed": seed}))
    for stage in ("train_head", "finetune"):
        tables.write_rows(folder / f"results/{stage}/epochs.csv", EPOCHS, [(0, stage, 1, 0.5, 0.75)])
    number = {"count": 1, "accuracy": float(predicted == "cat"), "log_loss": 0.5}
    write_json(folder / "results/evaluate/details.json", {"valid": {"tta": number}})
    line = (0, "a.png", "valid", "cat", predicted, 0.9, 0.2, predicted, 0.9)
    tables.write_rows(folder / "results/evaluate/predictions.csv", HEADER, [line])
    tables.write_rows(folder / "data/images/images.csv", ["row", "path"], [(0, "a.png")])
    write_array(folder / "data/images/pixels.npy", np.zeros((1, 8, 8, 3), np.uint8))


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Two commits, whose predictions DVC holds, and an older state of the workspace."""
    monkeypatch.chdir(tmp_path)
    dvc = [sys.executable, "-m", "dvc"]
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]

    def call(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)

    call("git", "init", "-q")
    call(*dvc, "init", "-q")
    for name, predicted, seed in (("first", "dog", 1), ("second", "cat", 2)):
        write(tmp_path, predicted, seed)
        call(*dvc, "add", "-q", "results/evaluate/predictions.csv")
        call("git", "add", ".")
        call(*git, "commit", "-q", "-m", name)
        call("git", "tag", name)
    write(tmp_path, "dog", 3)
    return tmp_path


def test_revisions_and_the_workspace_are_compared(project):
    assert write_comparison("first", "second") == Path("results/compare/index.html")
    page = (project / "results/compare/index.html").read_text()
    assert "B has 1 right that A has wrong" in page and "data:image/png" in page
    with pytest.raises(SystemExit) as ended:
        main(["compare", "second", "workspace"])
    assert ended.value.code == 0
    page = (project / "results/compare/index.html").read_text()
    assert "B has 0 right that A has wrong, and 1 wrong that A has right" in page
    assert '<bdi title="3">3</bdi>' in page


def test_the_predictions_of_a_side_are_texts_and_their_heading_tells_the_task(project):
    side = read_side("first")
    assert side.task is Single and side.metrics["valid"]["tta"]["accuracy"] == 0
    assert side.predictions.to_dict("list") == {
        "path": ["a.png"], "split": ["valid"], "actual": ["cat"], "predicted": ["dog"],
    }  # fmt: skip
    assert side.epochs["valid_loss"].tolist() == [0.5, 0.5] and side.epochs.index.tolist() == [0, 1]
    columns = ["path", "split", "labels", "predicted"]
    predictions = Path("results/evaluate/predictions.csv")
    tables.write_rows(predictions, columns, [("a.png", "valid", "cat dog", "-")])
    side = read_side("workspace")
    assert side.task is Multi and side.predictions["actual"].tolist() == ["cat dog"]
    with pytest.raises(UserError, match="they cannot be compared"):
        write_comparison("first", "workspace")
    tables.write_rows(predictions, ["path", "split"], [])
    with pytest.raises(UserError, match=r"workspace: .*predictions\.csv has no column label or labels"):
        read_side("workspace")


def test_what_cannot_be_had_is_named(project, capsys):
    with pytest.raises(UserError, match=r"stranger.*dvc exp show"):
        write_comparison("first", "stranger")
    (project / "results/finetune/epochs.csv").unlink()
    with pytest.raises(UserError, match=r"workspace: results/finetune/epochs\.csv is not here"):
        write_comparison("first", "workspace")
    with pytest.raises(SystemExit) as ended:
        main(["compare", "first", "workspace"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("compare: workspace: results/finetune/epochs.csv is not here")


def test_results_that_are_not_in_the_cache_are_told_from_those_that_never_were(project):
    cached = list((project / ".dvc/cache/files").rglob("*"))
    for file in cached:
        if file.is_file():
            file.unlink()
    with pytest.raises(UserError, match=r"first: results/.*predictions\.csv .*dvc fetch.*dvc exp apply first"):
        read_side("first")
    with pytest.raises(UserError, match=r"first has no results/nothing\.csv"):
        fetch("first", project / "copy", [Path("results/nothing.csv")])
