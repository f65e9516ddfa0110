"""Side by side with fastai, a plain torch loop and the machine's limit, on the same images in the same run.

    make bench                                                      # 2,000 generated photographs, a ResNet-18
    make bench ARGS="--archive ants_bees.7z --arch mobilenet_v2 --weights mobilenet_v2.pth --epochs 4"
    make bench-gpu

Each measurement is a process of its own; every round runs all of them once, so that what else the machine does
strikes them alike. Imports and the extraction of the archive are not counted, decoding is. Written to a
folder in scratch/bench: a table, the numbers as JSON, and a plot.

The limit of a task is the sum of the times that its parts take alone, on data in memory: decoding on all cores,
the forward pass, the training step, all in the layout and precision of the line.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.contender import HEAD_EPOCHS, VIEWS
from benchmarks.photos import write_photos
from unfreeze.archive.extract import Destination, extract
from unfreeze.core.console import progress
from unfreeze.device.runtime import cpu_model

ROOT = Path(__file__).parents[1]
OURS, FASTAI, PLAIN = "benchmarks.ours", "benchmarks.fastai_contender", "benchmarks.plain"


@dataclass
class Line:
    """A line of the table: one contender at one task."""

    task: str
    name: str
    module: str
    precision: str = "32"
    flags: tuple[str, ...] = ()
    runs: list[dict] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Images a second, by round."""
        return [run["images"] / run["seconds"] for run in self.runs]


def plan(precisions: list[str]) -> list[Line]:
    """All that is measured in a round."""
    lines = [Line("decode_limit", "decode alone", PLAIN)]
    for precision in precisions:
        name = {"32": "32 bits", "bf16": "bf16"}[precision]
        lines += [Line(f"{part}_limit", f"{part} alone, {name}", PLAIN, precision) for part in ("forward", "step")]
    for task in ("features", "precompute", "frozen", "unfrozen", "lr_find", "tta"):
        own = precisions[:1] if task == "lr_find" else precisions
        lines += [Line(task, f"unfreeze, {'32 bits' if p == '32' else p}", OURS, p) for p in own]
        if task == "precompute":  # fastai keeps no features: it is measured beside decoding and these
            continue
        lines.append(Line(task, "fastai", FASTAI, flags=("--train-bn",)))
        if task == "frozen":
            lines.append(Line(task, "fastai, train_bn=False", FASTAI))
            lines.append(Line("head", "unfreeze, 20,000 rows, 5 epochs", OURS))
        if task == "unfrozen" and "bf16" in precisions:
            lines.append(Line(task, "fastai, bf16", FASTAI, "bf16", ("--train-bn",)))
        if task in ("features", "unfrozen"):
            lines.append(Line(task, "plain torch loop", PLAIN))
    return lines


def prepare(folder: Path, archive: Path) -> None:
    """extracted.tar and extracted.csv of `archive`, and its files as a tree photos/ with train and val(id)."""
    extract(archive, Destination(folder / "extracted.tar", folder / "extracted.csv"), 10**11)
    tree = folder / "tree"
    with tarfile.open(folder / "extracted.tar") as tar:
        tar.extractall(tree, filter="data")
    parts = [path.parent for path in sorted(tree.rglob("train")) if path.is_dir()]
    if len(parts) != 1:
        sys.exit(f"{archive} must have one folder with the folders train and valid (or val), it has {len(parts)}")
    parts[0].rename(folder / "photos")


def generate(folder: Path, count: int, copies: int) -> None:
    """The same of generated photographs, each of which is there `copies` times."""
    write_photos(folder / "photos", count)
    for path in list((folder / "photos").rglob("*.jpg")):
        for i in range(1, copies):
            path.with_stem(f"{path.stem}_{i}").hardlink_to(path)
    with tarfile.open(folder / "photos.tar", "w") as tar:
        tar.add(folder / "photos", "photos")
    extract(folder / "photos.tar", Destination(folder / "extracted.tar", folder / "extracted.csv"), 10**11)


def measure(line: Line, data: Path, args: argparse.Namespace) -> None:
    """Run a line once more."""
    command = [
        sys.executable, "-m", line.module, line.task, "--data", str(data), "--arch", args.arch, "--weights",
        args.weights, "--size", str(args.size), "--epochs", str(args.epochs), "--batch", str(args.batch),
        "--precision", line.precision,
        "--device", args.device, *line.flags,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nfailed:\n{done.stderr[-3000:]}")
    line.runs.append(json.loads(done.stdout.splitlines()[-1]))
    with (data.parent / "runs.jsonl").open("a", encoding="utf-8") as file:  # a run that is cut short leaves these
        file.write(json.dumps({"task": line.task, "name": line.name, **line.runs[-1]}) + "\n")
    for folder in data.glob("ours-*"):  # its arrays: half a gigabyte of 2,000 photographs
        shutil.rmtree(folder)


def limit(line: Line, lines: list[Line]) -> float | None:
    """Images a second if the parts of the task took what they take alone; None where no limit is known."""
    alone = {
        (other.task, other.precision): median(other.rates) for other in lines if other.task.endswith("_limit")
    }
    decode, forward = alone["decode_limit", "32"], alone["forward_limit", line.precision]
    run = line.runs[0]
    if line.task == "features":
        return 1 / (1 / decode + 1 / forward)
    if line.task == "precompute":
        return forward
    if line.task == "unfrozen" and "valid" in run:
        step = alone["step_limit", line.precision]
        return run["images"] / (run["images"] / step + run["valid"] / forward)
    if line.task == "tta":
        return 1 / (1 / decode + (1 + VIEWS) / forward)
    return None


def table(lines: list[Line]) -> str:
    """All lines in Markdown."""
    rows = [
        "| task | | images/s | x fastai | of the limit | peak MB | accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    fastai = {line.task: median(line.rates) for line in reversed(lines) if line.module == FASTAI}
    for line in lines:
        rate = median(line.rates)
        bound = limit(line, lines) if line.module == OURS else None
        scores = [run["score"] for run in line.runs if "score" in run]
        rows.append(
            f"| {line.task.replace('_', ' ')} | {line.name} "
            f"| {rate:,.1f} [{min(line.rates):,.1f} .. {max(line.rates):,.1f}] "
            f"| {f'{rate / fastai[line.task]:.1f}' if line.task in fastai else ''} "
            f"| {f'{100 * rate / bound:.0f}%' if bound else ''} "
            f"| {median(run['peak_mb'] for run in line.runs):,.0f} "
            f"| {f'{median(scores):.3f}' if scores else ''} |"
        )
    return "\n".join(rows)


def gpu_model() -> str:
    import torch

    return torch.cuda.get_device_name()


def plot(path: Path, lines: list[Line], title: str) -> None:
    """Bars of images a second by task, and the limit as a mark."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tasks = list(dict.fromkeys(line.task for line in lines if not line.task.endswith("_limit")))
    figure, axes = plt.subplots(
        1, len(tasks), figsize=(3.2 * len(tasks), 3.2), squeeze=False, layout="constrained"
    )
    for axis, task in zip(axes[0], tasks, strict=True):
        shown = [line for line in lines if line.task == task]
        names = [line.name.replace(", ", "\n") for line in shown]
        colours = ["tab:orange" if line.module == OURS else "0.6" for line in shown]
        axis.bar(names, [median(line.rates) for line in shown], color=colours)
        for i, line in enumerate(shown):
            if line.module == OURS and (bound := limit(line, lines)):
                axis.hlines(bound, i - 0.4, i + 0.4, color="black")
        axis.set_title(task.replace("_", " "))
        axis.tick_params(axis="x", labelrotation=60, labelsize=7)
        axis.set_ylabel("images / s (line: the limit)")
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="labelled photographs in place of generated ones")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--weights", default="none", help="a state-dict file of --arch")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--images", type=int, default=2000, help="generated, for the task features")
    parser.add_argument("--copies", type=int, default=1, help="of each of them: a GPU is done with few at once")
    parser.add_argument("--train-images", type=int, default=400, help="generated, for other tasks")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=1, help="unfrozen ones")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precisions", help="of 32,bf16; by default all that the device has")
    parser.add_argument("--tasks", default="features,precompute,frozen,head,unfrozen,lr_find,tta", help="of these")
    args = parser.parse_args()
    from unfreeze.device.runtime import supports_bf16

    chosen = args.tasks.split(",")
    precisions = (
        args.precisions.split(",") if args.precisions else ["32", "bf16"][: 1 + supports_bf16(args.device)]
    )
    lines = [
        line for line in plan(precisions)
        if line.task in chosen or line.task.endswith("_limit")
    ]  # fmt: skip
    source = args.archive.stem if args.archive else "photos"
    data = ROOT / "scratch/bench" / f"{source}-{args.arch}-{args.device}"  # of other networks it stays
    shutil.rmtree(data, ignore_errors=True)
    many = few = data / "all"
    if args.archive:
        prepare(many, args.archive)
    else:
        generate(many, args.images, args.copies)
        few = data / "few"
        generate(few, args.train_images, args.copies)
    with progress(args.repeats * len(lines), "bench", "run") as bar:
        for _ in range(args.repeats):
            for line in lines:
                measure(line, many if line.task in ("features", "precompute", "decode_limit") else few, args)
                bar.update()
    about = {
        **{key: str(value) for key, value in vars(args).items()},
        "device": cpu_model() if args.device == "cpu" else gpu_model(),
        **{name: version(name) for name in ("torch", "torchvision", "fastai")},
        "python": platform.python_version(),
    }
    (data / "speed.json").write_text(
        json.dumps({"about": about, "lines": [vars(line) for line in lines]}, indent=1), encoding="utf-8"
    )
    title = (
        f"{about['device']}, {args.arch} at {args.size}, {args.archive.name if args.archive else 'photographs'}"
    )
    plot(data / "speed.png", lines, title)
    text = f"{title}, {args.repeats} rounds: median [lowest .. highest]; frozen: {HEAD_EPOCHS} epochs.\n\n"
    text += table(lines)
    (data / "speed.md").write_text(text + "\n", encoding="utf-8")
    print(text, f"\n{data}/speed.json, speed.png")


if __name__ == "__main__":
    main()
