"""What the stages pay for imports, in CPU-seconds: each in a process of its own, on 60 digits.

    python -m benchmarks.imports

An import counts from where it is asked for, with all that it pulls in; the dearest are listed by stage.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.project import STAGES, copy_project, start

# Runs a script and writes down, at its end, the CPU time of the whole process and of each outermost import.
WRAPPER = """
import builtins, importlib, json, runpy, sys, time
spent, depth, plain, by_name = {}, 0, builtins.__import__, importlib.import_module

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

builtins.__import__, importlib.import_module = timed(plain), timed(by_name)
script, out = sys.argv[1:]
try:
    sys.path[0] = "stages"
    runpy.run_path(script, run_name="__main__")
finally:
    builtins.__import__ = plain
    with open(out, "w") as file:
        json.dump({"total": time.process_time(), "imports": spent, "modules": len(sys.modules)}, file)
"""
SMALL = {
    "extract.source": "digits.tar",
    "train_head.cycles": 1,
    "finetune.cycles": 1,
    "train_head.cycle_mult": 1,
    "finetune.cycle_len": 1,
    "finetune.cycle_mult": 1,
    "tta.views": 1,
}


def write_digits(folder: Path, each: int = 6) -> None:
    """An archive of `each` images of the sample's ten digits."""
    import tarfile

    from PIL import Image

    from unfreeze.data.sample import digits

    with tarfile.open(folder / "digits.tar", "w") as archive:
        for name, pixels in digits().items():
            if int(name[-8:-4]) < 10 * each:
                Image.fromarray(pixels).save(folder / "digit.png")
                archive.add(folder / "digit.png", name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--least", type=float, default=0.05, help="CPU-seconds from which on an import is listed")
    args = parser.parse_args()
    runs: dict[str, list[dict]] = {name: [] for name in STAGES}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_project(folder, SMALL)
        write_digits(folder)
        for _ in range(args.rounds + 1):  # the first one compiles the modules
            for name, script in STAGES.items():
                if start(folder, "-c", WRAPPER, script, "found.json").wait():
                    raise SystemExit(f"{name} failed")
                runs[name].append(json.loads((folder / "found.json").read_text()))
    print(f"median CPU-seconds of {args.rounds} runs; {os.cpu_count()} cores")
    print(f"{'stage':21}{'process':>8}{'imports':>8}{'modules':>8}  the dearest")
    totals = np.zeros(2)
    for name, each in runs.items():
        each = each[1:]
        imports = {key: np.median([run["imports"].get(key, 0) for run in each]) for key in each[0]["imports"]}
        process, spent = (np.median([run["total"] for run in each]), sum(imports.values()))
        totals += process, spent
        dear = sorted((key for key in imports if imports[key] >= args.least), key=lambda key: -imports[key])
        listed = ", ".join(f"{key} {imports[key]:.2f}" for key in dear)
        print(f"{name:21}{process:8.2f}{spent:8.2f}{each[0]['modules']:8}  {listed}")
    print(f"{'all':21}{totals[0]:8.2f}{totals[1]:8.2f}")


if __name__ == "__main__":
    main()
