"""Labels and given splits from the folders that images lie in."""

from collections.abc import Iterable, Sequence
from functools import cache

from unfreeze.core.console import UserError, few
from unfreeze.labels.label import Label

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}
"""Names of folders, in lower case, and the splits that they give."""


def label_by_folders(paths: Sequence[str], folders: Iterable[str] = ()) -> tuple[list[Label], set[str]]:
    """Label each image by its folders; return the labels, and the classes that have a folder and no image.

    Folders that all images share do not count. Below them comes a class folder, or a split folder (train | valid,
    val, validation | test, in any case) and then a class folder. Deeper folders do not count. Images directly
    under `test/` are unlabelled. All test images are unlabelled if no folder there is a class.

    Args:
        paths: of the images, with `/` between folders.
        folders: further folders ("a/b/") that exist and hold no usable image.

    Raises:
        UserError: an image has no label, lies beside the split folders, or has a class that training lacks.
    """
    depth = shared_depth(paths)
    shared = paths[0].split("/")[:depth] if paths else []
    labels = [_label_by_folder(path, depth) for path in paths]
    given = any(label.split for label in labels)
    if given:
        _refuse(
            "lie beside the split folders (train, valid, test) and not in one",
            [path for path, label in zip(paths, labels, strict=True) if label.split is None],
        )
    _refuse(
        "have no class folder",
        [path for path, label in zip(paths, labels, strict=True) if not label.label and label.split != "test"],
    )
    further = [_label_by_folder(path, depth) for path in folders if path.split("/")[:depth] == shared]
    empty = {
        label.label for label in further if label.label and label.split != "test" and bool(label.split) == given
    }
    if not given:
        return labels, empty - {label.label for label in labels}

    classes = {label.label for label in labels if label.split == "train"} | empty
    if not classes.intersection(label.label for label in labels if label.split == "test"):
        labels = [label if label.split != "test" else Label("", "test") for label in labels]
    for path, label in zip(paths, labels, strict=True):
        if label.label and label.label not in classes:
            raise UserError(
                f"{path}: class {label.label!r} is in {label.split} but not in train; train has {few(classes)}"
            )
    return labels, empty - {label.label for label in labels}


def get_given_split(path: str, depth: int) -> str | None:
    """Return the split that the folder at `depth` names, None if it is no split folder."""
    folders = path.split("/")[depth:-1]
    return SPLIT_FOLDERS.get(folders[0].lower()) if folders else None


def shared_depth(paths: Sequence[str]) -> int:
    """Count the leading folders that all images share. A split folder is none of them, nor is one below it."""
    if not paths:
        return 0
    depth = 0
    # Whatever the first and the last path in order begin with, all others do.
    for first, last in zip(*(path.split("/")[:-1] for path in (min(paths), max(paths))), strict=False):
        if first != last or first.lower() in SPLIT_FOLDERS:
            break
        depth += 1
    return depth


def _label_by_folder(path: str, depth: int) -> Label:
    split = get_given_split(path, depth)
    folders = path.split("/")[depth + bool(split) : -1]
    return _intern_label(folders[0] if folders else "", split)


@cache
def _intern_label(label: str, split: str | None) -> Label:
    """Return one and the same object for all images of a folder: a million images take little memory."""
    return Label(label, split)


def _refuse(problem: str, paths: Sequence[str]) -> None:
    if paths:
        raise UserError(
            f"{len(paths)} images {problem}: {few(paths)}. Labels come from folders: "
            "<class>/image, or train/<class>/image beside valid/ and test/"
        )
