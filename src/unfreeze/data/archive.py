"""Unpacks archives of labelled images into one plain tar and its index, and writes nothing anywhere else.

The rules, whatever the format:

- An archive inside an archive (`train-jpg.tar.7z`) is unpacked too, into the folder that holds it.
- Names are kept. Absolute names, `..`, backslashes, control characters and repeated names are refused.
- A symbolic or hard link to a file of the tree becomes a hard link in the tar: one more path in the index
  for the same bytes. A link to a folder or to nothing is skipped and counted; one out of the tree is refused.
- What file managers and version control leave (`__MACOSX`, `.DS_Store`, `*.dvc`...) is skipped and counted.
- Every decoded byte counts towards `max_bytes`: an inner archive's own and those of its contents.
- Members are streamed: memory is what the decoder's dictionary takes, whatever the archive's size.
"""

import bisect
import bz2
import gzip
import hashlib
import io
import lzma
import posixpath
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Literal

from pydantic import Field

from unfreeze.console import UserError, progress
from unfreeze.files import replacing, write_csv
from unfreeze.params import Section

CHUNK = 1 << 16
"""Bytes asked of a decoder at once."""
PACKED_CHUNK = 1 << 12
"""Bytes given to a decoder that does not bound what it returns: 4 KiB of zstd can become 128 MiB."""
MAX_DEPTH = 5
"""Archives inside archives, counting the outermost and each layer of `.tar.gz`."""
MAX_LINK_HOPS = 40
MAX_TARGET = 4096
"""Bytes of a link's target."""
MAX_TAR_HEADER = 1 << 20
MAX_ZIP_END = 22 + 2**16
"""Bytes of the record at the end of a zip, its comment included."""
MAX_IDLE = 16
"""Rounds a .7z decoder may neither take nor give anything."""

SUFFIXES = (".7z", ".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tzst", ".gz", ".bz2", ".xz", ".zst", ".rar")
"""Names that are unpacked when met in a folder or in another archive."""
MAGIC = {
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"PK\x07\x08": "zip",
    b"\x1f\x8b": "gz",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zst",
}
NOT_ARCHIVES = {
    b"Rar!": "a RAR archive, which cannot be read here; repack it as .7z",
    b"version https://git-lfs": "a Git LFS pointer, not the archive; fetch the file with `git lfs pull`",
    b"<": "a web page or XML, not an archive; download the file again",
}
METHODS_7Z = {
    "0303011b": "BCJ2",
    "030401": "PPMd",
    "04f71104": "LZ4",
    "04f71105": "LZ5",
    "04f71106": "Lizard",
}
"""Methods that are refused; PPMd because damaged data make its decoder, pyppmd, crash the whole process."""
METHODS_ZIP = {
    6: "Implode",
    9: "Deflate64",
    93: "Zstandard",
    95: "XZ",
    97: "WavPack",
    98: "PPMd",
    99: "AES encryption",
}

NO_PASSWORD = "is encrypted; set the environment variable UNFREEZE_ARCHIVE_PASSWORD"
WRONG_PASSWORD = "cannot be decrypted: the password is wrong, or it is damaged"
REPACK = "which cannot be read here; repack it as .7z with LZMA2"
SPECIAL = "which is no file, folder or link; such archives are refused"

JUNK_FOLDERS = {"__MACOSX"}
JUNK_FILES = {".ds_store", "thumbs.db", "desktop.ini", ".gitignore", ".gitkeep"}


class ExtractParams(Section):
    """Where the images come from."""

    source: str = Field(min_length=1)
    """An archive, or a folder of archives, label files, images and class folders; links are followed."""
    max_bytes: int = Field(gt=0)
    """The bytes that may come out, a guard against archives that unpack to more than the disk holds."""


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


def is_archive(path: Path) -> bool:
    """Whether the file `path` is one to unpack, by its name or its first bytes."""
    if _is_archive(path.name) or _volume(path):
        return True
    with path.open("rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
    return head.startswith(tuple(MAGIC)) or _is_tar(head)


def extract(
    source: Path,
    tar_path: Path,
    csv_path: Path,
    max_bytes: int,
    password: str | None = None,
    limit: str = "extract.max_bytes",
) -> Summary:
    """Unpack `source` into a plain tar and its index.

    Args:
        source: an archive or a folder, as `ExtractParams.source`.
        tar_path: the tar to write, in the source's order; time, owner and mode of every entry are fixed.
        csv_path: the index to write, sorted by path, with the columns path, offset (of the data in the tar,
            in bytes), size (in bytes) and sha256 (hexadecimal). A folder that holds nothing stands in it as
            `path/`, with an empty sha256.
        max_bytes: how many decoded bytes are allowed.
        password: for encrypted archives.
        limit: what `max_bytes` is called in messages.

    Raises:
        UserError: naming the archive, the member and the reason. The files of an earlier run stay then.
    """
    _check_source(source, tar_path)
    try:
        # The index is renamed last: where it stands, its tar stands too.
        with replacing(csv_path) as new_csv, replacing(tar_path) as new_tar:
            summary, rows = _write_tar(source, new_tar, max_bytes, password, limit)
            write_csv(new_csv, ("path", "offset", "size", "sha256"), rows)
            csv_path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{source} cannot be unpacked to {tar_path}: {error}") from error
    return summary


def _check_source(source: Path, tar_path: Path) -> None:
    if not source.exists():
        if source.is_symlink():
            raise UserError(f"extract.source {source} is a link to {source.readlink()}, which is not there")
        here = next(folder for folder in source.absolute().parents if folder.is_dir())
        found = sorted(entry.name for entry in here.iterdir())
        listed = ", ".join(found[:10]) + (", ..." if len(found) > 10 else "")
        raise UserError(f"extract.source {source} is not there; {here} holds: {listed or 'nothing'}")
    if tar_path.absolute().parent.resolve().is_relative_to(source.resolve()):
        raise UserError(f"extract.source {source} holds the pipeline's own {tar_path}; name a folder of its own")


def _write_tar(
    source: Path, tar_path: Path, max_bytes: int, password: str | None, limit: str
) -> tuple[Summary, list[tuple[str, int, int, str]]]:
    with tar_path.open("wb") as tar, progress(0, f"extract {source.name}", unit="B") as bar:
        extraction = _Extraction(tar, tar_path.parent, _Budget(max_bytes, limit, bar), password)
        if source.is_dir():
            for path, name in _listed(source):
                extraction.plain(path, name)
        else:
            if _volume(source) > 1:
                raise UserError(f"{source} is not the first part of its archive; name {_other_volume(source, 1)}")
            extraction.top(source, source.name)
        rows = extraction.finish()
        files = sum(not path.endswith("/") for path, *_ in rows)
        if not files:
            raise UserError(f"{source} holds no files")
        size = sum(row[2] for row in rows)
        summary = Summary(files, size, extraction.archives, extraction.junk, extraction.links_skipped)
    return summary, rows


def _listed(folder: Path, prefix: str = "", above: frozenset[Path] = frozenset()) -> Iterator[tuple[Path, str]]:
    """The files and folders below `folder` with their names in the tar, sorted; links are followed."""
    if folder.resolve() in above:
        raise UserError(f"{folder} links back to a folder that holds it")
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        yield entry, prefix + entry.name
        if entry.is_dir():
            yield from _listed(entry, f"{prefix}{entry.name}/", above | {folder.resolve()})


class _Refused(Exception):
    """What an archive is, has or does that cannot be accepted, still without its name in front."""


class _Damaged(Exception):
    """Data that contradict themselves."""


@dataclass(frozen=True)
class _Member:
    """One member of an archive; its `chunks` must be read to their end before the next one is asked for."""

    name: str
    """As the archive has it: not to be trusted."""
    kind: Literal["file", "folder", "link", "hard link"] = "file"
    size: int | None = 0
    """In bytes; None where the format does not say."""
    chunks: Iterable[bytes] = ()
    target: str | None = None
    """Of a link, as the archive has it; None where it is the link's content."""
    encrypted: bool = False


class _Budget:
    """Counts decoded bytes, for the limit and for the progress bar."""

    def __init__(self, limit: int, name: str, bar: Any):
        self.limit = limit
        self.name = name
        self.spent = 0
        self.bar = bar

    def check(self, size: int) -> None:
        """Refuse early what headers say will come."""
        if self.spent + size > self.limit:
            raise _Refused(
                f"holds more than {self.name} = {self.limit:,} bytes allow "
                f"(at least {self.spent + size:,} in all); raise it if you trust the archive"
            )

    def announce(self, size: int) -> None:
        """Check what headers say will come, and add it to the progress bar's total."""
        self.check(size)
        self.bar.total += size

    def spend(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass `chunks` on and count them: headers lie."""
        for chunk in chunks:
            self.check(len(chunk))
            self.spent += len(chunk)
            self.bar.update(len(chunk))
            yield chunk


class _Extraction:
    """Collects files into the tar and remembers what the index needs."""

    def __init__(self, tar: BinaryIO, scratch: Path, budget: _Budget, password: str | None):
        self.tar = tar
        self.scratch = scratch
        self.budget = budget
        self.password = password
        self.rows: dict[str, tuple[int, int, str]] = {}
        """Path -> offset, size, sha256."""
        self.folders: set[str] = set()
        self.links: dict[str, tuple[str, str, str]] = {}
        """Path -> the folder its target is relative to, the target, the archive."""
        self.archives = self.junk = self.links_skipped = 0

    def plain(self, path: Path, name: str) -> None:
        """Take a file or folder of the user's source folder; an archive is unpacked."""
        name = _safe_path("", name, str(path))
        if _is_junk(name):
            self.junk += path.is_file()
        elif path.is_dir():
            self.folders.add(name)
        elif not path.is_file():
            raise UserError(f"{path} is neither a file nor a folder, or a link to nothing; remove it")
        elif _volume(path) > 1:
            before = _other_volume(path, _volume(path) - 1)
            if not before.is_file():
                raise UserError(f"{before} is missing: {path} continues it")
        elif _is_archive(name) or _volume(path):
            self.top(path, name)
        else:
            with path.open("rb") as file:
                size = path.stat().st_size
                self.budget.bar.total += size
                chunks = self.budget.spend(iter(partial(file.read, CHUNK), b""))
                self.add(name, size, _guarded(chunks, str(path)), str(path))

    def top(self, path: Path, name: str) -> None:
        """Unpack an archive that is a file on disk; of several parts, the first."""
        with ExitStack() as stack:
            if _volume(path):
                parts = [stack.enter_context(part.open("rb")) for part in _volumes(path)]
                path = path.with_suffix("")
                file = io.BufferedReader(_Joined(parts, str(path)))
            else:
                file = stack.enter_context(path.open("rb"))
            self.unpack(file, path.name, str(path), posixpath.dirname(name), depth=1)

    def unpack(self, file: Any, name: str, where: str, folder: str, depth: int) -> None:
        """Take every member of the archive in `file`, a buffered reader at its start."""
        if depth > MAX_DEPTH:
            raise UserError(f"{where}: archives inside archives, more than {MAX_DEPTH} deep")
        try:
            kind = _format(file.peek(tarfile.BLOCKSIZE), name)
        except _Refused as error:
            raise UserError(f"{where} {error}") from None
        if kind in ("7z", "zip") and not file.seekable():
            with self.spooled(name, iter(partial(file.read, CHUNK), b"")) as (whole, _):
                self.unpack(whole, name, where, folder, depth)
            return
        self.archives += 1
        if kind == "7z":
            members = _read_7z(file, self.budget, self.password)
        elif kind == "zip":
            members = _read_zip(file, self.budget, self.password)
        elif kind == "tar":
            members = _read_tar(file, self.budget)
        else:
            members = _read_compressed(file, kind, name)
        with closing(members):
            for member in _guarded(members, where):
                self.take(member, where, folder, depth)

    def take(self, member: _Member, where: str, folder: str, depth: int) -> None:
        """Take one member of an archive whose contents land in `folder`."""
        path = _safe_path(folder, member.name, where)
        label = f"{where}: {member.name}"
        chunks = _guarded(self.budget.spend(member.chunks), label, member.encrypted)
        if _is_junk(path):
            self.junk += member.kind == "file"
        elif member.kind == "folder":
            self.folders.add(path)
        elif not path:
            raise UserError(f"{where}: a file with the name {member.name!r}; such archives are refused")
        elif member.kind != "file":
            self.claim(path, label)
            base = folder if member.kind == "hard link" else posixpath.dirname(path)
            target = _target(chunks, label) if member.target is None else member.target
            self.links[path] = (base, target, label)
        elif _volume(path):
            raise UserError(f"{label} is one part of several; put the parts side by side in a folder instead")
        elif _is_archive(path):
            stream = io.BufferedReader(_Stream(chunks))
            self.unpack(stream, posixpath.basename(path), label, posixpath.dirname(path), depth + 1)
        elif member.size is None:
            with self.spooled(path, chunks) as (whole, size):
                self.add(path, size, iter(partial(whole.read, CHUNK), b""), label)
        else:
            self.add(path, member.size, chunks, label)
        for _ in chunks:
            pass  # a solid archive is one stream and checksums stand at the end: decode what is skipped too

    @contextmanager
    def spooled(self, name: str, chunks: Iterable[bytes]) -> Iterator[tuple[BinaryIO, int]]:
        """`chunks` as a seekable file beside the tar, with their size; removed afterwards."""
        with TemporaryDirectory(prefix=".extract-", dir=self.scratch) as folder:
            path = Path(folder) / posixpath.basename(name)  # py7zr names a nameless member after its archive
            with path.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            with path.open("rb") as file:
                yield file, path.stat().st_size

    def claim(self, path: str, label: str) -> None:
        if path in self.rows or path in self.links:
            raise UserError(f"{label}: {path} has come out before; names must not repeat")

    def add(self, path: str, size: int, chunks: Iterable[bytes], label: str) -> None:
        """Write a file of exactly `size` bytes to the tar."""
        self.claim(path, label)
        offset = self.header(path, tarfile.REGTYPE, size)
        digest = hashlib.sha256()
        written = 0
        for chunk in chunks:
            digest.update(chunk)
            written += self.tar.write(chunk)
            if written > size:
                break
        if written != size:
            more = "more" if written > size else f"{written:,}"
            raise UserError(f"{label} is damaged: {size:,} bytes announced, {more} found")
        self.tar.write(bytes(-size % tarfile.BLOCKSIZE))
        self.rows[path] = (offset, size, digest.hexdigest())

    def header(self, path: str, kind: bytes, size: int = 0, target: str = "") -> int:
        """Write a tar header; return the offset of the data that follows."""
        info = tarfile.TarInfo(path)
        info.type, info.size, info.linkname = kind, size, target
        self.tar.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))
        return self.tar.tell()

    def finish(self) -> list[tuple[str, int, int, str]]:
        """Resolve links, list empty folders, end the tar; the rows of the index, sorted by path."""
        linked = {}
        for path in sorted(self.links):
            target = self.resolve(path)
            if target in self.rows:
                offset, size, digest = self.rows[target]
                self.header(path, tarfile.LNKTYPE, target=target)
                linked[path] = (offset, size, digest)
            else:
                self.links_skipped += 1
        self.rows |= linked
        occupied = {above for path in (*self.rows, *self.links, *self.folders) for above in _parents(path)}
        clash = min((occupied | self.folders) & (self.rows.keys() | self.links.keys()), default=None)
        if clash is not None:
            raise UserError(f"{clash} has come out as a file and as a folder")
        for path in sorted(self.folders - occupied - {""}):
            self.rows[f"{path}/"] = (self.header(f"{path}/", tarfile.DIRTYPE), 0, "")
        self.tar.write(bytes(2 * tarfile.BLOCKSIZE))
        self.tar.write(bytes(-self.tar.tell() % tarfile.RECORDSIZE))
        return [(path, *self.rows[path]) for path in sorted(self.rows)]

    def resolve(self, link: str) -> str | None:
        """The path that a link leads to, through other links; None after too many of them."""
        target = label = ""
        done: list[str] = []
        todo = _parts(link)[::-1]
        hops = 0
        while todo:
            part = todo.pop()
            here = "/".join([*done, part])
            if part == "..":
                if not done:
                    raise UserError(f"{label}: a link to {target}, which is outside the archive")
                done.pop()
            elif here in self.links:
                hops += 1
                if hops > MAX_LINK_HOPS:
                    return None
                base, target, label = self.links[here]
                if fault := _fault(target):
                    raise UserError(f"{label}: a link to {target!r}, which {fault}")
                done = _parts(base)
                todo += _parts(target)[::-1]
            else:
                done.append(part)
        return "/".join(done)


def _guarded(items: Iterable[Any], where: str, encrypted: bool = False) -> Iterator[Any]:
    """Iterate; turn whatever a decoder raises over hostile bytes into a UserError that names the archive."""
    iterator = iter(items)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except UserError:
            raise
        except _Refused as error:
            raise UserError(f"{where} {error}") from error
        except Exception as error:
            detail = str(error) if isinstance(error, _Damaged) else f"{type(error).__name__}: {error}".rstrip(": ")
            raise UserError(f"{where} {WRONG_PASSWORD if encrypted else 'is damaged'} ({detail})") from error
        yield item


# --- Names


def _fault(path: str) -> str | None:
    """What is wrong with a name or link target, apart from `..`."""
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "is absolute"
    if "\\" in path:
        return "has a backslash"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in path):
        return "has control characters or is not UTF-8"
    return None


def _safe_path(folder: str, name: str, where: str) -> str:
    """`name` of a member below `folder`, without `.` and empty parts; refused if it could lead elsewhere."""
    fault = "has `..`" if ".." in name.split("/") else _fault(name)
    if fault:
        raise UserError(f"{where}: the name {name!r} {fault}; such archives are refused")
    return "/".join(_parts(folder) + _parts(name))


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


def _is_junk(path: str) -> bool:
    *folders, name = _parts(path) or [""]
    name = name.casefold()
    return (
        not JUNK_FOLDERS.isdisjoint([*folders, path.rpartition("/")[2]])
        or name in JUNK_FILES
        or name.startswith("._")
        or name.endswith(".dvc")
    )


def _is_archive(path: str) -> bool:
    return path.lower().endswith(SUFFIXES)


def _inner_name(name: str) -> str:
    """What a compressed file is called inside: `a.csv.gz` -> `a.csv`, `a.tgz` -> `a.tar`."""
    stem, suffix = posixpath.splitext(name)
    if suffix.lower() in (".tgz", ".tbz2", ".txz", ".tzst"):
        return f"{stem}.tar"
    return stem if suffix.lower() in (".gz", ".bz2", ".xz", ".zst") else name


def _volume(path: str | Path) -> int:
    """Which part of several a file is, by its name: 2 for `a.7z.002`, 0 for anything that is no part."""
    match = re.search(r"\.(?:7z|zip|tar)\.(\d{3})$", str(path), re.IGNORECASE)
    return int(match[1]) if match else 0


def _other_volume(path: Path, number: int) -> Path:
    return path.with_suffix(f".{number:03}")


def _volumes(first: Path) -> list[Path]:
    """All parts of an archive from its first one on, none missing in between."""
    parts = sorted(
        (part for part in first.parent.iterdir() if part.stem == first.stem and _volume(part)), key=_volume
    )
    for number, part in enumerate(parts, 1):
        if _volume(part) != number:
            raise UserError(f"{_other_volume(first, number)} is missing: {part} continues it")
    return parts


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


# --- Files that are none


class _Stream(io.RawIOBase):
    """Chunks of bytes as a file that can only be read on."""

    def __init__(self, chunks: Iterator[bytes]):
        self.chunks = chunks
        self.rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        filled = 0
        while filled < len(buffer):
            if not self.rest:
                chunk = next(self.chunks, None)
                if chunk is None:
                    break
                self.rest = memoryview(chunk)
            count = min(len(self.rest), len(buffer) - filled)
            buffer[filled : filled + count] = self.rest[:count]
            self.rest = self.rest[count:]
            filled += count
        return filled


class _Joined(io.RawIOBase):
    """The parts of one archive as one seekable file."""

    def __init__(self, parts: list[BinaryIO], name: str):
        self.parts = parts
        self.name = name
        self.starts = list(accumulate((part.seek(0, io.SEEK_END) for part in parts), initial=0))
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.starts[-1]}[whence]
        return self.position

    def readinto(self, buffer: Any) -> int:
        index = bisect.bisect_right(self.starts, self.position) - 1
        if index >= len(self.parts):
            return 0
        part = self.parts[index]
        part.seek(self.position - self.starts[index])
        count = part.readinto(buffer)
        self.position += count
        return count


class _Forward:
    """What tarfile needs of a file, over one that can only be read on; `last` is the block it stopped at."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.position = 0
        self.last = b""

    def tell(self) -> int:
        return self.position

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_TAR_HEADER:
            raise _Damaged(f"a header of {size:,} bytes")
        self.last = self.file.read(size)
        self.position += len(self.last)
        return self.last

    def seek(self, position: int) -> None:
        while self.position < position and self.read(min(CHUNK, position - self.position)):
            pass


# --- Formats: each reader yields the members of the archive in `file`


def _format(head: bytes, name: str) -> str:
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            return kind
    if _is_tar(head) or (name.lower().endswith(".tar") and len(head) >= tarfile.BLOCKSIZE):
        return "tar"  # a tar of before 1988 has no magic
    if not head:
        raise _Refused("is empty")
    for magic, what in NOT_ARCHIVES.items():
        if head.startswith(magic):
            raise _Refused(f"is {what}")
    raise _Refused("is not an archive (.7z, .zip, .tar, .gz, .bz2, .xz or .zst)")


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _read_7z(file: BinaryIO, budget: _Budget, password: str | None) -> Iterator[_Member]:
    with _open_7z(file, password) as archive:
        budget.announce(sum(member.uncompressed for member in archive.files))
        streams = archive.header.main_streams
        folders = streams.unpackinfo.folders if streams else []
        for folder in folders:
            _check_7z_folder(folder, password)
        # Flags of the members without data: a file where set, else a folder. py7zr writes attributes instead.
        file_flags = iter(archive.header.files_info.emptyfiles if len(archive.files) else ())
        decoder = None
        number = -1
        for member in archive.files:
            kind = _kind_7z(member, is_file=not member.emptystream or next(file_flags, True))
            if member.folder is None:
                yield _Member(member.filename, kind)
                continue
            if decoder is None or member.folder is not folders[number]:
                number = next(i for i in range(number + 1, len(folders)) if folders[i] is member.folder)
                file.seek(archive.afterheader + streams.packinfo.packpos + streams.packinfo.packpositions[number])
                decoder = _Decoder7z(file, streams.packinfo.packsizes[number], member.folder, password)
            chunks = decoder.member(member.uncompressed, member.crc32)
            yield _Member(member.filename, kind, member.uncompressed, chunks, encrypted=decoder.encrypted)


def _open_7z(file: BinaryIO, password: str | None) -> Any:
    import py7zr

    try:
        return py7zr.SevenZipFile(file)
    except py7zr.PasswordRequired:
        if password is None:
            raise _Refused(NO_PASSWORD) from None
    file.seek(0)
    try:
        return py7zr.SevenZipFile(file, password=password)
    except Exception as error:
        raise _Refused(f"has a list of files that {WRONG_PASSWORD} ({error})") from error


def _check_7z_folder(folder: Any, password: str | None) -> None:
    """Refuse what py7zr cannot decode before anything is written; a .7z "folder" is a compressed stream."""
    from py7zr.compressor import SupportedMethods

    known = {method["id"].hex() for method in SupportedMethods.methods} - METHODS_7Z.keys()
    for coder in folder.coders:
        method = coder["method"].hex()
        if method not in known:
            raise _Refused(f"uses the method {METHODS_7Z.get(method, method)}, {REPACK}")
    if len(folder.packed_indices) != 1:
        raise _Refused(f"uses a method with several streams, {REPACK}")
    if password is None and SupportedMethods.needs_password(folder.coders):
        raise _Refused(NO_PASSWORD)


def _kind_7z(member: Any, is_file: bool) -> str:
    if member.is_symlink or member.is_junction:
        return "link"
    mode = member.st_fmt
    if mode not in (None, 0, stat.S_IFREG, stat.S_IFDIR):
        raise _Refused(f"holds {member.filename!r}, {SPECIAL}")
    is_folder = member.is_directory or mode == stat.S_IFDIR
    has_attributes = member.file_properties().get("attributes") is not None
    return "folder" if is_folder or not (is_file or has_attributes) else "file"


class _Decoder7z:
    """One compressed stream of a .7z: the bytes of its members, one member after another.

    py7zr's own extraction hands its decoder 1 MiB of packed data for every member, needed or not, and lets it
    return up to 128 MB at once: the memory it takes grows with the archive and its members.
    """

    def __init__(self, file: BinaryIO, packed_size: int, folder: Any, password: str | None):
        from py7zr.compressor import SevenZipDecompressor, SupportedMethods

        self.file = file
        self.encrypted = SupportedMethods.needs_password(folder.coders)
        with _naming_method():
            self.decoder = SevenZipDecompressor(
                folder.coders, packed_size, folder.unpacksizes, None, password, blocksize=PACKED_CHUNK
            )

    def read(self, size: int) -> bytes:
        """Packed data for py7zr's decoder: none while it still has some."""
        return self.file.read(size) if all(map(_wants_input, self.decoder.chain)) else b""

    def member(self, size: int, checksum: int | None) -> Iterator[bytes]:
        """The next `size` bytes, checked against their CRC-32."""
        left, found, idle = size, 0, 0
        while left > 0:
            consumed = self.decoder.consumed
            with _naming_method():
                chunk = self.decoder.decompress(self, min(left, CHUNK))
            # A filter may hold a few bytes back for a round; a decoder without data returns nothing for ever.
            idle = idle + 1 if not chunk and self.decoder.consumed == consumed else 0
            if idle > MAX_IDLE:
                raise _Damaged("its data ends early")
            left -= len(chunk)
            found = zlib.crc32(chunk, found)
            yield chunk
        if checksum is not None and found != checksum:
            raise _Damaged("its checksum differs")


@contextmanager
def _naming_method() -> Iterator[None]:
    from py7zr.exceptions import UnsupportedCompressionMethodError

    try:
        yield
    except UnsupportedCompressionMethodError as error:
        raise _Refused(f"uses a method {REPACK} ({error.message})") from error


def _wants_input(decoder: Any) -> bool:
    """Whether one of py7zr's decoders has used up what it was given."""
    inner = getattr(decoder, "_decompressor", getattr(decoder, "decoder", decoder))
    if hasattr(inner, "can_accept_more_data"):  # Brotli
        return inner.can_accept_more_data()
    return getattr(inner, "needs_input", True)


def _target(chunks: Iterator[bytes], label: str) -> str:
    """The target of a link, which .7z and .zip keep as its content."""
    target = b""
    for chunk in chunks:
        target += chunk
        if len(target) > MAX_TARGET:
            raise UserError(f"{label} is damaged: a link to a name of more than {MAX_TARGET} bytes")
    return target.decode(errors="surrogateescape")


def _read_zip(file: BinaryIO, budget: _Budget, password: str | None) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        file.seek(max(0, file.seek(0, io.SEEK_END) - MAX_ZIP_END))
        end = file.read()
        at = end.rfind(b"PK\x05\x06") + 10
        announced = int.from_bytes(end[at : at + 2], "little")
        # zipfile does not look at it; 65,535 stands for a number that is elsewhere (ZIP64).
        if announced not in (len(members) % 2**16, 2**16 - 1):
            raise _Damaged(f"{announced:,} members announced, {len(members):,} listed")
        budget.announce(sum(member.file_size for member in members))
        for member in members:
            _check_zip_member(member, password)
        for member in members:
            chunks = _zip_chunks(archive, member, password)
            encrypted = bool(member.flag_bits & 1)
            mode = stat.S_IFMT(member.external_attr >> 16)
            if member.is_dir():
                yield _Member(member.orig_filename, "folder")
            elif mode in (0, stat.S_IFREG, stat.S_IFLNK):
                kind = "link" if stat.S_ISLNK(mode) else "file"
                yield _Member(member.orig_filename, kind, member.file_size, chunks, encrypted=encrypted)
            else:
                raise _Refused(f"holds {member.filename!r}, {SPECIAL}")


def _check_zip_member(member: zipfile.ZipInfo, password: str | None) -> None:
    """Refuse before anything is written what zipfile cannot decode."""
    readable = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    if member.compress_type not in readable:
        method = METHODS_ZIP.get(member.compress_type, f"method {member.compress_type}")
        raise _Refused(f"uses {method} for {member.filename!r}, {REPACK}")
    if member.flag_bits & 0x60:
        raise _Refused(f"uses strong encryption or patches for {member.filename!r}, {REPACK}")
    if member.flag_bits & 1 and password is None:
        raise _Refused(NO_PASSWORD)


def _zip_chunks(archive: zipfile.ZipFile, member: zipfile.ZipInfo, password: str | None) -> Iterator[bytes]:
    bounded = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    with archive.open(member, pwd=password.encode() if password else None) as file:
        yield from iter(lambda: file.read(CHUNK if bounded else PACKED_CHUNK), b"")


def _read_tar(file: Any, budget: _Budget) -> Iterator[_Member]:
    if file.seekable():
        budget.bar.total += file.seek(0, io.SEEK_END)
        file.seek(0)
    forward = _Forward(file)
    with tarfile.TarFile(fileobj=forward, encoding="utf-8", errors="surrogateescape") as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # tarfile would keep them all
            if member.isreg():
                budget.check(member.size)
                content = archive.extractfile(member)
                yield _Member(member.name, "file", member.size, iter(partial(content.read, CHUNK), b""))
            elif member.isdir():
                yield _Member(member.name, "folder")
            elif member.issym() or member.islnk():
                yield _Member(member.name, "link" if member.issym() else "hard link", target=member.linkname)
            else:
                raise _Refused(f"holds {member.name!r}, {SPECIAL}")
    # tarfile takes a damaged header for the end.
    if forward.last != bytes(tarfile.BLOCKSIZE):
        raise _Damaged(f"no end and no readable header at byte {forward.position:,}")


def _read_compressed(file: BinaryIO, kind: str, name: str) -> Iterator[_Member]:
    with io.BufferedReader(_decompressing(file, kind), CHUNK) as content:
        inner = _inner_name(name)
        if _is_tar(content.peek(tarfile.BLOCKSIZE)) and not inner.lower().endswith(".tar"):
            inner += ".tar"
        yield _Member(inner, "file", None, iter(partial(content.read, CHUNK), b""))


def _decompressing(file: BinaryIO, kind: str) -> Any:
    if kind == "zst":
        try:
            from compression import zstd
        except ImportError:  # before Python 3.14
            from backports import zstd
        return zstd.ZstdFile(file)
    if kind == "gz":
        return gzip.GzipFile(fileobj=file)
    return bz2.BZ2File(file) if kind == "bz2" else lzma.LZMAFile(file)
