"""Members of a zip."""

import io
import stat
import zipfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

from unfreeze.archive.member import (
    CHUNK,
    NO_PASSWORD,
    PACKED_CHUNK,
    REPACK,
    SPECIAL,
    Budget,
    Damaged,
    Member,
    Refused,
)
from unfreeze.archive.zip_names import ZipNames

MAX_END = 22 + 2**16
"""Bytes of the record at the end of a zip, its comment included."""
METHODS = {
    6: "Implode",
    9: "Deflate64",
    93: "Zstandard",
    95: "XZ",
    97: "WavPack",
    98: "PPMd",
    99: "AES encryption",
}
"""Methods that zipfile cannot decode, for messages."""


def read_zip(
    file: BinaryIO, budget: Budget, password: str | None, encoding: str, tell: Callable[[str], None]
) -> Iterator[Member]:
    """Yield the members of the zip in the seekable `file`. `encoding` and `tell` are those of `ZipNames`."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        file.seek(max(0, file.seek(0, io.SEEK_END) - MAX_END))
        end = file.read()
        at = end.rfind(b"PK\x05\x06") + 10
        announced = int.from_bytes(end[at : at + 2], "little")
        # zipfile does not look at it; 65,535 stands for a number that is elsewhere (ZIP64).
        if announced not in (len(members) % 2**16, 2**16 - 1):
            raise Damaged(f"{announced:,} members announced, {len(members):,} listed")
        budget.announce(sum(member.file_size for member in members))
        for member in members:
            _check_member(member, password)
        names = ZipNames(members, encoding, tell)
        # Each record is dropped when its member has been read: a million of them take 600 MB.
        archive.NameToInfo.clear()
        members.reverse()
        while members:
            member = members.pop()
            chunks = _read_chunks(archive, member, password)
            encrypted = bool(member.flag_bits & 1)
            mode = stat.S_IFMT(member.external_attr >> 16)
            name = names.read(member)
            if name.endswith("/"):
                yield Member(name, "folder")
            elif mode in (0, stat.S_IFREG, stat.S_IFLNK):
                kind = "link" if stat.S_ISLNK(mode) else "file"
                yield Member(name, kind, member.file_size, chunks, encrypted=encrypted)
            else:
                raise Refused(f"holds {name!r}, {SPECIAL}")


def _check_member(member: zipfile.ZipInfo, password: str | None) -> None:
    """Refuse, before anything is written, what zipfile cannot decode."""
    readable = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    if member.compress_type not in readable:
        method = METHODS.get(member.compress_type, f"method {member.compress_type}")
        raise Refused(f"uses {method} for {member.filename!r}, {REPACK}")
    if member.flag_bits & 0x60:
        raise Refused(f"uses strong encryption or patches for {member.filename!r}, {REPACK}")
    if member.flag_bits & 1 and password is None:
        raise Refused(NO_PASSWORD)


def _read_chunks(archive: zipfile.ZipFile, member: zipfile.ZipInfo, password: str | None) -> Iterator[bytes]:
    bounded = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    with archive.open(member, pwd=password.encode() if password else None) as file:
        yield from iter(lambda: file.read(CHUNK if bounded else PACKED_CHUNK), b"")
