"""Goes through a source without writing it: to list it, or to read a few of its files."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from tqdm import tqdm

from unfreeze.archive.member import Budget, Member
from unfreeze.archive.origin import Origin
from unfreeze.archive.unpack import Unpacker
from unfreeze.archive.writer import TarWriter
from unfreeze.core.console import UserError
from unfreeze.core.system_errors import format_bytes
from unfreeze.core.table_files import MAX_BYTES


class Spent(UserError):
    """So many bytes were decoded that no more may be."""


class Done(UserError):
    """All that is wanted has been read."""


class LookBudget(Budget):
    """Counts decoded bytes; what headers announce is no reason to stop, because most of it is not decoded."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, name="the limit", bar=tqdm(disable=True, total=0), target=Path())

    def check(self, size: int) -> None:
        pass

    def announce(self, size: int) -> None:
        pass

    def spend(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass `chunks` on and count them.

        Raises:
            Spent: they are too many.
        """
        for chunk in chunks:
            self.spent += len(chunk)
            if self.spent > self.limit:
                raise Spent(f"more than {format_bytes(self.limit)} would have to be decoded")
            yield chunk


class Listed(NamedTuple):
    """A file that was listed, and what reading it takes."""

    offset: int
    """Bytes of its stream that are decoded before it; 0 without a stream."""
    size: int | None
    """In bytes; None where the format does not tell it."""
    sha256: bytes
    """Empty: it is not known."""
    origin: Origin | None
    """None of a link, whose target is listed too."""
    stream: tuple[str, int] | None
    """The compressed stream that it shares with other files; None: it can be read without them."""


class _Nowhere:
    """A file that keeps nothing."""

    def __init__(self) -> None:
        self._position = 0

    def write(self, data: bytes) -> int:
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position


class Listing(TarWriter):
    """Lists files and reads none of them.

    Attributes:
        member: the member of an archive that comes next.
    """

    needs_size = False

    def __init__(self) -> None:
        super().__init__(cast(BinaryIO, _Nowhere()))
        self.member: Member | None = None

    def add_file(self, path: str, size: int | None, chunks: Iterable[bytes], label: str, origin: Origin) -> None:
        if not self._is_new(path, label, origin):
            return
        entry = Listed(0, size, b"", origin, None)
        if origin.depth and self.member and self.member.stream is not None:
            entry = entry._replace(offset=self.member.start, stream=(origin.where, self.member.stream))
        self._data[path] = cast(Any, entry)

    def list_entries(self) -> dict[str, Listed]:
        """Return all files, sorted by path; after `finish`. A folder that holds nothing is `path/`."""
        entries = {}
        for path in sorted(self._data):
            entry = cast(Any, self._data[path])
            unread = path in self._links or path.endswith("/")
            entries[path] = Listed(0, entry.size, b"", None, None) if unread else entry
        return entries


class Collector(TarWriter):
    """Reads the files that are wanted into memory.

    Args:
        wanted: by path.

    Attributes:
        content: what was read, by path.
        large: paths of files that turned out to be larger than a table may be.
    """

    needs_size = False

    def __init__(self, wanted: dict[str, Listed]) -> None:
        super().__init__(cast(BinaryIO, _Nowhere()))
        self._wanted = set(wanted)
        self._wheres = {entry.origin.where for entry in wanted.values() if entry.origin}
        self.content: dict[str, bytes] = {}
        self.large: list[str] = []

    def wants(self, where: str) -> bool:
        """Tell whether a file that is wanted lies in this archive, or in one inside it."""
        return any(wanted == where or wanted.startswith(f"{where}: ") for wanted in self._wheres)

    def add_file(self, path: str, size: int | None, chunks: Iterable[bytes], label: str, origin: Origin) -> None:
        """Read a file if it is wanted.

        Raises:
            Done: it was the last one.
        """
        if path not in self._wanted:
            return
        content = bytearray()
        for chunk in chunks:
            content += chunk
            if len(content) > MAX_BYTES:
                self.large.append(path)
                break
        else:
            self.content[path] = bytes(content)
        self._wanted.discard(path)
        if not self._wanted:
            raise Done("all was read")

    def add_link(self, path: str, folder: str, target: str, label: str, origin: Origin) -> None:
        pass


class _PartReader(Unpacker):
    """Decodes no more than its writer reads."""

    def _finish_member(self, chunks: Iterable[bytes]) -> None:
        pass


class Lister(_PartReader):
    """Hands every file of a source to a `Listing`. Its budget must be a `LookBudget`.

    Attributes:
        unseen: what was not listed, sentences.
    """

    writer: Listing

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unseen: list[str] = []

    def finish(self) -> None:
        """Finish the writer; check that every pattern was of use, if all was seen."""
        if self.unseen:
            self.writer.finish()
        else:
            super().finish()

    def _take_member(self, member: Member, origin: Origin) -> None:
        self.writer.member = member
        super()._take_member(member, origin)

    def _unpack(self, file: Any, name: str, origin: Origin) -> None:
        """List an archive, or as much of it as may be decoded."""
        size = self.writer.member.size if origin.depth > 1 and self.writer.member else None
        whole = name.lower().endswith((".zip", ".7z")) and not file.seekable()
        if whole and size is not None and size > self.budget.limit - self.budget.spent:
            self.unseen.append(
                f"{origin.where}: not opened, because {format_bytes(size)} would have to be decoded"
            )
            return
        try:
            super()._unpack(file, name, origin)
        except Spent as error:
            self.unseen.append(f"{origin.where}: listed in part, because {error}")


class Reader(_PartReader):
    """Hands files to a `Collector`, and passes over archives that hold nothing it wants."""

    writer: Collector

    def _unpack(self, file: Any, name: str, origin: Origin) -> None:
        if self.writer.wants(origin.where):
            super()._unpack(file, name, origin)
