import numpy as np
from made_up_results import results, several, split_table

from unfreeze.core import arrays
from unfreeze.report.problems import find_problems
from unfreeze.task.predictions import HeldOut

NOBODY = HeldOut(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2), np.float32))
NOBODY_OF_THREE = HeldOut(np.zeros(0, np.int64), np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))
IMAGE = ["row", "path", "split", "label"]


def test_lists_have_the_columns_that_are_written():
    given = results(["cat", "dog"], 20)
    given.split.loc[16:, ["label", "split"]] = ["cat", "train"]
    lists = find_problems(given.predictions, NOBODY, given.split, given.features, seed=1)
    assert {name: list(lines.columns) for name, lines in lists.items()} == {
        "label_errors": [*IMAGE, "likely", "p_label", "p_likely"],
        "near_duplicates": [*IMAGE, "similar_to", "similar_row", "similarity"],
        "outliers": [*IMAGE, "similarity"],
    }
    assert len(lists["label_errors"]) and len(lists["outliers"])
    without = find_problems(given.predictions, NOBODY, given.split, given.features[:0], seed=1)
    for name in ("near_duplicates", "outliers"):
        assert list(without[name].columns) == list(lists[name].columns) and not len(without[name])
    given = several()
    given.predictions.probabilities[5, 0] = 0.25
    lists = find_problems(given.predictions, NOBODY_OF_THREE, given.split, given.features[:0], seed=1)
    assert list(lists["label_errors"].columns) == [*IMAGE, "suspect", "has_it", "probability"]
    [line] = lists["label_errors"].to_dict("records")
    assert list(line.values()) == [5, "5.png", "test", "cat", "cat", "yes", 0.25]


def test_a_copy_across_the_split_is_listed_with_its_training_image():
    given = results(["cat", "dog"], 20)
    given.split.loc[16:, ["label", "split"]] = ["cat", "train"]
    given.features[5] = given.features[17]
    lists = find_problems(given.predictions, NOBODY, given.split, given.features, seed=1)
    [line] = lists["near_duplicates"].to_dict("records")
    assert (line["row"], line["similar_row"], line["similarity"]) == (5, 17, 1.0)
    assert (line["path"], line["similar_to"]) == tuple(given.split.loc[[5, 17], "path"])


def test_training_images_are_judged_by_heads_that_did_not_see_them(monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK", 3)
    given = results(["cat", "dog"], 20, wrong=0)
    held_out = HeldOut(np.array([0, 20]), np.array([0, 0]), np.array([[0.1, 0.9]] * 2, np.float32))
    planted = (20, "planted.png", "cat", "train")
    split = split_table(*given.split[:20].reset_index().itertuples(index=False, name=None), planted)
    lists = find_problems(given.predictions, held_out, split, given.features[:0], seed=1)
    [line] = lists["label_errors"].to_dict("records")  # 0 is in predictions
    assert (line["path"], line["label"], line["likely"]) == ("planted.png", "cat", "dog")
