"""One param at several values, each with several seeds: `unfreeze sweep`, or `make sweep`.

Each run is a `dvc exp run`, one after the other, so that `dvc exp show` lists them afterwards and the run cache
repeats none. Afterwards the working tree is what it was before. The sweep prints mean and spread of a metric by
value, and draws them in results/sweep.html, which needs no network. Failed runs are left out and named.
"""

import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from unfreeze.commands.compare import fetch
from unfreeze.commands.experiments import list_experiments
from unfreeze.core.console import UserError
from unfreeze.core.files import read_json, write_text
from unfreeze.core.metrics import DETAILS

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


def collect_metric(commits: Sequence[dict[str, Any]], names: Sequence[str], metric: str) -> dict[str, float]:
    """Return the metric of each experiment of `names` that has one.

    Failed experiments are passed over: DVC shows for them the metrics of what they started from.

    Args:
        commits: what `list_experiments` returned.
        metric: as `dvc exp show` names it, or a folder of results and a path in its details.json, such as
            `train_head:valid.log_loss`.

    Raises:
        UserError: there is no metric of this name.
    """
    finished = {
        each["name"]: each["revs"][0]["data"]
        for each in commits[0]["experiments"] or []
        if (each["executor"] or {}).get("state", "success") == "success" and each["revs"][0]["data"]
    }
    stage, colon, key = metric.partition(":")
    if colon:
        each_has = {name: _read_details(name, stage) for name in names if name in finished}
    else:
        key = metric
        each_has = {
            name: {key: value for file in data["metrics"].values() for key, value in file.get("data", {}).items()}
            for name, data in finished.items()
        }
    known = sorted({name for values in each_has.values() for name in values})
    if each_has and key not in known:
        raise UserError(f"--metric {metric} is no metric; there are {', '.join(known[:40])}")
    return {name: each_has[name][key] for name in names if each_has.get(name, {}).get(key) is not None}


def _read_details(name: str, stage: str) -> dict[str, Any]:
    """Read all numbers that a stage left in an experiment, by path; `stage` names its folder of results."""
    path = Path("results", stage, DETAILS)
    with tempfile.TemporaryDirectory() as folder:
        fetch(name, Path(folder), [path])
        return _flatten(read_json(Path(folder, path)))


def _flatten(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested values by their path: {"valid.log_loss": 0.1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{above}{key}.") if isinstance(value, Mapping) else {above + key: value}
    return flat


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


def run_sweep(param: str, values: Sequence[str], seeds: int, metric: str, target: str | None) -> list[str]:
    """Run `param` at each of `values` with the seeds 1 to `seeds`, print the table and write the page.

    Args:
        metric: what is compared, as `dvc exp show` names it.
        target: the last stage to run; None runs all.

    Returns:
        The names of the experiments that failed.

    Raises:
        UserError: there are uncommitted changes, dvc failed, or there is no such metric.
    """
    results: dict[str, list[float]] = {value: [] for value in values}
    names, failed = {}, []
    with keep_working_tree():
        for value, seed in product(results, range(1, seeds + 1)):
            name = name_experiment(param, value, seed)
            if run_experiment(param, value, seed, target):
                names[name] = value
            else:
                failed.append(name)
    for name, number in collect_metric(list_experiments(), list(names), metric).items():
        results[names[name]].append(number)
    print(format_table(metric, param, results))
    write_text(PAGE, render_page(metric, param, results))
    print(f"\n{PAGE}" + (f"; failed and left out: {', '.join(failed)}" if failed else ""))
    return failed
