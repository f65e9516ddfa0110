"""Labels and given splits from the folders that images lie in."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from unfreeze.core.console import UserError, few
from unfreeze.labels.label import Label, Reading
from unfreeze.labels.layout import Layout, read_layout
from unfreeze.labels.params import SplitParams

MASK_FOLDERS = re.compile(
    r"(.*[-_. ])?(masks?|labels?|annotations?|annots?|segmentations?|seg|gt|ground_?truth|trimaps?)", re.IGNORECASE
)
HOW = "Labels come from folders: <class>/image, or train/<class>/image beside valid/ and test/"


def label_by_folders(paths: Sequence[str], further: Iterable[str], params: SplitParams) -> Reading:
    """Label each image by its folders.

    Folders that all images share do not count. Below them comes a class folder; or a split folder (`name_split`,
    `split.folders`) and then a class folder, or the other way round. `split.level` names a deeper class folder.
    Test images outside of class folders are unlabelled; all are if no folder there is a class. Names of classes
    are in composed Unicode.

    Args:
        paths: of the images, with `/` between folders.
        further: further folders ("a/b/") that exist and hold no usable image.

    Raises:
        UserError: the folders can be read in two ways; an image has no label, or lies beside the split folders; a
            class has a folder and no usable image, or is missing in training.
    """
    # 1. Find the split folders and the class of each folder.
    layout = read_layout(paths, params)
    folders = Counter(path.rpartition("/")[0] for path in paths)
    _check_beside(layout, folders, paths)
    _check_rivals(layout, params)
    if params.level == "auto":
        _check_repeated_folders(layout, folders)
    label_of = {folder: _label(layout, folder, params.level) for folder in folders}
    _refuse_without_class([folder for folder, label in label_of.items() if _lacks_class(label)], paths)

    # 2. Compare the splits: which classes train, and whether test is labelled.
    empty = _find_empty_classes(layout, paths, further, params)
    if layout.splits:
        classes = {label.label for label in label_of.values() if label.split == "train"} | empty
        if not classes.intersection(label.label for label in label_of.values() if label.split == "test"):
            label_of = {
                folder: label if label.split != "test" else _intern_label("", "test")
                for folder, label in label_of.items()
            }
        _check_classes_train(label_of, classes)
    if empty := empty - {label.label for label in label_of.values()}:
        raise UserError(
            f"no usable image in class {few(empty)}: the folder is empty, or its images are all rejected or left "
            "out. Mend the images or remove the folder"
        )

    # 3. Label the images.
    labels = [label_of[path.rpartition("/")[0]] for path in paths]
    _check_masks(paths, labels)
    return Reading("folders", labels, [*layout.describe(), *_describe_deeper(layout, folders, params)])


def _label(layout: Layout, folder: str, level: str | int) -> Label:
    """Label the images of a folder ("a/b")."""
    split, folders = layout.read(f"{folder}/" if folder else "")
    if split == "predict":
        return _intern_label("", "test")
    if split == "out" or not folders:
        return _intern_label("", split)
    if level == "last":
        return _intern_label(folders[-1], split)
    place = level - 1 if isinstance(level, int) else 0
    return _intern_label(folders[place] if place < len(folders) else "", split)


@cache
def _intern_label(label: str, split: str | None) -> Label:
    """Return one and the same object for all images of a folder: a million images take little memory."""
    return Label(unicodedata.normalize("NFC", label), split)


def _lacks_class(label: Label) -> bool:
    return not label.label and label.split not in ("test", "out")


def _refuse_without_class(lacking: Sequence[str], paths: Sequence[str]) -> None:
    if not lacking:
        return
    places = set(lacking)
    images = [path for path in paths if path.rpartition("/")[0] in places]
    folder = lacking[0].rpartition("/")[2]
    if len(images) == len(paths) and len(places) == 1 and folder:
        raise UserError(
            f"all {len(paths):,} images lie in one folder: one class, {folder}; a classifier needs two or more"
        )
    raise UserError(f"{len(images):,} images have no class folder: {few(images)}. {HOW}")


def _check_beside(layout: Layout, folders: Iterable[str], paths: Sequence[str]) -> None:
    if not layout.splits or layout.class_first:
        return
    beside = {folder for folder in folders if layout.read(f"{folder}/" if folder else "")[0] is None}
    if not beside:
        return
    images = [path for path in paths if path.rpartition("/")[0] in beside]
    parts = [folder.split("/") for folder in beside]
    tops = sorted({part[layout.depth] for part in parts if len(part) > layout.depth and part != [""]})
    splits = sorted(layout.splits)
    answers = []
    if tops:
        skip = ", ".join(f'"{"/".join([*parts[0][: layout.depth], top])}"' for top in tops[:5])
        answers = [
            f"leave {few(tops)} out: extract.skip: [{skip}]",
            f"take it for a split: split.folders: {{{tops[0]}: train}}",
            f"take {few(splits)} for classes: split.folders: {{{', '.join(f'{name}: class' for name in splits)}}}",
        ]
    raise UserError(
        f"{len(images):,} images lie beside the split folders ({few(splits)}) and not in one: {few(images)}. "
        + ("Say which is meant: " + "; or ".join(answers) if answers else HOW)
    )


def _check_rivals(layout: Layout, params: SplitParams) -> None:
    """Refuse two folders of one split, of which one may repeat the other, unless `split.folders` has both."""
    for split in ("train", "valid", "test"):
        rivals = sorted(folder for folder, name in layout.splits.items() if name == split)
        if len(rivals) > 1 and not params.folders.keys() >= set(rivals):
            both = ", ".join(f"{folder}: {split}" for folder in rivals)
            raise UserError(
                f"{' and '.join(f'{folder}/' for folder in rivals)} would both be {split}. If they are, set "
                f"split.folders: {{{both}}}; in place of {split}, `out` leaves one out, `class` makes it a class"
            )


def _check_repeated_folders(layout: Layout, folders: Mapping[str, int]) -> None:
    """Refuse folders that hold the same folders: either of the two levels may be the classes."""
    holders, images = defaultdict(set), Counter()
    for folder, count in folders.items():
        split, parts = layout.read(f"{folder}/")
        if len(parts) > 1 and split not in ("predict", "out"):
            holders[parts[1]].add(parts[0])
            images[parts[1]] += count
    common = sorted(name for name, tops in holders.items() if len(tops) > 1)
    if len(common) < 2 or 2 * sum(images[name] for name in common) < sum(folders.values()):
        return
    tops = sorted({top for name in common for top in holders[name]})
    raise UserError(
        f"the folders {few(tops)} hold the same folders: {few(common)}. Which are the classes? {few(tops)}: set "
        f"split.level: 1. {few(common)}: set split.level: 2, or say which splits the others are, such as "
        f"split.folders: {{{tops[0]}: train, {tops[1]}: test}}"
    )


def _find_empty_classes(
    layout: Layout, paths: Sequence[str], further: Iterable[str], params: SplitParams
) -> set[str]:
    """Return the classes that have a folder outside of test, as far as the level tells which folder is a class."""
    if params.level not in ("auto", "first", 1) or layout.class_first:
        return set()
    shared = paths[0].split("/")[: layout.depth] if paths else []
    labels = [
        _label(layout, folder.removesuffix("/"), params.level)
        for folder in further
        if folder.split("/")[: layout.depth] == shared
    ]
    return {
        label.label
        for label in labels
        if label.label and label.split not in ("test", "out") and bool(label.split) == bool(layout.splits)
    }


def _check_classes_train(label_of: Mapping[str, Label], classes: set[str]) -> None:
    for folder, label in sorted(label_of.items()):
        if label.label and label.label not in classes:
            known = f"train has {few(classes)}" if classes else "no folder is train: name it in split.folders"
            raise UserError(f"{folder}: class {label.label!r} is in {label.split} but not in train; {known}")


def _check_masks(paths: Sequence[str], labels: Sequence[Label]) -> None:
    """Refuse classes of which one holds a mask for each image of another: that is a set for segmentation."""
    masks = sorted({label.label for label in labels if MASK_FOLDERS.fullmatch(label.label)})
    if not masks:
        return
    stems = defaultdict(set)
    for path, label in zip(paths, labels, strict=True):
        stems[label.label].add(path.rpartition("/")[2].rpartition(".")[0].removesuffix("_mask"))
    for mask in masks:
        for other in stems.keys() - {mask, ""}:
            if len(stems[mask] & stems[other]) > 0.9 * len(stems[mask]):
                raise UserError(
                    f"the files in {mask}/ are called as those in {other}/: masks of a data set for segmentation, "
                    f'and no class. Leave them out, with extract.skip: ["{mask}"]'
                )


def _describe_deeper(layout: Layout, folders: Mapping[str, int], params: SplitParams) -> list[str]:
    deeper = [folder for folder in folders if len(layout.read(f"{folder}/")[1]) > 1]
    if params.level != "auto" or not deeper:
        return []
    images = sum(folders[folder] for folder in deeper)
    return [
        f"{images:,} images lie in deeper folders, such as {min(deeper)}/: the first folder is the class "
        "(split.level: last takes the deepest one)"
    ]
