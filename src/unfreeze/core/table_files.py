"""The tables that came out of the archive (label files, sample submissions), each a file of its own in a folder.

The stage `extract` writes the folder, so that whoever needs a small table need not depend on a tar of 100 GB. A
table lies there by its path in the tar. `.tables.csv` lists all tables, sorted by path: path, size (in bytes) and
sha256 (hexadecimal). It also lists tables without a copy: those that are too large, and those beyond the first
thousand.
"""

import errno
import hashlib
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from unfreeze.core import tables
from unfreeze.core.console import UserError, few
from unfreeze.core.paths import TABLES

TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")
"""Of the tables that are copied into the folder and can be read, in lower case."""
MAX_BYTES = 1 << 28
"""A table is held in memory; one with arrays in it (a JSON of radar bands) has 200 MB."""
MOST_COPIES = 1000
"""Of more tables, such as a JSON file beside each image, only those in the fewest folders are copied."""
LIST = ".tables.csv"
"""Name of the list. A hidden file is never copied, so that no table takes this name."""
CHUNK = 1 << 20


def names_table(path: str) -> bool:
    """Tell whether a name is that of a table."""
    return path.lower().endswith(TABLE_SUFFIXES)


def write_table_files(folder: Path, tar: Path, rows: Iterable[tuple[str, int, int, str]]) -> None:
    """Copy the tables among `rows` from `tar` into the empty `folder`, and list them there.

    A hidden file, and what lies in a hidden folder, is no table here.

    Args:
        rows: path, offset in the tar, size (both in bytes) and sha256 of everything extracted. The paths are
            sorted and safe: relative, without `..`, and none is both a file and a folder.

    Raises:
        UserError: the file system takes the names of two tables for the same one.
        OSError: a table cannot be written.
    """

    listed = [row for row in rows if names_table(row[0]) and not _is_hidden(row[0])]
    small = [row for row in listed if row[2] <= MAX_BYTES]
    with tar.open("rb") as file:
        for path, offset, size, _ in sorted(small, key=lambda row: row[0].count("/"))[:MOST_COPIES]:
            file.seek(offset)
            _copy_table(file, size, folder / path)
    tables.write_rows(
        folder / LIST, ("path", "size", "sha256"), ((path, size, sha256) for path, _, size, sha256 in listed)
    )


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _copy_table(file: BinaryIO, size: int, target: Path) -> None:
    """Copy `size` bytes of `file`, from where it stands, to the new file `target`."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as copy:
            while chunk := file.read(min(size, CHUNK)):
                size -= copy.write(chunk)
    except FileExistsError:
        raise UserError(
            f"{target} is there already: this file system takes the names of two tables for the same one; "
            "rename one of them in the archive"
        ) from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # whoever asks for this table gets the same error
            raise


def read_table_file(key: str, name: str, folder: Path = TABLES) -> tuple[str, bytes]:
    """Read the table `name` of those that `write_table_files` has copied.

    Args:
        key: the key of params.yaml that names it, for messages.
        name: its path in the archive, or the end of it (`labels.csv`) if no other table ends so.

    Returns:
        Its path in the archive and its content.

    Raises:
        UserError: the folder is missing, no or several tables end so, the table is too large, or it is not what
            was extracted.
    """
    listing = tables.read(folder / LIST, {"path": "text", "size": "int", "sha256": "text"})
    paths = listing["path"].tolist()
    path = _find_table(key, name, folder)
    row = paths.index(path)
    size = int(listing["size"].iloc[row])
    if size > MAX_BYTES:
        raise UserError(f"{key}: {path} has {size:,} bytes; such a file may have {MAX_BYTES:,}")
    try:
        with (folder / path).open("rb") as file:
            data = file.read(size + 1)
    except FileNotFoundError:
        if len(paths) > MOST_COPIES:
            raise UserError(
                f"{key}: {path} is one of {len(paths):,} tables, of which {MOST_COPIES:,} can be read: "
                "those in the fewest folders; put it nearer the top of the archive"
            ) from None
        raise UserError(f"{path} is missing in {folder}; delete {folder} and run dvc repro") from None
    except OSError as error:
        raise UserError(f"{key}: {path} cannot be read: {error.strerror}") from error
    if len(data) != size or hashlib.sha256(data).hexdigest() != listing["sha256"].iloc[row]:
        raise UserError(f"{path} in {folder} is not what was extracted; delete {folder} and run dvc repro")
    return path, data


def list_table_files(folder: Path = TABLES) -> list[str]:
    """List the paths of all tables in the archive, sorted.

    Raises:
        UserError: the folder is missing.
    """
    return tables.read(folder / LIST, {"path": "text"})["path"].tolist()


def find_table_files(key: str, name: str, folder: Path = TABLES) -> list[str]:
    """Find the tables that `name` means: the one of this path in the archive, else all whose paths end so.

    Raises:
        UserError: there is none; `key` of params.yaml names it.
    """
    paths = list_table_files(folder)
    matches = [path for path in paths if path == name] or [path for path in paths if path.endswith(f"/{name}")]
    if not matches:
        there = f"there are: {few(paths)}" if paths else "there is none"
        raise UserError(f"{key} = {name}: the archive holds no such file; of tables {there}")
    return matches


def _find_table(key: str, name: str, folder: Path) -> str:
    matches = find_table_files(key, name, folder)
    if len(matches) > 1:
        raise UserError(f"{key} = {name} could be {few(matches)}; write one of these paths")
    return matches[0]


def normal(path: str) -> str:
    """Return a path as it is compared: in composed Unicode (macOS decomposes) and with forward slashes."""
    return unicodedata.normalize("NFC", path).replace("\\", "/").removeprefix("./")
