import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from unfreeze.core import console

ROOT = Path(__file__).parents[2]


def test_a_stage_ends_with_one_summary_line(capsys):
    console.run("split", lambda: "3 classes")
    assert re.fullmatch(r"split: 3 classes \(\d+\.\d s\)\n", capsys.readouterr().out)


def test_a_user_s_error_is_one_clear_message_and_a_failure(capsys):
    def fail() -> str:
        raise console.UserError("params.yaml: seed is missing")

    with pytest.raises(SystemExit) as ended:
        console.run("split", fail)
    assert ended.value.code == 1
    assert capsys.readouterr() == ("", "split: params.yaml: seed is missing\n")


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_of_several_ranks_the_first_one_talks(monkeypatch, capsys, name):
    monkeypatch.setattr(console, "_end_with_dvc", lambda stage: None)  # this process is to outlive its parent
    monkeypatch.setenv(name, "0")
    console.run("split", lambda: "3 classes")
    assert capsys.readouterr().out.startswith("split: 3 classes")
    monkeypatch.setenv(name, "1")
    console.run("split", lambda: "3 classes")
    assert capsys.readouterr().out == ""
    assert console.progress(10, "decode").disable


def test_a_stage_refuses_other_code_than_that_of_the_current_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        console.run("split", lambda: pytest.fail("it ran"))
    message = capsys.readouterr().err
    assert ended.value.code == 1
    assert message.startswith("split: ") and message.count("\n") == 1 and "PYTHONPATH=src" in message
    assert str(ROOT / "src") in message and str(tmp_path / "src") in message
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(SystemExit) as ended:
        console.run("split", lambda: pytest.fail("it ran"))
    assert ended.value.code == 1 and capsys.readouterr().err == ""
    monkeypatch.delenv("LOCAL_RANK")
    (tmp_path / "src").symlink_to(ROOT / "src")  # the same code by another name
    console.run("split", lambda: "3 classes")


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OSError(errno.ENOSPC, "full", "data/x.npy"), 1, ["data/x.npy", "disk is full"]),
        (MemoryError("9 GB"), 1, ["too little memory", "9 GB"]),
        (KeyboardInterrupt(), 130, ["interrupted", "dvc repro"]),
        (BrokenPipeError(errno.EPIPE, "closed"), 141, []),
    ],
)
def test_what_the_system_refuses_is_one_line_and_a_status(capsys, error, status, words):
    def fail() -> str:
        raise error

    with pytest.raises(SystemExit) as ended:
        console.run("decode", fail)
    line = capsys.readouterr().err
    assert ended.value.code == status
    assert line.count("\n") == bool(words) and line.startswith("decode: " if words else "")
    assert all(word in line for word in words)


@pytest.mark.parametrize(("device", "status"), [("/dev/full", 1), ("a pipe that is closed", 141)])
def test_a_stage_whose_output_nobody_takes_ends_without_a_traceback(device, status):
    code = "from unfreeze.core import console; console.run('split', lambda: '3 classes')"
    if device.startswith("/"):
        if not Path(device).exists():
            pytest.skip(f"there is no {device} here")
        out = os.open(device, os.O_WRONLY)
    else:
        reader, out = os.pipe()
        os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False,
        env=os.environ | {"PYTHONPATH": "src"},
    )  # fmt: skip
    os.close(out)
    assert done.returncode == status
    assert done.stderr.count("\n") == (status == 1) and "Traceback" not in done.stderr


def test_an_error_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        console.run("split", lambda: str(1 / 0))


def test_a_stage_whose_dvc_was_killed_while_it_started_does_nothing(monkeypatch, capsys):
    monkeypatch.setattr(psutil.Process, "parents", lambda process: [])
    monkeypatch.setenv("DVC_STAGE", "split")
    with pytest.raises(SystemExit) as ended:
        console.run("split", lambda: pytest.fail("it ran"))
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("split: what started this stage was killed")
    monkeypatch.delenv("DVC_STAGE")
    console.run("split", lambda: "started by hand")


def test_without_a_terminal_progress_is_plain_lines(capsys):
    bar = console.progress(100, "decode")
    bar.delay, bar.mininterval = 0, 0
    for _ in range(4):
        bar.update(25)
        bar.refresh()
    bar.close()
    lines = capsys.readouterr().err
    assert "\r" not in lines
    assert re.search(r"^decode: +75%\|[#0-9 ]+\| 75/100 \[.*img/s\]$", lines, re.M), lines
