"""Which folders give splits, and which folders hold classes."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from unfreeze.core.console import few
from unfreeze.labels.params import SplitParams

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev", "eval", "evaluation"), "valid"),
    **dict.fromkeys(("test", "testing", "tst", "holdout"), "test"),
    **dict.fromkeys(("pred", "predict", "prediction", "unlabeled", "unlabelled"), "predict"),
}
"""Words in the names of folders, in lower case, and the splits that they give. `predict`: test images without a
label."""
_SPLIT_NAME = re.compile(
    rf"(?:.*[-_. ])?({'|'.join(SPLIT_WORDS)})"
    r"(?:[-_. ]?(?:set|data|dataset|folder|split|images?|imgs?|pics?|photos?|jpe?g|png|tif))?[-_. ]?\d*",
    re.IGNORECASE,
)
PLAIN_FOLDERS = {"image", "images", "img", "imgs", "jpg", "jpeg", "png", "photos", "pictures", "data"}
"""Names of folders, in lower case, that are no class where they hold all folders of a split."""


def name_split(folder: str) -> str | None:
    """Return the split that a folder's name gives: train | valid | test | predict; None if it gives none.

    A name gives a split if it is one of `SPLIT_WORDS` in any case, with anything and a separator before it
    (`seg_train`), and after it a word such as `set`, or digits (`training_set`, `test1`).
    """
    match = _SPLIT_NAME.fullmatch(folder)
    return SPLIT_WORDS[match[1].lower()] if match else None


@dataclass(frozen=True)
class Layout:
    """Which folders give a split.

    Attributes:
        depth: how many leading folders all images share; they do not count.
        splits: split (`predict` and `out` too) of each folder below them that gives one.
        skipped: how many folders below such a folder hold all of its images and are no class.
        class_first: the split folder lies below the class folder.
    """

    depth: int
    splits: Mapping[str, str]
    skipped: Mapping[str, int]
    class_first: bool = False

    def read(self, path: str) -> tuple[str | None, list[str]]:
        """Return the given split of an image, and its folders without the split's."""
        folders = path.split("/")[self.depth : -1]
        if self.class_first:
            return self.splits[folders[1]], [folders[0], *folders[2:]]
        split = self.splits.get(folders[0]) if folders else None
        return split, folders[1 + self.skipped.get(folders[0], 0) :] if split else folders

    def describe(self) -> list[str]:
        """Say which folders give which splits."""
        if not self.splits:
            return []
        given = ", ".join(f"{folder}/ is {split}" for folder, split in sorted(self.splits.items()))
        facts = [f"splits are given by folders: {given}"]
        if nested := [folder for folder, count in self.skipped.items() if count]:
            facts.append(f"{few(nested)}: each holds one folder with all of its images, which is no class")
        return facts


def read_layout(paths: Sequence[str], params: SplitParams) -> Layout:
    """Find the folders that give splits; `split.folders` goes before their names."""
    given = params.folders

    def split_of(folder: str) -> str | None:
        return given[folder] if folder in given else name_split(folder)

    folders = Counter(path.rpartition("/")[0] for path in paths)
    depth = shared_depth(paths, given)
    parts = [folder.split("/")[depth:] if folder else [] for folder in folders]
    tops = {part[0] for part in parts if part}
    splits = {top: split for top in tops if (split := split_of(top)) and split != "class"}
    if splits or not all(len(part) > 1 for part in parts):
        return Layout(depth, splits, {top: _count_plain(top, parts, split_of) for top in splits})
    below = {part[1]: split_of(part[1]) for part in parts}
    if parts and "train" in below.values() and None not in below.values() and "class" not in below.values():
        return Layout(depth, {name: str(split) for name, split in below.items()}, {}, class_first=True)
    return Layout(depth, {}, {})


def _count_plain(top: str, parts: Sequence[Sequence[str]], split_of: Callable[[str], str | None]) -> int:
    """Count the folders below `top` that hold all of it and repeat its name (`test/test/`) or are plain ones."""
    inside = [part[1:] for part in parts if part and part[0] == top]
    count = 0
    while all(len(part) > count for part in inside) and len({part[count] for part in inside}) == 1:
        name = inside[0][count]
        holds_folders = all(len(part) > count + 1 for part in inside)
        if not (
            name == top or split_of(name) == split_of(top) or (holds_folders and name.lower() in PLAIN_FOLDERS)
        ):
            break
        count += 1
    return count


def shared_depth(paths: Sequence[str], given: Mapping[str, str] | None = None) -> int:
    """Count the leading folders that all images share. A split folder is none of them, nor is one below it."""
    if not paths:
        return 0
    given = given or {}
    depth = 0
    # Whatever the first and the last path in order begin with, all others do.
    for first, last in zip(*(path.split("/")[:-1] for path in (min(paths), max(paths))), strict=False):
        if first != last or (given[first] != "class" if first in given else name_split(first)):
            break
        depth += 1
    return depth
