"""A small copy of the project to run for real: a cut of the sample, and params that take little time."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import py7zr
import yaml

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def copy_project(folder: Path) -> None:
    """The project as git sees it, without what it made, in a repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if not name.startswith(("results/", "dvc.lock")) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "-q")
    git(folder, "config", "user.name", "test")
    git(folder, "config", "user.email", "test@localhost")
    git(folder, "commit", "-q", "--allow-empty", "-m", "start")


def set_params(folder: Path, base: str = "params.yaml", **changes) -> None:
    content = yaml.safe_load((ROOT / base).read_text())
    for path, value in changes.items():
        section, key = path.split("__")
        content[section][key] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(content))


def git(folder: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, text=True).stdout


def dvc(folder: Path, *args: str, ok: bool = True) -> str:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["dvc", *args], cwd=folder, env=environment, capture_output=True, text=True)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


def ran(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


SMALL = {
    "extract__source": "data/raw/cut.7z",
    "train_head__batch_size": 16,
    "finetune__cycles": 2,
    "finetune__snapshots": 2,
    "finetune__cycle_len": 1,
    "finetune__cycle_mult": 1,
    "split__folds": 3,
    "tta__views": 2,
    "report__per_gallery": 2,
}


def run_small(folder: Path) -> None:
    """The whole chain in `folder` on 30 digits of each class; what dvc says is in output.txt."""
    copy_project(folder)
    with py7zr.SevenZipFile(ROOT / "data/raw/digits.7z") as archive:
        names = sorted(name for name in archive.getnames() if name.endswith(".png"))
        chosen = [name for i, name in enumerate(names) if i % 6 == 0]
        archive.extract(folder / "cut", targets=chosen)
    with py7zr.SevenZipFile(folder / "data/raw/cut.7z", "w") as archive:
        for name in chosen:
            archive.write(folder / "cut" / name, name)
    shutil.rmtree(folder / "cut")
    set_params(folder, **SMALL)
    (folder / "output.txt").write_text(dvc(folder, "repro"))


def copy_run(run: Path, folder: Path) -> Path:
    """A copy of what `run_small` left, in the empty `folder`, with a cache of its own."""
    return Path(shutil.copytree(run, folder, symlinks=True, dirs_exist_ok=True))
