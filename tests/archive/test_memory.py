"""Memory of extraction does not grow with the bytes of an archive, and little with the number of its files."""

import os
import subprocess
import sys
from functools import partial

import py7zr
import pytest
from made_archives import FORMATS, make_7z

PEAK = """
import resource, sys
from pathlib import Path
import py7zr.compressor
from unfreeze.archive.extract import Destination, extract
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tar = Path(sys.argv[2])
extract(Path(sys.argv[1]), Destination(tar, tar.with_suffix(".csv"), tar.with_name("tables")), 10**9)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", ["a.7z", "a.zip", "a.tar", "a.tgz"])
def test_memory_does_not_grow_with_the_archive(name, tmp_path):
    """In KiB: 10 MB that do not compress and a file of 100 MB that does take less than 6 MB."""
    make = partial(make_7z, filters=[{"id": py7zr.FILTER_LZMA2, "preset": 0}]) if name == "a.7z" else FORMATS[name]
    files = {f"{i}.jpg": os.urandom(100_000) for i in range(100)} | {"big.bmp": bytes(10**8)}
    command = [sys.executable, "-c", PEAK, str(make(tmp_path / name, files)), str(tmp_path / "out.tar")]
    assert int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) < 6_000


PER_FILE = """
import resource, sys
from pathlib import Path
import py7zr.compressor
from unfreeze.archive.extract import Destination, extract
peaks = []
for source in sys.argv[2:]:
    extract(Path(source), Destination(Path(sys.argv[1], "x.tar"), Path(sys.argv[1], "x.csv")), 10**9)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print(peaks[1] - peaks[0])
"""


@pytest.mark.parametrize("name", ["a.7z", "a.zip", "a.tar"])
def test_a_file_more_takes_less_than_a_kilobyte_of_memory(name, tmp_path):
    """Peak memory of 6,000 files, less that of 1,000."""
    sources = []
    for count in (1_000, 6_000):
        files = {f"images/some class/{i:07}.jpg": b"x" for i in range(count)}
        sources.append(str(FORMATS[name](tmp_path / f"{count}-{name}", files)))
    command = [sys.executable, "-c", PER_FILE, str(tmp_path), *sources]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown / 5_000 < 1_000
