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
from dvc.api import read
from small_project import ROOT, copy_run, dvc, git, ran

pytestmark = pytest.mark.slow

TITLES = [title for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"] for title in plot]
METRICS = "results/train_head/metrics.json"
STAGES = [Path("results", stage) for stage in ("train_head", "finetune", "evaluate")]


@pytest.fixture(scope="module")
def project(small_run, tmp_path_factory) -> Path:
    """A commit of a run and, in the working tree, an experiment `cooler` with a third of the head's rate."""
    folder = copy_run(small_run, tmp_path_factory.mktemp("experiments"))
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "baseline")
    assert ran(dvc(folder, "exp", "run", "--name", "cooler", "-S", "train_head.lr=0.003", "train-head")) == [
        "train-head"
    ]
    return folder


def start_anew(folder: Path) -> None:
    """The working tree as it was committed."""
    git(folder, "checkout", "-q", ".")
    dvc(folder, "checkout", "-q", "--force")


def read_details(folder: Path, revision: str) -> dict:
    """What train-head wrote into details.json, from DVC's cache."""
    return json.loads(read("results/train_head/details.json", repo=str(folder), rev=revision))


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
    assert rows["cooler"]["train_head.lr"] == "0.003"
    assert not {"seed", "finetune.lr", "train_head.cycles"} & rows["cooler"].keys()
    assert float(rows["cooler"]["head"]) != float(rows[""]["head"])


def test_the_differences_of_params_and_metrics(project):
    params = json.loads(dvc(project, "params", "diff", "HEAD", "--json"))
    change = {"old": 0.01, "new": 0.003, "diff": pytest.approx(-0.007)}
    assert params == {"params.yaml": {"train_head.lr": change}}
    assert "| params.yaml | train_head.lr | 0.01 | 0.003 |" in " ".join(
        dvc(project, "params", "diff", "--md").split()
    )
    found = json.loads(dvc(project, "metrics", "diff", "HEAD", "--json"))
    before, now = json.loads(git(project, "show", f"HEAD:{METRICS}")), json.loads((project / METRICS).read_text())
    assert found.keys() == {METRICS}  # no other stage has run
    assert found[METRICS] == {
        "head": {"old": before["head"], "new": now["head"], "diff": pytest.approx(now["head"] - before["head"])}
    }
    assert before["head"] != now["head"]


def test_plots_show_both_revisions(project):
    output = dvc(project, "plots", "diff", "HEAD", "cooler", "--json")
    plots = json.loads(output[output.index("{") :])["data"]
    assert list(plots) == TITLES
    for title, [plot] in plots.items():
        revisions = {point["rev"] for point in plot["content"]["data"]["values"]}
        assert revisions == {"HEAD", "cooler"}, title
    loss = plots["Loss of the head"][0]["content"]["data"]["values"]
    curves = [[point for point in loss if point["rev"] == revision] for revision in ("HEAD", "cooler")]
    assert len(curves[0]) == len(curves[1]) == 2 * 7  # 7 epochs, in training and in validation

    printed, _ = python(project, "unfreeze.commands.app", "plots", "HEAD", "cooler")
    assert printed == f"{len(TITLES)} plots in results/plots.html\n"
    page = (project / "results/plots.html").read_text()
    assert page.count("<svg") == len(TITLES) and "cooler" in page


def test_an_experiment_is_applied_and_becomes_a_branch(project):
    head = (project / "models/head.safetensors").read_bytes()
    start_anew(project)
    assert (project / "models/head.safetensors").read_bytes() != head
    dvc(project, "exp", "apply", "cooler")
    assert yaml.safe_load((project / "params.yaml").read_text())["train_head"]["lr"] == 0.003
    assert (project / "models/head.safetensors").read_bytes() == head
    assert ran(dvc(project, "repro", "train-head")) == []

    dvc(project, "exp", "branch", "cooler", "cold")
    assert yaml.safe_load(git(project, "show", "cold:params.yaml"))["train_head"]["lr"] == 0.003
    assert git(project, "show", f"cold:{METRICS}") == (project / METRICS).read_text()


def test_three_experiments_fit_a_terminal(project, monkeypatch):
    for name, change, target in (
        ("gentle", "finetune.lr=0.01", "tta-evaluate"),
        ("seed-2", "seed=2", "train-head"),
    ):
        start_anew(project)
        dvc(project, "exp", "run", "--name", name, "-S", change, target)
    metrics = [key for stage in STAGES for key in json.loads((project / stage / "metrics.json").read_text())]
    assert metrics == ["head", "valid", "test", "loss"]
    columns = ["Experiment", "Created", *metrics, "train_head.lr", "finetune.lr", "seed"]
    # The hashes of deps, which all have a slash, take most of the width. Metrics that happen to be equal are kept.
    shown = ("exp", "show", "--only-changed", "--keep", f"^({'|'.join(metrics)})$")
    monkeypatch.setenv("COLUMNS", "120")
    for arguments in (("--no-pager",), ("--drop", ".*/")):
        lines = dvc(project, *shown, *arguments).splitlines()
        assert max(map(len, lines)) <= 120
        [header] = [line.split() for line in lines if "Experiment" in line]
        assert set(columns) <= set(header), lines
        assert all(any(f"[{name}]" in line for line in lines) for name in ("cooler", "gentle", "seed-2"))
    for command in ("metrics", "params"):
        assert len(dvc(project, command, "diff", "HEAD", "gentle").splitlines()) <= 50

    table, _ = python(project, "unfreeze.commands.app", "experiments")
    lines = table.splitlines()
    assert max(map(len, lines)) <= 120
    rows = {line.split()[0]: line for line in lines if line}
    assert "of images" in rows["gentle"]
    assert rows["gentle"].endswith("finetune.lr=0.01")
    assert rows["cooler:"] == "cooler: not evaluated" and rows["seed-2:"] == "seed-2: not evaluated"


def test_a_sweep_runs_no_rate_twice_and_leaves_the_working_tree_alone(project):
    start_anew(project)
    where = ("--seeds", "1", "--target", "train-head", "--metric", "train_head:valid.log_loss")
    table, said = python(project, "unfreeze.commands.app", "sweep", "train_head.lr", "0.01,0.003", *where)
    losses = [read_details(project, revision)["valid"]["log_loss"] for revision in ("HEAD", "cold")]
    assert ran(said) == [] and said.count("Ran experiment") == 2
    means = [line.split()[2] for line in table.splitlines()[1:3]]
    assert means == [f"{loss:.4f}" for loss in losses]
    again, _ = python(project, "unfreeze.commands.app", "sweep", "train_head.lr", "0.003", *where)
    assert again.splitlines()[1] == table.splitlines()[2]  # it takes the place of the one of the same name
    assert not git(project, "status", "--porcelain", "--untracked-files=no")
    assert "<svg" in (project / "results/sweep.html").read_text()
