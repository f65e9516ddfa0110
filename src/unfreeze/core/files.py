"""Files that are either the old one or the new one, whatever happens in between."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; it is renamed to `path` if the block succeeds, and else removed.

    Its name is always the same, so that the next run writes over what a killed one left behind.
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
    """Read the value in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
