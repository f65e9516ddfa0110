from unfreeze.labels.label import Label
from unfreeze.labels.split import Duplicate, Splits
from unfreeze.labels.summary import describe_splits
from unfreeze.task.kinds import TASKS


def test_classes_splits_duplicates_and_reasons_are_counted():
    labels = [Label("a b", None), Label("-", None), Label("", "test"), Label("b", None)]
    splits = Splits(["train", "valid", "test", None], [-1] * 4, [Duplicate(3, 0, "dropped")], ["valid"])
    unmatched = [("x", "no image"), ("y", "no image"), ("z", "no label")]
    assert describe_splits(labels, splits, unmatched, TASKS["multi"]) == (
        "2 classes, 1 train, 1 valid, 1 test, 1 duplicates; made here: valid; 2 x no image; 1 x no label"
    )
