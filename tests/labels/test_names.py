"""Labels from file names."""

import pytest
from label_files import split_params

from unfreeze.core.console import UserError
from unfreeze.labels.label import Label
from unfreeze.labels.names import find_pattern, label_by_names


def read(paths, **changes):
    return label_by_names(paths, split_params(labels="names", **changes)).labels


@pytest.mark.parametrize(
    "name", ["{label}.{i}", "{label}_{i:03}", "{label} ({i})", "{label}{i}", "{i:04}_{label}", "{i}-{label}_{i}"]
)
def test_usual_names_are_found_by_evidence(name):
    paths = [f"d/{name.format(label=label, i=i)}.jpg" for label in ("cat", "great_dane") for i in range(10, 15)]
    assert [label.label for label in read(paths)] == ["cat"] * 5 + ["great_dane"] * 5


@pytest.mark.parametrize(
    "paths", [[f"{i:08x}.png" for i in range(0, 90000, 999)], [f"IMG_{i}.jpg" for i in range(9)]]
)
def test_names_that_are_no_labels_are_none(paths):
    assert find_pattern(paths) is None
    with pytest.raises(UserError, match=r"split\.pattern = auto"):
        read(paths)


def test_split_folders_count_and_test_images_without_a_label_are_predicted_only():
    paths = [f"train/{label}.{i}.jpg" for label in ("cat", "dog") for i in range(4)] + ["test1/1.jpg"]
    assert read(paths)[0] == Label("cat", "train")
    assert read(paths)[-1] == Label("", "test")


def test_a_pattern_gives_label_group_and_split():
    paths = ["p7_cat_train.png", "p7_dog_val.png"]
    pattern = r"(?P<group>p\d+)_(?P<label>[a-z]+)_(?P<split>[a-z]+)"
    assert read(paths, pattern=pattern) == [Label("cat", "train", "p7"), Label("dog", "valid", "p7")]
    with pytest.raises(UserError, match=r"split\.folders: \{val2x: train\}"):
        read(["p7_cat_val2x.png"], pattern=r"(?P<label>cat)_(?P<split>\w+)")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [(r"(?P<label>cat)", r"no label to 1 images: dog\.png"), (r"(?P<label>\d+)", "no label to 2 images")],
)
def test_a_pattern_that_does_not_do_is_an_error(pattern, message):
    with pytest.raises(UserError, match=message):
        read(["cat.png", "dog.png"], pattern=pattern)
