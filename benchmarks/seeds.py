"""A recipe over several seeds, through the real pipeline: mean and range of the metrics, and minutes.

    python -m benchmarks.seeds recipes/photos.yaml photos.7z --seeds 5 --set model.weights=mobilenet_v2.pth

Runs `dvc repro` once for each seed in a clone of the current commit, which it removes afterwards.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).parents[1]


def run(folder: Path, params: dict[str, Any], target: str | None) -> dict[str, dict[str, Any]]:
    """`dvc repro` with these params; the metrics of the head and of the evaluation by split and method."""
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(folder / "src")}
    command = ["dvc", "repro", *([target] if target else [])]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=sys.stderr)
    head = json.loads((folder / "results/train_head/details.json").read_text(encoding="utf-8"))
    metrics = {}
    if "cross_validation" in head:
        folds = head["cross_validation"]
        metrics["head, folds"] = {key: value["mean"] for key, value in folds.items() if isinstance(value, dict)}
    if target is None:
        evaluated = json.loads((folder / "results/evaluate/details.json").read_text(encoding="utf-8"))
        metrics |= {f"{part}, {way}": numbers for part, ways in evaluated.items() for way, numbers in ways.items()}
    return metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="model.image_size=160")
    parser.add_argument("--target", help="the last stage to run, such as train-head; all of them")
    args = parser.parse_args()
    params = yaml.safe_load(args.recipe.read_text(encoding="utf-8"))
    params["extract"]["source"] = str(args.archive.resolve())
    for change in args.set:
        key, value = change.split("=", 1)
        section, name = key.split(".")
        params[section][name] = yaml.safe_load(value)

    runs, minutes = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "unfreeze")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        for seed in range(1, args.seeds + 1):
            started = time.perf_counter()
            runs.append(run(folder, params | {"seed": seed}, args.target))
            minutes.append((time.perf_counter() - started) / 60)
    print(f"{args.recipe}, {args.archive.name}, {args.seeds} seeds: mean [lowest .. highest]")
    for method in runs[0]:
        for key in ("accuracy", "top5", "log_loss", "f2", "map"):
            if key in runs[0][method]:
                values = np.array([run[method][key] for run in runs])
                print(f"{method:18}{key:10}{values.mean():.4f} [{values.min():.4f} .. {values.max():.4f}]")
    print(f"{np.median(minutes):.1f} minutes a seed")


if __name__ == "__main__":
    main()
