"""Seconds and memory of every stage from 10,000 to 1,000,000 images, by the real scripts.

    make scale                                   # or: python -m benchmarks.scale --images 10000 100000

The images are made: 8 x 8 pixels, ten classes, stored at 16 x 16, given to the stages as what `extract` would have
written. 10% of them train in one epoch each of the head (and of its 2 folds) and of the unfrozen network; 85% are
tested with one augmented view, and reported on. Memory is the largest anonymous memory (RssAnon) of the stage's
process: the pages of files that it reads, such as the arrays, are the system's to take back and do not count.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.project import STAGES, copy_project, start

PARAMS = {
    "decode.size": 16,
    "split.valid": 0.05,
    "split.test": 0.85,
    "split.folds": 2,
    "model.size": 16,
    "train_head.cycles": 1,
    "train_head.cycle_mult": 1,
    "train_head.batch_size": 256,
    "finetune.frozen_cycles": 0,
    "finetune.cycles": 1,
    "finetune.cycle_len": 1,
    "finetune.cycle_mult": 1,
    "finetune.batch_size": 256,
    "tta.views": 1,
    "runtime.strict": False,
    "runtime.threads": "auto",
}
CLASSES, SIDE = 10, 8
BLOCK = 10_000


def write_extracted(folder: Path, count: int) -> None:
    """data/extracted.tar and .csv of `count` different BMP files."""
    import tarfile

    rng = np.random.default_rng(0)
    patterns = rng.uniform(60, 195, (CLASSES, SIDE, SIDE, 3))
    size = 54 + SIDE * SIDE * 3
    header = b"BM" + np.array([size, 0, 54, 40, SIDE, SIDE, 1 | 24 << 16, *[0] * 6], "<i4").tobytes()
    (folder / "data").mkdir()
    offset = 0
    with (folder / "data/extracted.tar").open("wb") as tar, (folder / "data/extracted.csv").open("w") as index:
        index.write("path,offset,size,sha256\n")
        for first in range(0, count, BLOCK):
            numbers = np.arange(first, min(first + BLOCK, count))
            made = patterns[numbers * CLASSES // count] + rng.normal(0, 40, (len(numbers), SIDE, SIDE, 3))
            pixels = made.clip(0, 255).astype(np.uint8)
            for number, image in zip(numbers.tolist(), pixels, strict=True):
                member = tarfile.TarInfo(f"images/class {number * CLASSES // count}/{number:07}.bmp")
                member.size = size
                tar.write(member.tobuf() + (header + image.tobytes()).ljust(512, b"\0"))
                index.write(f"{member.name},{offset + 512},{size},-\n")
                offset += 1024
        tar.write(bytes(1024))


def measure(folder: Path, script: str) -> tuple[float, float]:
    """Seconds and MB of one stage."""
    started, peak = time.perf_counter(), 0
    process = start(folder, script)
    status = Path("/proc", str(process.pid), "status")
    while process.poll() is None:
        # A process that has just ended has no memory any more.
        lines = [line for line in status.read_text().splitlines() if line.startswith("RssAnon")]
        peak = max([peak, *(int(line.split()[1]) for line in lines)])
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{script} failed")
    return time.perf_counter() - started, peak / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--stages", nargs="+", default=[name for name in STAGES if name != "extract"])
    parser.add_argument("--folder", type=Path, help="where the arrays lie; the last stages can be run again there")
    args = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in args.stages}
    for count in args.images:
        with tempfile.TemporaryDirectory() as temporary:
            folder = args.folder / str(count) if args.folder else Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            copy_project(folder, PARAMS)
            if not (folder / "data").exists():
                write_extracted(folder, count)
            for name in args.stages:
                found[name].append(measure(folder, STAGES[name]))
                seconds, megabytes = found[name][-1]
                print(f"{count:,} {name}: {seconds:.1f} s, {megabytes:,.0f} MB", flush=True)
    print("| stage | " + " | ".join(f"{count:,}" for count in args.images) + " |")
    print("|---|" + "--:|" * len(args.images))
    for name, cells in found.items():
        print(f"| {name} | " + " | ".join(f"{s:,.1f} s, {mb:,.0f} MB" for s, mb in cells) + " |")


if __name__ == "__main__":
    main()
