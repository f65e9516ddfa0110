import pytest
from label_files import split_params

from unfreeze.core.console import UserError
from unfreeze.labels.folders import label_by_folders
from unfreeze.labels.label import Label
from unfreeze.labels.layout import shared_depth


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
