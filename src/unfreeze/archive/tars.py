"""Members of a tar, compressed or not, and the content of a single compressed file."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO

from unfreeze.archive.formats import HEAD_BYTES, is_tar
from unfreeze.archive.member import CHUNK, SPECIAL, Budget, Damaged, Member, Refused
from unfreeze.archive.names import name_inside
from unfreeze.archive.streams import ForwardFile


def read_tar(file: Any, budget: Budget) -> Iterator[Member]:
    """Yield the members of the plain tar in `file`, which need not be seekable."""
    if file.seekable():
        budget.bar.total += file.seek(0, io.SEEK_END)
        file.seek(0)
    forward = ForwardFile(file)
    with tarfile.TarFile(fileobj=forward, encoding="utf-8", errors="surrogateescape") as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # tarfile would keep them all
            if member.isreg():
                budget.check(member.size)
                content = archive.extractfile(member)
                yield Member(member.name, "file", member.size, iter(partial(content.read, CHUNK), b""))
            elif member.isdir():
                yield Member(member.name, "folder")
            elif member.issym() or member.islnk():
                yield Member(member.name, "link" if member.issym() else "hard link", target=member.linkname)
            else:
                raise Refused(f"holds {member.name!r}, {SPECIAL}")
    # tarfile takes a damaged header for the end.
    if forward.last != bytes(tarfile.BLOCKSIZE):
        raise Damaged(f"no end and no readable header at byte {forward.position:,}")


def read_compressed(file: BinaryIO, kind: str, name: str) -> Iterator[Member]:
    """Yield the one member of a compressed file: a tar, or any other file.

    Args:
        kind: gz, bz2, xz or zst.
        name: of the compressed file; the member has it without its suffix.
    """
    with io.BufferedReader(_open_decompressed(file, kind), CHUNK) as content:
        inner = name_inside(name)
        if is_tar(content.peek(HEAD_BYTES)) and not inner.lower().endswith(".tar"):
            inner += ".tar"
        yield Member(inner, "file", None, iter(partial(content.read, CHUNK), b""))


def _open_decompressed(file: BinaryIO, kind: str) -> Any:
    if kind == "zst":
        try:
            from compression import zstd
        except ImportError:  # before Python 3.14
            from backports import zstd
        return zstd.ZstdFile(file)
    if kind == "gz":
        return gzip.GzipFile(fileobj=file)
    return bz2.BZ2File(file) if kind == "bz2" else lzma.LZMAFile(file)
