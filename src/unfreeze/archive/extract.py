"""Unpacks archives of labelled images into one plain tar, its index and its tables, and writes nothing elsewhere.

The rules, whatever the format:

- An archive inside an archive (`train-jpg.tar.7z`) is unpacked too, into the folder that holds it.
- Names are kept. Absolute names, `..`, backslashes, control characters and repeated names are refused. Only where
  names of two archives in one folder collide, each archive of that folder is unpacked into a folder called as it.
- How names in zips are read stands in `zip_names`.
- A symbolic or hard link to a file of the tree becomes a hard link in the tar: one more path in the index
  for the same bytes. A link to a folder, to nothing or to what is left out is skipped and counted; one out of the
  tree is refused.
- Hidden files and folders, and what file managers leave (`__MACOSX`, `Thumbs.db`, `*.dvc`...), are skipped and
  counted, and so is what `extract.only` and `extract.skip` leave out.
- Every decoded byte counts towards `max_bytes`: an inner archive's own and those of its contents.
- Members are streamed: memory is what the decoder's dictionary takes, and less than 1 KB a file for its name.
"""

import hashlib
import logging
import posixpath
import shutil
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from unfreeze.archive.member import Budget
from unfreeze.archive.names import list_parents, list_tables_beside
from unfreeze.archive.origin import Place
from unfreeze.archive.select import TAKE_ALL, ReadOptions, check_pattern
from unfreeze.archive.unpack import SCRATCH_PREFIX, Unpacker, unpack_source
from unfreeze.archive.writer import Row, TarWriter
from unfreeze.archive.zip_names import check_encoding
from unfreeze.core.console import UserError, few, progress
from unfreeze.core.files import replacing, replacing_folder
from unfreeze.core.params import Section
from unfreeze.core.system_errors import explain_system_error
from unfreeze.core.table_files import names_table, write_table_files
from unfreeze.core.tables import write_rows

log = logging.getLogger(__name__)

Pattern = Annotated[str, Field(min_length=1), AfterValidator(check_pattern)]


class ExtractParams(Section):
    """Where the images come from."""

    source: str = Field(min_length=1)
    """An archive, or a folder of archives, label files, images and class folders; links are followed."""
    max_bytes: int = Field(gt=0)
    """The bytes that may come out, a guard against archives that unpack to more than the disk holds."""
    only: list[Pattern] = Field(default_factory=list)
    """Patterns of what is taken; none: all. As in a .gitignore file, in upper and lower case:

    - A pattern that matches a file takes it; one that matches a folder takes all in it. With a slash at its end it
      matches folders only.
    - A pattern without another slash matches at any depth (`*_mask.png`, `masks`). With one it is a path from the
      top (`chest_xray/train`, `/masks`).
    - `*` is any characters but slashes, `?` one of them, `[abc]` one of these, `[!abc]` one of the others; `**` is
      any characters, and `a/**/b` also matches `a/b`.
    - Paths are those in data/extracted.csv. An archive in a folder or in another archive is matched by its own
      path too, as if it were a folder (`old.zip`).

    A pattern that matches nothing is an error. Hidden files and junk never come out.
    """
    skip: list[Pattern] = Field(default_factory=list)
    """Patterns, as in `only`, of what is left out, also of what `only` takes. An archive that one of them matches
    is not unpacked. What is left out of an archive is decoded, and counts towards `max_bytes`."""
    names: Annotated[str, AfterValidator(check_encoding)] = "auto"
    """The encoding of the names in zips that do not state it and are not UTF-8, such as `cp932`, `gbk` or `cp1252`
    (Python's names of encodings). `auto`: cp437, with a warning."""

    def read_options(self) -> ReadOptions:
        """Return what `extract` needs of these."""
        return ReadOptions(only=tuple(self.only), skip=tuple(self.skip), names=self.names)


@dataclass(frozen=True)
class Destination:
    """Where `extract` writes."""

    tar: Path
    """The tar, in the source's order; time, owner and mode of every entry are fixed."""
    index: Path
    """The index, a CSV sorted by path: path, offset (of the data in the tar, in bytes), size (in bytes) and sha256
    (hexadecimal). A folder that holds nothing stands in it as `path/`, with an empty sha256."""
    tables: Path | None = None
    """The folder of tables, as `core.table_files` writes it; None: no such folder."""


@dataclass(frozen=True)
class Summary:
    """What came out of a source."""

    files: int
    bytes: int
    archives: int
    junk: int
    """Hidden files and junk."""
    left_out: int
    """Files that `extract.only` and `extract.skip` left out."""
    links_skipped: int
    remarks: tuple[str, ...]
    """What was skipped, with examples."""

    def __str__(self) -> str:
        text = f"{_count(self.files, 'file')}, {self.bytes / 1e6:,.1f} MB"
        text += f" from {_count(self.archives, 'archive')}"
        return ", ".join([text, *self.remarks])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def extract(
    source: Path,
    destination: Destination,
    max_bytes: int,
    password: str | None = None,
    limit_name: str = "extract.max_bytes",
    options: ReadOptions = TAKE_ALL,
) -> Summary:
    """Unpack `source` into a plain tar, its index and the folder of its tables.

    What was taken in one of several ways is logged as a warning.

    Args:
        source: an archive or a folder, as `ExtractParams.source`.
        destination: what to write.
        max_bytes: how many decoded bytes are allowed.
        password: for encrypted archives.
        limit_name: what `max_bytes` is called in messages.
        options: what to take, and how to read names.

    Raises:
        UserError: naming the archive, the member and the reason. The files of an earlier run stay then.
    """
    check_source(source)
    if destination.tar.absolute().parent.resolve().is_relative_to(source.resolve()):
        raise UserError(
            f"extract.source {source} holds the pipeline's own {destination.tar}; name a folder of its own"
        )
    swap_tables = replacing_folder(destination.tables) if destination.tables else nullcontext()
    try:
        _remove_scratch(destination.tar.parent)
        # The index is renamed last: where it stands, its tar and its tables stand too.
        with replacing(destination.index) as index, replacing(destination.tar) as tar, swap_tables as tables:
            with tar.open("wb") as file:

                def start(places: frozenset[Place]) -> Unpacker:
                    file.seek(0)
                    file.truncate()
                    bar = progress(0, f"extract {source.name}", unit="B")
                    budget = Budget(limit=max_bytes, name=limit_name, bar=bar, target=destination.tar)
                    return Unpacker(TarWriter(file), budget, tar.parent, password, options, places)

                unpacker = unpack_source(source, start)
            rows = unpacker.writer.rows
            summary = _summarise(source, unpacker)
            _refuse_twins(unpacker.apart, rows())
            write_rows(index, ("path", "offset", "size", "sha256"), rows())
            if tables is not None:
                write_table_files(tables, tar, rows())
                _hint_at_tables(source, rows())
            destination.index.unlink(missing_ok=True)
    except OSError as error:
        reason = explain_system_error(error) or error
        raise UserError(f"{source} cannot be unpacked to {destination.tar}: {reason}") from error
    return summary


def check_source(source: Path) -> None:
    """Raise UserError if a source is not there."""
    if not source.exists():
        if source.is_symlink():
            raise UserError(f"extract.source {source} is a link to {source.readlink()}, which is not there")
        here = next(folder for folder in source.absolute().parents if folder.is_dir())
        names = sorted(entry.name for entry in here.iterdir())
        listing = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise UserError(f"extract.source {source} is not there; {here} holds: {listing or 'nothing'}")


def _remove_scratch(folder: Path) -> None:
    """Remove what a killed run has left behind."""
    for scratch in folder.glob(f"{SCRATCH_PREFIX}*"):
        shutil.rmtree(scratch)


def describe_skipped(unpacker: Unpacker) -> list[str]:
    """Say what was skipped, with examples."""
    links = "{} to a folder, to nothing or to what is left out skipped"
    remarks = (
        unpacker.junk.describe("hidden or junk {} skipped"),
        unpacker.selection.left_out.describe("{} left out by extract.only and extract.skip"),
        unpacker.writer.links_skipped.describe(links, noun="link"),
    )
    return list(filter(None, remarks))


def _summarise(source: Path, unpacker: Unpacker) -> Summary:
    writer = unpacker.writer
    remarks = tuple(describe_skipped(unpacker))
    sizes = [size for path, _, size, _ in writer.rows() if not path.endswith("/")]
    if not sizes:
        raise UserError(f"{source} holds no files" + (f" but {', '.join(remarks)}" if remarks else ""))
    return Summary(
        files=len(sizes),
        bytes=sum(sizes),
        archives=unpacker.archives,
        junk=unpacker.junk.files,
        left_out=unpacker.selection.left_out.files,
        links_skipped=writer.links_skipped.files,
        remarks=remarks,
    )


def _refuse_twins(apart: dict[str, str], rows: Iterable[Row]) -> None:
    """Refuse two archives of one folder, unpacked apart, that hold the same files: an archive and its copy.

    Args:
        apart: the folders, each with what its archive is called.

    Raises:
        UserError: it names both.
    """
    digests = {folder: hashlib.sha256() for folder in apart}
    for path, _, _, sha256 in rows:
        for folder in list_parents(path) if apart else ():
            if folder in digests and sha256:
                digests[folder].update(f"{path[len(folder) :]}\0{sha256}\0".encode())
    seen: dict[tuple[str, bytes], str] = {}
    for folder, digest in digests.items():
        twin = seen.setdefault((posixpath.dirname(folder), digest.digest()), folder)
        if twin != folder and digest.digest() != hashlib.sha256().digest():
            raise UserError(
                f"{apart[twin]} and {apart[folder]} hold the same files; leave one of them out with extract.skip"
            )


def _hint_at_tables(source: Path, rows: Iterable[Row]) -> None:
    """Say that an archive without a table has some beside it."""
    if source.is_dir() or any(names_table(row[0]) for row in rows):
        return
    if beside := list_tables_beside(source):
        names = few(path.name for path in beside)
        log.warning(
            f"{source} holds no table, and beside it lies {names}: to take it too, name the folder "
            f"{source.parent} in extract.source (all in it is taken; extract.skip leaves things out)"
        )
