"""The plain tar that everything is extracted to, and what its index says."""

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from unfreeze.archive.names import find_fault, list_parents, split_path
from unfreeze.archive.origin import Origin, Place, find_siblings
from unfreeze.archive.tally import Tally
from unfreeze.core.console import UserError

MAX_LINK_HOPS = 40

Row = tuple[str, int, int, str]
"""Of the index: path, offset in the tar and size (both in bytes), sha256 (hexadecimal; empty for a folder)."""


class _Data(NamedTuple):
    """Where the bytes of a file stand in the tar. The digest stays binary: it takes half the memory."""

    offset: int
    size: int
    sha256: bytes
    origin: Origin | None
    """None of a folder."""


class _Link(NamedTuple):
    origin: Origin
    folder: str
    """Which its target is relative to."""
    target: str
    label: str
    """The archive and the member, for messages."""


class TarWriter:
    """Writes files to a tar, and remembers what the index needs: about 300 bytes a file.

    Attributes:
        folders: paths of all folders that an archive names.
        links_skipped: the links that lead to a folder, to nothing or to what is left out; known after `finish`.
        collisions: the folders in which archives lie whose names collide, with a sentence about two of them. If
            there are any, the tar is of no use: unpack these archives apart (`Unpacker`) to a new one.
    """

    needs_size = True
    """Whether `add_file` has to be told sizes."""

    def __init__(self, tar: BinaryIO) -> None:
        self._tar = tar
        self._data: dict[str, _Data] = {}
        self._links: dict[str, _Link] = {}
        self.folders: set[str] = set()
        self.links_skipped = Tally()
        self.collisions: dict[Place, str] = {}

    def add_file(self, path: str, size: int, chunks: Iterable[bytes], label: str, origin: Origin) -> None:
        """Write a file of exactly `size` bytes.

        Args:
            label: the archive and the member, for messages.
            origin: what it comes out of.

        Raises:
            UserError: the path repeats, or the chunks have another size.
        """
        if not self._is_new(path, label, origin):
            return
        if self.collisions:
            self._data[path] = _Data(0, size, b"", origin)
            return
        offset = self._write_header(path, tarfile.REGTYPE, size)
        digest = hashlib.sha256()
        written = 0
        for chunk in chunks:
            digest.update(chunk)
            written += self._tar.write(chunk)
            if written > size:
                break
        if written != size:
            more = "more" if written > size else f"{written:,}"
            raise UserError(f"{label} is damaged: {size:,} bytes announced, {more} found")
        self._tar.write(bytes(-size % tarfile.BLOCKSIZE))
        self._data[path] = _Data(offset, size, digest.digest(), origin)

    def add_link(self, path: str, folder: str, target: str, label: str, origin: Origin) -> None:
        """Note a link to `target`, a path relative to `folder`; `finish` writes it."""
        if self._is_new(path, label, origin):
            self._links[path] = _Link(origin, folder, target, label)

    def _is_new(self, path: str, label: str, origin: Origin) -> bool:
        """Tell whether a path is new; if not, note a collision, or raise UserError where that helps nothing."""
        earlier = self._data.get(path) or self._links.get(path)
        if earlier is None:
            return True
        siblings = find_siblings(earlier.origin, origin)
        if siblings is None or siblings[0].apart:
            raise UserError(
                f"{label}: {path} has come out before, of {earlier.origin.where}; names must not repeat "
                "(extract.skip leaves a file or an archive out)"
            )
        one, other = siblings
        self.collisions.setdefault(one.place, f"{one.where} and {other.where} both hold {path}")
        return False

    def _write_header(self, path: str, kind: bytes, size: int = 0, target: str = "") -> int:
        """Write a tar header; return the offset of the data that follows."""
        info = tarfile.TarInfo(path)
        info.type, info.size, info.linkname = kind, size, target
        self._tar.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))
        return self._tar.tell()

    def finish(self) -> None:
        """Write links to files as hard links and the folders that hold nothing, and end the tar.

        Raises:
            UserError: a link leads out of the tree, or a path is both a file and a folder.
        """
        linked = {}
        for path in sorted(self._links):
            target = self._resolve(path)
            if target in self._data:
                self._write_header(path, tarfile.LNKTYPE, target=target)
                linked[path] = self._data[target]
            else:
                self.links_skipped.add(path)
        self._data |= linked
        occupied = {parent for path in self._list_paths() for parent in list_parents(path)}
        clash = min((occupied | self.folders) & (self._data.keys() | self._links.keys()), default=None)
        if clash is not None:
            raise UserError(f"{clash} has come out as a file and as a folder")
        for path in sorted(self.folders - occupied - {""}):
            self._data[f"{path}/"] = _Data(self._write_header(f"{path}/", tarfile.DIRTYPE), 0, b"", None)
        self._tar.write(bytes(2 * tarfile.BLOCKSIZE))
        self._tar.write(bytes(-self._tar.tell() % tarfile.RECORDSIZE))

    def _list_paths(self) -> Iterator[str]:
        for paths in (self._data, self._links, self.folders):
            yield from paths

    def rows(self) -> Iterator[Row]:
        """Yield the rows of the index, sorted by path. A folder that holds nothing is `path/`."""
        for path in sorted(self._data):
            data = self._data[path]
            yield path, data.offset, data.size, data.sha256.hex()

    def _resolve(self, link: str) -> str | None:
        """Follow a link, through other links, to a path; None after too many of them."""
        target = label = ""
        done: list[str] = []
        todo = split_path(link)[::-1]
        hops = 0
        while todo:
            part = todo.pop()
            here = "/".join([*done, part])
            if part == "..":
                if not done:
                    raise UserError(f"{label}: a link to {target}, which is outside the archive")
                done.pop()
            elif here in self._links:
                hops += 1
                if hops > MAX_LINK_HOPS:
                    return None
                _, folder, target, label = self._links[here]
                if fault := find_fault(target):
                    raise UserError(f"{label}: a link to {target!r}, which {fault}")
                done = split_path(folder)
                todo += split_path(target)[::-1]
            else:
                done.append(part)
        return "/".join(done)
