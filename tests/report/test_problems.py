import numpy as np
import pytest
from made_up_results import lines, results, several

from unfreeze.data import store
from unfreeze.report import problems
from unfreeze.report.galleries import HeldOut

NOBODY = HeldOut(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2), np.float32))


def test_a_label_is_suspect_if_another_class_is_as_sure_as_that_class_usually_is():
    # Class 0 usually gets (0.9 + 0.8 + 0.1) / 3 = 0.6 of its own images, class 1 (0.9 + 0.7) / 2 = 0.8.
    p = np.array([0.9, 0.8, 0.1, 0.1, 0.3])
    probabilities = np.stack([p, 1 - p], axis=1)
    assert problems.label_errors(probabilities, np.array([0, 0, 0, 1, 1])) == [(2, 0, 1)]
    # An image of class 1 that gets 0.35 of it is wrong, but 0.65 is no more than usual for class 0 by then.
    p = np.array([0.9, 0.8, 0.9, 0.1, 0.65])
    assert problems.label_errors(np.stack([p, 1 - p], axis=1), np.array([0, 0, 0, 1, 1])) == []


def test_of_planted_label_errors_the_sure_ones_are_found():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 5, 500)
    probabilities = 0.7 * np.eye(5)[true] + 0.3 * rng.dirichlet(np.ones(5), 500)
    labels = true.copy()
    labels[:20] = (true[:20] + 1) % 5
    found = problems.label_errors(probabilities, labels)
    assert {i for i, *_ in found} < set(range(20)) and len(found) >= 8  # the surer half, and nothing else
    assert all((own, likely) == (labels[i], true[i]) for i, own, likely in found)


def test_of_several_labels_each_is_judged_for_itself():
    probabilities = np.array([[0.9, 0.1], [0.95, 0.2], [0.05, 0.1], [0.1, 0.1], [0.02, 0.9]])
    labels = np.array([[1, 0], [0, 0], [0, 0], [0, 0], [1, 0]])
    found = problems.label_errors_of_several(probabilities, labels)
    assert found == [(4, 0, True), (1, 0, False)]  # nobody has the second label: there is nothing to tell it by


def test_judged_in_blocks_labels_are_as_suspect(monkeypatch):
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 4, 100), rng.dirichlet(np.ones(4), 100)
    several = rng.integers(0, 2, (100, 4))
    whole = problems.label_errors(probabilities, labels), problems.label_errors_of_several(probabilities, several)
    assert min(map(len, whole)) > 5
    monkeypatch.setattr(store, "BLOCK", 7)
    assert problems.label_errors(probabilities, labels) == whole[0]
    assert problems.label_errors_of_several(probabilities, several) == whole[1]


def planted() -> np.ndarray:
    """200 images, of which 190 is nearly 3 and 191 the same as 4, and 7 is far from all."""
    features = np.random.default_rng(0).random((200, 300), dtype=np.float32)
    features[:150] += np.repeat(np.random.default_rng(1).random((15, 300)), 10, axis=0).astype(np.float32)
    features[190] = features[3] + 0.02 * features[100]
    features[191] = features[4]
    features[7] = np.random.default_rng(2).normal(size=300) * 3
    return features


def test_near_duplicates_across_the_split_are_found_with_their_true_similarity():
    directions = problems.Directions(planted(), np.arange(150), seed=1)
    found = problems.near_duplicates(directions, np.arange(150, 200), np.arange(150))
    assert [(one, other) for one, other, _ in found] == [(191, 4), (190, 3)]
    assert found[0][2] == 1 and 0.95 < found[1][2] < 1
    assert problems.near_duplicates(directions, np.arange(0), np.arange(150)) == []


def test_of_too_many_pairs_the_near_duplicates_are_found_by_pivots(monkeypatch):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4000, 100)) + 2 * np.repeat(rng.normal(size=(40, 100)), 100, axis=0)
    features = np.concatenate(
        [features, features[rng.permutation(4000)[:300]] + 0.3 * rng.normal(size=(300, 100))]
    )
    directions = problems.Directions(features.astype(np.float32), np.arange(4000), seed=1)
    train, others = np.arange(4000), np.arange(4000, 4300)
    every = problems.near_duplicates(directions, others, train)
    monkeypatch.setattr(problems, "MOST_PAIRS", 0)
    monkeypatch.setattr(problems, "COLUMNS_AT_ONCE", 16)
    found = problems.near_duplicates(directions, others, train)
    assert len(every) > 250
    assert set(found) <= set(every) and len(found) >= 0.98 * len(every)
    monkeypatch.setattr(problems, "ROWS_AT_ONCE", 77)
    assert problems.near_duplicates(directions, others, train) == found


def test_an_image_unlike_all_others_is_the_first_outlier():
    directions = problems.Directions(planted(), np.arange(150), seed=1)
    (first, similarity), *_ = found = problems.outliers(directions, np.arange(150), 5)
    assert (first, len(found)) == (7, 5) and similarity < 0.5


@pytest.mark.parametrize("width", [2, 300])
def test_the_map_is_that_of_the_principal_components_with_a_fixed_sign(width):
    features = planted()[:, :width]
    directions = problems.Directions(features, np.arange(200), seed=1)
    places = problems.landscape(directions, np.arange(200), seed=1)
    centred = features - features.mean(0, dtype=np.float64)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    for found, wanted in zip(places.T, (centred @ axes.T).T, strict=True):
        assert abs(np.corrcoef(found, wanted)[0, 1]) > 0.999
        assert found[np.abs(found).argmax()] == np.abs(found).max() == 1


def test_tables_have_the_columns_that_are_written():
    given = results(["cat", "dog"], 20)
    split = [line | ({"split": "train", "label": "cat"} if int(line["row"]) > 15 else {}) for line in given.split]
    found = problems.tables(given.predictions, NOBODY, split, given.features, seed=1)
    for name, table in found.items():
        assert all(list(line) == problems.COLUMNS[name] for line in table)
    assert found["label_errors"] and found["outliers"]
    found = problems.tables(given.predictions, NOBODY, split, given.features[:0], seed=1)
    assert (found["near_duplicates"], found["outliers"]) == ([], [])
    given = several()
    found = problems.tables(given.predictions, NOBODY_OF_THREE, given.split, given.features[:0], seed=1)
    assert all(list(line) == problems.COLUMNS["label_errors_of_several"] for line in found["label_errors"])


NOBODY_OF_THREE = HeldOut(np.zeros(0, np.int64), np.zeros((0, 3), np.int8), np.zeros((0, 3), np.float32))


def test_training_images_are_judged_by_heads_that_did_not_see_them(monkeypatch):
    monkeypatch.setattr(store, "BLOCK", 3)
    given = results(["cat", "dog"], 20, wrong=0)
    held_out = HeldOut(np.array([0, 20]), np.array([0, 0]), np.array([[0.1, 0.9]] * 2, np.float32))
    split = [*given.split[:20], *lines("row path label split fold", (20, "planted.png", "cat", "train", 0))]
    (found,) = problems.tables(given.predictions, held_out, split, given.features[:0], seed=1)["label_errors"]
    assert (found["path"], found["label"], found["likely"]) == ("planted.png", "cat", "dog")  # 0 is in predictions
