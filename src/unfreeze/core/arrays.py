"""Arrays in `.npy` files: appended block by block, read as memory maps, never pickled."""

import math
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import DTypeLike

from unfreeze.core.console import UserError
from unfreeze.core.files import name_full_disk, replacing

BLOCK = 65_536
"""Rows that are computed on at a time, of arrays that need not fit into memory."""
MOST_NUMBERS = 2**23
"""Numbers in such a block, where rows are wide: 64 MB of float64."""
STEP = 512
"""Rows: of BLOCK, and of every batch size that divides it, a multiple."""


class ArrayWriter:
    """Writes a `.npy` array whose number of rows is known only at the end.

    ```
    with ArrayWriter(path, (64, 64, 3), np.uint8) as writer:
        writer.append(block)  # uint8 [any number of rows, 64, 64, 3]
    ```
    The file appears at `path` when the block ends well, with the bytes that `np.save` would write; otherwise
    nothing remains and an older file stays.

    Other processes can write the rows in its place, by `write_rows`; the writer is then told to `keep` them.

    Attributes:
        rows: the number of rows appended or kept so far.
        temporary: the file, until the block ends.
        start: of the first row in it, in bytes.
    """

    def __init__(self, path: Path, tail_shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.rows = 0
        self._path = path
        self._tail_shape = tuple(tail_shape)
        self._dtype = np.dtype(dtype)
        self._row_bytes = math.prod(tail_shape) * self._dtype.itemsize

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.temporary = stack.enter_context(replacing(self._path))
            self._file = stack.enter_context(self.temporary.open("wb"))
            self._write_header()
            self.start = self._file.tell()
            self._stack = stack.pop_all()
        return self

    def append(self, block: np.ndarray) -> None:
        """Append rows: `[n, *tail_shape]` of exactly the writer's dtype, else ValueError."""
        if block.shape[1:] != self._tail_shape or block.dtype != self._dtype:
            raise ValueError(
                f"rows of {self._dtype} {self._tail_shape} expected, not {block.dtype} {block.shape[1:]}"
            )
        with name_full_disk(self.temporary):
            self._file.write(np.ascontiguousarray(block))
        self.rows += len(block)

    def sync(self) -> None:
        """Wait until the disk has what was appended.

        The disk must have all of it before the file appears: a caller that syncs now and then, beside other work,
        waits less for it at the end.
        """
        with name_full_disk(self.temporary):
            self._file.flush()
            os.fsync(self._file.fileno())

    def keep(self, first: int, count: int) -> None:
        """Take `count` rows that stand from row `first` on as the next ones.

        Where rows before them were left out, they move up. Rows that are kept later stand behind them.
        """
        if first != self.rows:
            with name_full_disk(self.temporary), self.temporary.open("r+b") as file:
                file.seek(self.start + first * self._row_bytes)
                moved = file.read(count * self._row_bytes)
                file.seek(self.start + self.rows * self._row_bytes)
                file.write(moved)
        self.rows += count

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if error is not None:
                raise error
            self._file.truncate(self.start + self.rows * self._row_bytes)  # rows may have moved up
            self._file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        # NumPy pads the header for 21 digits of rows, so the second one has the length of the first.
        descr = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (self.rows, *self._tail_shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


def write_rows(file: Path, start: int, first: int, rows: np.ndarray) -> None:
    """Write `rows` from row `first` on into a file whose first row begins at byte `start` (see `ArrayWriter`)."""
    with name_full_disk(file), file.open("r+b") as opened:
        opened.seek(start + first * rows[0].nbytes)
        opened.write(np.ascontiguousarray(rows))


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a whole array as `ArrayWriter` does."""
    with ArrayWriter(path, array.shape[1:], array.dtype) as writer:
        writer.append(array)


def scratch(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return an array of zeros in a file without a name in the current folder.

    It need not fit into memory, and nothing is left of it whatever happens.

    Raises:
        OSError: the disk has no room for it.
    """
    dtype, count = np.dtype(dtype), math.prod(shape)
    with tempfile.TemporaryFile(dir=".") as file:
        size = max(1, count * dtype.itemsize)
        if hasattr(os, "posix_fallocate"):  # not on macOS; a full disk is a crash at some later time there
            with name_full_disk(Path("a scratch file")):
                os.posix_fallocate(file.fileno(), 0, size)
        file.truncate(size)
        return np.frombuffer(mmap.mmap(file.fileno(), size), dtype, count).reshape(shape)


def scratch_copy(array: np.ndarray) -> np.ndarray:
    """Return a copy of `array` in such a file."""
    copy = scratch(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy


def blocks(rows: int, columns: int = 1) -> Iterator[slice]:
    """Yield slices of BLOCK rows each, fewer where rows are wide; at least one slice, which may be empty.

    Where there is room for it, a slice has a multiple of STEP rows: whole batches of whoever predicts them.
    """
    step = max(1, min(BLOCK, MOST_NUMBERS // max(1, columns)))
    step = step // STEP * STEP or step
    for start in range(0, max(1, rows), step):
        yield slice(start, min(start + step, rows))


def span(positions: np.ndarray) -> slice | np.ndarray:
    """Return ascending `positions`, as a slice where they are consecutive: indexing by it takes no copy."""
    first, end = (positions[0], positions[-1] + 1) if len(positions) else (0, 0)
    return slice(first, end) if end - first == len(positions) else positions


def open_array(path: Path) -> np.ndarray:
    """Open the array in a `.npy` file as a read-only memory map: nothing is read before it is used.

    Raises:
        UserError: the file is missing, is no `.npy`, holds Python objects, or is shorter or longer than its
            header says.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run dvc repro (or dvc pull)") from None
    except Exception as error:  # a damaged header makes NumPy raise anything, even tokenize.TokenError
        raise UserError(f"{path} is damaged ({error}); delete it and run dvc repro") from None
    expected = array.offset + math.prod(array.shape) * array.itemsize
    if path.stat().st_size != expected:
        size = path.stat().st_size
        raise UserError(f"{path} is damaged ({size:,} bytes instead of {expected:,}); delete it and run dvc repro")
    return array
