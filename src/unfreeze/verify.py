"""Does the current commit give its own numbers again? `python -m unfreeze.verify`, or `make verify`.

Clones the commit into a temporary folder, runs all stages there from nothing, and compares every out with the hash
that the commit's dvc.lock has for it. Exit status: 0 if everything is identical, or if the metrics agree within
`verify.tolerance` on another CPU model than that of results/environment.json; else 1.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from unfreeze import paths
from unfreeze.console import UserError
from unfreeze.params import Number, Section, check, read_yaml
from unfreeze.runtime import cpu_model


class VerifyParams(Section):
    """`verify`: when two runs on different machines agree."""

    tolerance: Annotated[Number, Field(ge=0)]
    """Largest difference of any number in the metrics files."""


def compare(
    before: Mapping[str, Any], after: Mapping[str, Any], folders: tuple[Path, Path], tolerance: float
) -> list[tuple[str, str, str]]:
    """(stage, out, verdict) for every out of two dvc.lock contents: identical | within tolerance | different.

    Args:
        folders: where the metrics files (.json) of the two lie.
        tolerance: for the numbers in these files.
    """
    rows = []
    for stage, content in before.items():
        new = {out["path"]: out["md5"] for out in after.get(stage, {}).get("outs", [])}
        for out in content.get("outs", []):
            verdict = "identical"
            if new.get(out["path"]) != out["md5"]:
                verdict = "different"
                if out["path"].endswith("metrics.json") and out["path"] in new:
                    one, two = (json.loads((f / out["path"]).read_text(encoding="utf-8")) for f in folders)
                    gap = largest_difference(one, two)
                    verdict = f"{'within tolerance' if gap <= tolerance else 'different'} ({gap:.2g})"
            rows.append((stage, out["path"], verdict))
    return rows


def largest_difference(one: Any, two: Any) -> float:
    """Of two JSON values: the largest difference of numbers in the same places; else infinite."""
    if isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
        return max((largest_difference(one[key], two[key]) for key in one), default=0.0)
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        return max((largest_difference(a, b) for a, b in zip(one, two, strict=True)), default=0.0)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, two))
    return abs(one - two) if numbers else 0.0 if one == two else float("inf")


def verdict(rows: list[tuple[str, str, str]], same_cpu: bool) -> tuple[int, str]:
    """The exit status, and what it means in a sentence."""
    differing = [row for row in rows if row[2] != "identical"]
    if not differing:
        return 0, "Everything is identical, to the byte."
    first = f"The first differing stage is {differing[0][0]} ({differing[0][1]})."
    wrong = [row for row in differing if row[2].startswith("different") and row[1].endswith("metrics.json")]
    if same_cpu or wrong:
        return 1, f"NOT reproduced. {first}"
    return 0, f"The metrics agree within the tolerance, on another CPU model. {first}"


def _links(clone: Path, source: str) -> Iterator[tuple[Path, Path]]:
    """What the commit needs and does not hold: the archive, and weights of the user's."""
    wanted = [Path(source), *Path("weights").iterdir()] if Path("weights").is_dir() else [Path(source)]
    for path in wanted:
        if not path.is_absolute() and path.exists() and not (clone / path).exists():
            yield clone / path, path.resolve()


def run(folder: Path) -> tuple[int, str]:
    """Verify the repository at the current folder with the help of the empty `folder`; prints the table."""
    if subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True).stdout:
        raise UserError("there are uncommitted changes: verify looks at the commit; git commit (or stash) first")
    content = check(paths.PARAMS)
    committed = read_yaml(Path("dvc.lock"))["stages"]
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", ".", str(clone)], check=True)
    for link, target in _links(clone, content["extract"]["source"]):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(clone / "src")}
    if subprocess.run(["dvc", "repro"], cwd=clone, env=environment, check=False).returncode:
        raise UserError("dvc repro failed in the clone: what it says stands above")

    again = read_yaml(clone / "dvc.lock")["stages"]
    rows = compare(committed, again, (Path(), clone), VerifyParams(**content["verify"]).tolerance)
    print(f"\n{'stage':22}{'out':40}verdict")
    for stage, out, found in rows:
        print(f"{stage:22}{out:40}{found}")
    recorded = json.loads(paths.ENVIRONMENT.read_text(encoding="utf-8")) if paths.ENVIRONMENT.is_file() else {}
    return verdict(rows, same_cpu=recorded.get("cpu") == cpu_model())


def main() -> int:
    try:
        with tempfile.TemporaryDirectory(prefix="unfreeze-verify-") as folder:
            status, sentence = run(Path(folder))
    except UserError as error:
        print(f"verify: {error}", file=sys.stderr)
        return 2
    print(f"\n{sentence}")
    return status


if __name__ == "__main__":
    sys.exit(main())
