"""Which image trains, which validates, which tests: given splits kept, missing ones made."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from unfreeze import draws
from unfreeze.console import UserError
from unfreeze.data.labels import Label
from unfreeze.params import Number, Section, Seed


def _part(value: int | float) -> int | float:
    if value < 0 or (isinstance(value, float) and value >= 1):
        raise ValueError("must be a share from 0 up to 1 (such as 0.2) or a whole number of images a class")
    return value


Part = Annotated[int | Number, AfterValidator(_part)]


class SplitParams(Section):
    """`split`: used for the splits that the data does not bring along."""

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
    images given to several splits only the test copy, else the validation copy, is kept. Unlabelled images
    are for prediction only and take no part in this. Made splits are stratified: each class gives its part.

    Raises:
        UserError: fewer than two classes, or a class too small to be in every split that is made.
    """
    split = [label.split for label in labels]
    labelled = [i for i, label in enumerate(labels) if label.label]
    groups = defaultdict(list)
    for i in labelled:
        groups[digests[i]].append(i)
    duplicates = []
    for group in groups.values():
        kept = min(group, key=lambda i: ("test", "valid", "train", None).index(split[i]))
        for i in group:
            if i != kept:
                dropped = split[i] != split[kept]
                duplicates.append((i, kept, "dropped" if dropped else "together"))
                if dropped:
                    split[i] = "dropped"
    classes = {labels[i].label for i in labelled}
    if len(classes) < 2:
        raise UserError(f"a classifier needs two classes or more; found {', '.join(sorted(classes)) or 'none'}")

    given = any(label.split for label in labels)
    present = {split[i] for i in labelled} - {None, "dropped"}
    made = [name for name in ("valid", "test") if name not in present and getattr(params, name)]
    free = _by_class(groups, labels, lambda i: split[i] == ("train" if given else None))
    for i, name in _assign(free, made, params).items():
        split[i] = name

    fold = [-1] * len(labels)
    if params.folds:
        start = 0
        folded = _by_class(groups, labels, lambda i: split[i] in ("train", "valid"))
        if (different := sum(map(len, folded.values()))) < params.folds:
            raise UserError(f"split.folds = {params.folds}: there are only {different} different images to fold")
        for name, members in folded.items():
            for place, group in enumerate(_shuffled(members, params.seed, "fold", name), start):
                for i in group:
                    fold[i] = place % params.folds
            start += len(members)
    return Splits([None if s == "dropped" else s for s in split], fold, sorted(duplicates), made)


def _by_class(groups: Mapping[str, list[int]], labels: Sequence[Label], wanted) -> dict[str, list[list[int]]]:
    """The groups' wanted members by the class of their first one, classes in order of name."""
    members = defaultdict(list)
    for group in groups.values():
        if kept := [i for i in group if wanted(i)]:
            members[labels[kept[0]].label].append(kept)
    return {name: sorted(members[name]) for name in sorted(members)}


def _shuffled(groups: list[list[int]], *key: int | str) -> list[list[int]]:
    return [groups[i] for i in draws.generator(*key).permutation(len(groups))]


def _assign(
    free: Mapping[str, list[list[int]]], made: Sequence[str], params: SplitParams
) -> dict[int, str | None]:
    """Deal each class's groups out to the splits to be made; what remains trains."""
    small = [f"{name} ({len(groups)})" for name, groups in free.items() if len(groups) <= len(made)]
    if small:
        raise UserError(
            f"every class must be in train, {' and '.join(made)}, but these have too few different images: "
            f"{', '.join(small[:10])}{' ...' if len(small) > 10 else ''}. Add images or remove the class"
        )
    assigned: dict[int, str | None] = {}
    for name, groups in free.items():
        total = sum(map(len, groups))
        queue = _shuffled(groups, params.seed, "split", name)
        for later, part in enumerate(made, start=1):
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


def check_classes(labels: Sequence[Label], split: Sequence[str | None]) -> list[str]:
    """Warnings about classes that a given split lacks.

    Raises:
        UserError: a split that training or the choice of a model needs has no image.
    """
    counts = Counter((s, label.label) for s, label in zip(split, labels, strict=True) if s and label.label)
    classes = sorted({name for _, name in counts})
    warnings = []
    for part in ("train", "valid", "test"):
        missing = [name for name in classes if not counts[part, name]]
        if part == "train" and missing:
            raise UserError(
                f"no image is left to train on in class {', '.join(missing[:10])}: "
                "its images repeat test or validation images, or none could be decoded"
            )
        if missing and len(missing) < len(classes):
            warnings.append(f"{part} has no image of {', '.join(missing[:10])}: their scores are undefined there")
    return warnings
