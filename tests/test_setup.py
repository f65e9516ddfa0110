"""What `make` needs before it installs anything, on a PATH of a test's own."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUB = '#!/bin/bash\necho "version manager: not found" >&2\nexit 127\n'
PYTHON = f"""#!/bin/bash
if [ "$1" = -c ]; then exec {sys.executable} "$@"; fi
echo "${{0##*/}} was taken for $*"
exit 1
"""
"""A Python that runs, and says so instead of making an environment."""


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with the files that the set-up reads, and a PATH in `bin` on which nothing is but shell tools."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (tmp_path / "bin").mkdir()
    for name in ("bash", "sh", "awk", "df", "make"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    return folder


def add_program(folder: Path, name: str, script: str = "#!/bin/bash\n") -> None:
    program = folder.parent / "bin" / name
    program.write_text(script)
    program.chmod(0o755)


def setup(folder: Path, *variables: str) -> str:
    """What `make setup` says; it must stop before it makes anything."""
    before = sorted(folder.iterdir())
    command = ["make", "setup", "NEEDED_GB=0", *variables]
    environment = {"PATH": str(folder.parent / "bin")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and sorted(folder.iterdir()) == before
    return done.stdout


def test_without_git_or_a_repository_one_line_says_so(folder):
    add_program(folder, "python3", PYTHON)
    [line] = setup(folder).splitlines()
    assert "needs git" in line
    add_program(folder, "git")
    [line] = setup(folder).splitlines()
    assert ".git" in line and "git clone" in line
    (folder / ".git").mkdir()
    assert "was taken for -m venv" in setup(folder)


def test_a_python_that_does_not_run_is_passed_over(folder):
    add_program(folder, "git")
    (folder / ".git").mkdir()
    add_program(folder, "python3.11", STUB)
    add_program(folder, "python3", STUB)
    [line] = setup(folder).splitlines()
    assert "Python 3.11 or newer, which python3 is not" in line and "PYTHON=" in line
    add_program(folder, "python3.12", PYTHON)
    assert "python3.12 was taken for -m venv" in setup(folder)


def test_the_two_targets_run_every_test_once_and_ci_runs_both():
    makefile = (ROOT / "Makefile").read_text()
    assert re.findall(r"\$\(PYTEST\) -m (.+) \$\(ARGS\)", makefile) == ['"not slow"', "slow"]
    assert re.findall(r"^make .*", (ROOT / ".ci/run").read_text(), re.M) == ["make test", "make test-slow"]


def test_a_python_that_is_named_is_taken(folder):
    add_program(folder, "git")
    (folder / ".git").mkdir()
    add_program(folder, "python3.11", PYTHON)
    add_program(folder, "mine", PYTHON)
    assert "mine was taken for -m venv" in setup(folder, "PYTHON=mine")
