"""Does the current commit give its own numbers again? `unfreeze verify`, or `make verify`.

Clones the commit into a temporary folder, runs all stages there from nothing, and compares every out with the hash
that the commit's dvc.lock has for it. Exit status: 0 if everything is identical, or if the metrics agree within
`verify.tolerance` on another CPU model than that of results/environment.json; else 1.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from unfreeze.core import paths
from unfreeze.core.console import UserError
from unfreeze.core.metrics import DETAILS, METRICS
from unfreeze.core.params import Number, Section, check, read_yaml
from unfreeze.device.runtime import cpu_model
from unfreeze.train.environment import read_environment


class VerifyParams(Section):
    """`verify`: when two runs on different machines agree."""

    tolerance: Annotated[Number, Field(ge=0)]
    """Largest difference of any number in the metrics files."""


class OutVerdict(NamedTuple):
    """How an out of the commit compares with the same out of the new run."""

    stage: str
    out: str
    verdict: str
    """`identical`, `within tolerance` or `different`, of numbers with the largest difference in brackets; or
    `not compared` where the commit's numbers are not in the workspace."""


def compare_outs(
    before: Mapping[str, Any], after: Mapping[str, Any], folders: tuple[Path, Path], tolerance: float
) -> list[OutVerdict]:
    """Compare every out in the stages of two dvc.lock files.

    Args:
        folders: where metrics.json and details.json of the two lie.
        tolerance: for the numbers in these files.
    """
    rows = []
    for stage, content in before.items():
        new = {out["path"]: out["md5"] for out in after.get(stage, {}).get("outs", [])}
        for out in content.get("outs", []):
            verdict = "identical"
            if new.get(out["path"]) != out["md5"]:
                verdict = "different"
                if _holds_numbers(out["path"]) and out["path"] in new:
                    verdict = _compare_numbers([folder / out["path"] for folder in folders], tolerance)
            rows.append(OutVerdict(stage=stage, out=out["path"], verdict=verdict))
    return rows


def _compare_numbers(files: Sequence[Path], tolerance: float) -> str:
    if missing := [file for file in files if not file.is_file()]:  # details.json is not in git
        return f"not compared: {missing[0]} is not here"
    gap = measure_difference(*(json.loads(file.read_text(encoding="utf-8")) for file in files))
    return f"{'within tolerance' if gap <= tolerance else 'different'} ({gap:.2g})"


def _holds_numbers(out: str) -> bool:
    """Tell whether an out is compared by its numbers where its hash differs."""
    return Path(out).name in (METRICS, DETAILS)


def measure_difference(one: Any, two: Any) -> float:
    """Return the largest difference of numbers in the same places of two JSON values; infinite if more differs."""
    if isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
        return max((measure_difference(one[key], two[key]) for key in one), default=0.0)
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        return max((measure_difference(a, b) for a, b in zip(one, two, strict=True)), default=0.0)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, two))
    return abs(one - two) if numbers else 0.0 if one == two else float("inf")


def judge(rows: list[OutVerdict], same_cpu: bool) -> tuple[int, str]:
    """Return the exit status, and what it means in a sentence."""
    differing = [row for row in rows if row.verdict != "identical"]
    if not differing:
        return 0, "Everything is identical, to the byte."
    first = f"The first differing stage is {differing[0].stage} ({differing[0].out})."
    wrong = [row for row in differing if row.verdict.startswith("different") and _holds_numbers(row.out)]
    if same_cpu or wrong:
        return 1, f"NOT reproduced. {first}"
    return 0, f"The metrics agree within the tolerance, on another CPU model. {first}"


def _list_links(clone: Path, source: str) -> Iterator[tuple[Path, Path]]:
    """Yield (link, target) for what the commit needs and does not hold: the archive, and weights of the user's."""
    needed = [Path(source), *Path("weights").iterdir()] if Path("weights").is_dir() else [Path(source)]
    for path in needed:
        if not path.is_absolute() and path.exists() and not (clone / path).exists():
            yield clone / path, path.resolve()


def verify_commit(folder: Path) -> tuple[int, str]:
    """Verify the commit of the current folder in a clone below the empty `folder`, and print the table.

    Returns:
        As `judge`.

    Raises:
        UserError: there are uncommitted changes, or a stage failed.
    """
    if subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True).stdout:
        raise UserError("there are uncommitted changes: verify looks at the commit; git commit (or stash) first")
    content = check(paths.PARAMS)
    committed = read_yaml(Path("dvc.lock"))["stages"]
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", ".", str(clone)], check=True)
    for link, target in _list_links(clone, content["extract"]["source"]):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    if subprocess.run(["dvc", "repro"], cwd=clone, check=False).returncode:
        raise UserError("dvc repro failed in the clone: what it says stands above")

    again = read_yaml(clone / "dvc.lock")["stages"]
    rows = compare_outs(committed, again, (Path(), clone), VerifyParams(**content["verify"]).tolerance)
    print(f"\n{'stage':22}{'out':40}verdict")
    for row in rows:
        print(f"{row.stage:22}{row.out:40}{row.verdict}")
    return judge(rows, same_cpu=_read_cpu(committed) == cpu_model())


def _read_cpu(committed: Mapping[str, Any]) -> str | None:
    """Return the CPU that trained the model of dvc.lock; None if results/environment.json is of another model."""
    outs = (out for stage in committed.values() for out in stage.get("outs", []))
    model_md5 = next((out["md5"] for out in outs if out["path"] == str(paths.MODEL)), "")
    recorded = read_environment(paths.ENVIRONMENT, model_md5)
    return recorded["cpu"] if recorded else None
