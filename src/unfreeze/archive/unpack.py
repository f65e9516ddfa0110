"""Finds the files in a source: a folder or an archive, with archives inside archives."""

import io
import logging
import posixpath
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from unfreeze.archive.formats import COMPRESSED, detect_format
from unfreeze.archive.member import CHUNK, Budget, Member, Refused, guard, read_target
from unfreeze.archive.names import (
    is_junk,
    join_safely,
    list_volumes,
    name_folder,
    name_volume,
    names_archive,
    volume_number,
)
from unfreeze.archive.origin import Origin, Place
from unfreeze.archive.select import TAKE_ALL, ReadOptions, Selection
from unfreeze.archive.sevenzip import read_7z
from unfreeze.archive.streams import ChunkStream, JoinedFiles
from unfreeze.archive.tally import Tally
from unfreeze.archive.tars import read_compressed, read_tar
from unfreeze.archive.walk import walk_source
from unfreeze.archive.writer import TarWriter
from unfreeze.archive.zips import read_zip
from unfreeze.core.console import UserError

log = logging.getLogger(__name__)

MAX_DEPTH = 5
"""Archives inside archives, counting the outermost and each layer of `.tar.gz`."""
SCRATCH_PREFIX = ".extract-"
"""Of the names of temporary folders."""


class Unpacker:
    """Hands every file of a source to the writer of the tar.

    Args:
        writer: takes the files.
        budget: counts their bytes.
        scratch: the folder for files that have to be seekable; they are removed again.
        password: of encrypted archives.
        options: what to take, and how to read names.
        places: folders in which archives lie whose names collide. Each archive in them is unpacked apart: into a
            folder that is called as the archive.

    Attributes:
        writer, budget, places: as given.
        archives: how many were unpacked.
        apart: the folders of those that were unpacked apart, each with what its archive is called in messages.
        junk: hidden files and junk.
        selection: says what `options` left out.
        notes: sentences that the user should read.
    """

    def __init__(
        self,
        writer: TarWriter,
        budget: Budget,
        scratch: Path,
        password: str | None = None,
        options: ReadOptions = TAKE_ALL,
        places: Collection[Place] = (),
    ) -> None:
        self.writer = writer
        self.budget = budget
        self._scratch = scratch
        self._password = password
        self._encoding = options.names
        self.places = places
        self.archives = 0
        self.apart: dict[str, str] = {}
        self.junk = Tally()
        self.selection = Selection(options.only, options.skip)
        self.notes: list[str] = []

    def take_source(self, source: Path) -> None:
        """Take everything in a folder, or in an archive."""
        if source.is_dir():
            root = Origin(where=str(source))
            for path, name in walk_source(source):
                self._take_path(path, name, root)
        else:
            if volume_number(source) > 1:
                raise UserError(f"{source} is not the first part of its archive; name {name_volume(source, 1)}")
            self._take_archive(source, Origin(where=str(source), depth=1))

    def finish(self) -> None:
        """Check that every pattern was of use, and finish the writer."""
        self.selection.check_matched()
        self.writer.finish()

    def _take_path(self, path: Path, name: str, root: Origin) -> None:
        """Take a file or folder of the user's source folder; unpack it if it is an archive."""
        name = join_safely("", name, str(path))
        number = volume_number(path)
        is_archive = number > 0 or names_archive(name)
        if is_junk(name):
            self._skip_junk(name, path.is_dir())
        elif path.is_dir():
            if self.selection.take(name, "folder"):
                self.writer.folders.add(name)
        elif number > 1:
            before = name_volume(path, number - 1)
            if not before.is_file():
                raise UserError(f"{before} is missing: {path} continues it")
        elif not self.selection.take(name, "archive" if is_archive else "file"):
            pass
        elif not path.is_file():
            raise UserError(f"{path} is neither a file nor a folder, or a link to nothing; remove it")
        elif is_archive:
            self._take_archive(path, self._enter(root, name, name, str(path)))
        else:
            with path.open("rb") as file:
                size = path.stat().st_size
                self.budget.bar.total += size
                chunks = self.budget.spend(_read_chunks(file))
                self.writer.add_file(name, size, guard(chunks, str(path)), str(path), root)

    def _skip_junk(self, path: str, is_folder: bool) -> None:
        self.junk.add(path, is_folder)
        self.selection.note_junk(path, is_folder)

    def _enter(self, holder: Origin, name: str, path: str, where: str) -> Origin:
        """Describe an archive: its name in what holds it, its path, and what it is called in messages."""
        lies_in, beside = (holder.holder, holder.beside) if holder.is_layer else (holder, posixpath.dirname(name))
        origin = Origin(
            where=where,
            folder=posixpath.dirname(path),
            holder=lies_in,
            beside=beside,
            depth=holder.depth + 1,
            chosen=holder.chosen or self.selection.chooses(path),
        )
        return replace(origin, apart=origin.place in self.places)

    def _take_archive(self, path: Path, origin: Origin) -> None:
        """Unpack an archive that is a file on disk; of several parts, `path` is the first."""
        with ExitStack() as stack:
            if volume_number(path):
                parts = [stack.enter_context(part.open("rb")) for part in list_volumes(path)]
                path = path.with_suffix("")
                file = io.BufferedReader(JoinedFiles(parts, str(path)))
                origin = replace(origin, where=str(path))
            else:
                file = stack.enter_context(path.open("rb"))
            self._unpack(file, path.name, origin)

    def _unpack(self, file: Any, name: str, origin: Origin) -> None:
        """Take every member of an archive.

        Args:
            file: a buffered reader at the archive's start.
            name: of the archive, without folders.
            origin: the archive; its `folder` is the one that it lies in.
        """
        where = origin.where
        if origin.depth > MAX_DEPTH:
            raise UserError(f"{where}: archives inside archives, more than {MAX_DEPTH} deep")
        try:
            kind = detect_format(file.peek(tarfile.BLOCKSIZE), name)
        except Refused as error:
            raise UserError(f"{where} {error}") from None
        if kind in ("7z", "zip") and not file.seekable():
            with self._spool(name, _read_chunks(file)) as (whole, _):
                self._unpack(whole, name, origin)
            return
        self.archives += 1
        if kind in COMPRESSED:
            origin = replace(origin, is_layer=True)
        elif origin.apart:
            origin = replace(origin, folder=posixpath.join(origin.folder, name_folder(name)))
            self.apart[origin.folder] = where
        with closing(self._read_members(file, name, kind, where)) as members:
            for member in guard(members, where):
                self._take_member(member, origin)

    def _read_members(self, file: Any, name: str, kind: str, where: str) -> Any:
        """Yield the members of an archive of a kind that `detect_format` tells."""
        if kind == "7z":
            return read_7z(file, self.budget, self._password)
        if kind == "zip":
            tell = partial(self._tell, where)
            return read_zip(file, self.budget, self._password, self._encoding, tell)
        return read_tar(file, self.budget) if kind == "tar" else read_compressed(file, kind, name)

    def _tell(self, where: str, note: str) -> None:
        self.notes.append(f"{where}: {note}")

    def _take_member(self, member: Member, origin: Origin) -> None:
        """Take one member of an archive."""
        path = join_safely(origin.folder, member.name, origin.where)
        label = f"{origin.where}: {member.name}"
        chunks = guard(self.budget.spend(member.chunks), label, member.encrypted)
        is_archive = member.kind == "file" and names_archive(path)
        if is_junk(path):
            self._skip_junk(path, member.kind == "folder")
        elif member.kind == "folder":
            if path and self.selection.take(path, "folder", origin.chosen):
                self.writer.folders.add(path)
        elif not path:
            raise UserError(f"{origin.where}: a file with the name {member.name!r}; such archives are refused")
        elif not self.selection.take(path, "archive" if is_archive else "file", origin.chosen):
            pass
        elif member.kind != "file":
            base = origin.folder if member.kind == "hard link" else posixpath.dirname(path)
            target = read_target(chunks, label) if member.target is None else member.target
            self.writer.add_link(path, base, target, label, origin)
        elif volume_number(path):
            raise UserError(f"{label} is one part of several; put the parts side by side in a folder instead")
        elif is_archive:
            stream = io.BufferedReader(ChunkStream(chunks))
            self._unpack(stream, posixpath.basename(path), self._enter(origin, member.name, path, label))
        elif member.size is None and self.writer.needs_size:
            with self._spool(path, chunks) as (whole, size):
                self.writer.add_file(path, size, _read_chunks(whole), label, origin)
        else:
            self.writer.add_file(path, member.size, chunks, label, origin)
        self._finish_member(chunks)

    def _finish_member(self, chunks: Iterable[bytes]) -> None:
        """Decode what is skipped too: checksums stand at the end."""
        for _ in chunks:
            pass

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


def unpack_source(
    source: Path, start: Callable[[frozenset[Place]], Unpacker], tell: Callable[[str], None] = log.warning
) -> Unpacker:
    """Unpack a source.

    Where names of archives in one folder collide, all is done again with these archives unpacked apart. That ends,
    because each time there is at least one such folder more.

    Args:
        start: makes an unpacker, given its `places`.
        tell: takes each of the unpackers' notes, once.

    Returns:
        The last unpacker; its writer is finished.
    """
    places: frozenset[Place] = frozenset()
    told: set[str] = set()
    while True:
        unpacker = start(places)
        try:
            with unpacker.budget.bar:
                unpacker.take_source(source)
                if not unpacker.writer.collisions:
                    unpacker.finish()
                    return unpacker
        finally:
            for collision in unpacker.writer.collisions.values():
                unpacker.notes.append(
                    f"{collision}: each archive in that folder is unpacked into a folder called as it"
                )
            for note in unpacker.notes:
                if note not in told:
                    tell(note)
                    told.add(note)
        places |= unpacker.writer.collisions.keys()


def _read_chunks(file: BinaryIO) -> Iterator[bytes]:
    return iter(partial(file.read, CHUNK), b"")
