"""Unpacks archives of labelled images into one plain tar, its index and its tables, and writes nothing elsewhere.

The rules, whatever the format:

- An archive inside an archive (`train-jpg.tar.7z`) is unpacked too, into the folder that holds it.
- Names are kept. Absolute names, `..`, backslashes, control characters and repeated names are refused.
- A symbolic or hard link to a file of the tree becomes a hard link in the tar: one more path in the index
  for the same bytes. A link to a folder or to nothing is skipped and counted; one out of the tree is refused.
- What file managers and version control leave (`__MACOSX`, `.DS_Store`, `*.dvc`...) is skipped and counted.
- Every decoded byte counts towards `max_bytes`: an inner archive's own and those of its contents.
- Members are streamed: memory is what the decoder's dictionary takes, and less than 1 KB a file for its name.
"""

import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from unfreeze.archive.member import Budget
from unfreeze.archive.unpack import SCRATCH_PREFIX, Unpacker
from unfreeze.archive.writer import TarWriter
from unfreeze.core.console import UserError, progress
from unfreeze.core.files import replacing, replacing_folder
from unfreeze.core.params import Section
from unfreeze.core.system_errors import explain_system_error
from unfreeze.core.table_files import write_table_files
from unfreeze.core.tables import write_rows


class ExtractParams(Section):
    """Where the images come from."""

    source: str = Field(min_length=1)
    """An archive, or a folder of archives, label files, images and class folders; links are followed."""
    max_bytes: int = Field(gt=0)
    """The bytes that may come out, a guard against archives that unpack to more than the disk holds."""


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
    links_skipped: int

    def __str__(self) -> str:
        text = f"{_count(self.files, 'file')}, {self.bytes / 1e6:,.1f} MB"
        text += f" from {_count(self.archives, 'archive')}"
        if self.junk:
            text += f", {_count(self.junk, 'junk file')} skipped"
        if self.links_skipped:
            text += f", {_count(self.links_skipped, 'link')} to a folder or to nothing skipped"
        return text


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def extract(
    source: Path,
    destination: Destination,
    max_bytes: int,
    password: str | None = None,
    limit_name: str = "extract.max_bytes",
) -> Summary:
    """Unpack `source` into a plain tar, its index and the folder of its tables.

    Args:
        source: an archive or a folder, as `ExtractParams.source`.
        destination: what to write.
        max_bytes: how many decoded bytes are allowed.
        password: for encrypted archives.
        limit_name: what `max_bytes` is called in messages.

    Raises:
        UserError: naming the archive, the member and the reason. The files of an earlier run stay then.
    """
    _check_source(source, destination.tar)
    swap_tables = replacing_folder(destination.tables) if destination.tables else nullcontext()
    try:
        _remove_scratch(destination.tar.parent)
        # The index is renamed last: where it stands, its tar and its tables stand too.
        with replacing(destination.index) as index, replacing(destination.tar) as tar, swap_tables as tables:
            with tar.open("wb") as file, progress(0, f"extract {source.name}", unit="B") as bar:
                writer = TarWriter(file)
                budget = Budget(limit=max_bytes, name=limit_name, bar=bar, target=destination.tar)
                unpacker = Unpacker(writer, budget, password, scratch=tar.parent)
                unpacker.take_source(source)
                writer.finish()
            summary = _summarise(source, unpacker, writer)
            write_rows(index, ("path", "offset", "size", "sha256"), writer.rows())
            if tables is not None:
                write_table_files(tables, tar, writer.rows())
            destination.index.unlink(missing_ok=True)
    except OSError as error:
        reason = explain_system_error(error) or error
        raise UserError(f"{source} cannot be unpacked to {destination.tar}: {reason}") from error
    return summary


def _check_source(source: Path, tar: Path) -> None:
    if not source.exists():
        if source.is_symlink():
            raise UserError(f"extract.source {source} is a link to {source.readlink()}, which is not there")
        here = next(folder for folder in source.absolute().parents if folder.is_dir())
        names = sorted(entry.name for entry in here.iterdir())
        listing = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise UserError(f"extract.source {source} is not there; {here} holds: {listing or 'nothing'}")
    if tar.absolute().parent.resolve().is_relative_to(source.resolve()):
        raise UserError(f"extract.source {source} holds the pipeline's own {tar}; name a folder of its own")


def _remove_scratch(folder: Path) -> None:
    """Remove what a killed run has left behind."""
    for scratch in folder.glob(f"{SCRATCH_PREFIX}*"):
        shutil.rmtree(scratch)


def _summarise(source: Path, unpacker: Unpacker, writer: TarWriter) -> Summary:
    sizes = [size for path, _, size, _ in writer.rows() if not path.endswith("/")]
    if not sizes:
        raise UserError(f"{source} holds no files")
    return Summary(
        files=len(sizes),
        bytes=sum(sizes),
        archives=unpacker.archives,
        junk=unpacker.junk,
        links_skipped=writer.links_skipped,
    )
