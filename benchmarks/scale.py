"""Seconds, memory and largest file of every stage from 10,000 to 1,000,000 images, by the real scripts.

    make scale                                   # or: python -m benchmarks.scale --images 10000 100000
    make scale ARGS="--images 20000 --classes 10000"

The images are made: 8 x 8 pixels, stored at 16 x 16, given to the stages as what `extract` would have written.
They are of ten classes. 10% of them train in one epoch each of the head (and of its 2 folds) and of the unfrozen
network; 85% are tested with one augmented view, and reported on. With `--classes` they are of so many: 60% train
(or more, so that each class has an image that trains), and of the others half validate and half test, as their
folders say; the head is a small one.

Memory is the largest anonymous memory (RssAnon) of the stage's process: the pages of files that it reads, such as
the arrays, are the system's to take back and do not count.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.project import STAGES, copy_project, start
from unfreeze.core.table_files import write_table_files

PARAMS = {
    "decode.image_size": 16,
    "split.valid": 0.05,
    "split.test": 0.85,
    "split.folds": 2,
    "model.image_size": 16,
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
MANY_CLASSES = {"head.hidden": [64]}
"""What differs with `--classes`."""
FEW_CLASSES, SIDE = 10, 8
BLOCK = 10_000


@dataclass(frozen=True)
class Made:
    """The images of an archive, sorted by their paths."""

    numbers: np.ndarray
    """int64 `[N]`: each image's own."""
    labels: np.ndarray
    """int64 `[N]`: its class."""
    folders: list[str]
    """Of each image."""


def plan_images(count: int, classes: int | None) -> Made:
    """Say where `count` images lie; with `classes` in folders of splits, else in those of ten classes alone."""
    numbers = np.arange(count)
    if classes is None:
        labels = numbers * FEW_CLASSES // count
        return Made(numbers, labels, [f"images/class {label}" for label in labels.tolist()])
    train = max(classes, round(0.6 * count))
    if train + 2 > count:
        raise SystemExit(f"{count} images are too few for {classes} classes in training, and some to test")
    valid = train + (count - train) // 2
    parts = np.where(numbers < train, "train", np.where(numbers < valid, "valid", "test"))
    labels = numbers % classes
    order = np.lexsort((numbers, labels, parts))
    return Made(
        numbers=numbers[order],
        labels=labels[order],
        folders=[
            f"images/{part}/class {label:06}"
            for part, label in zip(parts[order].tolist(), labels[order].tolist(), strict=True)
        ],
    )


def write_extracted(folder: Path, made: Made) -> None:
    """data/extracted.tar and .csv of different BMP files, and no tables."""
    import tarfile

    rng = np.random.default_rng(0)
    patterns = rng.uniform(60, 195, (int(made.labels.max()) + 1, SIDE, SIDE, 3))
    size = 54 + SIDE * SIDE * 3
    header = b"BM" + np.array([size, 0, 54, 40, SIDE, SIDE, 1 | 24 << 16, *[0] * 6], "<i4").tobytes()
    (folder / "data").mkdir()
    offset = 0
    with (folder / "data/extracted.tar").open("wb") as tar, (folder / "data/extracted.csv").open("w") as index:
        index.write("path,offset,size,sha256\n")
        for first in range(0, len(made.numbers), BLOCK):
            block = slice(first, first + BLOCK)
            labels = made.labels[block]
            noisy = patterns[labels] + rng.normal(0, 40, (len(labels), SIDE, SIDE, 3))
            pixels = noisy.clip(0, 255).astype(np.uint8)
            for number, where, image in zip(made.numbers[block], made.folders[block], pixels, strict=True):
                member = tarfile.TarInfo(f"{where}/{number:07}.bmp")
                member.size = size
                tar.write(member.tobuf() + (header + image.tobytes()).ljust(512, b"\0"))
                index.write(f"{member.name},{offset + 512},{size},-\n")
                offset += 1024
        tar.write(bytes(1024))
    write_table_files(folder / "data/tables", folder / "data/extracted.tar", [])


@dataclass(frozen=True)
class Measured:
    """What a stage took."""

    seconds: float
    memory: float
    """MB."""
    largest: float
    """MB of the largest file that it wrote."""
    file: str
    """Its path."""


def measure(folder: Path, script: str) -> Measured:
    """Run one stage."""
    began, started, peak = time.time_ns(), time.perf_counter(), 0
    process = start(folder, script)
    process_status = Path("/proc", str(process.pid), "status")
    while process.poll() is None:
        # A process that has just ended has no memory any more.
        lines = [line for line in process_status.read_text().splitlines() if line.startswith("RssAnon")]
        peak = max([peak, *(int(line.split()[1]) for line in lines)])
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{script} failed")
    seconds = time.perf_counter() - started
    sizes = {
        path: status.st_size
        for top in ("data", "models", "results")
        for path in (folder / top).rglob("*")
        if path.is_file() and (status := path.stat()).st_mtime_ns >= began
    }
    largest = max(sizes, key=sizes.__getitem__)
    return Measured(
        seconds=seconds,
        memory=peak / 1024,
        largest=sizes[largest] / 2**20,
        file=str(largest.relative_to(folder)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--classes", type=int, help="so many, in folders of splits")
    parser.add_argument("--stages", nargs="+", default=[name for name in STAGES if name != "extract"])
    parser.add_argument("--folder", type=Path, help="where the arrays lie; the last stages can be run again there")
    args = parser.parse_args()
    results: dict[str, list[Measured]] = {name: [] for name in args.stages}
    for count in args.images:
        with tempfile.TemporaryDirectory() as temporary:
            folder = args.folder / str(count) if args.folder else Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            copy_project(folder, PARAMS | (MANY_CLASSES if args.classes else {}))
            if not (folder / "data").exists():
                write_extracted(folder, plan_images(count, args.classes))
            for name in args.stages:
                took = measure(folder, STAGES[name])
                results[name].append(took)
                print(
                    f"{count:,} {name}: {took.seconds:.1f} s, {took.memory:,.0f} MB; "
                    f"largest file {took.largest:,.1f} MB ({took.file})",
                    flush=True,
                )
    print("| stage | " + " | ".join(f"{count:,}" for count in args.images) + " |")
    print("|---|" + "--:|" * len(args.images))
    for name, each in results.items():
        cells = (f"{took.seconds:,.1f} s, {took.memory:,.0f} MB" for took in each)
        print(f"| {name} | " + " | ".join(cells) + " |")
    largest = max((took for each in results.values() for took in each), key=lambda took: took.largest)
    print(f"The largest file: {largest.file}, {largest.largest:,.1f} MB")


if __name__ == "__main__":
    main()
