"""Looks at a source in seconds: all names, small tables and a sample of the images. Nothing is unpacked whole.

It goes through the source twice, with the reader that `extract` uses. The first time it lists. That decodes
nothing of a .7z or .zip, which have a directory, and it skips over what a plain tar holds. A compressed tar, and
an archive inside an archive, have to be decoded. Then it chooses what to read, and reads that. `LookLimits` bounds
what is decoded, and what could not be looked at is said. The same source gives the same answer.
"""

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

from unfreeze.archive.extract import check_source, describe_skipped
from unfreeze.archive.listing import Collector, Done, Listed, Lister, Listing, LookBudget, Reader, Spent
from unfreeze.archive.names import list_tables_beside
from unfreeze.archive.origin import Place
from unfreeze.archive.select import TAKE_ALL, ReadOptions
from unfreeze.archive.unpack import unpack_source
from unfreeze.core.console import UserError, few
from unfreeze.core.system_errors import explain_system_error, format_bytes
from unfreeze.core.table_files import MAX_BYTES, MOST_COPIES, names_table

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".jp2"),
    *(".heic", ".heif", ".avif", ".jxl", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".dcm", ".dicom"),
)
"""Of files that are sampled, in lower case. Where there are none, the files without a suffix are."""


@dataclass(frozen=True)
class LookLimits:
    """How far `look` goes. LZMA decodes 10 MB of photographs or 40 MB of tables a second; DEFLATE is faster."""

    list_bytes: int = 1 << 27
    """Bytes that are decoded to list what has no directory. They are decoded again to read what was listed."""
    table_bytes: int = 1 << 28
    """Bytes that are decoded to read the tables."""
    image_bytes: int = 1 << 26
    """Bytes that are decoded to read the sample."""
    images: int = 64
    """Files in the sample."""


LIMITS = LookLimits()


@dataclass(frozen=True)
class Look:
    """What `look` saw."""

    sizes: dict[str, int | None]
    """The path of each file, as `extract` would give it, sorted -> its size in bytes; None: the format of the
    archive does not tell it."""
    empty_folders: list[str]
    """Paths of folders that hold nothing, sorted."""
    tables: dict[str, bytes]
    """The tables that were read, by path, those in the fewest folders first."""
    images: dict[str, bytes]
    """A sample of image files, by path, sorted, spread over the folders. A path that is a link is never in it."""
    tables_beside: list[Path]
    """Tables that lie beside the archive, sorted."""
    notes: list[str]
    """What `extract` would warn of."""
    remarks: list[str]
    """What was skipped, with examples, as the summary of `extract` says it."""
    unseen: list[str]
    """What was not looked at, and why, sentences. Tables too large to be laid open are not among it."""
    is_complete: bool
    """Whether `sizes` lists all."""


def look(
    source: Path, password: str | None = None, options: ReadOptions = TAKE_ALL, limits: LookLimits = LIMITS
) -> Look:
    """Look at an archive or a folder.

    Args:
        password: of encrypted archives.
        options: as for `extract`.

    Raises:
        UserError: what `extract` refuses too, as far as it was seen.
    """
    check_source(source)
    notes: list[str] = []
    try:
        with TemporaryDirectory(prefix="unfreeze-") as scratch:

            def start(places: frozenset[Place]) -> Lister:
                return Lister(Listing(), LookBudget(limits.list_bytes), Path(scratch), password, options, places)

            lister = unpack_source(source, start, notes.append)
            entries = lister.writer.list_entries()
            tables, images, unseen = _choose(entries, limits)
            collector = Collector({path: entries[path] for path in tables + images})
            budget = LookBudget(lister.budget.spent + limits.table_bytes + limits.image_bytes)
            reader = Reader(collector, budget, Path(scratch), password, options, lister.places)
            try:
                if tables or images:
                    reader.take_source(source)
            except Done:
                pass
            except Spent as error:
                unread = [path for path in tables + images if path not in collector.content]
                unseen.append(f"not read, because {error}: {few(unread)}")
    except OSError as error:
        raise UserError(f"{source} cannot be read: {explain_system_error(error) or error}") from error
    unseen += [f"{path}: not read, because it has more than {format_bytes(MAX_BYTES)}" for path in collector.large]
    content = collector.content
    return Look(
        sizes={path: entry.size for path, entry in entries.items() if not path.endswith("/")},
        empty_folders=[path.rstrip("/") for path in entries if path.endswith("/")],
        tables={path: content[path] for path in tables if path in content},
        images={path: content[path] for path in sorted(images) if path in content},
        tables_beside=list_tables_beside(source),
        notes=notes,
        remarks=describe_skipped(lister),
        unseen=lister.unseen + unseen,
        is_complete=not lister.unseen,
    )


class _Plan:
    """Counts what reading the chosen files decodes.

    Attributes:
        left: bytes that may still be decoded.
    """

    def __init__(self) -> None:
        self.left = 0
        self._reached: dict[tuple[str, int], int] = {}

    def add(self, entry: Listed) -> bool:
        """Tell whether there is room for a file, and take it."""
        end = entry.offset + (entry.size or 0)
        cost = max(0, end - self._reached.get(entry.stream, 0)) if entry.stream else end
        if cost > self.left:
            return False
        self.left -= cost
        if entry.stream:
            self._reached[entry.stream] = max(end, self._reached.get(entry.stream, 0))
        return True


def _choose(entries: dict[str, Listed], limits: LookLimits) -> tuple[list[str], list[str], list[str]]:
    """Choose what to read: paths of tables, paths of images, and sentences about what cannot be read."""
    plan = _Plan()
    unseen = []
    files = [path for path, entry in entries.items() if entry.origin is not None]

    # 1. The tables that `extract` would lay open.
    plan.left = limits.table_bytes
    small = [path for path in files if names_table(path) and (entries[path].size or 0) <= MAX_BYTES]
    small = sorted(small, key=lambda path: path.count("/"))[:MOST_COPIES]
    tables = [path for path in small if plan.add(entries[path])]
    if missed := sorted(set(small) - set(tables)):
        unseen.append(f"not read, because too many bytes would have to be decoded: {few(missed)}")

    # 2. A sample of the images.
    plan.left = limits.image_bytes
    candidates = [path for path in files if path.lower().endswith(IMAGE_SUFFIXES)]
    candidates = candidates or [path for path in files if not posixpath.splitext(path)[1]]
    images: list[str] = []
    passed: set[str] = set()
    for path in _spread_over_folders(candidates, limits.images):
        if len(images) == limits.images:
            break
        if plan.add(entries[path]):
            images.append(path)
        else:
            passed.add(posixpath.dirname(path))
    passed -= {posixpath.dirname(path) for path in images}
    if passed:
        folders = few(f"{folder}/" for folder in passed)
        unseen.append(f"no image was read, because too many bytes would have to be decoded, of: {folders}")
    return tables, images, unseen


def _spread_over_folders(paths: Sequence[str], count: int) -> Iterator[str]:
    """Yield all of `paths`, first about `count` of them that are spread over the folders and within each."""
    folders: dict[str, list[str]] = {}
    for path in paths:
        folders.setdefault(posixpath.dirname(path), []).append(path)
    each = -(-count // max(1, len(folders)))
    queues = [_spread(folders[folder], each) for folder in _spread(sorted(folders), count)]
    for row in zip_longest(*queues):
        yield from (path for path in row if path is not None)


def _spread(items: Sequence[str], count: int) -> Iterator[str]:
    """Yield all items, first about `count` of them that lie evenly apart."""
    step = max(1, -(-len(items) // count))
    for first in range(step):
        yield from items[first::step]
