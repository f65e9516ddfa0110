"""What an archive is, by its first bytes."""

import tarfile
from pathlib import Path

from unfreeze.archive.member import Refused
from unfreeze.archive.names import names_archive, volume_number

HEAD_BYTES = tarfile.BLOCKSIZE
"""Bytes of a file's beginning that tell its format."""
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
COMPRESSED = ("gz", "bz2", "xz", "zst")
"""Formats of a single compressed file, which may be a tar."""
NOT_ARCHIVES = {
    b"Rar!": "a RAR archive, which cannot be read here; repack it as .7z",
    b"version https://git-lfs": "a Git LFS pointer, not the archive; fetch the file with `git lfs pull`",
    b"<": "a web page or XML, not an archive; download the file again",
}


def is_archive(path: Path) -> bool:
    """Tell whether the file `path` is one to unpack, by its name or its first bytes."""
    if names_archive(path.name) or volume_number(path):
        return True
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return head.startswith(tuple(MAGIC)) or is_tar(head)


def is_tar(head: bytes) -> bool:
    """Tell whether a file that begins with `head` is a tar. A tar of before 1988 has no magic."""
    return head[257:262] == b"ustar"


def detect_format(head: bytes, name: str) -> str:
    """Tell the format of an archive: a value of MAGIC, or `tar`.

    Raises:
        Refused: it is none; the message says what it is instead.
    """
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            return kind
    if is_tar(head) or (name.lower().endswith(".tar") and len(head) >= tarfile.BLOCKSIZE):
        return "tar"
    if not head:
        raise Refused("is empty")
    for magic, what in NOT_ARCHIVES.items():
        if head.startswith(magic):
            raise Refused(f"is {what}")
    raise Refused("is not an archive (.7z, .zip, .tar, .gz, .bz2, .xz or .zst)")
