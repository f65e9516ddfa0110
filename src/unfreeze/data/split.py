"""Which image trains, which validates, which tests: given splits kept, missing ones made."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from unfreeze import draws
from unfreeze.console import UserError
from unfreeze.data.labels import Label, few
from unfreeze.data.stratify import deal
from unfreeze.data.table_file import TABLE_SUFFIXES
from unfreeze.params import Number, Section, Seed

SOURCES = ("folders", "records")
"""Of labels, beside files."""


def _source_of_labels(value: str) -> str:
    if value not in SOURCES and not value.lower().endswith(TABLE_SUFFIXES):
        raise ValueError("must be `folders`, `records`, or the name of a .csv, .tsv or .json file in the archive")
    return value


def _part(value: int | float) -> int | float:
    if value < 0 or (isinstance(value, float) and value >= 1):
        raise ValueError("must be a share from 0 up to 1 (such as 0.2) or a whole number of images a class")
    return value


Part = Annotated[int | Number, AfterValidator(_part)]


class SplitParams(Section):
    """`split`: used for the splits that the data does not bring along."""

    labels: Annotated[str, AfterValidator(_source_of_labels)]
    """`folders`: an image's folder is its class; `records`: the fields of the records that hold the bands; else
    the file in the archive that says the labels."""
    kind: Literal["single", "multi"]
    """`single`: one class an image; `multi`: any number of labels an image."""
    id_column: Annotated[str, Field(min_length=1)]
    """The column of the label file that names the images; `auto`: found by its name, else the first."""
    label_column: Annotated[str, Field(min_length=1)]
    """The column of labels; `auto`: found by its name, else the only one left, or several of 0 and 1."""
    group: Annotated[str, Field(min_length=1)]
    """A column whose equal values (a patient) stay in one split and fold; an empty cell, or `na`, is no group;
    `none`."""
    numbers: list[Annotated[str, Field(min_length=1)]]
    """Columns of numbers, such as an angle, that join the features at the head's input."""
    seed: Seed
    train: Literal["all"] | Annotated[int, Field(ge=1)]
    """Training images a class, for learning from few; `all`: what is not in the other splits."""
    valid: Part
    """Share (0.2) or number of images a class (33) for validation."""
    test: Part
    """The same for testing; 0: none is made."""
    folds: Annotated[int, Field(ge=0)]
    """Cross-validation folds of the head over train and valid together; 0: none."""

    def check_with(self, params: SimpleNamespace) -> None:
        if self.valid == 0:
            raise ValueError("split.valid = 0: training needs images to validate on, a share or a number a class")
        if self.folds == 1:
            raise ValueError("split.folds = 1: cross-validation takes 2 folds or more, 0 is none")
        shares = [part for part in (self.valid, self.test) if isinstance(part, float)]
        if sum(shares) >= 1:
            raise ValueError(f"split.valid + split.test = {sum(shares)}: nothing is left to train on")
        if self.labels == "folders":
            if self.kind == "multi":
                raise ValueError(
                    "split.kind = multi: a folder gives one class an image; name a file in split.labels"
                )
            for key, unset in (
                ("id_column", "auto"),
                ("label_column", "auto"),
                ("group", "none"),
                ("numbers", []),
            ):
                if getattr(self, key) != unset:
                    raise ValueError(
                        f"split.{key} = {getattr(self, key)} has no effect with split.labels = folders; "
                        f"set {unset}"
                    )
        if (self.labels == "records") != params.decode.bands:
            wanted = "records" if params.decode.bands else "folders, or a file"
            raise ValueError(
                f"split.labels = {self.labels}: with decode.channels = {params.decode.channels} labels come from "
                f"{wanted}"
            )
        for name in self.numbers:
            if name in (self.id_column, self.label_column) or self.numbers.count(name) > 1:
                raise ValueError(f"split.numbers = {self.numbers}: {name} is the ids, the labels, or named twice")
        if self.iterative:
            for key, plain in (("train", "all"), ("valid", 0.2), ("test", 0.2)):
                if isinstance(value := getattr(self, key), int) and value:
                    raise ValueError(
                        f"split.{key} = {value}: images a class can be counted out only with one class an image "
                        f"and no groups; set {plain}"
                    )

    @property
    def iterative(self) -> bool:
        """Whether images differ in more than their class, so that the splits only come near their shares."""
        return self.kind == "multi" or self.group != "none"


@dataclass
class Splits:
    """`split[i]` is train | valid | test, or None where image i is left out; `fold[i]` is -1 outside of folds."""

    split: list[str | None]
    fold: list[int]
    duplicates: list[tuple[int, int, str]]
    """(image, the image it repeats, "together" | "dropped")."""
    made: list[str]
    """The splits that were made here."""


def make_splits(labels: Sequence[Label], digests: Sequence[str], params: SplitParams) -> Splits:
    """Assign every image, in path order, to its split.

    Images with the same digest (same pixels) never straddle splits: in a made split they move together; of
    images given to several splits only the test copy, else the validation copy, is kept. Neither do images of
    the same group (`Label.group`). Unlabelled images are for prediction only and take no part in this. Made
    splits are stratified: each class gives its part; with several labels an image or groups, each label gives
    about its share. A class too small to be in all of them is an error where folders are classes; of a label
    file, which often has a few such classes among many, it only trains.

    Raises:
        UserError: fewer than two classes (one label), a class too small to be in every split that is made, a
            group in several given splits.
    """
    split = [label.split for label in labels]
    labelled = [i for i, label in enumerate(labels) if label.label]
    by_digest = defaultdict(list)
    for i in labelled:
        by_digest[digests[i]].append(i)
    copies = list(by_digest.values())
    del by_digest  # a million digests are 200 MB
    duplicates = []
    for group in copies:
        kept = min(group, key=lambda i: ("test", "valid", "train", None).index(split[i]))
        for i in group:
            if i != kept:
                dropped = split[i] != split[kept]
                duplicates.append((i, kept, "dropped" if dropped else "together"))
                if dropped:
                    split[i] = "dropped"
    classes = {name for i in labelled for name in labels[i].names(params.kind)}
    if len(classes) < (1 if params.kind == "multi" else 2):
        needed = "one label" if params.kind == "multi" else "two classes"
        raise UserError(f"a classifier needs {needed} or more; found {', '.join(sorted(classes)) or 'none'}")

    groups = _linked(_members(copies, lambda i: split[i] != "dropped"), labels)
    given = any(labels[i].split for i in labelled)
    _refuse_parted(groups, labels, split)
    present = {split[i] for i in labelled} - {None, "dropped"}
    made = [name for name in ("valid", "test") if name not in present and getattr(params, name)]
    free = _members(groups, lambda i: split[i] == ("train" if given else None))
    if params.iterative:
        shares = [getattr(params, name) for name in made]
        parts = _deal(free, labels, [1 - sum(shares), *shares], params, "split")
        assigned = {i: ["train", *made][part] for group, part in zip(free, parts, strict=True) for i in group}
    else:
        assigned = _assign(_by_class(free, labels), made, params)
    for i, name in assigned.items():
        split[i] = name

    fold = [-1] * len(labels)
    if params.folds:
        folded = _members(groups, lambda i: split[i] in ("train", "valid"))
        if len(folded) < params.folds:
            raise UserError(f"split.folds = {params.folds}: there are only {len(folded)} different images to fold")
        for i, place in _fold(folded, labels, params).items():
            fold[i] = place
    return Splits([None if s == "dropped" else s for s in split], fold, sorted(duplicates), made)


def _linked(copies: list[list[int]], labels: Sequence[Label]) -> list[list[int]]:
    """Copies of an image joined with those that share a group with one of them (union-find)."""
    if not any(labels[i].group for group in copies for i in group):
        return copies
    parent = {i: i for group in copies for i in group}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    first: dict[str, int] = {}
    for group in copies:
        for i in group:
            parent[root(i)] = root(group[0])
            if name := labels[i].group:
                parent[root(i)] = root(first.setdefault(name, i))
    members = defaultdict(list)
    for i in sorted(parent):
        members[root(i)].append(i)
    return list(members.values())


def _refuse_parted(groups: Sequence[list[int]], labels: Sequence[Label], split: Sequence[str | None]) -> None:
    parted = [group for group in groups if len({split[i] for i in group}) > 1]
    if parted:
        names = {labels[i].group for group in parted for i in group} - {""}
        raise UserError(
            f"{len(parted)} groups lie in several of the given splits (train, valid, test), such as {few(names)}: "
            "move their images into one, or set split.group: none"
        )


def _members(groups: Iterable[list[int]], wanted: Callable[[int], bool]) -> list[list[int]]:
    """The wanted images of each group, in order of the first one; groups without any are left out."""
    return sorted(kept for group in groups if (kept := [i for i in group if wanted(i)]))


def _by_class(groups: Sequence[list[int]], labels: Sequence[Label]) -> dict[str, list[list[int]]]:
    """The groups by the class of their first image, classes in order of name."""
    members = defaultdict(list)
    for group in groups:
        members[labels[group[0]].label].append(group)
    return {name: members[name] for name in sorted(members)}


def _shuffled(groups: list[list[int]], *key: int | str) -> list[list[int]]:
    return [groups[i] for i in draws.generator(*key).permutation(len(groups))]


def _deal(
    groups: Sequence[list[int]],
    labels: Sequence[Label],
    shares: Sequence[float],
    params: SplitParams,
    purpose: str,
) -> list[int]:
    """The part of each group, with about the same share of every label in all parts."""
    names = sorted({name for group in groups for i in group for name in labels[i].names(params.kind)})
    column = {name: c for c, name in enumerate(names)}
    counts = np.zeros((len(groups), len(names)), dtype=np.int64)
    for g, group in enumerate(groups):
        for i in group:
            counts[g, [column[name] for name in labels[i].names(params.kind)]] += 1
    sizes = np.array([len(group) for group in groups], dtype=np.int64)
    return deal(counts, sizes, shares, draws.generator(params.seed, purpose, "deal")).tolist()


def _fold(groups: Sequence[list[int]], labels: Sequence[Label], params: SplitParams) -> dict[int, int]:
    """The fold of each image."""
    if params.iterative:
        places = _deal(groups, labels, [1 / params.folds] * params.folds, params, "fold")
        return {i: place for group, place in zip(groups, places, strict=True) for i in group}
    shuffled = [
        group
        for name, members in _by_class(groups, labels).items()
        for group in _shuffled(members, params.seed, "fold", name)
    ]
    return {i: place % params.folds for place, group in enumerate(shuffled) for i in group}


def _assign(
    free: Mapping[str, list[list[int]]], made: Sequence[str], params: SplitParams
) -> dict[int, str | None]:
    """Deal each class's groups out to the splits to be made; what remains trains."""
    small = [f"{name} ({len(groups)})" for name, groups in free.items() if len(groups) <= len(made)]
    if small and params.labels == "folders":
        raise UserError(
            f"every class must be in train, {' and '.join(made)}, but these have too few different images: "
            f"{', '.join(small[:10])}{' ...' if len(small) > 10 else ''}. Add images or remove the class"
        )
    assigned: dict[int, str | None] = {}
    for name, groups in free.items():
        total = sum(map(len, groups))
        queue = _shuffled(groups, params.seed, "split", name)
        for later, part in enumerate(made if len(groups) > len(made) else [], start=1):
            wanted = getattr(params, part)
            count = max(1, round(wanted * total)) if isinstance(wanted, float) else wanted
            reserve = len(made) - later + 1  # at least one group for each split that comes after
            if isinstance(wanted, int) and count >= total:
                raise UserError(f"split.{part} = {wanted}: class {name!r} has {total} images in all")
            while count > 0 and len(queue) > reserve:
                group = queue.pop()
                count -= len(group)
                assigned.update(dict.fromkeys(group, part))
        quota = total if params.train == "all" else params.train
        for group in queue:
            assigned.update(dict.fromkeys(group, "train" if quota > 0 else None))
            quota -= len(group)
    return assigned


def check_classes(labels: Sequence[Label], split: Sequence[str | None], kind: str) -> list[str]:
    """Warnings about classes that valid or test lacks.

    Raises:
        UserError: a split that training or the choice of a model needs has no image.
    """
    counts = Counter((s, name) for s, label in zip(split, labels, strict=True) if s for name in label.names(kind))
    classes = sorted({name for _, name in counts})
    warnings = []
    for part in ("train", "valid", "test"):
        missing = [name for name in classes if not counts[part, name]]
        if part == "train" and missing:
            raise UserError(
                f"no image is left to train on in class {', '.join(missing[:10])}: its images repeat test or "
                "validation images, or none could be decoded, or all lie in the other splits"
            )
        if part == "valid" and len(missing) == len(classes):
            raise UserError(
                "no image to validate on: the classes have too few images, or split.valid is too small"
            )
        if missing and len(missing) < len(classes):
            more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
            warnings.append(
                f"{part} has no image of {', '.join(missing[:10])}{more}: their scores are undefined there"
            )
    return warnings
