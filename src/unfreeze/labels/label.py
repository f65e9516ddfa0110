"""What is known of one image, and what was read of all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of one image.

    Attributes:
        label: as split.csv writes it (`Task.read_labels`); "" where nobody labelled the image.
        split: train | valid | test where the archive says it, else None; `out` where `split.folders` says that.
        group: images of the same group stay in one split and one fold; "" is no group.
        numbers: those of the columns `split.numbers`, None where one is missing.
    """

    label: str
    split: str | None
    group: str = ""
    numbers: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What was read of all images, and how: nothing is taken without being said.

    Attributes:
        source: where the labels come from, such as `folders` or `labels.csv`.
        labels: of each image.
        facts: what was taken where the data could be read in another way; one sentence each, without a full stop.
        columns: of a table, what its columns are: ids, labels, split, group, numbers and `not used`.
        unmatched: (name, reason) of labels without an image, and of images without a label; sorted.
    """

    source: str
    labels: list[Label]
    facts: Sequence[str] = ()
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unmatched: Sequence[tuple[str, str]] = ()
