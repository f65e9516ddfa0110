"""Members of a .7z, streamed by py7zr's decoders.

py7zr's own extraction hands its decoder 1 MiB of packed data for every member, needed or not, and lets it return
up to 128 MB at once: the memory it takes grows with the archive and its members. Therefore this module drives the
decoders itself, with members of py7zr that its documentation does not promise. `PRIVATE_MEMBERS` lists them. Only
this module uses them, pyproject.toml bounds py7zr's version, and a test looks for them in the installed one.
"""

import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from unfreeze.archive.member import (
    CHUNK,
    NO_PASSWORD,
    PACKED_CHUNK,
    REPACK,
    SPECIAL,
    WRONG_PASSWORD,
    Budget,
    Damaged,
    Kind,
    Member,
    Refused,
)

PRIVATE_MEMBERS = {
    # The list of members, where the packed streams begin in the file, and which members without data are files.
    "SevenZipFile": ("files", "afterheader", "header.main_streams", "header.files_info.emptyfiles"),
    # The packed streams with their places and sizes.
    "main_streams": (
        *("packinfo.packpos", "packinfo.packpositions", "packinfo.packsizes"),
        "unpackinfo.folders",
    ),
    # How a stream is packed: what to refuse, and what SevenZipDecompressor needs.
    "Folder": ("coders", "packed_indices", "unpacksizes"),
    # What a member is, which stream holds it, and how its data is checked.
    "ArchiveFile": (
        *("filename", "folder", "uncompressed", "crc32", "emptystream", "file_properties"),
        *("is_symlink", "is_junction", "is_directory", "st_fmt"),
    ),
    # Which methods can be decoded, and which need a password.
    "SupportedMethods": ("methods", "needs_password"),
    # The decoding. `consumed` tells a decoder that has no data any more from one that holds some back. `chain`
    # holds the decoders that the data goes through, so that `_wants_input` can ask each.
    "SevenZipDecompressor": ("decompress", "consumed", "chain"),
    # Where two of the decoders hide whether they want input; that of bzip2 and LZMA2 is Python's own.
    "LZMA1Decompressor": ("_decompressor.needs_input",),
    "BrotliDecompressor": ("_decompressor.can_accept_more_data",),
    # What cannot be decoded, for the message.
    "UnsupportedCompressionMethodError": ("message",),
}
REFUSED_METHODS = {
    "0303011b": "BCJ2",
    "030401": "PPMd",
    "04f71104": "LZ4",
    "04f71105": "LZ5",
    "04f71106": "Lizard",
}
"""Methods that are refused; PPMd because damaged data make its decoder, pyppmd, crash the whole process."""
MAX_IDLE = 16
"""Rounds that a decoder may neither take nor give anything."""


def read_7z(file: BinaryIO, budget: Budget, password: str | None) -> Iterator[Member]:
    """Yield the members of the .7z in the seekable `file`."""
    with _open(file, password) as archive:
        layout = _Layout(archive)
        budget.announce(layout.size)
        for folder in layout.folders:
            _check_folder(folder, password)
        decoder = None
        number, start = -1, 0
        for entry in layout.read_entries():
            if entry.folder is None:
                yield Member(entry.name, entry.kind)
                continue
            if decoder is None or entry.folder is not layout.folders[number]:
                later = range(number + 1, len(layout.folders))
                number = next(i for i in later if layout.folders[i] is entry.folder)
                decoder = _Decoder(file, layout.locate(number), entry.folder, password, budget)
                start = 0
            chunks = decoder.decode_member(start, entry.size, entry.crc32)
            yield Member(
                name=entry.name,
                kind=entry.kind,
                size=entry.size,
                chunks=chunks,
                encrypted=decoder.encrypted,
                stream=number,
                start=start,
            )
            start += entry.size


def _open(file: BinaryIO, password: str | None) -> Any:
    import py7zr

    try:
        return py7zr.SevenZipFile(file)
    except py7zr.PasswordRequired:
        if password is None:
            raise Refused(NO_PASSWORD) from None
    file.seek(0)
    try:
        return py7zr.SevenZipFile(file, password=password)
    except Exception as error:
        raise Refused(f"has a list of files that {WRONG_PASSWORD} ({error})") from error


@dataclass(frozen=True)
class _Entry:
    """What the header says of a member."""

    name: str
    kind: Kind
    size: int
    """In bytes."""
    crc32: int | None
    folder: Any
    """The py7zr Folder that holds its data; None of a member without data."""


class _Layout:
    """The header of a .7z. A "folder" of the format is a compressed stream, which holds one or more members.

    Attributes:
        size: bytes of all members.
        folders: the py7zr Folders, in the order of their data.
    """

    def __init__(self, archive: Any) -> None:
        self._archive = archive
        self._streams = archive.header.main_streams
        self.size = sum(member.uncompressed for member in archive.files)
        self.folders = self._streams.unpackinfo.folders if self._streams else []

    def locate(self, number: int) -> tuple[int, int]:
        """Tell where the data of a folder begins in the file, and its packed size, both in bytes."""
        packed = self._streams.packinfo
        offset = self._archive.afterheader + packed.packpos + packed.packpositions[number]
        return offset, packed.packsizes[number]

    def read_entries(self) -> Iterator[_Entry]:
        """Yield what the header says of each member, and drop py7zr's record of it, which has 1 KB."""
        archive = self._archive
        # Flags of the members without data: a file where set, else a folder. py7zr writes attributes instead.
        file_flags = iter(archive.header.files_info.emptyfiles if len(archive.files) else ())
        for member in archive.files:
            kind = _tell_kind(member, is_file=not member.emptystream or next(file_flags, True))
            yield _Entry(member.filename, kind, member.uncompressed, member.crc32, member.folder)
            member.file_properties().clear()


def _tell_kind(member: Any, is_file: bool) -> Kind:
    if member.is_symlink or member.is_junction:
        return "link"
    mode = member.st_fmt
    if mode not in (None, 0, stat.S_IFREG, stat.S_IFDIR):
        raise Refused(f"holds {member.filename!r}, {SPECIAL}")
    is_folder = member.is_directory or mode == stat.S_IFDIR
    has_attributes = member.file_properties().get("attributes") is not None
    return "folder" if is_folder or not (is_file or has_attributes) else "file"


def _check_folder(folder: Any, password: str | None) -> None:
    """Refuse, before anything is written, what py7zr cannot decode."""
    from py7zr.compressor import SupportedMethods

    methods = {method["id"].hex() for method in SupportedMethods.methods} - REFUSED_METHODS.keys()
    for coder in folder.coders:
        method = coder["method"].hex()
        if method not in methods:
            raise Refused(f"uses the method {REFUSED_METHODS.get(method, method)}, {REPACK}")
    if len(folder.packed_indices) != 1:
        raise Refused(f"uses a method with several streams, {REPACK}")
    if password is None and SupportedMethods.needs_password(folder.coders):
        raise Refused(NO_PASSWORD)


class _Decoder:
    """One compressed stream: gives the bytes of its members, one member after another.

    Args:
        place: where its data begins in the file, and its packed size, both in bytes.
        budget: counts the bytes of members that were not read but have to be decoded.

    Attributes:
        encrypted: whether the stream is.
    """

    def __init__(
        self, file: BinaryIO, place: tuple[int, int], folder: Any, password: str | None, budget: Budget
    ) -> None:
        from py7zr.compressor import SupportedMethods

        self._file = file
        self._place = place
        self._folder = folder
        self._password = password
        self._budget = budget
        self._decompressor: Any = None
        self._position = 0
        self.encrypted = SupportedMethods.needs_password(folder.coders)

    def _start(self) -> None:
        """Go to the data and make the decoder, which takes memory, if that was not done before."""
        from py7zr.compressor import SevenZipDecompressor

        if self._decompressor is None:
            offset, packed_size = self._place
            self._file.seek(offset)
            with _naming_method():
                self._decompressor = SevenZipDecompressor(
                    self._folder.coders,
                    packed_size,
                    self._folder.unpacksizes,
                    None,
                    self._password,
                    blocksize=PACKED_CHUNK,
                )

    def read(self, size: int) -> bytes:
        """Read packed data for py7zr's decoders, which call this; none while they still have some."""
        return self._file.read(size) if all(map(_wants_input, self._decompressor.chain)) else b""

    def decode_member(self, start: int, size: int, crc32: int | None) -> Iterator[bytes]:
        """Yield the `size` bytes from `start` on, and check them against their CRC-32.

        Raises:
            Damaged: the data ends early, or its checksum differs.
        """
        self._start()
        for _ in self._budget.spend(self._decode(start - self._position)):
            pass  # members that were not read
        checksum = 0
        for chunk in self._decode(size):
            checksum = zlib.crc32(chunk, checksum)
            yield chunk
        if crc32 is not None and checksum != crc32:
            raise Damaged("its checksum differs")

    def _decode(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes."""
        left, idle = size, 0
        while left > 0:
            consumed = self._decompressor.consumed
            with _naming_method():
                chunk = self._decompressor.decompress(self, min(left, CHUNK))
            # A filter may hold a few bytes back for a round; a decoder without data returns nothing for ever.
            idle = idle + 1 if not chunk and self._decompressor.consumed == consumed else 0
            if idle > MAX_IDLE:
                raise Damaged("its data ends early")
            left -= len(chunk)
            self._position += len(chunk)
            yield chunk


@contextmanager
def _naming_method() -> Iterator[None]:
    """Turn py7zr's error over a method into Refused, with the method's name."""
    from py7zr.exceptions import UnsupportedCompressionMethodError

    try:
        yield
    except UnsupportedCompressionMethodError as error:
        raise Refused(f"uses a method {REPACK} ({error.message})") from error


def _wants_input(decoder: Any) -> bool:
    """Tell whether one of py7zr's decoders has used up what it was given.

    Its own classes hold the library's decoder as `_decompressor` or `decoder`. Without such a member, and without
    one of its hunger, a decoder keeps no input.
    """
    inner = getattr(decoder, "_decompressor", getattr(decoder, "decoder", decoder))
    if hasattr(inner, "can_accept_more_data"):  # Brotli
        return inner.can_accept_more_data()
    return getattr(inner, "needs_input", True)
