"""The outs in the working tree are links to DVC's cache: no stage may write into one."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_project import SMALL, STAGES, copy_run, dvc, ran, set_params

from benchmarks.kill_test import hash_files

pytestmark = pytest.mark.slow
OTHER = SMALL | {
    "decode__image_size": 34, "split__seed": 2, "precompute__views": 1, "find_lr__steps": 20,
    "train_head__lr": 0.1, "finetune__frozen_cycles": 0, "finetune__cycles": 1, "finetune__snapshots": 1,
    "tta__views": 1,
}  # fmt: skip
"""Every stage makes something else of them, and less of it."""


def hash_outs(folder: Path) -> dict[str, str]:
    return {name: value for name, value in hash_files(folder).items() if name != "results/environment.json"}


def find_damaged(cache: Path) -> list[Path]:
    """The cached files that are no longer what their names say."""
    files = [file for file in (cache / "files/md5").glob("??/*") if file.is_file()]
    assert len(files) > len(STAGES)
    return [
        file
        for file in files
        if hashlib.md5(file.read_bytes()).hexdigest() != file.parent.name + file.name.removesuffix(".dir")
    ]


@pytest.mark.parametrize("kind", ["hardlink", "symlink"])
def test_stages_that_run_again_by_hand_leave_the_cache_intact(small_run, tmp_path, kind):
    project = copy_run(small_run, tmp_path / "project")
    dvc(project, "config", "--local", "cache.type", kind)
    dvc(project, "checkout", "--relink")
    model = project / "models/model.safetensors"
    assert model.is_symlink() if kind == "symlink" else model.stat().st_nlink == 2

    set_params(project, **OTHER)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for stage in STAGES.values():
        done = subprocess.run(
            stage["cmd"], shell=True, cwd=project, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert hash_outs(project) != hash_outs(small_run)
    assert find_damaged(project / ".dvc/cache") == []

    set_params(project, **SMALL)
    dvc(project, "checkout", "--force")
    assert ran(dvc(project, "repro")) == []
    assert hash_outs(project) == hash_outs(small_run)


def test_what_stages_made_lies_on_disk_once(small_run):
    """Files in folders, too: DVC takes a copy of them for a link if `reflink` stands first in cache.type."""
    stages = yaml.safe_load((small_run / "dvc.yaml").read_text())["stages"].values()
    outs = [small_run / out for stage in stages for out in stage["outs"]]
    files = [file for out in outs for file in (out.rglob("*") if out.is_dir() else [out]) if file.is_file()]
    assert len(files) > len(STAGES)
    twice = [str(file) for file in files if file.stat().st_size > 0 and file.stat().st_nlink == 1]
    assert twice == []  # on a file system with reflinks this could not be told


def test_a_stage_that_dvc_runs_again_leaves_the_cache_intact(small_run, tmp_path):
    project = copy_run(small_run, tmp_path / "project")
    dvc(project, "config", "--local", "cache.type", "hardlink")
    dvc(project, "checkout", "--relink")
    set_params(project, **OTHER)
    assert ran(dvc(project, "repro", "split")) == ["decode", "split"]
    assert find_damaged(project / ".dvc/cache") == []
    set_params(project, **SMALL)
    assert ran(dvc(project, "repro")) == []
    assert hash_outs(project) == hash_outs(small_run)
