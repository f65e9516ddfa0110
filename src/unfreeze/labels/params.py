"""The `split` section of params.yaml: where labels come from, and which splits are made."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from unfreeze.core.params import Number, Section, Seed
from unfreeze.core.table_files import TABLE_SUFFIXES
from unfreeze.task.kinds import TASKS

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

    def check_with(self, params: SimpleNamespace) -> Iterator[str]:
        if self.valid == 0:
            yield ("split.valid = 0: training needs images to validate on, a share or a number a class")
        if self.folds == 1:
            yield ("split.folds = 1: cross-validation takes 2 folds or more, 0 is none")
        shares = [part for part in (self.valid, self.test) if isinstance(part, float)]
        if sum(shares) >= 1:
            yield (f"split.valid + split.test = {sum(shares)}: nothing is left to train on")
        if self.labels == "folders":
            if not TASKS[self.kind].labels_from_folders:
                yield (f"split.kind = {self.kind}: a folder gives one class an image; name a file in split.labels")
            for key, unset in (
                ("id_column", "auto"),
                ("label_column", "auto"),
                ("group", "none"),
                ("numbers", []),
            ):
                if getattr(self, key) != unset:
                    yield (
                        f"split.{key} = {getattr(self, key)} has no effect with split.labels = folders; "
                        f"set {unset}"
                    )
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

    @property
    def only_near_shares(self) -> bool:
        """Whether images differ in more than their class, so that the splits only come near their shares."""
        return TASKS[self.kind].splits_only_near_shares or self.group != "none"
