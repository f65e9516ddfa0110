"""What is known of an image: its label, its given split; both read from where it lies."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from unfreeze.console import UserError
from unfreeze.data.table import NO_LABELS

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of an image, and how split.csv writes it.

    `label` is "" for an unlabelled test image; else its class, or with several labels an image their names in
    order with spaces between them, `-` if it has none. `split` is the given split, if any. Images with the same
    `group` must not be parted; "" is no group. `numbers` are those of the columns `split.numbers`, None where one
    is missing.
    """

    label: str
    split: str | None
    group: str = ""
    numbers: tuple[float | None, ...] = ()

    def names(self, kind: str) -> list[str]:
        """The classes or labels that the image has."""
        if kind == "single":
            return [self.label] if self.label else []
        return [] if self.label == NO_LABELS else self.label.split()


def from_folders(images: Sequence[str], folders: Sequence[str] = ()) -> tuple[list[Label], set[str]]:
    """The label of each image from its folders, and the classes for which there is no image.

    Folders that all images share are passed over. What follows is either a class folder, or a split folder
    (train | valid, val, validation | test, in any case) and then a class folder; deeper folders do not count.
    Images directly under `test/` are unlabelled, and so are all test images if no folder there is a class.

    Args:
        images: paths of the images.
        folders: further folders ("a/b/") that exist and hold no usable image.

    Raises:
        UserError: an image without a label, a split beside class folders, a class that training lacks.
    """
    depth = shared_depth(images)
    shared = images[0].split("/")[:depth] if images else []
    labels = [_label(path, depth) for path in images]
    given = any(label.split for label in labels)
    if given:
        _refuse(
            "lie beside the split folders (train, valid, test) and not in one",
            [path for path, label in zip(images, labels, strict=True) if label.split is None],
        )
    _refuse(
        "have no class folder",
        [path for path, label in zip(images, labels, strict=True) if not label.label and label.split != "test"],
    )
    empty = {
        label.label
        for label in (_label(path, depth) for path in folders if path.split("/")[:depth] == shared)
        if label.label and label.split != "test" and bool(label.split) == given
    }
    if not given:
        return labels, empty - {label.label for label in labels}

    classes = {label.label for label in labels if label.split == "train"} | empty
    if not classes.intersection(label.label for label in labels if label.split == "test"):
        labels = [label if label.split != "test" else Label("", "test") for label in labels]
    for path, label in zip(images, labels, strict=True):
        if label.label and label.label not in classes:
            raise UserError(
                f"{path}: class {label.label!r} is in {label.split} but not in train; train has {few(classes)}"
            )
    return labels, empty - {label.label for label in labels}


def given_split(path: str, depth: int) -> str | None:
    """The split that the first folder below `depth` names, if it is a split folder."""
    parts = path.split("/")[depth:-1]
    return SPLIT_FOLDERS.get(parts[0].lower()) if parts else None


def _label(path: str, depth: int) -> Label:
    split = given_split(path, depth)
    rest = path.split("/")[depth + bool(split) : -1]
    return _shared(rest[0] if rest else "", split)


@cache
def _shared(label: str, split: str | None) -> Label:
    """One object for all images of a folder."""
    return Label(label, split)


def shared_depth(images: Sequence[str]) -> int:
    """How many leading folders all images share, stopping at a split folder."""
    shared = 0
    for level in zip(*(path.split("/")[:-1] for path in images), strict=False):
        if len(set(level)) > 1 or level[0].lower() in SPLIT_FOLDERS:
            break
        shared += 1
    return shared


def _refuse(what: str, paths: Sequence[str]) -> None:
    if paths:
        raise UserError(
            f"{len(paths)} images {what}: {few(paths)}. Labels come from folders: "
            "<class>/image, or train/<class>/image beside valid/ and test/"
        )


def few(names: Iterable[str]) -> str:
    """The first five names in order, and how many more there are."""
    names = sorted(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
