"""Label files for tests: params, tables as `extract` lays them open, and labels read from them."""

import hashlib

from unfreeze.commands.propose import BASE
from unfreeze.core.table_files import write_table_files
from unfreeze.labels.match import label_by_table
from unfreeze.labels.params import SplitParams
from unfreeze.labels.table import LabelTable, read_label_files


def split_params(**changes) -> SplitParams:
    """The params of a label file, with `changes`."""
    return SplitParams(**(BASE | {"labels": "labels.csv", "test": 0.2} | changes))


def write_tables(folder, files):
    """Lay open in `folder` those of `files` (path -> text or bytes) that are tables."""
    contents = {path: data.encode() if isinstance(data, str) else data for path, data in sorted(files.items())}
    tar = folder.with_suffix(".tar")
    tar.parent.mkdir(parents=True, exist_ok=True)
    tar.write_bytes(b"".join(contents.values()))
    rows, offset = [], 0
    for path, data in contents.items():
        rows.append((path, offset, len(data), hashlib.sha256(data).hexdigest()))
        offset += len(data)
    folder.mkdir()
    write_table_files(folder, tar, rows)


def read_table(tmp_path, content, name="labels.csv", wanted=None) -> LabelTable:
    """The table of an archive that holds `content` (a file's text or bytes, or a dictionary of files) alone."""
    folder = tmp_path / f"tables {len(list(tmp_path.iterdir()))}"
    write_tables(folder, content if isinstance(content, dict) else {name: content})
    return read_label_files(wanted or name, folder)


def read_labels(tmp_path, content, paths, name="labels.csv", **changes):
    """The label texts of the images at `paths`, and what has no counterpart."""
    reading = label_by_table(read_table(tmp_path, content, name), paths, [], split_params(**changes))
    return [label.label for label in reading.labels], list(reading.unmatched)
