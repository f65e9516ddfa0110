"""What the split stage says."""

from label_files import split_params

from unfreeze.labels.label import Label, Reading
from unfreeze.labels.split import Duplicate, Splits
from unfreeze.labels.summary import summarise


def test_classes_columns_facts_and_reasons_are_told():
    reading = Reading(
        source="labels.csv",
        labels=[Label("a b", None), Label("-", None), Label("", "test"), Label("b", None)],
        facts=["3 ids fit an image whose name has another case"],
        columns={"ids": ["id"], "labels": ["tags"], "group": [], "not used": ["age"]},
        unmatched=[("x", "no image: left out"), ("y", "no image: left out"), ("z", "no label: predicted only")],
    )
    splits = Splits(["train", "valid", "test", None], [-1] * 4, [Duplicate(3, 0, "dropped")], ["valid"])
    summary = summarise(reading, splits, ["0.png", "1.png", "2.png", "3.png"], split_params(kind="multi"))
    assert summary["classes"] == {name: {"train": 1, "valid": 0, "test": 0} for name in "ab"}
    assert summary["splits"] == {"train": 1, "valid": 1, "test": 1, "made": ["valid"]}
    assert summary["lines"] == [
        "labels from labels.csv; 2 classes: a 1, b 1",
        "columns: ids id; labels tags; not used age",
        "3 ids fit an image whose name has another case",
        "1 x a copy of an image in another split: left out, such as 3.png",
        "2 x no image: left out, such as x, y",
        "1 x no label: predicted only, such as z",
        "2 classes, 1 train, 1 valid, 1 test; made here: valid; 1 duplicates",
    ]


def test_of_many_classes_the_largest_and_the_smallest_are_shown():
    labels = [Label(f"{c:02}", None) for c in range(20) for _ in range(c + 1)]
    splits = Splits(["train"] * len(labels), [-1] * len(labels), [], [])
    lines = summarise(Reading("folders", labels), splits, [""] * len(labels), split_params())["lines"]
    assert lines[0].endswith(": 19 20, 18 19, 17 18, 16 17, 15 16, ... 10 more ..., 04 5, 03 4, 02 3, 01 2, 00 1")
    assert "all 20 classes are numbers" in lines[1]
