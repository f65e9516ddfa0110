"""What the contenders of `benchmarks.speed` share: each runs one task in its own process and prints what it took.

python -m benchmarks.ours tta --data folder --arch resnet18 --weights none ...
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HEAD_EPOCHS = 5
VIEWS = 4
FINDER_STEPS = 100


def run(tasks: dict[str, Callable[[argparse.Namespace], dict[str, Any]]]) -> None:
    """Run the task that the command line names; the last line of the output is its result as JSON, with the
    highest memory of this process and of the largest of its workers, or of a GPU, in MB."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=tasks)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with photos/, extracted.tar, extracted.csv"
    )
    parser.add_argument("--arch", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True, help="unfrozen ones")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--precision", choices=["32", "bf16"], default="32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--train-bn", action="store_true", help="the frozen body's BatchNorm trains, as by default in fastai"
    )
    args = parser.parse_args()
    result = tasks[args.task](args)
    if args.device == "cuda" and "torch" in sys.modules:
        import torch

        result["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
    else:
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        result["peak_mb"] = sum(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024
    print(json.dumps(result))


def wake(device: str) -> None:
    """Load what a GPU computes convolutions with, which takes a second the first time: it counts as an import."""
    if device == "cuda":
        import torch

        for dtype in (torch.float32, torch.bfloat16):
            layer = torch.nn.Conv2d(3, 8, 3).to(device, dtype)
            layer(torch.ones(1, 3, 8, 8, device=device, dtype=dtype)).sum().backward()
        torch.cuda.synchronize()


@contextmanager
def timed(result: dict[str, Any], name: str):
    """Note under `name` the seconds that the block takes."""
    started = time.perf_counter()
    yield
    result[name] = time.perf_counter() - started
