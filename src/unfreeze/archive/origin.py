"""Where files come from: the user's source, an archive in it, or an archive inside an archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Place = tuple[str, str]
"""A folder in which archives lie: the `where` of what holds it, and its path in there."""


@dataclass(frozen=True, eq=False, slots=True)
class Origin:
    """A folder or archive that files come out of."""

    where: str
    """What it is called in messages: its path on disk, or its archive and its name there."""
    folder: str = ""
    """The folder that its files come out in."""
    holder: Origin | None = None
    """What it lies in. The `a.tar` in an `a.tar.gz` lies in what holds the `a.tar.gz`."""
    beside: str = ""
    """The folder of `holder` that it lies in."""
    depth: int = 0
    """1 for an archive on disk, 2 for one inside it."""
    apart: bool = False
    """Whether `folder` is called as the archive, because names of archives in its place collide."""
    is_layer: bool = False
    """Whether it is a compressed file, which may hold the archive that lies in its place."""
    chosen: bool = False
    """Whether a pattern of `extract.only` matches the archive itself: then all that it holds is taken."""

    @property
    def place(self) -> Place:
        """Where it lies."""
        return (self.holder.where if self.holder else "", self.beside)

    def list_holders(self) -> Iterator[Origin]:
        """Yield this origin, and what it lies in, to the outermost."""
        origin: Origin | None = self
        while origin is not None:
            yield origin
            origin = origin.holder


def find_siblings(first: Origin, second: Origin) -> tuple[Origin, Origin] | None:
    """Find two archives in one folder, of which one is or holds `first` and the other one `second`.

    Returns:
        Them; None if there are none, as where a file of an archive meets one that lies beside the archive.
    """
    for one in first.list_holders():
        for other in second.list_holders():
            if one is not other and one.holder is not None and one.holder is other.holder:
                return (one, other) if one.beside == other.beside else None
    return None
