"""The experiments of the current commit in one table, best first: `unfreeze experiments`.

Each has its headline with a 95% interval, how far that is from the baseline's, and whether the difference is more
than noise. Where an experiment and the baseline both ran with several seeds, Welch's test compares the seeds;
else McNemar's exact test compares the same images.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unfreeze.commands.compare import PREDICTIONS, fetch, read_labels
from unfreeze.core import paths
from unfreeze.core.console import UserError
from unfreeze.core.metrics import METRICS
from unfreeze.report.comparison import sign_test
from unfreeze.report.intervals import mean_interval
from unfreeze.report.making import flatten, list_changes
from unfreeze.report.sections.scores import format_difference, format_interval, format_value
from unfreeze.task.thresholds import f2_of

if TYPE_CHECKING:
    import pandas as pd

    from unfreeze.task.base import Metric, Task

Part = Literal["valid", "test"]
SEED = "seed"
"""The param that changes nothing but the random draws."""
SIGNIFICANT = 0.05
WIDTH = 120
"""Columns of the table."""
MODELS = [str(path) for path in (paths.HEAD, paths.MODEL, paths.SNAPSHOTS)]
"""What the evaluation predicts with."""


@dataclass(frozen=True)
class Experiment:
    """An experiment, or the commit that the experiments started from: their baseline."""

    name: str
    params: dict[str, Any]
    headline: float | None
    """Of one split, as metrics.json has it; None if the split has no labels."""


@dataclass(frozen=True)
class Listing:
    """What `dvc exp show` knows."""

    baseline: Experiment
    experiments: list[Experiment]
    """Those that were evaluated."""
    unfinished: dict[str, str] = field(default_factory=dict)
    """State of the others by name: `failed`, `running`, `queued`, or `not evaluated` if it ended with an earlier
    stage."""


@dataclass(frozen=True)
class Outcome:
    """How well an experiment predicts each image of a split."""

    metric: Metric
    by_image: pd.Series
    """float64 in 0..1 by path: 1 is right and 0 wrong; of several labels F2. The mean is the headline."""


@dataclass(frozen=True)
class Verdict:
    """How an experiment compares with the baseline."""

    difference: float
    p: float
    """The probability of a difference as large as this, or larger, by chance alone."""
    test: Literal["images", "seeds"]


def show_experiments(part: Part = "valid") -> str:
    """Return the table of the current commit's experiments by their headline on `part`.

    Raises:
        UserError: dvc failed, or nothing was evaluated.
    """
    listing = parse_experiments(list_experiments(), part)
    outcomes: dict[str, Outcome] = {}
    missing: dict[str, str] = {}
    for experiment in (listing.baseline, *listing.experiments):
        try:
            outcomes[experiment.name] = read_outcome(experiment.name, part)
        except UserError as error:
            missing[experiment.name] = str(error)
    return format_table(listing, outcomes, missing, part)


def list_experiments() -> list[dict[str, Any]]:
    """Return what `dvc exp show --json` prints of the current commit.

    Raises:
        UserError: dvc failed.
    """
    command = ["dvc", "exp", "show", "--json", "--hide-workspace"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise UserError(f"{' '.join(command)} failed: {process.stderr.strip()[-500:]}")
    return json.loads(process.stdout[process.stdout.index("[") :])


def parse_experiments(commits: Sequence[dict[str, Any]], part: Part) -> Listing:
    """Return the experiments that `list_experiments` returned.

    Raises:
        UserError: the commit itself has no metrics.
    """
    commit = commits[0]
    if not _is_evaluated(commit["data"]):
        raise UserError("the current commit was not evaluated: dvc repro, then git commit, gives a baseline")
    experiments, unfinished = [], {}
    for each in commit["experiments"] or []:
        [revision] = each["revs"][:1]
        name, state = each["name"] or revision["rev"][:7], (each["executor"] or {}).get("state")
        if state and state != "success":
            unfinished[name] = state
        elif not _is_evaluated(revision["data"]):
            unfinished[name] = "not evaluated"
        else:
            experiments.append(_read_experiment(name, revision["data"], part))
    baseline = _read_experiment(commit["name"] or commit["rev"][:7], commit["data"], part)
    return Listing(baseline, experiments, unfinished)


def _is_evaluated(data: dict[str, Any] | None) -> bool:
    """Tell whether the metrics are those of the models: an evaluation that did not run again read other ones."""
    if not data or "data" not in data["metrics"].get(str(paths.EVALUATE / METRICS), {}):
        return False
    outs, deps = data["outs"], data["deps"]
    return all(outs[path]["hash"] == deps[path]["hash"] for path in MODELS if path in outs and path in deps)


def _read_experiment(name: str, data: dict[str, Any], part: Part) -> Experiment:
    metrics = data["metrics"][str(paths.EVALUATE / METRICS)]["data"]
    return Experiment(name, data["params"][str(paths.PARAMS)]["data"], metrics.get(part))


def read_outcome(name: str, part: Part) -> Outcome:
    """Read from git and DVC how experiment `name` predicts the labelled images of `part`.

    Raises:
        UserError: its predictions cannot be had, or none of them has a label.
    """
    with tempfile.TemporaryDirectory() as folder:
        fetch(name, Path(folder), [PREDICTIONS])
        task, predictions = read_labels(Path(folder, PREDICTIONS))
    chosen = predictions[(predictions["split"] == part) & (predictions["actual"] != "")]
    if not len(chosen):
        raise UserError(f"{name}: no image of {part} has a label")
    return Outcome(task.metrics[0], score_images(task, chosen))


def score_images(task: type[Task], predictions: pd.DataFrame) -> pd.Series:
    """Return F2 of each image by path, from its actual and predicted labels. With one class an image it is 1 where
    the class is right, else 0."""
    import pandas as pd

    sets = [[set(task.names(label)) for label in predictions[column]] for column in ("actual", "predicted")]
    hits = np.array([len(actual & predicted) for actual, predicted in zip(*sets, strict=True)])
    actual, predicted = (np.array([len(labels) for labels in each]) for each in sets)
    return pd.Series(f2_of(hits, predicted, actual), index=predictions["path"].to_numpy())


def compare_images(before: Outcome, after: Outcome) -> Verdict | None:
    """Compare two experiments on the images of both; None if there are none."""
    both = before.by_image.index.intersection(after.by_image.index)
    if not len(both):
        return None
    gaps = after.by_image[both].to_numpy() - before.by_image[both].to_numpy()
    p = sign_test(int((gaps > 0).sum()), int((gaps < 0).sum()))
    return Verdict(difference=float(gaps.mean()), p=p, test="images")


def compare_seeds(before: Sequence[float], after: Sequence[float]) -> Verdict | None:
    """Compare the headlines of two lots of runs by Welch's test; None unless both have several that spread."""
    if min(len(before), len(after)) < 2 or np.ptp(before) + np.ptp(after) == 0:
        return None
    from scipy.stats import ttest_ind

    p = float(ttest_ind(after, before, equal_var=False).pvalue)
    return Verdict(difference=float(np.mean(after) - np.mean(before)), p=p, test="seeds")


def judge(listing: Listing, outcomes: dict[str, Outcome]) -> dict[str, Verdict | None]:
    """Compare each experiment with the baseline; None where the predictions of one of them are missing.

    Experiments whose params are the same but for the seed are the runs of one lot.
    """
    lots: dict[tuple[tuple[str, str], ...], list[Experiment]] = {}
    for each in (listing.baseline, *listing.experiments):
        lots.setdefault(_without_seed(each.params), []).append(each)

    def headlines(lot: list[Experiment]) -> list[float]:
        return [each.headline for each in lot if each.headline is not None]

    base, name = lots[_without_seed(listing.baseline.params)], listing.baseline.name
    verdicts: dict[str, Verdict | None] = {}
    for each in listing.experiments:
        lot = lots[_without_seed(each.params)]
        verdict = None if lot is base else compare_seeds(headlines(base), headlines(lot))
        if verdict is None and name in outcomes and each.name in outcomes:
            verdict = compare_images(outcomes[name], outcomes[each.name])
        verdicts[each.name] = verdict
    return verdicts


def _without_seed(params: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, value) for key, value in flatten(params).items() if key != SEED))


def format_table(listing: Listing, outcomes: dict[str, Outcome], missing: dict[str, str], part: Part) -> str:
    """Format the experiments, best first, and say which could not be listed or compared.

    Args:
        outcomes: by the name of the experiment.
        missing: why others have none, by name.
    """
    metric = next((outcome.metric for outcome in outcomes.values()), None)
    sign = metric.sign if metric else 1
    everything = sorted(
        (listing.baseline, *listing.experiments),
        key=lambda each: -np.inf if each.headline is None else each.headline * sign,
        reverse=True,
    )
    verdicts = judge(listing, outcomes)
    headline = f"{part} {metric.title if metric else 'headline'}"
    rows = [["experiment", headline, "95% interval", "difference", "p", "verdict", "changes"]]
    for each in everything:
        value = format_value(metric, each.headline) if metric else each.headline
        row = [each.name, "-" if value is None else str(value)]
        row += _describe_difference(outcomes.get(each.name), verdicts.get(each.name))
        if each is listing.baseline:
            row[3:] = ["", "", "baseline"]
        rows.append([*row, _describe_changes(each, listing.baseline)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    margin = sum(widths) + 2 * len(widths)
    lines = []
    for row in rows:
        start = "".join(f"{cell:{width}}  " for cell, width in zip(row, widths, strict=False))
        first, *more = textwrap.wrap(row[-1], max(20, WIDTH - margin)) or [""]
        lines += [(start + first).rstrip(), *(" " * margin + line for line in more)]
    notes = [f"{name}: {state}" for name, state in listing.unfinished.items()]
    notes += [reason if reason.startswith(name) else f"{name}: {reason}" for name, reason in missing.items()]
    return "\n".join([*lines, "", *_explain(verdicts), *notes]).rstrip()


def _describe_difference(outcome: Outcome | None, verdict: Verdict | None) -> list[str]:
    """Return interval, difference, p and verdict as texts."""
    if outcome is None:
        return ["-", "-", "-", "unknown"]
    interval = format_interval(outcome.metric, mean_interval(outcome.by_image.to_numpy(), "experiments"))
    if verdict is None:
        return [interval, "-", "-", "unknown"]
    word = "noise"
    if verdict.p < SIGNIFICANT:
        word = "better" if verdict.difference * outcome.metric.sign > 0 else "worse"
    return [
        interval,
        format_difference(outcome.metric, verdict.difference),
        f"{verdict.p:.2g} of {verdict.test}",
        word,
    ]


def _describe_changes(experiment: Experiment, baseline: Experiment) -> str:
    return ", ".join(f"{key}={new}" for key, _, new in list_changes(experiment.params, baseline.params))


def _explain(verdicts: dict[str, Verdict | None]) -> list[str]:
    """Say what p is of, where there is any."""
    meanings = {
        "images": "p of images: McNemar's exact test on the same images, against the baseline",
        "seeds": "p of seeds: Welch's test of the means over the seeds",
    }
    tests = {verdict.test for verdict in verdicts.values() if verdict}
    lines = [text for test, text in meanings.items() if test in tests]
    return [*lines, f"noise: a difference with p of {SIGNIFICANT} or more"] if lines else []
