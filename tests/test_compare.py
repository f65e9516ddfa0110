"""Two revisions of a project, compared."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from unfreeze.console import UserError
from unfreeze.data.store import write_array
from unfreeze.files import write_csv, write_json

EPOCHS = ["epoch", "phase", "train_loss", "valid_loss", "valid_score"]
HEADER = ["row", "path", "split", "label", "predicted", "uncertainty", "p_cat", "p_dog"]


def write(folder: Path, predicted: str, seed: int) -> None:
    """The files of a run whose only image, a cat, is taken for `predicted`."""
    (folder / "params.yaml").write_text(yaml.safe_dump({"seed": seed}))
    for stage in ("train_head", "finetune"):
        write_csv(folder / f"results/{stage}/epochs.csv", EPOCHS, [(0, stage, 1, 0.5, 0.75)])
    number = {"count": 1, "accuracy": float(predicted == "cat"), "log_loss": 0.5}
    write_json(folder / "results/evaluate/metrics.json", {"valid": {"tta": number}})
    p = [0.9, 0.1] if predicted == "cat" else [0.1, 0.9]
    line = (0, "a.png", "valid", "cat", predicted, 0.2, *p)
    write_csv(folder / "results/evaluate/predictions.csv", HEADER, [line])
    write_csv(folder / "data/images/images.csv", ["row", "path"], [(0, "a.png")])
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
    from unfreeze import compare

    assert "results/compare/index.html" in compare.main(("first", "second"))
    page = (project / "results/compare/index.html").read_text()
    assert "B has 1 right that A has wrong" in page and "data:image/png" in page
    compare.main(("second", "workspace"))
    page = (project / "results/compare/index.html").read_text()
    assert "B has 0 right that A has wrong, and 1 wrong that A has right" in page
    assert '<bdi title="3">3</bdi>' in page


def test_what_cannot_be_had_is_named(project):
    from unfreeze import compare

    with pytest.raises(UserError, match=r"stranger.*dvc exp show"):
        compare.main(("first", "stranger"))
    (project / "results/finetune/epochs.csv").unlink()
    with pytest.raises(UserError, match=r"workspace: results/finetune/epochs\.csv is not here"):
        compare.main(("first", "workspace"))
