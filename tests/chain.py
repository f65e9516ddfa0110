"""All stages one after the other in this process: cheaper than `dvc repro`, because nothing is imported twice."""

import os
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml

from unfreeze.core import tables

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def run_stages(folder: Path, changes: dict[str, dict[str, Any]], base: str = "params.yaml") -> dict[str, str]:
    """Run them in `folder` with the params of `base` and `changes` to its sections; what each stage said."""
    params = yaml.safe_load((ROOT / base).read_text())
    for section, values in changes.items():
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *author, "commit", "-q", "--allow-empty", "-m", "start"], cwd=folder, check=True)
    # A strict run asks for AVX2 by the environment, which would slow down whatever a later test starts.
    with pytest.MonkeyPatch.context() as changed, patch.dict(os.environ):
        changed.chdir(folder)
        return {
            name: runpy.run_path(str(ROOT / stage["cmd"].split()[-1]))["main"]() for name, stage in STAGES.items()
        }


def read_rows(path: Path) -> list[dict[str, str]]:
    """The lines of a table, each as a dictionary from heading to text."""
    return tables.read(path).to_dict("records")
