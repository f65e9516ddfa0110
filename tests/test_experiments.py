"""`dvc exp` and the comparisons of DVC's on a real run, as README tells of them."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_project import ROOT, copy_run, dvc, git, ran

TITLES = [title for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"] for title in plot]
METRICS = "results/train_head/metrics.json"


@pytest.fixture(scope="module")
def project(small_run, tmp_path_factory) -> Path:
    """A commit of a run and, in the working tree, an experiment `warmer` with twice the rate of the head."""
    folder = copy_run(small_run, tmp_path_factory.mktemp("experiments"))
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "baseline")
    assert ran(dvc(folder, "exp", "run", "--name", "warmer", "-S", "train_head.lr=0.02", "train-head")) == [
        "train-head"
    ]
    return folder


def start_anew(folder: Path) -> None:
    """The working tree as it was committed."""
    git(folder, "checkout", "-q", ".")
    dvc(folder, "checkout", "-q", "--force")


def python(folder: Path, *args: str) -> tuple[str, str]:
    """What `python -m` prints to stdout and to stderr, with the environment's dvc."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", *args]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_exp_show_lists_what_changed_and_nothing_else(project):
    table = dvc(project, "exp", "show", "--only-changed", "--csv")
    rows = {row["Experiment"]: row for row in csv.DictReader(io.StringIO(table))}
    assert rows["warmer"]["train_head.lr"] == "0.02"
    assert not {"seed", "finetune.lr", "train_head.cycles"} & rows["warmer"].keys()
    assert f"{METRICS}:valid.log_loss" in rows["warmer"] or "valid.log_loss" in rows["warmer"]


def test_the_differences_of_params_and_metrics(project):
    params = json.loads(dvc(project, "params", "diff", "HEAD", "--json"))
    assert params == {"params.yaml": {"train_head.lr": {"old": 0.01, "new": 0.02, "diff": 0.01}}}
    assert "| params.yaml | train_head.lr | 0.01 | 0.02 |" in " ".join(
        dvc(project, "params", "diff", "--md").split()
    )
    found = json.loads(dvc(project, "metrics", "diff", "HEAD", "--json"))
    before, now = json.loads(git(project, "show", f"HEAD:{METRICS}")), json.loads((project / METRICS).read_text())
    losses = [metrics["valid"]["log_loss"] for metrics in (before, now)]
    assert found.keys() == {METRICS}  # no other stage has run
    assert found[METRICS]["valid.log_loss"] == {"old": losses[0], "new": losses[1], "diff": losses[1] - losses[0]}
    assert losses[0] != losses[1]


def test_plots_show_both_revisions(project):
    output = dvc(project, "plots", "diff", "HEAD", "warmer", "--json")
    plots = json.loads(output[output.index("{") :])["data"]
    assert list(plots) == TITLES
    for title, [plot] in plots.items():
        revisions = {point["rev"] for point in plot["content"]["data"]["values"]}
        assert revisions == {"HEAD", "warmer"}, title
    loss = plots["Loss of the head"][0]["content"]["data"]["values"]
    curves = [[point for point in loss if point["rev"] == revision] for revision in ("HEAD", "warmer")]
    assert len(curves[0]) == len(curves[1]) == 2 * 7  # 7 epochs, in training and in validation

    printed, _ = python(project, "unfreeze.commands.plots", "HEAD", "warmer")
    assert printed == f"{len(TITLES)} plots in results/plots.html\n"
    page = (project / "results/plots.html").read_text()
    assert page.count("<svg") == len(TITLES) and "warmer" in page


def test_an_experiment_is_applied_and_becomes_a_branch(project):
    head = (project / "models/head.safetensors").read_bytes()
    start_anew(project)
    assert (project / "models/head.safetensors").read_bytes() != head
    dvc(project, "exp", "apply", "warmer")
    assert yaml.safe_load((project / "params.yaml").read_text())["train_head"]["lr"] == 0.02
    assert (project / "models/head.safetensors").read_bytes() == head
    assert ran(dvc(project, "repro", "train-head")) == []

    dvc(project, "exp", "branch", "warmer", "warm")
    assert yaml.safe_load(git(project, "show", "warm:params.yaml"))["train_head"]["lr"] == 0.02
    assert git(project, "show", f"warm:{METRICS}") == (project / METRICS).read_text()


def test_a_sweep_runs_no_rate_twice_and_leaves_the_working_tree_alone(project):
    start_anew(project)
    where = ("--seeds", "1", "--target", "train-head", "--metric", "valid.log_loss")
    table, said = python(project, "unfreeze.commands.sweep", "train_head.lr", "0.01,0.02", *where)
    losses = [
        json.loads(git(project, "show", f"{revision}:{METRICS}"))["valid"]["log_loss"]
        for revision in ("HEAD", "warm")
    ]
    assert ran(said) == [] and said.count("Ran experiment") == 2
    means = [line.split()[2] for line in table.splitlines()[1:3]]
    assert means == [f"{loss:.4f}" for loss in losses]
    again, _ = python(project, "unfreeze.commands.sweep", "train_head.lr", "0.02", *where)
    assert again.splitlines()[1] == table.splitlines()[2]  # it takes the place of the one of the same name
    assert not git(project, "status", "--porcelain", "--untracked-files=no")
    assert "<svg" in (project / "results/sweep.html").read_text()
