"""Files that are either the old one or the new one, whatever happens in between."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unfreeze.core.console import UserError
from unfreeze.core.system_errors import FULL, format_bytes, measure_free_space, read_error_number


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; it is renamed to `path` if the block succeeds, and else removed.

    Its name is always the same, so that the next run writes over what a killed one left behind.

    Raises:
        OSError: it names `path` if the disk is full, also where the block's own error does not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        try:
            temporary.unlink(missing_ok=True)
        except OSError as second:  # as on a disk that has gone; the first error is the reason
            error.add_note(f"{temporary} could not be removed: {second}")
        number, name = read_error_number(error), _find_file_name(error)
        if number in FULL or name == str(temporary):
            name = str(path) if name in (None, str(temporary)) else name
            raise OSError(number, os.strerror(number), name) from error
        raise


def _find_file_name(error: BaseException) -> str | None:
    """Find the file that did not fit, or the one that another error names; None if the error names none.

    On a full disk closing the files that are open fails too: the first error has the file's name. The error of a
    copy names its target second.
    """
    name = getattr(error, "filename", None)
    while error is not None and read_error_number(error) in FULL:
        name = getattr(error, "filename2", None) or getattr(error, "filename", None) or name
        error = error.__context__
    return name


@contextmanager
def name_full_disk(path: Path) -> Iterator[None]:
    """Name `path` in an error of a full disk that names no file, as that of writing to an open file."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder`; it takes the place of `folder` if the block succeeds, else it is removed.

    The temporary names are always the same, so that the next run removes what a killed one left behind.
    """
    new, old = folder.with_name(f".{folder.name}.tmp"), folder.with_name(f".{folder.name}.old")
    for path in (new, old):
        _remove_folder(path)
    new.mkdir(parents=True)
    try:
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError as error:
        if error.errno in FULL and error.filename and Path(error.filename).is_relative_to(new):
            error.filename = str(folder / Path(error.filename).relative_to(new))
        raise
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        _remove_folder(new)
        _remove_folder(old)


def _remove_folder(path: Path) -> None:
    """Remove a folder, or the file or link that stands in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def require_space(path: Path, needed: int, what: str) -> None:
    """Check, before long work, that there is room for what it will write.

    Args:
        path: what will be written: a file or a folder, which need not be there yet.
        needed: its size in bytes.
        what: what it is, in the plural, for the message.

    Raises:
        UserError: less than `needed` is free there.
    """
    free = measure_free_space(path)
    if free is not None and free < needed:
        raise UserError(
            f"{what} take {format_bytes(needed)} in {path} and {format_bytes(free)} are free there: free some "
            "space, then run this again"
        )


def copy(source: Path, target: Path) -> None:
    """Copy a file."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def copy_folder(source: Path, target: Path) -> None:
    """Make `target` a folder of copies of the files in `source`, which need not exist, and of no others."""
    with replacing_folder(target) as new:
        for file in sorted(source.glob("*")):
            copy(file, new / file.name)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` with Unix line ends."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON; NaN is refused because JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read the value in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
