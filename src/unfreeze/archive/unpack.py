"""Finds the files in a source: a folder or an archive, with archives inside archives."""

import io
import posixpath
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from unfreeze.archive.formats import detect_format
from unfreeze.archive.member import CHUNK, Budget, Member, Refused, guard, read_target
from unfreeze.archive.names import (
    is_junk,
    join_safely,
    list_volumes,
    name_volume,
    names_archive,
    volume_number,
)
from unfreeze.archive.sevenzip import read_7z
from unfreeze.archive.streams import ChunkStream, JoinedFiles
from unfreeze.archive.tars import read_compressed, read_tar
from unfreeze.archive.writer import TarWriter
from unfreeze.archive.zips import read_zip
from unfreeze.core.console import UserError

MAX_DEPTH = 5
"""Archives inside archives, counting the outermost and each layer of `.tar.gz`."""
SCRATCH_PREFIX = ".extract-"
"""Of the names of temporary folders."""


class Unpacker:
    """Hands every file of a source to the writer of the tar.

    Args:
        writer: takes the files.
        budget: counts their bytes.
        password: of encrypted archives.
        scratch: the folder for files that have to be seekable; they are removed again.

    Attributes:
        archives: how many were unpacked.
        junk: how many files of file managers and version control were skipped.
    """

    def __init__(self, writer: TarWriter, budget: Budget, password: str | None, scratch: Path) -> None:
        self._writer = writer
        self._budget = budget
        self._password = password
        self._scratch = scratch
        self.archives = self.junk = 0

    def take_source(self, source: Path) -> None:
        """Take everything in a folder, or in an archive."""
        if source.is_dir():
            for path, name in _walk(source):
                self._take_path(path, name)
        else:
            if volume_number(source) > 1:
                raise UserError(f"{source} is not the first part of its archive; name {name_volume(source, 1)}")
            self._take_archive(source, source.name)

    def _take_path(self, path: Path, name: str) -> None:
        """Take a file or folder of the user's source folder; unpack it if it is an archive."""
        name = join_safely("", name, str(path))
        if is_junk(name):
            self.junk += path.is_file()
        elif path.is_dir():
            self._writer.folders.add(name)
        elif not path.is_file():
            raise UserError(f"{path} is neither a file nor a folder, or a link to nothing; remove it")
        elif (number := volume_number(path)) > 1:
            before = name_volume(path, number - 1)
            if not before.is_file():
                raise UserError(f"{before} is missing: {path} continues it")
        elif number or names_archive(name):
            self._take_archive(path, name)
        else:
            with path.open("rb") as file:
                size = path.stat().st_size
                self._budget.bar.total += size
                chunks = self._budget.spend(_read_chunks(file))
                self._writer.add_file(name, size, guard(chunks, str(path)), str(path))

    def _take_archive(self, path: Path, name: str) -> None:
        """Unpack an archive that is a file on disk; of several parts, `path` is the first."""
        with ExitStack() as stack:
            if volume_number(path):
                parts = [stack.enter_context(part.open("rb")) for part in list_volumes(path)]
                path = path.with_suffix("")
                file = io.BufferedReader(JoinedFiles(parts, str(path)))
            else:
                file = stack.enter_context(path.open("rb"))
            self._unpack(file, path.name, str(path), posixpath.dirname(name), depth=1)

    def _unpack(self, file: Any, name: str, where: str, folder: str, depth: int) -> None:
        """Take every member of an archive.

        Args:
            file: a buffered reader at the archive's start.
            name: of the archive, without folders.
            where: the archive, for messages.
            folder: where its contents land.
            depth: 1 for an archive on disk, 2 for one inside it.
        """
        if depth > MAX_DEPTH:
            raise UserError(f"{where}: archives inside archives, more than {MAX_DEPTH} deep")
        try:
            kind = detect_format(file.peek(tarfile.BLOCKSIZE), name)
        except Refused as error:
            raise UserError(f"{where} {error}") from None
        if kind in ("7z", "zip") and not file.seekable():
            with self._spool(name, _read_chunks(file)) as (whole, _):
                self._unpack(whole, name, where, folder, depth)
            return
        self.archives += 1
        if kind == "7z":
            members = read_7z(file, self._budget, self._password)
        elif kind == "zip":
            members = read_zip(file, self._budget, self._password)
        elif kind == "tar":
            members = read_tar(file, self._budget)
        else:
            members = read_compressed(file, kind, name)
        with closing(members):
            for member in guard(members, where):
                self._take_member(member, where, folder, depth)

    def _take_member(self, member: Member, where: str, folder: str, depth: int) -> None:
        """Take one member of an archive whose contents land in `folder`."""
        path = join_safely(folder, member.name, where)
        label = f"{where}: {member.name}"
        chunks = guard(self._budget.spend(member.chunks), label, member.encrypted)
        if is_junk(path):
            self.junk += member.kind == "file"
        elif member.kind == "folder":
            self._writer.folders.add(path)
        elif not path:
            raise UserError(f"{where}: a file with the name {member.name!r}; such archives are refused")
        elif member.kind != "file":
            base = folder if member.kind == "hard link" else posixpath.dirname(path)
            target = read_target(chunks, label) if member.target is None else member.target
            self._writer.add_link(path, base, target, label)
        elif volume_number(path):
            raise UserError(f"{label} is one part of several; put the parts side by side in a folder instead")
        elif names_archive(path):
            stream = io.BufferedReader(ChunkStream(chunks))
            self._unpack(stream, posixpath.basename(path), label, posixpath.dirname(path), depth + 1)
        elif member.size is None:
            with self._spool(path, chunks) as (whole, size):
                self._writer.add_file(path, size, _read_chunks(whole), label)
        else:
            self._writer.add_file(path, member.size, chunks, label)
        for _ in chunks:
            pass  # a solid archive is one stream and checksums stand at the end: decode what is skipped too

    @contextmanager
    def _spool(self, name: str, chunks: Iterable[bytes]) -> Iterator[tuple[BinaryIO, int]]:
        """Write `chunks` to a temporary file; give the file, at its start, and its size."""
        with TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=self._scratch) as folder:
            path = Path(folder) / posixpath.basename(name)  # py7zr names a nameless member after its archive
            with path.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            with path.open("rb") as file:
                yield file, path.stat().st_size


def _walk(folder: Path, prefix: str = "", above: frozenset[Path] = frozenset()) -> Iterator[tuple[Path, str]]:
    """Yield the files and folders below `folder` with their names in the tar, sorted; follow links."""
    if folder.resolve() in above:
        raise UserError(f"{folder} links back to a folder that holds it")
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        yield entry, prefix + entry.name
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/", above | {folder.resolve()})


def _read_chunks(file: BinaryIO) -> Iterator[bytes]:
    return iter(partial(file.read, CHUNK), b"")
