"""The `split` section of params.yaml: where labels come from, and which splits are made."""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from unfreeze.core.params import Number, Section, Seed
from unfreeze.core.table_files import TABLE_SUFFIXES
from unfreeze.task.kinds import TASKS

SOURCES = ("folders", "names", "records")
"""Of labels, beside files."""


def _source_of_labels(value: str) -> str:
    if value not in SOURCES and not value.lower().endswith(TABLE_SUFFIXES):
        raise ValueError(
            "must be `folders`, `names`, `records`, or the name of a .csv, .tsv, .json or .jsonl file that the "
            "archive holds"
        )
    return value


def _part(value: int | float) -> int | float:
    if value < 0 or (isinstance(value, float) and value >= 1):
        raise ValueError("must be a share from 0 up to 1 (such as 0.2) or a whole number of images a class")
    return value


Text = Annotated[str, Field(min_length=1)]
FolderUse = Literal["train", "valid", "test", "predict", "out", "class"]
CellUse = Literal["error", "absent", "present", "unlabelled"]
Part = Annotated[int | Number, AfterValidator(_part)]


class SplitParams(Section):
    """`split`: used for the splits that the data does not bring along."""

    labels: Annotated[str, AfterValidator(_source_of_labels)]
    """`folders`: an image's folder is its class; `names`: its file name says it; `records`: the fields of the
    records that hold the bands; else the label file in the archive, by its path or the end of it. Several files
    that end so are read together if they have the same columns and each lies with its images."""
    kind: Literal["single", "multi"]
    """`single`: one class an image; `multi`: any number of labels an image."""
    id_column: Text
    """The column of the label file that names the images; `auto`: the one whose cells do."""
    label_column: Text | list[Text]
    """The column of labels, or a list of columns of 0 and 1, one a label; `auto`: found by name and cells, else
    the only one left, or all that hold 0 and 1."""
    group: Text
    """A column whose equal values (a patient) stay in one split and fold; an empty cell, or `na`, is no group;
    `none`."""
    numbers: list[Text]
    """Columns of numbers, such as an angle, that join the features at the head's input."""
    level: Literal["auto", "first", "last"] | Annotated[int, Field(ge=1, le=20)] = "auto"
    """Of labels from folders, which folder below the shared ones and the split's is the class: the `first`, the
    `last`, or the number 1, 2, ...; `auto`: the first, unless folders of the same names lie in several of them."""
    folders: dict[Text, FolderUse] = Field(default_factory=dict)
    """What a folder is whose name misleads, `{training_b: valid}`: train | valid | test | predict (test images
    without a label) | out (of all splits) | class (no split). Values of the split column, the same."""
    pattern: str = "auto"
    """Of labels from file names, a regular expression (Python's) that is searched in the path, with a group
    `label`, and perhaps `group` and `split`; `auto`: `cat.0.jpg`, `great_pyrenees_12.jpg`, `0012_cat.jpg`."""
    split_column: Text = "auto"
    """The column of the label file that gives the splits; `auto`: one called split, set, partition or the like,
    or is_valid or is_test; `none`: none does."""
    separator: Text = "auto"
    """What separates the tags of a cell: a text such as `+`; `space`; `none`: a cell is one tag; `auto`: the one
    of , ; | that occurs, else white space."""
    none: str = ""
    """The tag that stands for no label at all, such as `No Finding`; "": there is none."""
    blank: CellUse = "error"
    """What an empty cell says, of several columns of 0 and 1: `absent`, `present`, or nothing, so that the image
    is `unlabelled`; `error`: the stage stops. With `error` a row of empty cells alone is unlabelled."""
    uncertain: CellUse = "error"
    """The same of a cell that says that one does not know: -1 beside 0 and 1, or `uncertain`."""
    merge: dict[Text, Text] = Field(default_factory=dict)
    """Classes that are another one, `{Cat: cat}`."""
    rare: Literal["train", "drop", "error"] = "train"
    """What becomes of a class with too few images to be in every split that is made: its images only `train`, are
    left out (`drop`), or it is an `error`."""
    seed: Seed
    train: Literal["all"] | Annotated[int, Field(ge=1)]
    """Training images a class, for learning from few; `all`: what is not in the other splits."""
    valid: Part
    """Share (0.2) or number of images a class (33) for validation."""
    test: Part
    """The same for testing; 0: none is made."""
    folds: Annotated[int, Field(ge=0)]
    """Cross-validation folds of the head over train and valid together; 0: none."""

    def check_with(self, params: SimpleNamespace) -> Iterator[str]:
        if self.valid == 0:
            yield ("split.valid = 0: training needs images to validate on, a share or a number a class")
        if self.folds == 1:
            yield ("split.folds = 1: cross-validation takes 2 folds or more, 0 is none")
        shares = [part for part in (self.valid, self.test) if isinstance(part, float)]
        if sum(shares) >= 1:
            yield (f"split.valid + split.test = {sum(shares)}: nothing is left to train on")
        if self.labels in ("folders", "names") and not TASKS[self.kind].labels_from_folders:
            yield (
                f"split.kind = {self.kind}: with split.labels = {self.labels} an image has one class; name a "
                "label file in split.labels"
            )
        for key, unset in self._list_idle():
            if getattr(self, key) != unset:
                yield (
                    f"split.{key} = {getattr(self, key)} has no effect with split.labels = {self.labels} and "
                    f"split.kind = {self.kind}; set {unset!r}"
                )
        if self.pattern != "auto":
            try:
                groups = re.compile(self.pattern).groupindex
            except re.error as error:
                yield f"split.pattern = {self.pattern} is no regular expression: {error}"
            else:
                if "label" not in groups:
                    yield f"split.pattern = {self.pattern}: a group `(?P<label>...)` must say what the label is"
        if (self.labels == "records") != params.decode.bands:
            wanted = "records" if params.decode.bands else "folders, or a file"
            yield (
                f"split.labels = {self.labels}: with decode.channels = {params.decode.channels} labels come from "
                f"{wanted}"
            )
        for name in self.numbers:
            if name in (self.id_column, self.label_column) or self.numbers.count(name) > 1:
                yield (f"split.numbers = {self.numbers}: {name} is the ids, the labels, or named twice")
        if self.only_near_shares:
            for key, plain in (("train", "all"), ("valid", 0.2), ("test", 0.2)):
                if isinstance(value := getattr(self, key), int) and value:
                    yield (
                        f"split.{key} = {value}: images a class can be counted out only with one class an image "
                        f"and no groups; set {plain}"
                    )

    def _list_idle(self) -> Iterator[tuple[str, object]]:
        """Yield the keys that have no effect beside `labels` and `kind`, and the value that says so."""
        if self.labels in ("folders", "names"):
            yield from (("id_column", "auto"), ("label_column", "auto"), ("group", "none"), ("numbers", []))
            yield from (("split_column", "auto"), ("blank", "error"), ("uncertain", "error"))
        if self.labels != "folders":
            yield "level", "auto"
        if self.labels != "names":
            yield "pattern", "auto"
        if not TASKS[self.kind].splits_only_near_shares:
            yield from (("separator", "auto"), ("none", ""))
        elif self.rare == "drop":
            yield "rare", "train"  # an image has other labels beside a rare one

    @property
    def only_near_shares(self) -> bool:
        """Whether images differ in more than their class, so that the splits only come near their shares."""
        return TASKS[self.kind].splits_only_near_shares or self.group != "none"
