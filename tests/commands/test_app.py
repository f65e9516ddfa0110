"""The `unfreeze` command: its help, its errors and its exit statuses."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from typer.main import get_command

from unfreeze.commands import app as module
from unfreeze.commands import metrics, plots, sweep, verify
from unfreeze.commands.app import app, main
from unfreeze.core.console import UserError
from unfreeze.core.files import write_json
from unfreeze.device.runtime import RuntimeParams
from unfreeze.task.base import Rule

ROOT = Path(__file__).parents[2]
COMMANDS = get_command(app).commands
LISTED = {"predict", "export", "compare", "experiments", "sweep", "verify", "plots", "backbones", "metrics"}


@pytest.fixture(autouse=True)
def path_of_before(monkeypatch):
    monkeypatch.setenv("PATH", os.environ["PATH"])  # the command changes it


def call(capsys, *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(args)
    return ended.value.code, *capsys.readouterr()


def test_every_command_is_there(capsys):
    assert {name for name, command in COMMANDS.items() if not command.hidden} >= LISTED
    status, out, err = call(capsys, "--help")
    assert (status, err) == (0, "")
    assert {line.split()[0] for line in out.partition("Commands:")[2].splitlines() if line.strip()} >= LISTED


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_plain_text_that_fits_a_screen(command):
    environment = os.environ | {"COLUMNS": "80", "PYTHONPATH": str(ROOT / "src")}
    words = [sys.executable, "-m", "unfreeze.commands.app", *([command] if command else []), "--help"]
    out = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    lines = out.splitlines()
    assert len(lines) < 24 and max(map(len, lines)) <= 80
    assert out.isascii() and "\x1b" not in out and "..." not in out.partition("Commands:")[2]
    assert lines[0].startswith(f"Usage: unfreeze {command}".rstrip())
    for param in COMMANDS[command].params if command else ():
        if param.param_type_name == "option":
            assert param.opts[0] in out
        elif not param.required and param.nargs == 1:
            assert f"[{param.metavar}]" in lines[0]
        else:
            assert re.search(rf"\b{param.metavar}\b", lines[0]), lines[0]


def test_names_are_in_capitals():
    for command in COMMANDS.values():
        for param in command.params:
            assert (param.metavar or "X").isupper(), (command.name, param.name)


def test_choices_are_those_of_the_code():
    choices = {param.name: tuple(param.type_descriptor.choices or ()) for param in COMMANDS["predict"].params}
    assert choices["thresholds"] == get_args(Rule)
    fields = RuntimeParams.model_fields
    for name in ("device", "precision"):
        assert set(choices[name]) <= set(get_args(fields[name].annotation)) | {"auto"}


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("nonsense",),
        ("predict",),
        ("predict", "m.safetensors"),
        ("predict", "m.safetensors", "a.png", "--top", "0"),
        ("predict", "m.safetensors", "a.png", "--top", "2", "--csv"),
        ("predict", "m.safetensors", "a.png", "--json", "--csv"),
        ("predict", "m.safetensors", "a.png", "--device", "abacus"),
        ("compare", "A"),
        ("sweep", "train_head.lr", "0.1", "--seeds", "0"),
        ("export", "--too", "x"),
    ],
)
def test_wrong_arguments_exit_with_2(args, capsys):
    status, out, err = call(capsys, *args)
    assert status == 2 and "Usage: unfreeze" in out + err


def fail_with(error: BaseException):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UserError("params.yaml: seed is missing"), 2, ["params.yaml: seed is missing"]),
        (OSError(errno.ENOSPC, "full", "results/x"), 2, ["results/x", "disk is full"]),
        (MemoryError("9 GB"), 2, ["too little memory", "9 GB"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
        (BrokenPipeError(errno.EPIPE, "closed"), 141, []),
    ],
)
def test_an_error_that_the_user_can_mend_is_one_line(capsys, monkeypatch, error, status, words):
    monkeypatch.setattr(metrics, "show_metrics", fail_with(error))
    code, out, err = call(capsys, "metrics")
    assert (code, out, err.count("\n")) == (status, "", bool(words))
    assert err.startswith("metrics: " if words else "") and all(word in err for word in words)


def test_other_errors_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(metrics, "show_metrics", fail_with(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["metrics"])


@pytest.mark.slow
def test_output_on_a_full_disk(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    words = [sys.executable, "-m", "unfreeze.commands.app", "backbones"]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            words, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("backbones: the disk is full") and done.stderr.count("\n") == 1


def test_metrics_of_the_workspace(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, _, err = call(capsys, "metrics")
    assert status == 2 and "dvc repro" in err
    write_json(tmp_path / "results/evaluate" / metrics.DETAILS, {"valid": {"tta": {"count": 3, "accuracy": 0.5}}})
    status, out, _ = call(capsys, "metrics")
    assert status == 0 and out.splitlines()[1].split()[-2:] == ["3", "0.5000"]


@pytest.mark.parametrize(("failures", "status"), [([], 0), (["sweep-lr-1-seed-1"], 1)])
def test_a_sweep_takes_values_with_commas_and_fails_if_a_run_does(capsys, monkeypatch, failures, status):
    calls = []
    monkeypatch.setattr(sweep, "run_sweep", lambda param, **others: calls.append((param, others)) or failures)
    assert call(capsys, "sweep", "train_head.lr", " 0.1,0.2,", "--target", "train-head")[0] == status
    [(param, others)] = calls
    assert param == "train_head.lr" and others["values"] == ["0.1", "0.2"] and others["target"] == "train-head"


@pytest.mark.parametrize("status", [0, 1])
def test_verify_tells_its_verdict(capsys, monkeypatch, status):
    folders = []
    monkeypatch.setattr(verify, "verify_commit", lambda folder: folders.append(folder) or (status, "A sentence."))
    assert call(capsys, "verify")[:2] == (status, "\nA sentence.\n")
    assert not folders[0].exists()


def test_plots_of_revisions(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plots, "render_page", lambda revisions: (" ".join(revisions), 7))
    status, out, _ = call(capsys, "plots", "HEAD", "workspace")
    assert (status, out) == (0, f"7 plots in {plots.PAGE}\n")
    assert plots.PAGE.read_text() == "HEAD workspace"


def test_dvc_of_this_environment_is_called(capsys, monkeypatch):
    monkeypatch.setattr(module.os, "environ", {"PATH": "/elsewhere"})
    monkeypatch.setattr(metrics, "show_metrics", lambda: os.environ["PATH"])
    _, out, _ = call(capsys, "metrics")
    assert out.strip() == f"{Path(sys.executable).parent}{os.pathsep}/elsewhere"


def test_the_script_is_the_command():
    """`python -m unfreeze.predict` is `unfreeze predict`."""
    environment = os.environ | {"COLUMNS": "80", "PYTHONPATH": str(ROOT / "src")}
    texts = [
        subprocess.run([sys.executable, "-m", *words], env=environment, capture_output=True, check=True).stdout
        for words in (["unfreeze.predict", "--help"], ["unfreeze.commands.app", "predict", "--help"])
    ]
    assert texts[0] == texts[1] and texts[0]
