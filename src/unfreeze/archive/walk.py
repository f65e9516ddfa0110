"""Lists a folder of the user's."""

import os
from collections.abc import Iterator
from pathlib import Path

from unfreeze.archive.names import is_junk
from unfreeze.core.console import UserError


def walk_source(
    folder: Path, prefix: str = "", above: frozenset[Path] = frozenset()
) -> Iterator[tuple[Path, str]]:
    """Yield the files and folders below `folder` with their names in the tar, sorted; follow links.

    Nothing below hidden folders and junk is followed or has to be readable.
    """
    if folder.resolve() in above:
        raise UserError(f"{folder} links back to a folder that holds it")
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = prefix + entry.name
        yield entry, name
        if entry.is_dir() and not is_junk(name):
            yield from walk_source(entry, f"{name}/", above | {folder.resolve()})
        elif entry.is_dir() and not entry.is_symlink():
            for top, folders, files in os.walk(entry):
                folders.sort()
                for path in sorted(Path(top, file) for file in files):
                    yield path, f"{name}/{path.relative_to(entry).as_posix()}"
