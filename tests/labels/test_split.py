from collections import Counter, defaultdict
from typing import get_args

import pytest

from unfreeze.core.console import UserError
from unfreeze.labels.check import check_classes
from unfreeze.labels.groups import group_copies
from unfreeze.labels.label import Label
from unfreeze.labels.params import SplitParams
from unfreeze.labels.split import make_splits
from unfreeze.task.kinds import TASKS

TABLE = {
    "labels": "folders",
    "kind": "single",
    "id_column": "auto",
    "label_column": "auto",
    "group": "none",
    "numbers": [],
}


def params(**changes):
    return SplitParams(**(TABLE | {"seed": 1, "train": "all", "valid": 0.2, "test": 0.2, "folds": 0} | changes))


def data(classes=3, each=20, split=None):
    """Labels, and digests that are all different."""
    labels = [Label(f"c{i % classes}", split) for i in range(classes * each)]
    return labels, [f"{i:08x}" for i in range(classes * each)]


def multi(count=200, **changes):
    """Images with any of three labels, and a fourth that each tenth one has."""
    texts = [" ".join(c for c in "abc" if (i * 7 + ord(c)) % (ord(c) - 95) == 0) or "-" for i in range(count)]
    texts = [f"{text} d".removeprefix("- ") if i % 10 == 0 else text for i, text in enumerate(texts)]
    return [Label(text, None) for text in texts], params(labels="l.csv", kind="multi", **changes)


def counts(labels, splits):
    return Counter((s, label.label) for s, label in zip(splits.split, labels, strict=True))


def test_made_splits_are_stratified_disjoint_and_complete():
    labels, digests = data(3, 20)
    splits = make_splits(labels, digests, params())
    assert splits.new_parts == ["valid", "test"]
    for c in ("c0", "c1", "c2"):
        assert [counts(labels, splits)[s, c] for s in ("train", "valid", "test")] == [12, 4, 4]


def test_counts_a_class_are_the_course_s_68_and_33():
    labels, digests = data(2, 110)
    splits = make_splits(labels, digests, params(train=68, valid=33, test=0))
    assert counts(labels, splits) == {
        (s, c): n for c in ("c0", "c1") for s, n in (("train", 68), ("valid", 33), (None, 9))
    }


def test_the_seed_decides_and_new_images_of_one_class_leave_the_others_alone():
    labels, digests = data(3, 20)
    first = make_splits(labels, digests, params()).split
    assert make_splits(labels, digests, params()).split == first
    assert make_splits(labels, digests, params(seed=2)).split != first
    more = make_splits([*labels, Label("c0", None)], [*digests, "new"], params()).split
    assert all(a == b for a, b, label in zip(first, more, labels, strict=False) if label.label != "c0")


@pytest.mark.parametrize("seed", range(5))
def test_duplicates_stay_together_in_made_splits_and_folds(seed):
    labels, digests = data(2, 30)
    digests = [f"{i // 3}" for i in range(60)]  # triples, across both classes
    splits = make_splits(labels, digests, params(seed=seed, folds=4))
    places = defaultdict(set)
    for digest, split, fold in zip(digests, splits.split, splits.fold, strict=True):
        places[digest].add((split, fold))
    assert all(len(place) == 1 for place in places.values())
    assert len(splits.duplicates) == 40
    assert {action for _, _, action in splits.duplicates} == {"together"}


def test_given_splits_are_kept_and_the_training_copy_of_a_duplicate_is_dropped():
    labels = [Label("a", "train"), Label("a", "train"), Label("b", "train"), Label("b", "train")]
    labels += [Label("a", "valid"), Label("b", "valid"), Label("a", "test"), Label("b", "test")]
    digests = ["1", "2", "3", "4", "1", "5", "5", "6"]
    splits = make_splits(labels, digests, params())
    assert splits.new_parts == []
    assert splits.split == [None, "train", "train", "train", "valid", None, "test", "test"]
    assert splits.duplicates == [(0, 4, "dropped"), (5, 6, "dropped")]


def test_a_missing_validation_split_is_made_of_the_training_images_alone():
    labels, digests = data(2, 20, "train")
    labels += [Label("c0", "test"), Label("c1", "test"), Label("", "test")]
    splits = make_splits(labels, [*digests, "x", "y", "x"], params())
    assert splits.new_parts == ["valid"]
    assert Counter(splits.split) == {"train": 32, "valid": 8, "test": 3}


def test_unlabelled_test_images_are_all_kept_and_a_labelled_test_split_is_made():
    labels, digests = data(2, 10, "train")
    splits = make_splits([*labels, Label("", "test")], [*digests, digests[0]], params())
    assert splits.new_parts == ["valid", "test"]
    assert splits.split[-1] == "test" and splits.duplicates == []


def test_folds_are_stratified_over_train_and_valid():
    labels, digests = data(2, 25)
    splits = make_splits(labels, digests, params(folds=5))
    assert Counter(splits.fold)[-1] == 10  # the test split
    sizes = Counter((fold, label.label) for fold, label in zip(splits.fold, labels, strict=True) if fold >= 0)
    assert set(sizes.values()) == {4}


@pytest.mark.parametrize(
    ("labels", "digests", "message"),
    [
        ([Label("a", None)] * 5, list("12345"), "two classes or more; found a"),
        ([Label("a", None)] * 5 + [Label("b", None)], list("123456"), r"split\.rare = error: .*b \(1\)"),
        ([Label("a", None)] * 5 + [Label("b", None)] * 4, list("12345xxxx"), r"split\.rare = error: .*b \(4\)"),
    ],
)
def test_too_small_classes_are_errors(labels, digests, message):
    with pytest.raises(UserError, match=message):
        make_splits(labels, digests, params(rare="error"))


def test_a_rare_class_trains_or_is_left_out():
    labels, digests = data(2, 10)
    labels, digests = [*labels, Label("rare", None)], [*digests, "rare"]
    splits = make_splits(labels, digests, params(rare="train"))
    assert splits.split[-1] == "train" and splits.rare == {"rare": 1}
    splits = make_splits(labels, digests, params(rare="drop"))
    assert splits.split[-1] is None and set(splits.split[:-1]) == {"train", "valid", "test"}


def test_a_count_that_takes_a_whole_class_is_an_error():
    labels, digests = data(2, 10)
    with pytest.raises(UserError, match=r"split\.valid = 10: class 'c0' has 10 images"):
        make_splits(labels, digests, params(valid=10, test=0))


def test_more_folds_than_images_are_an_error():
    labels, digests = data(2, 3)
    with pytest.raises(UserError, match=r"split\.folds = 7: there are only 6 different images"):
        make_splits(labels, digests, params(valid=1, test=0, folds=7))


def test_a_validation_split_that_only_repeats_test_images_is_made_anew():
    labels = [Label(c, "train") for c in "ab" for _ in range(5)] + [
        Label(c, s) for s in ("valid", "test") for c in "ab"
    ]
    splits = make_splits(labels, [*map(str, range(10)), "x", "y", "x", "y"], params())
    assert splits.new_parts == ["valid"]
    assert splits.split[10:] == [None, None, "test", "test"] and splits.split.count("valid") == 2


def test_a_class_of_a_given_split_may_be_missing_in_valid_but_not_in_train():
    labels = [Label("a", "train"), Label("b", "train"), Label("a", "valid")]
    assert check_classes(labels, ["train", "train", "valid"], TASKS["single"]) == [
        "valid has no image of b: their scores are undefined there"
    ]
    with pytest.raises(UserError, match="no image is left to train on in class b"):
        check_classes([*labels, Label("b", "valid")], ["train", None, "valid", "valid"], TASKS["single"])


def test_multi_label_splits_and_folds_keep_the_share_of_every_label():
    labels, chosen = multi(folds=4)
    splits = make_splits(labels, list(map(str, range(200))), chosen)
    assert splits.new_parts == ["valid", "test"]
    assert Counter(splits.split) == {"train": 120, "valid": 40, "test": 40}
    for name in "abcd":
        per_part = Counter(
            s for s, label in zip(splits.split, labels, strict=True) if name in TASKS["multi"].names(label.label)
        )
        assert (
            abs(per_part["valid"] - per_part.total() / 5) <= 1
            and abs(per_part["test"] - per_part.total() / 5) <= 1
        )
        folds = Counter(
            f for f, label in zip(splits.fold, labels, strict=True) if name in TASKS["multi"].names(label.label)
        )
        del folds[-1]
        assert max(folds.values()) - min(folds.values()) <= 1
    assert check_classes(labels, splits.split, TASKS["multi"]) == []


def test_multi_label_splits_are_decided_by_the_seed_and_take_no_unlabelled_image():
    labels, chosen = multi()
    labels.append(Label("", "test"))
    digests = [*map(str, range(200)), "0"]
    first = make_splits(labels, digests, chosen)
    assert make_splits(labels, digests, chosen).split == first.split
    assert make_splits(labels, digests, multi(seed=2)[1]).split != first.split
    assert first.split[-1] == "test" and first.duplicates == []


def test_one_label_is_enough_for_several_labels_an_image_but_none_is_not():
    labels, chosen = [Label(text, None) for text in ["a", "-"] * 10], multi()[1]
    assert Counter(make_splits(labels, list(map(str, range(20))), chosen).split)["valid"] == 4
    with pytest.raises(UserError, match="needs one label or more; found none"):
        make_splits([Label("-", None)] * 10, list(map(str, range(10))), chosen)


@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("seed", range(3))
def test_groups_and_duplicates_chained_together_never_straddle(kind, seed):
    labels = [Label("ab"[i % 2], None, f"patient {i // 6}" if i % 5 else "") for i in range(120)]
    digests = [str(i // 2) if i % 7 == 0 else f"own {i}" for i in range(120)]
    digests[3] = digests[41] = "same"  # joins patients 0 and 6
    chosen = params(labels="l.csv", kind=kind, group="patient", seed=seed, folds=3)
    splits = make_splits(labels, digests, chosen)
    places = defaultdict(set)
    for label, digest, split, fold in zip(labels, digests, splits.split, splits.fold, strict=True):
        places[digest].add((split, fold))
        if label.group:
            places["joined" if label.group in ("patient 0", "patient 6") else label.group].add((split, fold))
    assert all(len(place) == 1 for place in places.values())
    assert all(abs(splits.split.count(part) - 24) <= 6 for part in ("valid", "test"))


def test_a_group_in_several_given_splits_is_an_error():
    labels = [Label("ab"[i % 2], "train", "p") for i in range(10)] + [Label("a", "valid", "p")]
    with pytest.raises(
        UserError, match=r"1 groups lie in several of the given splits .* such as p: .*split\.group"
    ):
        make_splits(labels, list(map(str, range(11))), params(labels="l.csv", group="patient"))


def test_small_classes_of_a_label_file_only_train():
    labels, digests = data(3, 20)
    labels += [Label("rare", None)] * 2
    splits = make_splits(labels, [*digests, "x", "y"], params(labels="l.csv"))
    assert splits.split[-2:] == ["train", "train"]
    assert check_classes(labels, splits.split, TASKS["single"]) == [
        f"{part} has no image of rare: their scores are undefined there" for part in ("valid", "test")
    ]
    labels = [Label(f"c{i}", None) for i in range(20)]
    splits = make_splits(labels, list(map(str, range(20))), params(labels="l.csv"))
    with pytest.raises(UserError, match="no image to validate on: the classes have too few images"):
        check_classes(labels, splits.split, TASKS["single"])


def test_a_hundred_and_twenty_classes_of_eight_images():
    labels, digests = data(120, 8)
    splits = make_splits(labels, digests, params(labels="l.csv"))
    assert Counter(splits.split) == {"train": 480, "valid": 240, "test": 240}
    assert check_classes(labels, splits.split, TASKS["single"]) == []


def test_the_kinds_of_the_params_are_the_tasks():
    assert set(get_args(SplitParams.model_fields["kind"].annotation)) == set(TASKS)


def test_copies_are_grouped_in_order_of_their_first_image():
    digests = ["b", "a", "b", "c", "a", "b"]
    assert group_copies(digests, [0, 1, 2, 3, 4, 5]) == [[0, 2, 5], [1, 4], [3]]
    assert group_copies(digests, [1, 2, 5]) == [[1], [2, 5]]
    assert group_copies(digests, []) == []
