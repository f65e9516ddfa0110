"""Reads the files that lie in the extracted tar."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from unfreeze.core import tables
from unfreeze.core.console import UserError

if TYPE_CHECKING:
    import pandas as pd

MAX_BYTES = 2**30
"""Bytes of the largest file that is read: the largest raw image within Pillow's pixel limit is smaller."""


class Rejection(Exception):
    """A file or a record cannot be used; the message is the reason."""


@dataclass(frozen=True)
class ExtractedTar:
    """What the extract stage writes."""

    tar: Path
    """An uncompressed tar."""
    index: Path
    """Its CSV with path, offset and size in bytes, sorted by path. A path that ends in "/" is an empty folder."""


class Member(NamedTuple):
    """Where the tar holds a file: `size` bytes from byte `offset`."""

    path: str
    offset: int
    size: int


def read_index(index: Path) -> "pd.DataFrame":
    """Read path, offset and size of every file that `index` lists, without the empty folders.

    Raises:
        UserError: the table is missing or damaged.
    """
    frame = tables.read(index, {"path": "text", "offset": "int", "size": "int"})
    return frame[~frame["path"].str.endswith("/")]


def select_files(files: "pd.DataFrame", is_wanted: Callable[[str], bool]) -> "pd.DataFrame":
    """Select the rows of `read_index` whose path `is_wanted` accepts."""
    return files[np.fromiter(map(is_wanted, files["path"]), dtype=bool, count=len(files))]


def iterate_members(files: "pd.DataFrame") -> Iterator[Member]:
    """Yield the rows of `read_index` one by one."""
    for path, offset, size in files.itertuples(index=False, name=None):
        yield Member(path=path, offset=offset, size=size)


def read_member(file: BinaryIO, member: Member) -> bytes:
    """Read the content of `member` from the open tar `file`.

    Raises:
        Rejection: it is larger than `MAX_BYTES`.
        UserError: the tar ends before the member does.
    """
    if member.size > MAX_BYTES:
        raise Rejection(f"larger than {MAX_BYTES:,} bytes")
    file.seek(member.offset)
    data = file.read(member.size)
    if len(data) < member.size:
        raise UserError(f"{file.name} ends before the end of {member.path}; run the extract stage again")
    return data
