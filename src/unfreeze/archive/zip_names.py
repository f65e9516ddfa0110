"""How the names in a zip are read. The format has two encodings for them, and tools use any.

Of the evidence the first that is there counts:

1. The flag (bit 11): the name is UTF-8.
2. The Info-ZIP Unicode Path extra field (0x7075) whose CRC-32 fits the name: it holds the name as UTF-8. It is
   stronger than 3 because it was written on purpose, and a short name in another encoding can pass for UTF-8.
3. Bytes that are valid UTF-8, as the macOS Finder and `zip` on Linux write them without the flag. Where
   `extract.names` names an encoding, the bytes of all names of the archive that have neither 1 nor 2 must be.
4. `extract.names`; `auto`: cp437, the encoding of the format, with a warning.

Sources: PKWARE's APPNOTE, 4.4.4, 4.6.9 and appendix D; https://libzip.org/specifications/extrafld.txt
"""

import struct
import zipfile
import zlib
from collections.abc import Callable

from unfreeze.archive.member import Refused

AUTO = "auto"
OLD_ENCODING = "cp437"
UTF8_FLAG = 1 << 11
UNICODE_PATH = 0x7075


def check_encoding(name: str) -> str:
    """Return the name of an encoding, or `auto`.

    Raises:
        ValueError: Python knows no such encoding of text that has ASCII in it.
    """
    try:
        known = name == AUTO or b"a/b".decode(name) == "a/b"
    except (LookupError, UnicodeDecodeError):
        known = False
    if not known:
        raise ValueError("is no encoding that Python knows, such as cp932, gbk, big5, euc_kr or cp1252; or auto")
    return name


class ZipNames:
    """Reads the names of the members of one zip.

    Args:
        members: of the zip, as zipfile lists them.
        encoding: `extract.names`.
        tell: takes what the user should know, a sentence.

    Raises:
        Refused: a name is not in the encoding, or had to be guessed and has a backslash.
    """

    def __init__(self, members: list[zipfile.ZipInfo], encoding: str, tell: Callable[[str], None]) -> None:
        self._encoding = OLD_ENCODING if encoding == AUTO else encoding
        vague = [raw for member in members if (raw := _find_vague(member)) is not None]
        others = [raw for raw in vague if _decode_utf8(raw) is None]
        self._try_utf8 = encoding == AUTO or not others
        self._separator = "/"
        if others and encoding == AUTO:
            example = others[0].decode(OLD_ENCODING)
            hint = "set extract.names to the encoding of its names, such as cp932, gbk or cp1252"
            if any(b"\\" in raw for raw in others):  # in cp932 it is the second byte of many characters
                raise Refused(f"has names that are not UTF-8, such as {example!r}; {hint}")
            tell(f"{len(others):,} names are not UTF-8 and read as cp437, such as {example!r}; if wrong, {hint}")
        elif vague and not others and encoding != AUTO:
            tell(f"all names are valid UTF-8 and read as that, not as extract.names = {encoding}")
        name = next((name for name in map(self.read, members) if "\\" in name), None)
        if name is not None and not any("/" in name for name in map(self.read, members)):
            tell(f"backslashes in names are read as slashes, because no name has a slash, such as {name!r}")
            self._separator = "\\"

    def read(self, member: zipfile.ZipInfo) -> str:
        """Read a member's name, with slashes between its folders."""
        name = self._decode(member)
        return name if self._separator == "/" else name.replace(self._separator, "/")

    def _decode(self, member: zipfile.ZipInfo) -> str:
        if (stated := _read_stated(member)) is not None:
            return stated
        raw = member.orig_filename.encode(OLD_ENCODING)
        name = _decode_utf8(raw) if self._try_utf8 else None
        if name is not None:
            return name
        try:
            return raw.decode(self._encoding)
        except UnicodeDecodeError:
            raise Refused(f"has the name {raw!r}, which is not in extract.names = {self._encoding}") from None


def _read_stated(member: zipfile.ZipInfo) -> str | None:
    """Return a name whose encoding the zip states; None if it does not."""
    if member.flag_bits & UTF8_FLAG:
        return member.orig_filename
    stated = _read_unicode_path(member) if member.extra else None
    if stated is None and member.orig_filename.isascii():
        return member.orig_filename
    return stated


def _read_unicode_path(member: zipfile.ZipInfo) -> str | None:
    """Return the name in the extra field (version 1, CRC-32 of the header's bytes, UTF-8); None if none fits."""
    at, extra = 0, member.extra
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        field = extra[at + 4 : at + 4 + size]
        checksum = zlib.crc32(member.orig_filename.encode(OLD_ENCODING))
        if kind == UNICODE_PATH and field[:5] == b"\x01" + checksum.to_bytes(4, "little"):
            return _decode_utf8(field[5:]) or None
        at += 4 + size
    return None


def _find_vague(member: zipfile.ZipInfo) -> bytes | None:
    """Return the bytes of a name whose encoding the zip does not state; None if it does."""
    return member.orig_filename.encode(OLD_ENCODING) if _read_stated(member) is None else None


def _decode_utf8(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
