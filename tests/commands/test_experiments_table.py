"""Experiments, best first, and which differences are noise."""

import numpy as np
import pandas as pd
import pytest

from unfreeze.commands import experiments
from unfreeze.commands.experiments import (
    Experiment,
    Listing,
    Outcome,
    Verdict,
    compare_images,
    compare_seeds,
    format_table,
    judge,
    parse_experiments,
    score_images,
)
from unfreeze.core.console import UserError
from unfreeze.task.multi import Multi
from unfreeze.task.single import Single

METRICS = "results/evaluate/metrics.json"


def outcome(right: int, count: int = 20) -> Outcome:
    """The first `right` of `count` images are right."""
    values = (np.arange(count) < right).astype(float)
    return Outcome(Single.metrics[0], pd.Series(values, index=[f"{i}.png" for i in range(count)]))


def experiment(name: str, right: int, seed: int = 1, lr: float = 0.1) -> Experiment:
    return Experiment(name, {"seed": seed, "train": {"lr": lr}}, right / 20)


def data(value: float | None, model: str = "b", lr: float = 0.1) -> dict:
    """What `dvc exp show --json` has of a commit whose evaluation read a model of hash `b`."""
    return {
        "params": {"params.yaml": {"data": {"seed": 1, "train": {"lr": lr}}}},
        "metrics": {METRICS: {"data": {"valid": value}}} if value is not None else {},
        # Of the report, which need not have run: the deps of the last stage that has them.
        "deps": {"models/model.safetensors": {"hash": "b"}, "results/evaluate/predictions.csv": {"hash": "c"}},
        "outs": {"models/model.safetensors": {"hash": model}, "results/evaluate/predictions.csv": {"hash": "d"}},
    }


def test_experiments_are_listed_and_the_others_named():
    def listed(name, content, state=None):
        return {
            "name": name, "executor": {"state": state} if state else None,
            "revs": [{"rev": "0123456789", "data": content}],
        }  # fmt: skip

    several = [
        listed("warm", data(0.75, lr=0.2)), listed("broken", data(0.5), "failed"), listed("late", None, "queued"),
        listed("head-only", data(0.5, model="x")), listed(None, data(0.25), "success"),
    ]  # fmt: skip
    commit = {"name": "main", "rev": "f" * 40, "data": data(0.5), "experiments": several}
    listing = parse_experiments([commit], "valid")
    assert listing.baseline == Experiment("main", {"seed": 1, "train": {"lr": 0.1}}, 0.5)
    assert [(each.name, each.headline) for each in listing.experiments] == [("warm", 0.75), ("0123456", 0.25)]
    assert listing.unfinished == {"broken": "failed", "late": "queued", "head-only": "not evaluated"}
    assert parse_experiments([commit], "test").baseline.headline is None
    with pytest.raises(UserError, match="was not evaluated"):
        parse_experiments([{**commit, "data": data(None)}], "valid")


def test_images_are_scored_as_the_headline_scores_them():
    frame = pd.DataFrame({"path": ["a", "b"], "actual": ["cat", "cat"], "predicted": ["cat", "dog"]})
    assert score_images(Single, frame).to_dict() == {"a": 1, "b": 0}
    frame = pd.DataFrame({"path": ["a", "b", "c"], "actual": ["x y", "-", "x"], "predicted": ["x", "-", "-"]})
    assert score_images(Multi, frame).to_dict() == {"a": pytest.approx(5 / 9), "b": 1, "c": 0}


def test_the_paired_test_is_mcnemar_s_on_common_images():
    verdict = compare_images(outcome(10), outcome(20))
    assert verdict == Verdict(difference=0.5, p=2 / 2**10, test="images")
    assert compare_images(outcome(10), outcome(10)) == Verdict(difference=0.0, p=1.0, test="images")
    fewer = Outcome(Single.metrics[0], outcome(12).by_image[8:14])
    assert compare_images(outcome(10), fewer) == Verdict(difference=pytest.approx(2 / 6), p=0.5, test="images")
    assert compare_images(outcome(3), Outcome(Single.metrics[0], pd.Series([1.0], index=["other.png"]))) is None


def test_several_seeds_are_compared_by_welch_s_test():
    from scipy.stats import ttest_ind

    before, after = [0.5, 0.6, 0.7], [0.8, 0.85]
    verdict = compare_seeds(before, after)
    assert verdict.test == "seeds" and verdict.difference == pytest.approx(0.225)
    assert verdict.p == pytest.approx(ttest_ind(before, after, equal_var=False).pvalue)
    assert compare_seeds([0.5], after) is None and compare_seeds([0.5, 0.5], [0.6, 0.6]) is None

    base, others = experiment("main", 10), [experiment("main-2", 12, seed=2)]
    others += [
        experiment("warm", 14, lr=0.2),
        experiment("warm-2", 15, seed=2, lr=0.2),
        experiment("hot", 20, lr=1),
    ]
    outcomes = {each.name: outcome(round(20 * each.headline)) for each in (base, *others)}
    verdicts = judge(Listing(base, others), outcomes)
    assert {name: verdict.test for name, verdict in verdicts.items()} == {
        "main-2": "images", "warm": "seeds", "warm-2": "seeds", "hot": "images",
    }  # fmt: skip
    assert verdicts["warm"].difference == pytest.approx(0.725 - 0.55)


def test_the_table_has_the_best_first_and_fits():
    base = experiment("main", 10)
    others = [experiment("warm", 11, lr=0.2), experiment("best", 20, lr=0.5), experiment("worst", 1, lr=9)]
    others.append(Experiment("many", {f"a_long_name_of_a_param_{i}": i for i in range(20)}, 0.4))
    outcomes = {each.name: outcome(round(20 * each.headline)) for each in (base, *others[:3])}
    listing = Listing(base, others, {"broken": "failed"})
    lines = format_table(listing, outcomes, {"many": "many: not in the cache"}, "valid").splitlines()
    assert max(map(len, lines)) <= 120
    words = [line.split() for line in lines]
    assert words[0][:5] == ["experiment", "valid", "accuracy", "95%", "interval"]
    rows = {row[0]: row for row in words[1:] if row and row[0] in ("best", "warm", "main", "many", "worst")}
    assert list(rows) == ["best", "warm", "main", "many", "worst"]
    assert " ".join(rows["best"][2:]) == "83.9–100.0% +50.0 points 0.002 of images better train.lr=0.5"  # noqa: RUF001
    assert rows["best"][1] == "100.0%" and rows["many"][1] == "40.0%"
    assert rows["warm"][-2:] == ["noise", "train.lr=0.2"] and rows["worst"][-2] == "worse"
    assert rows["main"][-1] == "baseline" and rows["many"][5] == "unknown"
    assert lines[-2:] == ["broken: failed", "many: not in the cache"]


def test_an_experiment_without_its_predictions_is_listed_and_the_reason_named(monkeypatch):
    commit = {"name": "main", "rev": "f" * 40, "data": data(0.5), "experiments": []}
    commit["experiments"] = [
        {"name": "warm", "executor": None, "revs": [{"rev": "1" * 40, "data": data(0.75, lr=0.2)}]}
    ]
    monkeypatch.setattr(experiments, "list_experiments", lambda: [commit])

    def read_outcome(name, part):
        if name == "warm":
            raise UserError("warm: predictions.csv is neither here nor there")
        return outcome(10)

    monkeypatch.setattr(experiments, "read_outcome", read_outcome)
    text = experiments.show_experiments("valid")
    assert [line.split()[0] for line in text.splitlines()[1:3]] == ["warm", "main"]
    assert "unknown" in text and text.endswith("warm: predictions.csv is neither here nor there")
