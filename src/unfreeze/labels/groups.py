"""Groups of images that must not be parted: copies of the same pixels, and images of the same group."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from unfreeze.core.console import UserError, few
from unfreeze.labels.label import Label
from unfreeze.task.base import Task


def group_copies(digests: Sequence[str], images: Sequence[int]) -> list[list[int]]:
    """Group those of `images` (ascending) that have the same digest, in order of the first of each group."""
    import pandas as pd

    codes, _ = pd.factorize(pd.Series(digests, dtype=pd.StringDtype("pyarrow")).take(images))
    copies: list[list[int]] = [[] for _ in range(codes.max(initial=-1) + 1)]
    for image, code in zip(images, codes.tolist(), strict=True):
        copies[code].append(image)
    return copies


def join_groups(copies: list[list[int]], labels: Sequence[Label]) -> list[list[int]]:
    """Join copies of an image with all images that share a group with one of them (union-find)."""
    if not any(labels[image].group for group in copies for image in group):
        return copies
    parent = {image: image for group in copies for image in group}

    def find_root(image: int) -> int:
        while parent[image] != image:
            parent[image] = image = parent[parent[image]]
        return image

    first_of_group: dict[str, int] = {}
    for group in copies:
        for image in group:
            parent[find_root(image)] = find_root(group[0])
            if name := labels[image].group:
                parent[find_root(image)] = find_root(first_of_group.setdefault(name, image))
    members = defaultdict(list)
    for image in sorted(parent):
        members[find_root(image)].append(image)
    return list(members.values())


def select_images(groups: Iterable[list[int]], is_wanted: Callable[[int], bool]) -> list[list[int]]:
    """Return the wanted images of each group, in order of their first image; groups without one are left out."""
    return sorted(kept for group in groups if (kept := [image for image in group if is_wanted(image)]))


def check_not_parted(groups: Sequence[list[int]], labels: Sequence[Label], split: Sequence[str | None]) -> None:
    """Check that given splits part no group.

    Raises:
        UserError: naming the groups.
    """
    parted = [group for group in groups if len({split[image] for image in group}) > 1]
    if parted:
        names = {labels[image].group for group in parted for image in group} - {""}
        raise UserError(
            f"{len(parted)} groups lie in several of the given splits (train, valid, test), such as {few(names)}: "
            "move their images into one, or set split.group: none"
        )


def count_labels(groups: Sequence[Sequence[int]], labels: Sequence[Label], task: type[Task]) -> np.ndarray:
    """Count the images of each group that have each class: int32 `[G, C]`, classes in order of name."""
    names = sorted({name for group in groups for image in group for name in task.names(labels[image].label)})
    column = {name: c for c, name in enumerate(names)}
    counts = np.zeros((len(groups), len(names)), dtype=np.int32)
    for g, group in enumerate(groups):
        for image in group:
            counts[g, [column[name] for name in task.names(labels[image].label)]] += 1
    return counts
