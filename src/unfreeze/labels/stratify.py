"""Deals groups of images out to parts so that every label keeps its share in each."""

from collections.abc import Sequence

import numpy as np


def deal(counts: np.ndarray, sizes: np.ndarray, shares: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Deal each group to a part by iterative stratification (Sechidis et al. 2011).

    The label with the fewest images left goes first. Each group that has it goes to the part that misses most
    images of this label; of equal parts to the one that misses most images at all; else the lot decides. Large
    groups are dealt before small ones, because small ones can even out what large ones upset.

    Args:
        counts: whole numbers `[G, C]`, the images of each group that have each label.
        sizes: int64 `[G]`, the images of each group.
        shares: of each of the K parts, with sum 1.
        rng: decides the order of equally large groups, and the lots.

    Returns:
        int64 `[G]`, the part 0 .. K-1 of each group.
    """
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    lots = rng.random((len(sizes), len(shares)))
    left = counts.sum(0)
    missing = np.outer(shares, left)
    room = [share * sizes.sum() for share in shares]
    part = np.full(len(sizes), -1)

    def give(group: int, wanted: Sequence[float]) -> None:
        lot = lots[group].tolist()
        best = max(range(len(shares)), key=lambda k: (wanted[k], room[k], lot[k]))
        part[group] = best
        missing[best] -= counts[group]
        room[best] -= int(sizes[group])

    while left.any():
        label = np.where(left > 0, left, left.max() + 1).argmin()
        chosen = order[(counts[order, label] > 0) & (part[order] < 0)]
        for group in chosen.tolist():
            give(group, missing[:, label].tolist())
        left = left - counts[chosen].sum(0)
    for group in order[part[order] < 0].tolist():
        give(group, room)
    return part
