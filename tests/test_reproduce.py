"""What compares runs: verify, sweep, plots, and the workflows that call them."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from unfreeze.commands import plots, sweep, verify
from unfreeze.core.console import UserError
from unfreeze.core.files import write_json

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def load_pipeline():
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())


def lock(**outs):
    return {
        "decode": {"outs": [{"path": "pixels.npy", "md5": outs.get("pixels", "a")}]},
        "evaluate": {
            "outs": [
                {"path": "evaluate/predictions.csv", "md5": outs.get("predictions", "b")},
                {"path": "evaluate/metrics.json", "md5": outs.get("metrics", "c")},
            ]
        },
    }


@pytest.fixture
def folders(tmp_path):
    for name, accuracy in (("one", 0.95), ("two", 0.94)):
        (tmp_path / name / "evaluate").mkdir(parents=True)
        content = {"test": {"accuracy": accuracy, "count": 100, "auc": None}}
        (tmp_path / name / "evaluate/metrics.json").write_text(json.dumps(content))
    return tmp_path / "one", tmp_path / "two"


def test_identical_runs_are_verified(folders):
    rows = verify.compare_outs(lock(), lock(), folders, 0.0)
    assert {found for *_, found in rows} == {"identical"} and len(rows) == 3
    assert verify.judge(rows, same_cpu=False) == (0, "Everything is identical, to the byte.")


@pytest.mark.parametrize(
    ("tolerance", "same_cpu", "status"), [(0.02, False, 0), (0.02, True, 1), (0.001, False, 1), (0.001, True, 1)]
)
def test_within_the_tolerance_is_enough_on_another_cpu_alone(folders, tolerance, same_cpu, status):
    rows = verify.compare_outs(lock(), lock(predictions="x", metrics="y"), folders, tolerance)
    assert [found for *_, found in rows][:2] == ["identical", "different"]
    assert rows[2][2] == ("within tolerance (0.01)" if tolerance == 0.02 else "different (0.01)")
    found, sentence = verify.judge(rows, same_cpu)
    assert found == status
    assert "The first differing stage is evaluate (evaluate/predictions.csv)." in sentence


@pytest.mark.parametrize(("tolerance", "status"), [(0.02, 0), (0.001, 1)])
def test_the_tolerance_is_for_all_numbers(folders, tolerance, status):
    """Of details.json too; where the commit's is not in the workspace, metrics.json alone decides."""
    locks = [{"evaluate": {"outs": [{"path": "evaluate/details.json", "md5": md5}]}} for md5 in "ab"]
    for folder in folders:
        (folder / "evaluate/metrics.json").rename(folder / "evaluate/details.json")
    rows = verify.compare_outs(*locks, folders, tolerance)
    assert rows[0].verdict == ("within tolerance (0.01)" if tolerance == 0.02 else "different (0.01)")
    assert verify.judge(rows, same_cpu=False)[0] == status
    (folders[0] / "evaluate/details.json").unlink()
    rows = verify.compare_outs(*locks, folders, tolerance)
    assert rows[0].verdict.startswith("not compared") and verify.judge(rows, same_cpu=False)[0] == 0


def test_an_out_that_is_missing_is_different(folders):
    new = lock()
    del new["evaluate"]
    rows = verify.compare_outs(lock(), new, folders, 1.0)
    assert [found for *_, found in rows] == ["identical", "different", "different"]


@pytest.mark.parametrize(
    ("one", "two", "gap"),
    [
        ({"a": 1, "b": {"c": 0.5}}, {"a": 1, "b": {"c": 0.25}}, 0.25),
        ([1, 2], [1, 5], 3),
        ({"a": None}, {"a": None}, 0),
        ({"a": None}, {"a": 1.0}, float("inf")),
        ({"a": 1}, {"b": 1}, float("inf")),
        ({"a": True}, {"a": False}, float("inf")),
        ([1], [1, 2], float("inf")),
        ({}, {}, 0),
    ],
)
def test_the_largest_difference_of_two_metrics_files(one, two, gap):
    assert verify.measure_difference(one, two) == gap


def test_verify_looks_at_commits_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    Path("new.txt").write_text("new")
    with pytest.raises(UserError, match="uncommitted changes"):
        verify.verify_commit(tmp_path)


def test_the_cpu_is_known_of_the_committed_model_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = {"path": "models/model.safetensors", "md5": "a"}
    stages = {"split": {}, "unfreeze-finetune": {"outs": [model]}}
    assert verify._read_cpu(stages) is None
    Path("results").mkdir()
    Path("results/environment.json").write_text(json.dumps({"cpu": "Zen", "model_md5": "a"}))
    assert verify._read_cpu(stages) == "Zen"
    model["md5"] = "b"
    assert verify._read_cpu(stages) is None


def listed(name, value, state=None):
    """An experiment as `dvc exp show --json` lists it."""
    data = {"metrics": {"results/evaluate/metrics.json": {"data": {"valid": value, "loss": None}}}}
    executor = {"state": state} if state else None
    return {"name": name, "executor": executor, "revs": [{"rev": "f" * 40, "data": data}]}


EXPERIMENTS = [
    listed("sweep-lr-0-1-seed-1", 0.9),
    listed("sweep-lr-0-1-seed-2", 0.1, state="failed"),
    listed("sweep-lr-0-2-seed-1", 0.7, state="success"),
]
COMMITS = [{"name": "main", "data": {}, "experiments": EXPERIMENTS}]


def test_a_sweep_leaves_failed_runs_out():
    """DVC shows for a failed experiment the metrics of its baseline."""
    names = [each["name"] for each in EXPERIMENTS]
    assert names[0] == sweep.name_experiment("lr", "0.1", 1)
    assert sweep.collect_metric(COMMITS, names, "valid") == {names[0]: 0.9, names[2]: 0.7}
    assert sweep.collect_metric(COMMITS, names, "loss") == {}  # undefined


def test_a_sweep_compares_any_of_the_details(monkeypatch):
    def fetch(name, folder, files):
        write_json(folder / files[0], {"lr": 0.1, "valid": {"log_loss": len(name), "roc_auc": None}})

    monkeypatch.setattr(sweep, "fetch", fetch)
    names = [each["name"] for each in EXPERIMENTS]
    assert sweep.collect_metric(COMMITS, names, "train_head:valid.log_loss") == {names[0]: 19, names[2]: 19}
    with pytest.raises(UserError, match=r"--metric train_head:nothing .*lr, valid\.log_loss, valid\.roc_auc"):
        sweep.collect_metric(COMMITS, names, "train_head:nothing")


def test_an_unknown_metric_lists_the_known_ones():
    with pytest.raises(UserError, match=r"--metric top5 .*loss, valid"):
        sweep.collect_metric(COMMITS, [], "top5")


def test_a_sweep_puts_the_working_tree_back_and_refuses_to_lose_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.system(
        "git init -q && echo a > params.yaml && git add . && git -c user.name=t -c user.email=t@l commit -qm a"
    )
    with sweep.keep_working_tree():
        Path("params.yaml").write_text("b\n")
    assert Path("params.yaml").read_text() == "a\n"
    Path("params.yaml").write_text("mine\n")
    with pytest.raises(UserError, match="uncommitted changes"), sweep.keep_working_tree():
        pass
    assert Path("params.yaml").read_text() == "mine\n"


def test_the_table_and_the_page_of_a_sweep():
    values = {"0.1": [0.9, 0.8, 0.85], "<0.2>": [0.7], "0.3": []}
    lines = sweep.format_table("accuracy", "train_head.lr", values).splitlines()
    assert re.search(r"0\.1 +3 +0\.8500 +0\.0500 +0\.8000 \.\. 0\.9000", lines[1])
    assert re.search(r"<0\.2> +1 +0\.7000 +0\.0000", lines[2]) and "no run succeeded" in lines[3]
    html = sweep.render_page("accuracy", "train_head.lr", values)
    assert "&lt;0.2&gt;" in html and 'src="http' not in html and "<script" not in html
    assert "<svg" in html and html == sweep.render_page("accuracy", "train_head.lr", values)


def test_plots_are_one_page_without_a_network(tmp_path, monkeypatch):
    spec = {
        "data": {"values": [{"x": 0, "y": 1}, {"x": 1, "y": 2}]},
        "mark": "line",
        "encoding": {
            "x": {"field": "x", "type": "quantitative"},
            "y": {"field": "y", "type": "quantitative", "title": "accuracy"},
        },
    }
    answer = json.dumps({"data": {"Loss <of> it": [{"type": "vega", "content": json.dumps(spec)}]}})
    done = subprocess.CompletedProcess([], 0, stdout=f"a warning\n{answer}", stderr="")
    monkeypatch.setattr(plots.subprocess, "run", lambda *args, **kwargs: done)
    html, count = plots.render_page([])
    assert count == 1 and "Loss &lt;of&gt; it" in html and "accuracy" in html
    assert "<script" not in html and not re.search(r'(src|href)="http', html)


def render_axis(template, x, values):
    """The texts below the x axis of a line plot in a template of .dvc/plots, for these values of column x."""
    import vl_convert
    from dvc_render.vega import VegaRenderer

    points = [{x: str(value), "loss": str(i), "rev": "workspace"} for i, value in enumerate(values)]
    plot = VegaRenderer(points, "plot", template=template, template_dir=ROOT / ".dvc/plots", x=x, y="loss")
    svg = vl_convert.vegalite_to_svg(json.dumps(plot.get_filled_template()))
    axis = svg[svg.index("role-axis-label", svg.index("X-axis")) :]
    return re.findall(r">([^<>]+)</text>", axis[: axis.index("role-axis-title")])


def test_plots_have_a_logarithmic_axis_of_rates_and_whole_epochs():
    templates = {next(iter(plot)): next(iter(plot.values())) for plot in load_pipeline()["plots"]}
    assert templates["LR finder of the head"]["template"] == "logarithmic"
    assert {plot["template"] for plot in templates.values() if plot["x"] in ("epoch", "step")} == {"whole"}
    rates = render_axis("logarithmic", "lr", [1e-5, 1e-3, 1e-1, 10])
    assert [float(rate) for rate in rates] == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10])
    assert render_axis("whole", "epoch", range(3)) == ["0", "1", "2"]
    assert render_axis("whole", "epoch", range(29)) == ["0", "5", "10", "15", "20", "25"]


def test_a_failing_dvc_is_shown(monkeypatch):
    done = subprocess.CompletedProcess([], 1, stdout="", stderr="unknown Git revision 'nope'")
    monkeypatch.setattr(plots.subprocess, "run", lambda *args, **kwargs: done)
    with pytest.raises(UserError, match=r"dvc plots diff nope --json failed: unknown Git revision"):
        plots.render_page(["nope"])


def steps_of(file):
    content = yaml.safe_load(file.read_text())
    return [step for job in content["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_workflows_parse_and_their_shell_is_shell(file):
    content = yaml.safe_load(file.read_text())
    assert content[True] if True in content else content["on"]  # YAML 1.1 takes `on` for true
    scripts = [step["run"] for step in steps_of(file) if "run" in step]
    assert scripts
    for script in scripts:
        done = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "${{" not in script  # what a user types reaches the shell by the environment alone
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", "\n".join(scripts)):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_the_experiment_workflow_s_steps_run_here(tmp_path):
    """The experiment itself stands for `dvc`: what it is called with, and that the comparison is put together."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/activate").write_text(f"export PATH={tmp_path}/bin:$PATH\n")
    (tmp_path / "bin").mkdir()
    for name in ("dvc", "unfreeze"):
        script = tmp_path / "bin" / name
        script.write_text(
            f'#!/bin/bash\nprintf "[%s]" "$@" >> calls.txt; echo >> calls.txt; echo "{name} $1 $2"\n'
        )
        script.chmod(0o755)
    steps = {step["name"]: step for step in steps_of(ROOT / ".github/workflows/experiment.yml") if "run" in step}
    environment = os.environ | {
        "ARGUMENTS": "-S train_head.lr=0.02; touch hacked",
        "GITHUB_STEP_SUMMARY": "sum.md",
    }
    for name in ("Run the experiment", "Compare with the branch"):
        subprocess.run(["bash", "-e", "-c", steps[name]["run"]], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "calls.txt").read_text().splitlines() == [
        "[exp][run][-S][train_head.lr=0.02;][touch][hacked]",
        "[metrics][diff][HEAD][--md]",
        "[params][diff][HEAD][--md]",
        "[plots][HEAD][workspace]",
    ]
    assert not (tmp_path / "hacked").exists()
    comparison = (tmp_path / "comparison.md").read_text()
    assert "dvc metrics diff" in comparison and "dvc params diff" in comparison
    assert (tmp_path / "sum.md").read_text() == comparison
