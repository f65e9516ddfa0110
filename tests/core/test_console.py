import re
from pathlib import Path

import psutil
import pytest

from unfreeze.core import console

ROOT = Path(__file__).parents[2]


def test_a_stage_ends_with_one_summary_line(capsys):
    console.run("split", lambda: "3 classes")
    assert re.fullmatch(r"split: 3 classes \(\d+\.\d s\)\n", capsys.readouterr().out)


def test_a_user_s_error_is_one_clear_message_and_a_failure():
    def fail() -> str:
        raise console.UserError("params.yaml: seed is missing")

    with pytest.raises(SystemExit) as ended:
        console.run("split", fail)
    assert ended.value.code == "split: params.yaml: seed is missing"


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


def test_a_stage_refuses_other_code_than_that_of_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        console.run("split", lambda: pytest.fail("it ran"))
    message = ended.value.code
    assert message.startswith("split: ") and "\n" not in message and "PYTHONPATH=src" in message
    assert str(ROOT / "src") in message and str(tmp_path / "src") in message
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(SystemExit) as ended:
        console.run("split", lambda: pytest.fail("it ran"))
    assert ended.value.code == 1
    monkeypatch.delenv("LOCAL_RANK")
    (tmp_path / "src").symlink_to(ROOT / "src")  # the same code by another name
    console.run("split", lambda: "3 classes")


def test_an_error_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        console.run("split", lambda: str(1 / 0))


def test_a_stage_whose_dvc_was_killed_while_it_started_does_nothing(monkeypatch):
    monkeypatch.setattr(psutil.Process, "parents", lambda process: [])
    monkeypatch.setenv("DVC_STAGE", "split")
    with pytest.raises(SystemExit, match="split: what started this stage was killed"):
        console.run("split", lambda: pytest.fail("it ran"))
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
