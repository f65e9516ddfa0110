"""Files that are either the old one or the new one, whatever happens in between."""

import csv
import json
import mmap
import os
import shutil
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import Any

BLOCK = 10_000
"""Lines of a CSV that are taken apart at once."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to `path` if the block succeeds, else removed.

    Its name is always the same, so that what a killed run left behind is written over by the next one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def copy(source: Path, target: Path) -> None:
    """Copy a file."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def copy_folder(source: Path, target: Path) -> None:
    """Make `target` a folder of copies of the files in `source`, which need not exist, and of no others."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in sorted(source.glob("*")):
        copy(file, target / file.name)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` with Unix line ends."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON; NaN is refused because JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a UTF-8 CSV with a header line. `rows` may be a generator: one row is held at a time."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV written by `write_csv`, each as a dictionary from column name to text."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Spool:
    """Bytes in a file without a name in the current folder: they need not fit into memory, and nothing is left of
    them whatever happens."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(dir=".")  # noqa: SIM115
        self._seen: memoryview | None = None

    def append(self, data: bytes | array | memoryview) -> None:
        """Write `data` behind what is there.

        Raises:
            OSError: the disk is full.
        """
        self._file.write(data)
        self._seen = None

    def read(self) -> memoryview:
        """All of them, mapped into memory: a byte is read when it is used."""
        if self._seen is None:
            self._file.flush()
            size = self._file.tell()
            found = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ) if size else b""
            self._seen = memoryview(found)
        return self._seen

    def __del__(self) -> None:
        self._file.close()


class Texts(Sequence[str]):
    """Texts as their UTF-8, one after the other in a `Spool`: a million paths take no memory."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._utf8, self._ends = Spool(), Spool()
        self._count, self._end = 0, 0
        self._ends.append(array("q", [0]))
        texts = iter(texts)
        while block := list(islice(texts, BLOCK)):
            self.extend(block)

    def extend(self, texts: Sequence[str]) -> None:
        """Append `texts`."""
        encoded = [text.encode() for text in texts]
        self._utf8.append(b"".join(encoded))
        ends = array("q", accumulate(map(len, encoded), initial=self._end))
        self._ends.append(memoryview(ends)[1:])
        self._count, self._end = self._count + len(encoded), ends[-1]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        ends = self._ends.read().cast("q")
        return str(self._utf8.read()[ends[place] : ends[place + 1]], "utf-8")

    def __iter__(self) -> Iterator[str]:
        utf8 = self._utf8.read()
        for start, end in pairwise(self._ends.read().cast("q")):
            yield str(utf8[start:end], "utf-8")


class LongTable(Sequence[dict[str, str]]):
    """Rows of a CSV as `read_csv` gives them, but made when they are asked for: what is held are the columns.

    Attributes:
        columns: name -> the texts of all rows.
    """

    def __init__(self, columns: dict[str, Texts]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        return {name: texts[row] for name, texts in self.columns.items()}

    def __iter__(self) -> Iterator[dict[str, str]]:
        for texts in zip(*self.columns.values(), strict=True):
            yield dict(zip(self.columns, texts, strict=True))


def read_table(path: Path, names: Sequence[str] | None = None) -> LongTable:
    """The columns `names` (None: all) of a CSV written by `write_csv` that has a row for each image."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        columns = {name: Texts() for name in names or header}
        places = [header.index(name) for name in columns]
        while block := list(islice(reader, BLOCK)):
            for place, texts in zip(places, columns.values(), strict=True):
                texts.extend([line[place] for line in block])
    return LongTable(columns)
