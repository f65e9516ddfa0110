"""Nothing is lost when the machine dies: random SIGKILLs of `dvc repro`, and then the same bytes as without them.

    python benchmarks/kill_test.py --kills 100

Clones the current commit into a temporary folder and runs it there once undisturbed, with the sample's params made
small, or with `--params`. Then come rounds. Each starts from no outs and an empty cache and kills `dvc repro` 1 to
8 times, at random moments of stages drawn evenly: dvc and stage together, the stage alone, or dvc alone, whose
stage must then end by itself. A last `dvc repro` of the round must succeed, and leave the same files as the
undisturbed run, dvc.lock and metrics included, and nothing else. Exit status: 0 if all rounds did, else 1.

DVC writes two files of its own in place, and a folder before the file in it. What a kill has cut off is mended as
README says, and counted.
"""

import argparse
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).parents[1]
SMALL = {
    "split": {"train": 12, "valid": 0.1, "test": 0.1, "folds": 3},
    "model": {"arch": "shufflenet_v2_x0_5"},
    "train_head": {"batch_size": 16},
    "finetune": {"cycles": 2, "cycle_len": 1, "cycle_mult": 1, "snapshots": 2, "batch_size": 16, "find_lr": 20},
    "tta": {"views": 1},
    "report": {"per_gallery": 2},
    "runtime": {"checkpoint_minutes": 0.01},
}
"""Every kind of training state, also within an epoch, in less than a minute."""
BEFORE = "before the first stage"
VICTIMS = ("dvc and stage", "stage", "dvc")
MOST = 8
"""Kills in a round."""
CUT_OFF = {
    "dvc.lock": r"dvc\.lock' (is invalid|validation failed)",
    ".dvc/tmp/rwlock": r"Unable to read RWLock-file|RWLock-file .* format error",
    ".dvc/cache/runs": r"join\(\) argument must be .* not 'NoneType'",
}
"""What DVC says of its own files when a kill came while it wrote them; of the run cache, when it came between an
entry's folder and its file."""
PATIENCE = 60
"""Seconds in which a stage whose dvc was killed must have ended."""


class Failed(Exception):
    """A round did not end as it should: the message says how."""


class CutOff(Exception):
    """DVC cannot read a file or a folder of its own, which the message names."""


class Run:
    """`dvc repro` in a process group of its own, which ends with the context."""

    def __init__(self, folder: Path) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "PYTHONPATH": str(folder / "src")}
        self.log = folder.with_suffix(".log")
        with self.log.open("w") as log:
            self.dvc = subprocess.Popen(
                ["dvc", "repro"], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: object) -> None:
        if self._group_lives():
            os.killpg(self.dvc.pid, signal.SIGKILL)
        self.dvc.wait()

    def stage(self) -> str:
        """The stage that it runs, or ran last."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("Running stage")]
        return lines[-1].split("'")[1] if lines else BEFORE

    def works(self) -> bool:
        """Whether it has not ended.

        Raises:
            CutOff, Failed: it has, with an error.
        """
        status = self.dvc.poll()
        if status:
            said = self.log.read_text()
            for name, pattern in CUT_OFF.items():
                if re.search(pattern, said):
                    raise CutOff(name)
            raise Failed(f"dvc repro failed although nobody had killed it:\n{said[-3000:]}")
        return status is None

    def kill(self, victim: str) -> str:
        """Kill one of VICTIMS and wait until all have ended; the victim that it was. Between two stages that is
        never the stage alone, for there is none.

        Raises:
            Failed: something still runs PATIENCE seconds later.
        """
        stage = self._find_stage() if victim == "stage" else None
        if stage:
            with suppress(psutil.NoSuchProcess):  # it has just ended by itself
                stage.kill()
        elif victim == "dvc":
            self.dvc.kill()
        else:
            victim = "dvc and stage"
            os.killpg(self.dvc.pid, signal.SIGKILL)
        self.dvc.wait()
        deadline = time.monotonic() + PATIENCE
        while self._group_lives():
            if time.monotonic() > deadline:
                raise Failed(f"{self.stage()} still runs {PATIENCE} s after a kill of {victim}")
            time.sleep(0.05)
        return victim

    def _find_stage(self) -> psutil.Process | None:
        """The process of the stage, whether a shell started it or dvc itself; None between two stages."""
        for process in psutil.Process(self.dvc.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if any(part.startswith("stages/") for part in process.cmdline()[1:]):
                    return process
        return None

    def _group_lives(self) -> bool:
        try:
            os.killpg(self.dvc.pid, 0)
        except ProcessLookupError:
            return False
        return True


def prepare(folder: Path, params: Path | None) -> None:
    """A clone of the current commit in `folder`, with the params committed and no dvc.lock."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    content = yaml.safe_load((params or folder / "params.yaml").read_text(encoding="utf-8"))
    if params is None:
        for section, values in SMALL.items():
            content[section] |= values
    content["extract"]["source"] = str((ROOT / content["extract"]["source"]).resolve())
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (folder / "dvc.lock").unlink(missing_ok=True)
    author = ["-c", "user.name=kill test", "-c", "user.email=kill.test@localhost"]
    subprocess.run(["git", *author, "commit", "-qam", "what the kill test runs"], cwd=folder, check=True)


def run_undisturbed(folder: Path) -> dict[str, float]:
    """Run everything once; the seconds that each stage took, what dvc did around it included."""
    began: dict[str, float] = {}
    with Run(folder) as run:
        while run.works():
            began.setdefault(run.stage(), time.monotonic())
            time.sleep(0.02)
    ends = [*list(began.values())[1:], time.monotonic()]
    return {stage: end - start for (stage, start), end in zip(began.items(), ends, strict=True)}


def hash_files(folder: Path) -> dict[str, str]:
    """The hash of every file that a run left."""
    made = [file for name in ("data", "models", "results", ".checkpoints") for file in (folder / name).rglob("*")]
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (folder / "dvc.lock", *made)
        if file.is_file()
    }


def mend(folder: Path, name: str) -> None:
    """Do what README says about one of CUT_OFF: delete the file, or the empty folders in the run cache.

    Raises:
        Failed: there is no empty folder, so that DVC's error has another cause.
    """
    path = folder / name
    if path.is_file():
        path.unlink()
    else:
        empty = ["find", str(path), "-type", "d", "-empty", "-print", "-delete"]
        if not subprocess.run(empty, check=True, capture_output=True).stdout:
            raise Failed(f"dvc repro failed, but no folder of {path} is empty")


def kill_once(run: Run, draw: random.Random, place: int, seconds: dict[str, float]) -> tuple[str, str] | None:
    """Kill `run` at a moment of the stage number `place`, or of the next one that runs; the stage and the victim.
    None: it ended before."""
    order = list(seconds)
    while run.works() and order.index(run.stage()) < place:
        time.sleep(0.02)
    moment = time.monotonic() + draw.random() * seconds[run.stage()]
    while run.works() and time.monotonic() < moment:
        time.sleep(0.005)
    return (run.stage(), run.kill(draw.choice(VICTIMS))) if run.works() else None


def run_disturbed(folder: Path, draw: random.Random, count: int, seconds: dict[str, float]) -> tuple[list, list]:
    """One round of `count` kills, or fewer if it ends before: the stage and the victim of each, and the files that
    were cut off.

    Args:
        seconds: of each stage, as `run_undisturbed` gives them.
    """
    for command in ("git clean -xdfq", "git checkout -q ."):
        subprocess.run(command.split(), cwd=folder, check=True)
    # A stage is over once it is over: what comes later in the pipeline is killed later.
    places = sorted(draw.choices(range(len(seconds)), k=count))
    kills, cut_off, over = [], [], False
    while not over:
        with Run(folder) as run:
            try:
                if places and (killed := kill_once(run, draw, places.pop(0), seconds)):
                    kills.append(killed)
                    continue
                while run.works():
                    time.sleep(0.05)
                over = True
            except CutOff as name:
                cut_off.append(str(name))
                mend(folder, str(name))
    return kills, cut_off


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--params", type=Path, help="a params file; the sample's, made small")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and the victims (1)")
    args = parser.parse_args()
    draw, counted, cut_off, rounds, failures = random.Random(args.seed), Counter(), Counter(), 0, 0
    with tempfile.TemporaryDirectory(prefix="unfreeze-kill-") as temporary:
        folder = Path(temporary, "clone")
        prepare(folder, args.params)
        seconds = run_undisturbed(folder)
        wanted = hash_files(folder)
        print(f"undisturbed: {len(wanted)} files in {sum(seconds.values()):.0f} s", flush=True)
        while counted.total() < args.kills and failures < 5:
            rounds += 1
            try:
                count = min(draw.randint(1, MOST), args.kills - counted.total())
                kills, names = run_disturbed(folder, draw, count, seconds)
                counted.update(kills)
                cut_off.update(names)
                files = hash_files(folder)
                if different := sorted(k for k in wanted | files if wanted.get(k) != files.get(k)):
                    raise Failed(f"not the same: {', '.join(different)}, after {kills}")
            except Failed as error:
                failures += 1
                print(f"round {rounds}: {error}", flush=True)
            else:
                print(f"round {rounds}: the same after {len(kills)} kills", flush=True)
    print(f"\n{'killed in':24}" + "".join(f"{victim:>16}" for victim in VICTIMS))
    for stage in seconds:
        print(f"{stage:24}" + "".join(f"{counted[stage, victim]:16}" for victim in VICTIMS))
    same = f"{rounds - failures} of {rounds} rounds ended with the same {len(wanted)} files"
    print(f"\n{counted.total()} kills; {same}.")
    for name in CUT_OFF:
        print(f"{name} was cut off and mended {cut_off[name]} times.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
