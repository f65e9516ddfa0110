import numpy as np
import pytest
from made_up_results import results, several
from pydantic import ValidationError

from unfreeze.report import galleries
from unfreeze.report.galleries import ReportParams

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
    assert galleries.rank_correct(PROBABILITIES, ACTUAL, PREDICTED, 0, 9).tolist() == [1, 0]
    assert galleries.rank_correct(PROBABILITIES, ACTUAL, PREDICTED, 0, 1).tolist() == [1]
    assert galleries.rank_correct(PROBABILITIES, ACTUAL, PREDICTED, 2, 9).tolist() == []


def test_most_incorrect_are_ranked_by_the_true_class_and_ties_by_position() -> None:
    # Image 4 is wrong with 0.5 and image 2 with 0.7: what counts is 0.05 < 0.2 = 0.2 of their true class.
    assert galleries.rank_incorrect(PROBABILITIES, ACTUAL, PREDICTED, 0, 9).tolist() == [3, 2, 4]
    assert galleries.rank_incorrect(PROBABILITIES, ACTUAL, PREDICTED, 0, 2).tolist() == [3, 2]
    assert galleries.rank_incorrect(PROBABILITIES, ACTUAL, PREDICTED, 1, 9).tolist() == []


def test_most_uncertain_has_the_smallest_margin_first_and_ties_by_position() -> None:
    assert galleries.rank_uncertain(UNCERTAINTY, 9).tolist() == [7, 4, 5, 2, 3, 0, 6, 1]


def test_some_are_of_their_kind_without_repeats_and_never_unlabelled() -> None:
    assert sorted(galleries.sample_correct(ACTUAL, PREDICTED, 9, 1)) == [0, 1, 5]
    assert sorted(galleries.sample_incorrect(ACTUAL, PREDICTED, 9, 1)) == [2, 3, 4, 6]
    assert len(galleries.sample_incorrect(ACTUAL, PREDICTED, 2, 1)) == 2


def test_some_depend_on_the_seed_alone() -> None:
    actual = predicted = np.zeros(1000, dtype=int)
    first = galleries.sample_correct(actual, predicted, 8, 1)
    assert first.tolist() == galleries.sample_correct(actual, predicted, 8, 1).tolist()
    assert first.tolist() != galleries.sample_correct(actual, predicted, 8, 2).tolist()
    assert first.max() > 100  # not simply the first ones


def test_by_mistakes_has_the_worst_class_first_and_leaves_out_classes_without_images() -> None:
    assert galleries.rank_classes(ACTUAL, PREDICTED, 4) == [(0, 5, 3), (2, 1, 1), (1, 1, 0)]


@pytest.mark.parametrize("value", [0, 65, 2.5, "8"])
def test_per_gallery_is_a_whole_number_from_1_to_64(value: object) -> None:
    with pytest.raises(ValidationError):
        ReportParams(per_gallery=value)


def test_to_search_come_images_of_every_pair_first_and_mistakes_before_the_rest() -> None:
    # 0 and 2 are cats taken for dogs, 1 is a dog taken for a cat.
    order = galleries.order_for_search(results(["cat", "dog"], 8).predictions).tolist()
    assert order == [0, 1, 3, 4, 2, 5, 6, 7]


def test_of_several_labels_the_most_mistakes_come_first_and_then_the_most_uncertain() -> None:
    shown = several().predictions
    assert galleries.count_mistakes(shown).tolist() == [0, 1, 1, 0, 1, 1]
    assert galleries.order_for_search(shown).tolist() == [5, 4, 2, 1, 3, 0]


def test_images_of_a_label_are_those_that_have_it_or_get_it() -> None:
    shown = several().predictions
    assert galleries.rank_by_label(shown, 0, has=True, gets=True, count=9).tolist() == [0, 1]
    assert galleries.rank_by_label(shown, 0, has=True, gets=False, count=9).tolist() == [5]
    assert galleries.rank_by_label(shown, 2, has=False, gets=True, count=9).tolist() == [4]
    assert galleries.rank_labels(shown.actual, shown.predicted) == [(0, 3, 2), (1, 2, 1), (2, 0, 1)]
