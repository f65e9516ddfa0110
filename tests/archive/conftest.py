"""What tests of extraction share."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from unfreeze.archive.extract import Destination, Summary, extract
from unfreeze.archive.select import ReadOptions


class Result:
    """What a run of `extract` left: the summary and path -> bytes, read through the index."""

    def __init__(self, folder: Path, summary: Summary):
        self.tar, self.csv, self.tables = folder / "out.tar", folder / "out.csv", folder / "tables"
        self.summary = summary
        with self.csv.open(encoding="utf-8", newline="") as file:
            self.rows = list(csv.DictReader(file))
        content = self.tar.read_bytes()
        self.files = {}
        for row in self.rows:
            start = int(row["offset"])
            self.files[row["path"]] = content[start : start + int(row["size"])]


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[..., Result]:
    def run(source: Path, max_bytes: int = 10**9, password: str | None = None, **options) -> Result:
        out = tmp_path / "out"
        destination = Destination(tar=out / "out.tar", index=out / "out.csv", tables=out / "tables")
        return Result(out, extract(source, destination, max_bytes, password, options=ReadOptions(**options)))

    yield run
    left = sorted(path.name for path in (tmp_path / "out").glob("*"))
    complete = ["out.csv", "out.tar", "tables"]
    assert left in ([], complete), "temporary files were left behind, or half of the outs"
