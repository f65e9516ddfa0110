"""Finds the image files of what a user names: a file, a folder, an archive, a content, or standard input."""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tqdm import tqdm

from unfreeze.archive.extract import Destination, extract
from unfreeze.archive.formats import is_archive
from unfreeze.images.members import MAX_BYTES, Rejection, iterate_members, read_index, read_member

Source = str | Path | bytes
"""A file, a folder or an archive, an image's content, or `-` for an image on standard input."""

CHUNK = 1 << 20
"""Bytes read at once."""


class ImageFile(NamedTuple):
    """A file that is tried as an image."""

    path: str
    """As the user named it; in a folder or an archive, with its path there; `-` for content without a path."""
    read: Callable[[], bytes]
    """Reads the content.

    Raises:
        Rejection: it cannot be read, or is too large.
    """


def find_image_files(source: Source, bar: tqdm, is_wanted: Callable[[str], bool]) -> Iterator[ImageFile]:
    """Yield the files of one source, and add their number to the bar's total.

    Args:
        is_wanted: tells by its name whether a file in a folder or an archive is to be tried. A source that is a
            single file is always tried.

    Raises:
        Rejection: a folder or an archive has no wanted file.
        UserError: an archive cannot be unpacked.
        OSError: a folder cannot be listed, or the temporary folder cannot be written.
    """
    path = Path() if isinstance(source, bytes) else Path(source)
    if isinstance(source, bytes):
        file = ImageFile(path="-", read=lambda: source)
    elif str(source) == "-":
        file = ImageFile(path="-", read=lambda: _read_content(sys.stdin.buffer))
    elif path.is_dir():
        yield from _find_in_folder(path, bar, is_wanted)
        return
    elif path.is_file() and is_archive(path):
        yield from _find_in_archive(path, bar, is_wanted)
        return
    else:
        file = ImageFile(path=str(source), read=partial(_read_file, path))
    bar.total += 1
    yield file


def _find_in_folder(folder: Path, bar: tqdm, is_wanted: Callable[[str], bool]) -> Iterator[ImageFile]:
    paths = [str(path) for path in _walk(folder, is_wanted)]  # only names are held for all files
    if not paths:
        raise Rejection("no image in this folder")
    bar.total += len(paths)
    for path in paths:
        yield ImageFile(path=path, read=partial(_read_file, Path(path)))


def _walk(folder: Path, is_wanted: Callable[[str], bool], above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield the wanted files below `folder`, sorted. Links are followed, but never back to a folder above.

    Hidden folders are passed over, and so is what is no file. A link to nothing and a folder that cannot be listed
    are yielded too: reading them gives the reason.
    """
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    above |= {folder.resolve()}
    for entry in entries:
        mode = _read_mode(entry)
        if stat.S_ISDIR(mode):
            hidden = entry.name.startswith(".") or entry.name == "__MACOSX"
            if not hidden and entry.resolve() not in above:
                yield from _walk(entry, is_wanted, above)
        elif stat.S_ISREG(mode) and is_wanted(entry.name):
            yield entry


def _read_mode(path: Path) -> int:
    """Return the mode of `path` or of its link's target; where it cannot be told, that of a file."""
    try:
        return path.stat().st_mode
    except OSError:
        return stat.S_IFREG


def _find_in_archive(archive: Path, bar: tqdm, is_wanted: Callable[[str], bool]) -> Iterator[ImageFile]:
    with tempfile.TemporaryDirectory(prefix="unfreeze-") as folder:
        tar, index = Path(folder, "members.tar"), Path(folder, "members.csv")
        extract(
            source=archive,
            destination=Destination(tar=tar, index=index),
            max_bytes=shutil.disk_usage(folder).free,
            password=os.environ.get("UNFREEZE_ARCHIVE_PASSWORD") or None,
            limit_name=f"the free space in {tempfile.gettempdir()} (TMPDIR)",
        )
        members = read_index(index)
        members = members[members["path"].map(is_wanted).astype(bool)]
        if members.empty:
            raise Rejection("no image in this archive")
        bar.total += len(members)
        with tar.open("rb") as file:
            for member in iterate_members(members):
                yield ImageFile(path=f"{archive}/{member.path}", read=partial(read_member, file, member))


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _read_content(file)
    except OSError as error:
        raise Rejection(error.strerror or str(error)) from None


def _read_content(file: BinaryIO) -> bytes:
    """Read all of `file`, which may be a pipe or without end.

    Raises:
        Rejection: it is larger than `MAX_BYTES`.
    """
    content = bytearray()
    while chunk := file.read(CHUNK):
        content += chunk
        if len(content) > MAX_BYTES:
            raise Rejection(f"larger than {MAX_BYTES:,} bytes")
    return bytes(content)
