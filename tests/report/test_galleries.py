import numpy as np
import pytest
from pydantic import ValidationError

from unfreeze.console import UserError
from unfreeze.files import write_csv
from unfreeze.report import galleries
from unfreeze.report.galleries import ReportParams, read_predictions

# Eight images of three classes; the last has no label.
PROBABILITIES = np.array(
    [
        [0.90, 0.05, 0.05],  # 0: class 0, right
        [0.95, 0.03, 0.02],  # 1: class 0, right and surest
        [0.20, 0.70, 0.10],  # 2: class 0, wrong
        [0.05, 0.15, 0.80],  # 3: class 0, wrong with the lowest probability of class 0
        [0.20, 0.30, 0.50],  # 4: class 0, wrong, ties with 2
        [0.10, 0.60, 0.30],  # 5: class 1, right
        [0.90, 0.05, 0.05],  # 6: class 2, wrong
        [0.34, 0.33, 0.33],  # 7: unlabelled
    ]
)
ACTUAL = np.array([0, 0, 0, 0, 0, 1, 2, -1])
PREDICTED = PROBABILITIES.argmax(1)
UNCERTAINTY = 1 - np.array([0.85, 0.92, 0.5, 0.65, 0.2, 0.3, 0.85, 0.01])


def test_most_correct_are_right_and_surest_first() -> None:
    assert galleries.most_correct(PROBABILITIES, ACTUAL, PREDICTED, 0, 9).tolist() == [1, 0]
    assert galleries.most_correct(PROBABILITIES, ACTUAL, PREDICTED, 0, 1).tolist() == [1]
    assert galleries.most_correct(PROBABILITIES, ACTUAL, PREDICTED, 2, 9).tolist() == []


def test_most_incorrect_are_ranked_by_the_true_class_and_ties_by_position() -> None:
    # Image 4 is wrong with 0.5 and image 2 with 0.7: what counts is 0.05 < 0.2 = 0.2 of their true class.
    assert galleries.most_incorrect(PROBABILITIES, ACTUAL, PREDICTED, 0, 9).tolist() == [3, 2, 4]
    assert galleries.most_incorrect(PROBABILITIES, ACTUAL, PREDICTED, 0, 2).tolist() == [3, 2]
    assert galleries.most_incorrect(PROBABILITIES, ACTUAL, PREDICTED, 1, 9).tolist() == []


def test_most_uncertain_has_the_smallest_margin_first_and_ties_by_position() -> None:
    assert galleries.most_uncertain(UNCERTAINTY, 9).tolist() == [7, 4, 5, 2, 3, 0, 6, 1]


def test_some_are_of_their_kind_without_repeats_and_never_unlabelled() -> None:
    assert sorted(galleries.some_correct(ACTUAL, PREDICTED, 9, 1)) == [0, 1, 5]
    assert sorted(galleries.some_incorrect(ACTUAL, PREDICTED, 9, 1)) == [2, 3, 4, 6]
    assert len(galleries.some_incorrect(ACTUAL, PREDICTED, 2, 1)) == 2


def test_some_depend_on_the_seed_alone() -> None:
    actual = predicted = np.zeros(1000, dtype=int)
    first = galleries.some_correct(actual, predicted, 8, 1)
    assert first.tolist() == galleries.some_correct(actual, predicted, 8, 1).tolist()
    assert first.tolist() != galleries.some_correct(actual, predicted, 8, 2).tolist()
    assert first.max() > 100  # not simply the first ones


def test_by_mistakes_has_the_worst_class_first_and_leaves_out_classes_without_images() -> None:
    assert galleries.by_mistakes(ACTUAL, PREDICTED, 4) == [(0, 5, 3), (2, 1, 1), (1, 1, 0)]


@pytest.mark.parametrize("value", [0, 65, 2.5, "8"])
def test_per_gallery_is_a_whole_number_from_1_to_64(value: object) -> None:
    with pytest.raises(ValidationError):
        ReportParams(per_gallery=value)


HEADER = ["row", "path", "split", "label", "predicted", "uncertainty", "p_p_a", "p_b,\nc"]


def test_predictions_come_back_as_written(tmp_path) -> None:
    file = tmp_path / "predictions.csv"
    write_csv(file, HEADER, [(3, "x, y.png", "valid", "p_a", "b,\nc", 0.5, 0.25, 0.75),
                             (9, "ü.png", "test", "", "p_a", 0, 1, 0)])  # fmt: skip
    read = read_predictions(file)
    assert read.classes == ["p_a", "b,\nc"]
    assert read.row.tolist() == [3, 9]
    assert list(read.path) == ["x, y.png", "ü.png"]
    assert read.split.tolist() == [1, 2]  # of train, valid and test
    assert read.actual.tolist() == [0, -1]
    assert read.predicted.tolist() == [1, 0]
    assert read.uncertainty.tolist() == [0.5, 0]
    assert read.probabilities.tolist() == [[0.25, 0.75], [1, 0]]
    assert list(read.take(np.array([1])).path) == ["ü.png"]


def test_more_predictions_than_are_read_at_once_are_all_there(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(galleries, "BLOCK", 3)
    file = tmp_path / "predictions.csv"
    write_csv(file, HEADER, [(i, f"{i}.png", "test", "p_a", "p_a", 0, i / 8, 1 - i / 8) for i in range(8)])
    read = read_predictions(file)
    assert list(read.path) == [f"{i}.png" for i in range(8)]
    assert read.probabilities[:, 0].tolist() == [i / 8 for i in range(8)]
    some = read.take(np.array([2, 3, 4]))
    assert np.shares_memory(some.probabilities, read.probabilities) and some.row.tolist() == [2, 3, 4]
    assert list(some.path) == ["2.png", "3.png", "4.png"]


def test_predictions_without_lines_are_empty_arrays(tmp_path) -> None:
    write_csv(tmp_path / "predictions.csv", HEADER, [])
    assert read_predictions(tmp_path / "predictions.csv").probabilities.shape == (0, 2)


@pytest.mark.parametrize(
    "line",
    [
        (0, "a.png", "valid", "stranger", "p_a", 0, 1, 0),
        (0, "a.png", "valid", "p_a", "stranger", 0, 1, 0),
        (0, "a.png", "valid", "p_a", "p_a", 0, 1),
        (0, "a.png", "valid", "p_a", "p_a", 0, 1, "nan"),
        (0, "a.png", "valid", "p_a", "p_a", 0, 1, "much"),
        ("first", "a.png", "valid", "p_a", "p_a", 0, 1, 0),
        (0, "a.png", "dropped", "p_a", "p_a", 0, 1, 0),
        (),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path, line: tuple) -> None:
    file = tmp_path / "predictions.csv"
    write_csv(file, HEADER, [line])
    with pytest.raises(UserError, match=r"predictions\.csv, line 3"):  # the header has a line break
        read_predictions(file)


@pytest.mark.parametrize("header", [[], HEADER[:6], ["path", *HEADER[1:]]])
def test_another_header_is_refused(tmp_path, header: list[str]) -> None:
    write_csv(tmp_path / "predictions.csv", header, [])
    with pytest.raises(UserError, match="header must be"):
        read_predictions(tmp_path / "predictions.csv")


def test_predictions_of_several_labels_come_back_as_written(tmp_path) -> None:
    file = tmp_path / "predictions.csv"
    header = ["row", "path", "split", "labels", "predicted", "uncertainty", "p_a", "p_b"]
    write_csv(file, header, [(3, "x.png", "valid", "a b", "-", 0.5, 0.25, 0.75),
                             (4, "y.png", "valid", "-", "b", 0.5, 0.25, 0.75),
                             (9, "z.png", "test", "", "a", 0, 1, 0)])  # fmt: skip
    read = read_predictions(file)
    assert read.multi and read.actual.tolist() == [[1, 1], [0, 0], [-1, -1]]
    assert read.predicted.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert read.labelled.tolist() == [True, True, False]
    assert read.take(np.array([2])).actual.tolist() == [[-1, -1]]
    write_csv(file, header, [])
    assert read_predictions(file).actual.shape == (0, 2)
    for labels, predicted in (("a c", "-"), ("a", "")):
        write_csv(file, header, [(3, "x.png", "valid", labels, predicted, 0.5, 0.25, 0.75)])
        with pytest.raises(UserError, match=r"predictions\.csv, line 2"):
            read_predictions(file)
