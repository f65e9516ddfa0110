"""A run that is killed five times leaves what one leaves that is not: `make kill-test`, for one round."""

import random
import re

import pytest
from small_project import STAGES, copy_run, dvc, git, ran

from benchmarks.kill_test import BEFORE, CUT_OFF, hash_files, mend, run_disturbed

pytestmark = pytest.mark.slow


def test_a_run_that_is_killed_again_and_again_ends_the_same(small_run, tmp_path):
    folder = copy_run(small_run, tmp_path / "project")
    git(folder, "add", ".")
    git(folder, "add", "--force", "data/raw/cut.7z")
    git(folder, "rm", "-q", "--cached", "dvc.lock")
    git(folder, "commit", "-qm", "what is killed")
    kills, _ = run_disturbed(folder, random.Random(14), 5, dict.fromkeys([BEFORE, *STAGES], 3.0))
    assert len(kills) >= 3, kills
    assert hash_files(folder) == hash_files(small_run), kills


@pytest.mark.parametrize("name", ["dvc.lock", ".dvc/tmp/rwlock"])
def test_a_file_of_dvc_s_that_was_cut_off_is_deleted_and_nothing_runs_again(name, small_run, tmp_path):
    folder = copy_run(small_run, tmp_path / "project")
    text = (folder / name).read_text()
    (folder / name).write_text(text[: max(1, text.rfind(":") - 1)])  # within the last key, if there is one
    assert re.search(CUT_OFF[name], dvc(folder, "repro", ok=False))
    mend(folder, name)
    assert ran(dvc(folder, "repro")) == []
    assert hash_files(folder) == hash_files(small_run)


def test_an_entry_of_the_run_cache_that_was_cut_off_is_deleted_and_one_stage_runs_again(small_run, tmp_path):
    folder = copy_run(small_run, tmp_path / "project")
    runs = folder / ".dvc/cache/runs"
    (entry,) = [file for file in runs.glob("*/*/*") if "stages/report.py" in file.read_text()]
    entry.unlink()
    (folder / "dvc.lock").unlink()
    assert re.search(CUT_OFF[".dvc/cache/runs"], dvc(folder, "repro", ok=False))
    mend(folder, ".dvc/cache/runs")
    assert ran(dvc(folder, "repro")) == ["report"]
    assert hash_files(folder) == hash_files(small_run)
