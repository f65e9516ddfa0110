"""What is known of one image."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of one image.

    Attributes:
        label: as split.csv writes it (`Task.read_labels`); "" where nobody labelled the image.
        split: train | valid | test where the archive says it, else None.
        group: images of the same group stay in one split and one fold; "" is no group.
        numbers: those of the columns `split.numbers`, None where one is missing.
    """

    label: str
    split: str | None
    group: str = ""
    numbers: tuple[float | None, ...] = ()
