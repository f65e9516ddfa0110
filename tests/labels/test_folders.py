import pytest
from label_files import split_params

from unfreeze.core.console import UserError
from unfreeze.labels.folders import label_by_folders
from unfreeze.labels.label import Label
from unfreeze.labels.layout import name_split, shared_depth


def read(paths, further=(), **changes):
    """The labels of `paths`."""
    return label_by_folders(paths, further, split_params(labels="folders", **changes)).labels


def test_class_folders():
    labels = read(["cat/1.png", "cat/deep/2.png", "dog/1.png"])
    assert labels == [Label("cat", None), Label("cat", None), Label("dog", None)]


@pytest.mark.parametrize("top", ["", "data/", "a/b/"])
def test_given_splits_under_any_top_folder(top):
    paths = ["train/cat/1.png", "Validation/cat/2.png", "train/dog/1.png", "test/dog/4.png"]
    labels = read([top + path for path in paths])
    assert labels == [Label("cat", "train"), Label("cat", "valid"), Label("dog", "train"), Label("dog", "test")]


def test_a_train_folder_alone_is_a_split_and_no_class():
    labels = read(["train/clean/1.png", "train/dirty/2.png"])
    assert labels == [Label("clean", "train"), Label("dirty", "train")]


@pytest.mark.parametrize("path", ["test/1.png", "test/images/1.png"])
def test_test_images_outside_of_class_folders_are_unlabelled(path):
    labels = read(["train/cat/1.png", "train/dog/1.png", path])
    assert labels[2] == Label("", "test")


@pytest.mark.parametrize(
    ("images", "further"),
    [
        (["top/cat/1.png", "top/dog/1.png"], ["top/fox/", "top/cat/sub/", "elsewhere/"]),
        (["train/cat/1.png", "train/dog/1.png", "valid/cat/1.png"], ["train/fox/", "valid/dog/", "test/"]),
    ],
)
def test_folders_without_images_are_empty_classes(images, further):
    with pytest.raises(UserError, match="no usable image in class fox: "):
        read(images, further)
    read(images, further[1:])


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["cat/1.png", "dog/1.png", "2.png"], r"1 images have no class folder: 2\.png\. Labels come from folders"),
        (["train/cat/1.png", "train/2.png"], r"have no class folder: train/2\.png"),
        (["train/cat/1.png", "dog/2.png"], r"lie beside the split folders .*: dog/2\.png"),
        (["train/cat/1.png", "valid/dog/2.png"], "class 'dog' is in valid but not in train; train has cat"),
        (
            ["train/cat/1.png", "test/cat/1.png", "test/fox/2.png"],
            "class 'fox' is in test but not in train; train has cat",
        ),
    ],
)
def test_images_without_a_place_are_errors(paths, message):
    with pytest.raises(UserError, match=message):
        read(paths)


@pytest.mark.parametrize(
    ("paths", "depth"),
    [
        ([], 0),
        (["1.png"], 0),
        (["a/b/1.png"], 2),
        (["a/b/1.png", "a/bc/1.png"], 1),
        (["a/1.png", "a/b/c/1.png", "a/b/c/2.png"], 1),
        (["a/b/Val/x/1.png", "a/b/Val/x/2.png"], 2),
        (["a/b-/1.png", "a/b/1.png", "a/b0/1.png"], 1),
    ],
)
def test_folders_that_all_images_share_end_at_a_split_folder(paths, depth):
    assert shared_depth(paths) == shared_depth(paths[::-1]) == depth


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("training_set", "train"),
        ("TRAIN", "train"),
        ("seg_train", "train"),
        ("train_images", "train"),
        ("train2017", "train"),
        ("TestSet", "test"),
        ("test1", "test"),
        ("holdout", "test"),
        ("dev", "valid"),
        ("eval", "valid"),
        ("seg_pred", "predict"),
        ("trainee", None),
        ("train_station", None),
        ("train_augmented", None),
        ("contest", None),
        ("cats", None),
    ],
)
def test_names_of_split_folders(name, split):
    assert name_split(name) == split


def test_a_split_folder_may_hold_one_of_its_name_and_a_plain_one():
    paths = ["training_set/training_set/cat/1.png", "training_set/training_set/dog/1.png"]
    assert read([*paths, "test_set/test_set/cat/2.png"])[1:] == [Label("dog", "train"), Label("cat", "test")]
    labels = read(["seg_train/images/a/1.png", "seg_train/images/b/1.png", "seg_pred/seg_pred/1.png"])
    assert labels == [Label("a", "train"), Label("b", "train"), Label("", "test")]


def test_the_split_folder_may_lie_below_the_class():
    labels = read(["cat/train/1.png", "cat/test/2.png", "dog/train/1.png", "dog/test/1.png"])
    assert labels[:2] == [Label("cat", "train"), Label("cat", "test")]


REPEATED = [f"{top}/{inner}/{i}.png" for top in ("one", "two") for inner in ("cat", "dog") for i in range(3)]


def test_folders_of_the_same_names_in_several_folders_are_in_doubt_until_a_key_decides():
    with pytest.raises(
        UserError, match=r"one, two hold the same folders: cat, dog.*split\.level: 1.*split\.level: 2"
    ):
        read(REPEATED)
    assert {label.label for label in read(REPEATED, level=1)} == {"one", "two"}
    assert {label.label for label in read(REPEATED, level=2)} == {"cat", "dog"}
    labels = read(REPEATED, folders={"one": "train", "two": "test"})
    assert set(labels) == {Label(name, split) for name in ("cat", "dog") for split in ("train", "test")}


def test_the_class_may_be_the_deepest_folder():
    labels = read(["x/cat/1.png", "y/z/dog/1.png"], level="last")
    assert [label.label for label in labels] == ["cat", "dog"]


def test_a_class_called_as_a_split_needs_a_key():
    paths = ["bus/1.png", "car/1.png", "train/1.png"]
    with pytest.raises(UserError, match=r"split\.folders: \{train: class\}"):
        read(paths)
    assert [label.label for label in read(paths, folders={"train": "class"})] == ["bus", "car", "train"]


def test_two_folders_of_one_split_need_a_key():
    paths = [f"{top}/{name}/1.png" for top in ("train", "my_train") for name in ("a", "b")]
    with pytest.raises(UserError, match=r"split\.folders: \{my_train: train, train: train\}"):
        read(paths)
    assert set(read(paths, folders={"my_train": "train", "train": "train"})) == {Label(c, "train") for c in "ab"}
    labels = read(paths, folders={"my_train": "out", "train": "train"})
    assert labels[2:] == [Label("", "out")] * 2


def test_a_copy_of_the_set_beside_its_splits_names_what_to_skip():
    paths = [f"x/{copy}{part}/{c}/1.png" for copy in ("", "x/") for part in ("train", "val") for c in "ab"]
    with pytest.raises(UserError, match=r'extract\.skip: \["x/x"\]'):
        read(paths)


def test_composed_and_decomposed_names_are_one_class():
    labels = read(["cre\u0300me/1.png", "cr\u00e8me/2.png", "g/1.png"])
    assert {label.label for label in labels} == {"cr\u00e8me", "g"}


def test_one_folder_is_one_class():
    with pytest.raises(UserError, match="one class, with_mask;"):
        read(["set/with_mask/1.png", "set/with_mask/2.png"])


def test_masks_beside_images_are_no_class():
    with pytest.raises(UserError, match=r'extract\.skip: \["masks"\]'):
        read([f"{folder}/{i}.png" for folder in ("images", "masks") for i in range(5)])


def test_deeper_folders_are_told():
    reading = label_by_folders(["cat/deep/2.png", "dog/1.png"], [], split_params(labels="folders"))
    assert "cat/deep/" in reading.facts[0] and "split.level" in reading.facts[0]
