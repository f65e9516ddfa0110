"""The files that decoding writes, of images and of records alike."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from unfreeze.core import tables
from unfreeze.core.console import UserError, few

IMAGE_COLUMNS = ("row", "path", "width", "height", "mode", "pixels_sha256", "format")
"""Of images.csv. The fields of records come after them."""
LISTED = 20
"""Reasons for rejecting files that an error lists."""


@dataclass(frozen=True)
class ImageFiles:
    """Where decoding writes."""

    pixels: Path
    """The array: `[images, image_size, image_size, C]`."""
    images: Path
    """A CSV with one line for each row of the array: `IMAGE_COLUMNS`."""
    rejected: Path
    """A CSV with path and reason of what cannot be used."""
    card: Path
    """How the images are stored (`images.card`)."""

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Name the files as the pipeline does."""
        return cls(
            pixels=folder / "pixels.npy",
            images=folder / "images.csv",
            rejected=folder / "rejected.csv",
            card=folder / "card.json",
        )


class Counts(NamedTuple):
    """How many files (or records) went where."""

    images: int
    rejected: int
    other_files: int
    """Files that are not tried: by their names they hold no image (or no records)."""


def write_rejections(path: Path, rejections: Sequence[tuple[str, str]], candidates: int, max_share: float) -> None:
    """Write (path, reason) of every rejected file, say why, and stop where too few of the `candidates` are left.

    Raises:
        UserError: all candidates, or more than `max_share` (0..1) of them, are rejected. It lists the most common
            reasons, each with its first files.
    """
    tables.write_rows(path, ("path", "reason"), rejections)
    if not rejections:
        return
    lines = [f"  {line}" for line in group_by_reason(rejections)]
    if len(rejections) < candidates and len(rejections) / candidates <= max_share:
        head = f"{len(rejections):,} of {candidates:,} images cannot be used (all are in {path}):"
        logging.getLogger(__name__).warning("\n".join([head, *lines]))
        return
    raise UserError(
        f"{len(rejections):,} of {candidates:,} images cannot be used, decode.max_rejected allows a share of "
        f"{max_share}; mend or remove these files (all are in {path}) or raise the share:\n" + "\n".join(lines)
    )


def group_by_reason(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return one line for each reason of (path, reason), the most common first, with its first five paths."""
    names: dict[str, list[str]] = {}
    for name, reason in pairs:
        names.setdefault(reason, []).append(name)
    reasons = sorted(names, key=lambda reason: len(names[reason]), reverse=True)
    lines = [f"{few(names[reason])}: {reason}" for reason in reasons[:LISTED]]
    if others := sum(len(names[reason]) for reason in reasons[LISTED:]):
        lines.append(f"... and {others:,} more, for {len(reasons) - LISTED:,} other reasons")
    return lines
