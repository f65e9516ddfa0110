"""Files that are none on disk: chunks of bytes, the parts of one archive, a file that is read forward only."""

import bisect
import io
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, BinaryIO

from unfreeze.archive.member import CHUNK, Damaged

MAX_TAR_HEADER = 1 << 20


class ChunkStream(io.RawIOBase):
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


class JoinedFiles(io.RawIOBase):
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


class ForwardFile:
    """What tarfile needs of a file, over one that can only be read on.

    Attributes:
        last: the block that was read last.
    """

    def __init__(self, file: BinaryIO):
        self.file = file
        self.position = 0
        self.last = b""

    def tell(self) -> int:
        return self.position

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_TAR_HEADER:
            raise Damaged(f"a header of {size:,} bytes")
        self.last = self.file.read(size)
        self.position += len(self.last)
        return self.last

    def seek(self, position: int) -> None:
        if self.file.seekable() and position - self.position > CHUNK:  # of a member that is not read
            self.position = self.file.seek(position)
        while self.position < position and self.read(min(CHUNK, position - self.position)):
            pass
