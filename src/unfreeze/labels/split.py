"""Decides which image trains, which validates and which tests: keeps given splits and makes missing ones."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from unfreeze.core import draws
from unfreeze.core.console import UserError, few
from unfreeze.labels.groups import check_not_parted, count_labels, group_copies, join_groups, select_images
from unfreeze.labels.label import Label
from unfreeze.labels.params import SplitParams
from unfreeze.labels.stratify import deal
from unfreeze.task.base import Task
from unfreeze.task.kinds import TASKS

DROPPED = "dropped"
"""Instead of a split: of an image whose copy another split keeps."""


class Duplicate(NamedTuple):
    """An image with the same pixels as another one."""

    image: int
    kept: int
    """The image that it repeats."""
    action: Literal["together", "dropped"]
    """`together`: both are in the same split; `dropped`: this one is in none."""


@dataclass(frozen=True)
class Splits:
    """Where each image is.

    Attributes:
        split: train | valid | test of each image, None of one that is left out.
        fold: of each image, 0 .. folds-1, -1 outside of folds.
        duplicates: in order of their images.
        new_parts: the splits that the archive did not give, so that they were made here.
        rare: the classes with too few different images to be in every split, and how many images each has.
    """

    split: list[str | None]
    fold: list[int]
    duplicates: list[Duplicate]
    new_parts: list[str]
    rare: Mapping[str, int] = field(default_factory=dict)


def make_splits(labels: Sequence[Label], digests: Sequence[str], params: SplitParams) -> Splits:
    """Assign every image, in path order, to its split.

    Images with the same digest (same pixels) never straddle splits. In a split that is made here they stay
    together; of images that are given to several splits only the test copy, else the validation copy, is kept.
    Images of the same group (`Label.group`) never straddle splits either. Unlabelled images are for prediction
    only and take no part in this. Splits that are made here are stratified: each class gives its part; with
    several labels an image, or with groups, each label gives about its share. `params.rare` says what becomes of a
    class too small to be in all of them.

    Args:
        digests: of the pixels of each image.

    Raises:
        UserError: there are fewer classes than the task needs, a class is too small to be in every split that is
            made, a group is in several given splits, or there are more folds than images.
    """
    # 1. Keep one of the copies that several splits have.
    split = [label.split for label in labels]
    labelled = [image for image, label in enumerate(labels) if label.label]
    copies = group_copies(digests, labelled)
    duplicates = _drop_copies(copies, split)
    _check_number_of_classes({labels[image].label for image in labelled}, TASKS[params.kind])

    # 2. Join what must not be parted.
    groups = join_groups(select_images(copies, lambda image: split[image] != DROPPED), labels)
    del copies  # lists of a million images take 100 MB
    check_not_parted(groups, labels, split)

    # 3. Make the splits that are not given.
    any_given = any(labels[image].split for image in labelled)
    given_parts = {split[image] for image in labelled}
    new_parts = [part for part in ("valid", "test") if part not in given_parts and getattr(params, part)]
    free = select_images(groups, lambda image: split[image] == ("train" if any_given else None))
    rare = _find_rare_classes(free, labels, new_parts, params)
    if rare and params.rare == "drop":
        for group in free:
            for image in group:
                split[image] = DROPPED if labels[image].label in rare else split[image]
        free, groups = (select_images(some, lambda image: split[image] != DROPPED) for some in (free, groups))
    for image, part in _assign_parts(free, labels, new_parts, params).items():
        split[image] = part
    del free

    # 4. Make the folds.
    fold = [-1] * len(labels)
    if params.folds:
        groups = select_images(groups, lambda image: split[image] in ("train", "valid"))
        for image, place in _make_folds(groups, labels, params).items():
            fold[image] = place
    return Splits(
        split=[None if part in (DROPPED, "out") else part for part in split],
        fold=fold,
        duplicates=sorted(duplicates),
        new_parts=new_parts,
        rare=rare,
    )


def _drop_copies(copies: Sequence[Sequence[int]], split: list[str | None]) -> list[Duplicate]:
    """Mark in `split` the copies that another split keeps; return all copies but the one that is kept."""
    duplicates = []
    for group in copies:
        kept = min(group, key=lambda image: ("test", "valid", "train", None).index(split[image]))
        for image in group:
            if image == kept:
                continue
            if split[image] == split[kept]:
                duplicates.append(Duplicate(image, kept, "together"))
            else:
                duplicates.append(Duplicate(image, kept, "dropped"))
                split[image] = DROPPED
    return duplicates


def _find_rare_classes(
    groups: Sequence[list[int]], labels: Sequence[Label], new_parts: Sequence[str], params: SplitParams
) -> dict[str, int]:
    """Count the images of each class that is in too few groups for train and all of `new_parts`."""
    task = TASKS[params.kind]
    found: Counter[str] = Counter()
    images: Counter[str] = Counter()
    for group in groups:
        names = Counter(name for image in group for name in task.names(labels[image].label))
        found.update(names.keys())
        images.update(names)
    rare = {name: images[name] for name in sorted(found) if found[name] <= len(new_parts)}
    if rare and params.rare == "error":
        raise UserError(
            f"split.rare = error: every class must be in train, {' and '.join(new_parts)}, but these have too few "
            f"different images: {few(f'{name} ({count})' for name, count in rare.items())}. Add images, or set "
            "split.rare: train (they only train) or drop (they are left out)"
        )
    return rare


def _check_number_of_classes(labels: Iterable[str], task: type[Task]) -> None:
    classes = {name for label in labels for name in task.names(label)}
    if len(classes) < task.fewest_classes:
        needed = "one label" if task.fewest_classes == 1 else "two classes"
        raise UserError(f"a classifier needs {needed} or more; found {', '.join(sorted(classes)) or 'none'}")


def _group_by_class(groups: Iterable[list[int]], labels: Sequence[Label]) -> dict[str, list[list[int]]]:
    """Return the groups by the class of their first image, classes in order of name."""
    members = defaultdict(list)
    for group in groups:
        members[labels[group[0]].label].append(group)
    return {name: members[name] for name in sorted(members)}


def _shuffle(groups: Sequence[list[int]], *key: int | str) -> list[list[int]]:
    return [groups[i] for i in draws.generator(*key).permutation(len(groups))]


def _assign_parts(
    groups: Sequence[list[int]], labels: Sequence[Label], new_parts: Sequence[str], params: SplitParams
) -> dict[int, str | None]:
    """Return the part of each image: one of `new_parts`, train, or None beyond `split.train`."""
    if not params.only_near_shares:
        return _draw_parts(_group_by_class(groups, labels), new_parts, params)
    shares = [getattr(params, part) for part in new_parts]
    places = _deal(groups, labels, [1 - sum(shares), *shares], params, "split")
    parts = ["train", *new_parts]
    return {image: parts[place] for group, place in zip(groups, places, strict=True) for image in group}


def _draw_parts(
    groups_of_class: Mapping[str, list[list[int]]], new_parts: Sequence[str], params: SplitParams
) -> dict[int, str | None]:
    """Draw the part of each image, class by class; what `new_parts` leave trains, None beyond `split.train`."""
    assignment: dict[int, str | None] = {}
    for name, groups in groups_of_class.items():
        total = sum(map(len, groups))
        queue = _shuffle(groups, params.seed, "split", name)
        for later, part in enumerate(new_parts if len(groups) > len(new_parts) else [], start=1):
            wanted = getattr(params, part)
            count = max(1, round(wanted * total)) if isinstance(wanted, float) else wanted
            reserve = len(new_parts) - later + 1  # at least one group for each split that comes after
            if isinstance(wanted, int) and count >= total:
                raise UserError(f"split.{part} = {wanted}: class {name!r} has {total} images in all")
            while count > 0 and len(queue) > reserve:
                group = queue.pop()
                count -= len(group)
                assignment.update(dict.fromkeys(group, part))
        quota = total if params.train == "all" else params.train
        for group in queue:
            assignment.update(dict.fromkeys(group, "train" if quota > 0 else None))
            quota -= len(group)
    return assignment


def _make_folds(groups: Sequence[list[int]], labels: Sequence[Label], params: SplitParams) -> dict[int, int]:
    """Return the fold of each image."""
    if len(groups) < params.folds:
        raise UserError(f"split.folds = {params.folds}: there are only {len(groups)} different images to fold")
    if params.only_near_shares:
        places = _deal(groups, labels, [1 / params.folds] * params.folds, params, "fold")
        return {image: place for group, place in zip(groups, places, strict=True) for image in group}
    queue = [
        group
        for name, members in _group_by_class(groups, labels).items()
        for group in _shuffle(members, params.seed, "fold", name)
    ]
    return {image: place % params.folds for place, group in enumerate(queue) for image in group}


def _deal(
    groups: Sequence[list[int]],
    labels: Sequence[Label],
    shares: Sequence[float],
    params: SplitParams,
    purpose: str,
) -> list[int]:
    """Return the part 0 .. len(shares)-1 of each group, with about the same share of every label in all parts."""
    counts = count_labels(groups, labels, TASKS[params.kind])
    sizes = np.array([len(group) for group in groups], dtype=np.int64)
    return deal(counts, sizes, shares, draws.generator(params.seed, purpose, "deal")).tolist()
