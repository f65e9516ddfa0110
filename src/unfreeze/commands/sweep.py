"""One param at several values, each with several seeds: `python -m unfreeze.commands.sweep`, or `make sweep`.

Each run is a `dvc exp run`, one after the other, so that `dvc exp show` lists them afterwards and the run cache
repeats none. Afterwards the working tree is what it was before. The sweep prints mean and spread of a metric by
value, and draws them in results/sweep.html, which needs no network. Failed runs are left out and named.
"""

import argparse
import csv
import io
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from itertools import product
from pathlib import Path

import numpy as np

from unfreeze.core.console import UserError
from unfreeze.core.files import write_text

PAGE = Path("results/sweep.html")


def name_experiment(param: str, value: str, seed: int) -> str:
    """Return the name of one experiment: letters, digits and dashes, as DVC wants it."""
    words = f"sweep-{param}-{value}-seed-{seed}"
    return "".join(letter if letter.isalnum() else "-" for letter in words).strip("-")


def run_experiment(param: str, value: str, seed: int, target: str | None) -> bool:
    """Run one experiment, up to the stage `target` or all of it; tell whether it succeeded."""
    name = name_experiment(param, value, seed)
    # --force would replace an earlier sweep's experiment of this name too, but would run every stage again.
    subprocess.run(["dvc", "exp", "remove", name], check=False, capture_output=True)  # fails if there is none
    changes = ["-S", f"{param}={value}", "-S", f"seed={seed}"]
    command = ["dvc", "exp", "run", "--name", name, *changes, *([target] if target else [])]
    return subprocess.run(command, check=False, stdout=sys.stderr).returncode == 0


@contextmanager
def keep_working_tree() -> Iterator[None]:
    """Put back what was in the working tree: `dvc exp run` leaves its results there.

    Raises:
        UserError: there are changes that this would lose.
    """
    changes = ["git", "status", "--porcelain", "--untracked-files=no"]
    if subprocess.run(changes, capture_output=True, text=True, check=True).stdout:
        raise UserError("there are uncommitted changes, which the runs would overwrite: git commit or stash first")
    try:
        yield
    finally:
        subprocess.run(["git", "checkout", "-q", "HEAD", "--", "."], check=True)
        subprocess.run(["dvc", "checkout", "-q", "--force"], check=False)  # fails where nothing had been run


def list_experiments() -> list[dict[str, str]]:
    """Return the rows of `dvc exp show`, each from column to text.

    Raises:
        UserError: dvc failed.
    """
    process = subprocess.run(["dvc", "exp", "show", "--csv"], capture_output=True, text=True, check=False)
    if process.returncode:
        raise UserError(f"dvc exp show failed: {process.stderr.strip().splitlines()[-1:]}")
    return list(csv.DictReader(io.StringIO(process.stdout)))


def collect_metric(rows: Sequence[Mapping[str, str]], names: Sequence[str], metric: str) -> dict[str, float]:
    """Return the metric of each experiment of `names` that has one.

    Failed experiments are passed over: DVC shows for them the metrics of what they started from.

    Raises:
        UserError: no column of the metrics is called so, or several are.
    """
    columns = [column for column in (rows[0] if rows else {}) if column == metric or column.endswith(f":{metric}")]
    if len(columns) != 1:
        known = [column for column in (rows[0] if rows else {}) if column.split(":")[-1].count(".") == 2]
        raise UserError(f"--metric {metric} is {columns or 'no metric'}; there are {', '.join(known[:20])}")
    # Experiments whose numbers are the same are one row in other versions of DVC; here each has its name.
    by_name = {
        row["Experiment"]: row for row in rows if row.get("State", "") not in ("Failed", "Running", "Queued")
    }
    return {name: float(by_name[name][columns[0]]) for name in names if by_name.get(name, {}).get(columns[0])}


def format_table(metric: str, param: str, values: Mapping[str, Sequence[float]]) -> str:
    """Format mean, standard deviation and range by value, one a line."""
    lines = [f"{param:>20}  {'runs':>4}  {'mean':>8}  {'std':>8}  lowest .. highest of {metric}"]
    for value, each in values.items():
        spread = np.std(each, ddof=1) if len(each) > 1 else 0.0
        lines.append(
            f"{value:>20}  {len(each):>4}  {np.mean(each):8.4f}  {spread:8.4f}  {min(each):.4f} .. {max(each):.4f}"
            if each
            else f"{value:>20}     0  no run succeeded"
        )
    return "\n".join(lines)


def render_page(metric: str, param: str, values: Mapping[str, Sequence[float]]) -> str:
    """Return the table and a chart of every run as HTML text."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(values))
    for place, each in zip(places, values.values(), strict=True):
        axes.plot([place] * len(each), each, "o", color="#2563eb", alpha=0.5)
    means = [np.mean(each) if each else np.nan for each in values.values()]
    axes.plot(places, means, "_-", color="#c2410c", markersize=16, label="mean")
    axes.set_xticks(places, values)
    axes.set(xlabel=param, ylabel=metric)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)
    image = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "unfreeze"}):
        figure.savefig(image, format="svg", metadata={"Date": None})
    text = image.getvalue()
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(param)}</title>\n'
        "<style>body{font:16px system-ui;margin:2rem;max-width:50rem}svg{width:100%;height:auto}</style>\n"
        f"<h1>{escape(metric)} by {escape(param)}</h1>\n{text[text.index('<svg') :]}\n"
        f"<pre>{escape(format_table(metric, param, values))}</pre></html>\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("param", help="such as train_head.lr")
    parser.add_argument("values", help="with commas between them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--metric", default="valid.tta.accuracy", help="(valid.tta.accuracy)")
    parser.add_argument("--target", help="the last stage to run, such as train-head; all of them")
    args = parser.parse_args()
    values = {value.strip(): [] for value in args.values.split(",") if value.strip()}
    names, failed = {}, []
    try:
        with keep_working_tree():
            for value, seed in product(values, range(1, args.seeds + 1)):
                name = name_experiment(args.param, value, seed)
                if run_experiment(args.param, value, seed, args.target):
                    names[name] = value
                else:
                    failed.append(name)
        for name, number in collect_metric(list_experiments(), list(names), args.metric).items():
            values[names[name]].append(number)
    except UserError as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 2
    print(format_table(args.metric, args.param, values))
    write_text(PAGE, render_page(args.metric, args.param, values))
    print(f"\n{PAGE}" + (f"; failed and left out: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
