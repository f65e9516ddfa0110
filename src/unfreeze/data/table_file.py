"""Label files, sample submissions: the tables among what was extracted, found by name and read with care."""

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from unfreeze.console import UserError
from unfreeze.data.labels import few

TABLE_SUFFIXES = (".csv", ".tsv", ".json")
MAX_BYTES = 1 << 28
"""A table is held in memory; one with arrays in it (a JSON of radar bands) has 200 MB."""


def read_file(key: str, name: str, index: Iterable[Mapping[str, str]], tar: Path) -> tuple[str, bytes]:
    """The path and the content of the table `name` in the tar of everything extracted.

    Args:
        key: the key of params.yaml that names it, for messages.
        name: its path in the tar, or the end of it (`labels.csv`) if no other file ends so.
        index: the rows of the tar's index: path, offset, size, sha256.

    Raises:
        UserError: no or several such files, a file that is too big or not what was extracted.
    """
    member = _find(key, name, index)
    path, size = member["path"], int(member["size"])
    if size > MAX_BYTES:
        raise UserError(f"{key}: {path} has {size:,} bytes; such a file may have {MAX_BYTES:,}")
    with tar.open("rb") as file:
        file.seek(int(member["offset"]))
        data = file.read(size)
    if len(data) != size or hashlib.sha256(data).hexdigest() != member["sha256"]:
        raise UserError(f"{path} in {tar} is not what was extracted; delete {tar} and run dvc repro")
    return path, data


def _find(key: str, name: str, index: Iterable[Mapping[str, str]]) -> Mapping[str, str]:
    tables = {row["path"]: row for row in index if row["path"].lower().endswith(TABLE_SUFFIXES)}
    fitting = [path for path in tables if path == name] or [path for path in tables if path.endswith(f"/{name}")]
    if not fitting:
        there = f"there are: {few(tables)}" if tables else "there is none"
        raise UserError(f"{key} = {name}: the archive holds no such file; of tables {there}")
    if len(fitting) > 1:
        raise UserError(f"{key} = {name} could be {few(fitting)}; write one of these paths")
    return tables[fitting[0]]


def normal(path: str) -> str:
    """A path as it is compared: composed Unicode (macOS decomposes) and forward slashes."""
    return unicodedata.normalize("NFC", path).replace("\\", "/").removeprefix("./")
