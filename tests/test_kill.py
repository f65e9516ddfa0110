"""A run that is killed five times leaves what one leaves that is not: `make kill-test`, for one round."""

import random

from small_project import STAGES, copy_run, git

from benchmarks.kill_test import BEFORE, disturbed, left


def test_a_run_that_is_killed_again_and_again_ends_the_same(small_run, tmp_path):
    folder = copy_run(small_run, tmp_path / "project")
    git(folder, "add", ".")
    git(folder, "add", "--force", "data/raw/cut.7z")
    git(folder, "rm", "-q", "--cached", "dvc.lock")
    git(folder, "commit", "-qm", "what is killed")
    kills, _ = disturbed(folder, random.Random(14), 5, dict.fromkeys([BEFORE, *STAGES], 3.0))
    assert len(kills) >= 3, kills
    assert left(folder) == left(small_run), kills
