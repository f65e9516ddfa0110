"""Where the time of a whole `dvc repro` goes: by stage, for imports, and for DVC.

    python -m benchmarks.stages                 # the sample
    python -m benchmarks.stages --archive photos.7z --recipe recipes/photos.yaml --set model.weights=a.pth
    python -m benchmarks.stages --profile       # and what each stage does with it

Everything runs in a copy of the project, with no cache. An import counts from where it is asked for, with all that
it pulls in. CPU-seconds are those of the process and of its workers. What `dvc repro` takes beyond its stages is
DVC's: it starts, hashes, copies to its cache and writes the lock file.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.project import ROOT, STAGES, copy_project

# Runs a script and writes down, at its end, what the process took, and what each outermost import took of it.
WRAPPER = """
import builtins, cProfile, importlib, json, os, pstats, runpy, sys, time
script, out, profiled = sys.argv[1], sys.argv[2], sys.argv[3] == "profile"
spent, depth, plain, by_name = {}, 0, builtins.__import__, importlib.import_module

def cpu():
    return sum(os.times()[:4])

def timed(load):
    def wrapped(name, *rest, **more):
        global depth
        before, depth = time.process_time(), depth + 1
        try:
            return load(name, *rest, **more)
        finally:
            depth -= 1
            if not depth:
                spent[name] = spent.get(name, 0) + time.process_time() - before
    return wrapped

started, profile = time.perf_counter(), cProfile.Profile()
builtins.__import__, importlib.import_module = timed(plain), timed(by_name)
try:
    sys.path[0] = "stages"
    sys.argv = [script]
    if profiled:
        profile.enable()
    runpy.run_path(script, run_name="__main__")
finally:
    builtins.__import__ = plain
    profile.disable()
    took = {"seconds": time.perf_counter() - started, "cpu": cpu(), "imports": spent}
    if profiled:
        calls = [(each[2], each[1], *where) for where, each in pstats.Stats(profile).stats.items()]
        took["calls"] = sorted(calls, reverse=True)[:12]
    with open(out, "w") as file:
        json.dump(took, file)
"""


def prepare(folder: Path, archive: Path, recipe: Path, changes: dict, profile: bool) -> None:
    """A copy of the project whose stages note what they take in times/."""
    copy_project(folder, changes, recipe)
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    params["extract"]["source"] = str(archive.resolve())
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (folder / "times").mkdir()
    (folder / "wrapper.py").write_text(WRAPPER, encoding="utf-8")
    pipeline = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))
    for name, stage in pipeline["stages"].items():
        how = "profile" if profile else "plain"
        stage["cmd"] = f"python wrapper.py {STAGES[name]} times/{name}.json {how}"
    (folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "compileall", "-q", "src"], cwd=folder, check=True)
    subprocess.run(["dvc", "init", "-q"], cwd=folder, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, default=ROOT / "data/raw/digits.7z")
    parser.add_argument("--recipe", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="params that differ from it")
    parser.add_argument("--profile", action="store_true", help="list the dearest calls of each stage")
    args = parser.parse_args()
    changes = {key: yaml.safe_load(value) for key, _, value in (each.partition("=") for each in args.set)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, args.archive, args.recipe, changes, args.profile)
        started = time.perf_counter()
        environment = os.environ | {"PYTHONPATH": str(folder / "src")}
        subprocess.run(["dvc", "repro"], cwd=folder, env=environment, check=True, stdout=sys.stderr)
        seconds = time.perf_counter() - started
        times = {name: json.loads((folder / "times" / f"{name}.json").read_text()) for name in STAGES}
    print("| stage | seconds | CPU-seconds | of imports | the dearest imports |")
    print("|---|--:|--:|--:|---|")
    for name, took in times.items():
        dearest = sorted(took["imports"].items(), key=lambda item: -item[1])[:3]
        listed = ", ".join(f"{module} {spent:.1f}" for module, spent in dearest if spent >= 0.05)
        spent = sum(took["imports"].values())
        print(f"| {name} | {took['seconds']:.1f} | {took['cpu']:.1f} | {spent:.1f} | {listed} |")
    stages, cpu = (sum(took[key] for took in times.values()) for key in ("seconds", "cpu"))
    imports = sum(sum(took["imports"].values()) for took in times.values())
    print(
        f"| all stages | {stages:.1f} | {cpu:.1f} | {imports:.1f} | {100 * imports / seconds:.0f}% of the time |"
    )
    print(f"| DVC | {seconds - stages:.1f} | | | {100 * (1 - stages / seconds):.0f}% of the time |")
    print(f"| all | {seconds:.1f} | | | |")
    for name, took in times.items():
        for own, count, file, line, function in took.get("calls", ()):
            where = f"{'/'.join(Path(file).parts[-2:])}:{line} " if line else ""
            print(f"{name:21}{own:8.2f} s {count:9,} x {where}{function}")


if __name__ == "__main__":
    main()
