"""Names inside archives: which are safe, which are junk, which are archives or parts of one."""

import posixpath
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from unfreeze.core.console import UserError

ARCHIVE_SUFFIXES = (".7z", ".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tzst", ".gz", ".bz2", ".xz", ".zst", ".rar")
"""Names that are unpacked when met in a folder or in another archive."""

JUNK_FOLDERS = {"__MACOSX"}
JUNK_FILES = {".ds_store", "thumbs.db", "desktop.ini", ".gitignore", ".gitkeep"}


def find_fault(path: str) -> str | None:
    """Say what is wrong with a name or link target, apart from `..`; None if nothing is."""
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "is absolute"
    if "\\" in path:
        return "has a backslash"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in path):
        return "has control characters or is not UTF-8"
    return None


def join_safely(folder: str, name: str, where: str) -> str:
    """Join the `name` of a member to `folder`, without `.` and empty parts.

    Raises:
        UserError: the name could lead out of the folder. `where` names the archive.
    """
    fault = "has `..`" if ".." in name.split("/") else find_fault(name)
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
    """Tell whether file managers or version control left this."""
    *folders, name = split_path(path) or [""]
    name = name.casefold()
    return (
        not JUNK_FOLDERS.isdisjoint([*folders, path.rpartition("/")[2]])
        or name in JUNK_FILES
        or name.startswith("._")
        or name.endswith(".dvc")
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
