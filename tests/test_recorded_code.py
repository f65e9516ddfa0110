"""The code that runs is the code that DVC records, whichever clone the environment has installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_project import copy_project, dvc, git, ran

pytestmark = pytest.mark.slow

MODULE = "src/unfreeze/archive/extract.py"


@pytest.fixture(autouse=True)
def environment(monkeypatch) -> None:
    """The environment as it is installed, whose package is not that of the folders here."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setenv("GIT_AUTHOR_NAME", "test")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "test@localhost")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "test")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "test@localhost")


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A commit of the whole project, in which nothing has run."""
    folder = tmp_path_factory.mktemp("original")
    copy_project(folder)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "project")
    return folder


@pytest.fixture
def clone(original, tmp_path) -> Path:
    git(tmp_path, "clone", "-q", str(original), "clone")
    return tmp_path / "clone"


def edit(folder: Path, tmp_path: Path) -> Path:
    """Have a module of the first stage write its own path to a file when it is imported; return that file."""
    trace = tmp_path / "imported.txt"
    with (folder / MODULE).open("a") as file:
        file.write(f"\nPath({str(trace)!r}).write_text(__file__)\n")
    return trace


def test_in_a_second_clone_its_own_code_runs(clone, tmp_path):
    trace = edit(clone, tmp_path)
    assert ran(dvc(clone, "repro", "extract")) == ["extract"]
    assert Path(trace.read_text()) == clone / MODULE


def test_in_a_worktree_its_own_code_runs(clone, tmp_path):
    git(clone, "worktree", "add", "-q", str(tmp_path / "worktree"))
    trace = edit(tmp_path / "worktree", tmp_path)
    assert ran(dvc(tmp_path / "worktree", "repro", "extract")) == ["extract"]
    assert Path(trace.read_text()) == tmp_path / "worktree" / MODULE


@pytest.mark.parametrize(
    "commands",
    [[["exp", "run", "--temp", "extract"]], [["exp", "run", "--queue", "extract"], ["exp", "run", "--run-all"]]],
    ids=["temp", "queue"],
)
def test_an_experiment_in_a_folder_of_its_own_runs_the_edited_code(clone, tmp_path, commands):
    trace = edit(clone, tmp_path)
    for command in commands:
        dvc(clone, *command)
    imported = Path(trace.read_text())
    assert imported.is_relative_to(clone / ".dvc/tmp/exps") and str(imported).endswith(MODULE)


def test_a_stage_started_by_hand_with_another_clone_s_package_refuses_in_one_line(clone):
    command = [sys.executable, "stages/extract.py"]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("extract: ") and str(clone / "src") in done.stderr
    assert str(Path(__file__).parents[1] / "src") in done.stderr
    assert not (clone / "data/extracted.tar").exists()
    done = subprocess.run(
        command, cwd=clone, env=os.environ | {"PYTHONPATH": "src"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
