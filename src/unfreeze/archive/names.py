"""Names inside archives: which are safe, which are junk, which are archives or parts of one."""

import posixpath
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from unfreeze.core.console import UserError
from unfreeze.core.table_files import names_table

ARCHIVE_SUFFIXES = (".7z", ".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tzst", ".gz", ".bz2", ".xz", ".zst", ".rar")
"""Names that are unpacked when met in a folder or in another archive."""

JUNK_FOLDERS = {
    *("__macosx", "__pycache__", "@eadir", "#recycle", "$recycle.bin"),
    *("system volume information", "lost+found"),
}
"""Folders that systems, file managers and Python make, in lower case."""
ICONS = {"Icon\r", "._Icon\r"}
"""A folder's icon, by the macOS Finder: the only names with a control character that are no fault."""
JUNK_FILES = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", *map(str.casefold, ICONS)}
"""Files that they make, in lower case."""


def find_fault(path: str) -> str | None:
    """Say what is wrong with a name or link target, apart from `..`; None if nothing is."""
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "is absolute"
    if "\\" in path:
        return "has a backslash"
    if path.isascii() and path.isprintable():  # nearly all are
        return None
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in path):
        return "has control characters or is not UTF-8"
    return None


def join_safely(folder: str, name: str, where: str) -> str:
    """Join the `name` of a member to `folder`, without `.` and empty parts.

    Raises:
        UserError: the name could lead out of the folder. `where` names the archive.
    """
    checked = name.removesuffix("Icon\r") if posixpath.basename(name) in ICONS else name
    fault = "has `..`" if ".." in name.split("/") else find_fault(checked)
    if fault:
        raise UserError(f"{where}: the name {name!r} {fault}; such archives are refused")
    return "/".join(split_path(folder) + split_path(name))


def split_path(path: str) -> list[str]:
    """Split a path at its slashes, without `.` and empty parts."""
    return [part for part in path.split("/") if part not in ("", ".")]


def list_parents(path: str) -> Iterator[str]:
    """Yield the folders above `path`, the nearest first."""
    while path := posixpath.dirname(path):
        yield path


def is_junk(path: str) -> bool:
    """Tell whether a file or folder is hidden, or was left by file managers or version control.

    Hidden is what has a part that starts with a dot (`train/.ipynb_checkpoints/1.jpg`).

    Args:
        path: without `.` and empty parts.
    """
    parts = path.casefold().split("/")
    return (
        path.startswith(".")
        or "/." in path
        or not JUNK_FOLDERS.isdisjoint(parts)
        or parts[-1] in JUNK_FILES
        or parts[-1].endswith(".dvc")
    )


def names_archive(path: str) -> bool:
    """Tell whether a name is that of an archive."""
    return path.lower().endswith(ARCHIVE_SUFFIXES)


def name_inside(name: str) -> str:
    """Say what a compressed file is called inside: `a.csv.gz` -> `a.csv`, `a.tgz` -> `a.tar`."""
    stem, suffix = posixpath.splitext(name)
    if suffix.lower() in (".tgz", ".tbz2", ".txz", ".tzst"):
        return f"{stem}.tar"
    return stem if suffix.lower() in (".gz", ".bz2", ".xz", ".zst") else name


def name_folder(name: str) -> str:
    """Name the folder that is called as an archive: `cats.zip` -> `cats`, `cats.tar.gz.001` -> `cats`."""
    stem = name[:-4] if volume_number(name) else name
    while stem.lower().endswith(ARCHIVE_SUFFIXES):
        stem = posixpath.splitext(stem)[0]
    return stem


def volume_number(path: str | Path) -> int:
    """Say which part of an archive a file is, by its name: 2 for `a.7z.002`, 0 for anything that is no part."""
    match = re.search(r"\.(?:7z|zip|tar)\.(\d{3})$", str(path), re.IGNORECASE)
    return int(match[1]) if match else 0


def name_volume(path: Path, number: int) -> Path:
    """Name the part `number` of the archive that `path` is a part of."""
    return path.with_suffix(f".{number:03}")


def list_volumes(first: Path) -> list[Path]:
    """List the parts of an archive on disk, from its first one on.

    Raises:
        UserError: a part in between is missing.
    """
    volumes = sorted(
        (path for path in first.parent.iterdir() if path.stem == first.stem and volume_number(path)),
        key=volume_number,
    )
    for number, path in enumerate(volumes, 1):
        if volume_number(path) != number:
            raise UserError(f"{name_volume(first, number)} is missing: {path} continues it")
    return volumes


def list_tables_beside(source: Path) -> list[Path]:
    """List the tables that lie beside an archive, sorted; none if `source` is a folder."""
    if source.is_dir():
        return []
    beside = (path for path in source.parent.iterdir() if names_table(path.name) and not is_junk(path.name))
    return sorted(path for path in beside if path.is_file())
