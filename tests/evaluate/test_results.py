import json
from pathlib import Path

import numpy as np
import pytest

from unfreeze.core import tables
from unfreeze.core.metrics import round_numbers
from unfreeze.evaluate.results import evaluate, write_results
from unfreeze.task.split_table import SplitTable, read_split


def read_rows(path: Path) -> list[list[str]]:
    return tables.read(path).to_numpy().tolist()


def read_table(folder: Path, heading: str, lines: list[list], images: int) -> SplitTable:
    tables.write_rows(folder / "split.csv", ["row", "path", heading, "split", "fold"], lines)
    return read_split(folder / "split.csv", images)


@pytest.fixture
def single(tmp_path) -> SplitTable:
    lines = [
        [0, "a/0.png", "a", "train", 0], [1, "a/1.png", "a", "valid", 1], [2, "b/2.png", "b", "valid", 0],
        [4, "b/4.png", "b", "train", 1], [5, "x/5.png", "", "test", ""],
    ]  # fmt: skip
    return read_table(tmp_path, "label", lines, images=6)


@pytest.fixture
def multi(tmp_path) -> SplitTable:
    lines = [
        [0, "0.png", "a b", "train", 0], [1, "1.png", "-", "train", 1], [2, "2.png", "a", "valid", 0],
        [3, "3.png", "-", "valid", 1], [5, "5.png", "", "test", ""], [6, "6.png", "a b", "test", ""],
    ]  # fmt: skip
    return read_table(tmp_path, "labels", lines, images=7)


def test_the_split_table_as_arrays(single):
    assert single.classes == ["a", "b"]
    assert {part: rows.tolist() for part, rows in single.rows.items()} == {
        "train": [0, 4],
        "valid": [1, 2],
        "test": [5],
    }
    assert single.targets.tolist() == [0, 0, 1, -1, 1, -1]
    assert single.folds.tolist() == [0, 1, 0, -1, 1, -1]
    assert single.labelled("test").tolist() == []


def test_results_of_labelled_and_unlabelled_images(tmp_path, single):
    final = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    methods = {"plain": final[:, ::-1], "tta": final}
    evaluation = evaluate(table=single, rows=np.array([1, 2, 5]), methods=methods, rule="global")
    metrics = write_results(tmp_path, evaluation)
    assert json.loads((tmp_path / "details.json").read_text()) == round_numbers(metrics)
    loss = -np.log([0.9, 0.4]).mean()
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"valid": 0.5, "loss": float(f"{loss:.6g}")}
    assert metrics.keys() == {"valid"} and metrics["valid"]["tta"]["log_loss"] == pytest.approx(loss, rel=1e-12)
    assert (metrics["valid"]["plain"]["accuracy"], metrics["valid"]["tta"]["accuracy"]) == (0.5, 0.5)
    predictions = tables.read(tmp_path / "predictions.csv")
    assert list(predictions) == [
        "row", "path", "split", "label", "predicted", "probability", "uncertainty", "top_1", "p_1", "top_2", "p_2",
    ]  # fmt: skip
    assert predictions[["row", "split", "label", "predicted"]].to_numpy().tolist() == [
        ["1", "valid", "a", "a"], ["2", "valid", "b", "a"], ["5", "test", "", "b"],
    ]  # fmt: skip
    assert (tmp_path / "confusion.csv").read_text() == ("split,actual,predicted,count\nvalid,a,a,1\nvalid,b,a,1\n")
    assert read_rows(tmp_path / "actual_predicted.csv") == [["a", "a"], ["b", "a"]]


@pytest.mark.parametrize("with_head", [False, True])
def test_each_method_has_its_array(tmp_path, single, with_head):
    rng = np.random.default_rng(0)
    names = ["head", "plain", "tta"] if with_head else ["plain", "tta"]
    methods = {name: rng.dirichlet([1, 1], 3) for name in names}
    write_results(tmp_path, evaluate(table=single, rows=np.array([1, 2, 5]), methods=methods, rule="global"))
    files = {"head": "probabilities_head", "plain": "probabilities_plain", "tta": "probabilities"}
    for name, file in files.items():
        array = np.load(tmp_path / f"{file}.npy")
        assert array.dtype == np.float32
        assert np.array_equal(array, methods[name].astype(np.float32) if name in methods else np.empty((0, 2)))


@pytest.mark.parametrize("rule", ["global", "per_label"])
def test_results_of_several_labels(tmp_path, multi, rule):
    final = np.array([[0.9, 0.6], [0.2, 0.1], [0.3, 0.7], [0.8, 0.2]])
    methods = {"plain": final[:, ::-1], "tta": final}
    evaluation = evaluate(table=multi, rows=np.array([2, 3, 5, 6]), methods=methods, rule=rule)
    metrics = write_results(tmp_path, evaluation)
    assert json.loads((tmp_path / "details.json").read_text()) == round_numbers(metrics)
    assert list(json.loads((tmp_path / "metrics.json").read_text())) == ["valid", "test", "loss"]
    assert {part: list(ways) for part, ways in metrics.items()} == {
        part: ["prevalence", "plain", "tta"] for part in ("valid", "test")
    }
    assert (metrics["valid"]["tta"]["f2"], metrics["test"]["tta"]["count"]) == (1, 1)
    assert metrics["test"]["tta"]["f2"] == pytest.approx(5 / 9)  # one of two labels, at the threshold of valid
    assert metrics["valid"]["prevalence"]["map"] == pytest.approx(0.5)
    per_class = tables.read(tmp_path / "per_class.csv")
    assert per_class[["split", "class", "support"]].to_numpy().tolist() == [
        ["valid", "a", "1"], ["valid", "b", "0"], ["test", "a", "1"], ["test", "b", "1"],
    ]  # fmt: skip
    assert set(per_class["threshold"].astype(float)) == {0.75}  # b has no image to be tuned on
    predictions = tables.read(tmp_path / "predictions.csv")
    assert list(predictions)[3:7] == ["labels", "predicted", "probability", "uncertainty"]
    assert predictions[["labels", "predicted"]].to_numpy().tolist() == [
        ["a", "a"], ["-", "-"], ["", "-"], ["a b", "a"],
    ]  # fmt: skip
    assert np.array_equal(np.load(tmp_path / "probabilities.npy"), final.astype(np.float32))
    confusion = (tmp_path / "confusion.csv").read_text().splitlines()
    assert (confusion[0], confusion[4]) == ("split,class,tp,fp,fn,tn", "test,b,0,0,1,0")
    assert read_rows(tmp_path / "actual_predicted.csv") == [["a", "a"], ["b", "-"]]


def test_thresholds_are_tuned_on_the_validation_images_alone(multi):
    rows = np.array([2, 3, 5, 6])
    final = np.array([[0.9, 0.6], [0.2, 0.1], [0.3, 0.7], [0.8, 0.2]])
    others = final.copy()
    others[2:] = 0.5  # the test images
    thresholds = [
        evaluate(table=multi, rows=rows, methods={"tta": p}, rule="per_label").final_thresholds
        for p in (final, others)
    ]
    assert thresholds[0] == thresholds[1]


def test_a_task_without_thresholds_has_none_and_no_baseline(single):
    final = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    evaluation = evaluate(table=single, rows=np.array([1, 2, 5]), methods={"tta": final}, rule="global")
    assert evaluation.final is final and evaluation.thresholds == {"tta": None}
