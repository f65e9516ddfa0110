"""The project in a folder of its own, whose stages benchmarks run one by one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
STAGES = {
    name: stage["cmd"].split()[-1]
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].items()
}
"""The script of each stage, in the order in which they run."""


def copy_project(folder: Path, changes: dict[str, Any], recipe: Path = ROOT / "params.yaml") -> None:
    """Copy what stages need into `folder`, with the params of `recipe` but for `changes` (path -> value)."""
    for name in ("src", "stages", "recipes", "weights"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )
    shutil.copy(ROOT / "dvc.yaml", folder)
    params = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    for path, value in changes.items():
        section, key = path.split(".")
        params[section][key] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    # DVCLive wants a repository with a commit.
    author = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
    for command in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "start"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """Start Python with these arguments in `folder`, with the code there; its standard output is thrown away."""
    environment = os.environ | {"PYTHONPATH": "src"}
    return subprocess.Popen([sys.executable, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL)
