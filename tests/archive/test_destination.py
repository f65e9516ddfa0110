"""The tar, the index and the folder of tables: their bytes, and what stands after a failure."""

import gzip
import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_archives import CAT, DOG, FILES, LONG, entry, make_7z, make_tar, make_zip

from unfreeze.archive.extract import Destination, extract
from unfreeze.core.console import UserError


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_bytes_that_are_written_stay_the_same(tmp_path, unpack):
    """Files, links, folders, junk and inner archives, as they were written before the tables lay open."""
    inner = {
        "zip/inner.zip": make_zip(tmp_path / "inner.zip", {"2.png": DOG}).read_bytes(),
        "tables/more.csv.gz": gzip.compress(b"a,b\n1,2\n"),
        ".DS_Store": b"j",
        LONG: b"long",
        "empty.txt": b"",
    }
    others = [
        entry("empty/folder", tarfile.DIRTYPE),
        entry("by/soft.csv", tarfile.SYMTYPE, "../labels.csv"),
        entry("hard.png", tarfile.LNKTYPE, "set/cat/1.png"),
        entry("none.png", tarfile.SYMTYPE, "gone"),
    ]
    source = tmp_path / "raw"
    (source / "plain").mkdir(parents=True)
    make_tar(source / "a.tar", FILES | inner, *others)
    make_7z(source / "b.7z", {"seven/1.json": b"[]", "seven/big.png": DOG * 3})
    (source / "plain" / "x.TSV").write_bytes(b"a\tb\n")
    result = unpack(source)
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in (result.tar, result.csv)] == [
        "4dcb58b304a0e01ac7d89113cc08a28fd89c221aa265ab80253934afcc92e3b9",
        "a7d2b589065c5998f474721a282db58f48ec694b481e2cda8cfb9597a14f647d",
    ]
    tables = read_files(result.tables)
    assert len(tables.pop(".tables.csv").splitlines()) == 6
    assert tables == {
        "by/soft.csv": b"name,label\n",
        "labels.csv": b"name,label\n",
        "plain/x.TSV": b"a\tb\n",
        "seven/1.json": b"[]",
        "tables/more.csv": b"a,b\n1,2\n",
    }


def test_a_failed_run_keeps_the_files_of_an_earlier_one(tmp_path, unpack):
    first = unpack(make_zip(tmp_path / "a.zip", FILES))
    before = read_files(first.tar.parent)
    with pytest.raises(UserError):
        unpack(make_zip(tmp_path / "b.zip", {"ok.png": CAT, "other.csv": b"1", "../up": CAT}))
    assert read_files(first.tar.parent) == before


def test_tables_of_an_earlier_run_and_what_a_killed_one_left_do_not_stay(tmp_path, unpack):
    first = unpack(make_zip(tmp_path / "a.zip", FILES))
    for leftover in (".tables.tmp", ".tables.old", ".extract-x"):
        (first.tar.parent / leftover).mkdir()
        (first.tar.parent / leftover / "a.csv").write_bytes(b"half")
    assert read_files(unpack(make_zip(tmp_path / "b.zip", {"1.png": CAT})).tables).keys() == {".tables.csv"}


def die_before(call: Callable, steps: Iterator[int]) -> Callable:
    """`call`, but it ends the process as a kill does once there are no more steps."""

    def run(*args, **kwargs):
        if next(steps, None) is None:
            os._exit(9)
        return call(*args, **kwargs)

    return run


def extract_and_die(source: Path, destination: Destination, count: int) -> int:
    """Extract in a process that is killed before its rename or removal number `count`; 9, or 0 if not killed."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    steps = iter(range(count))
    for kind, name in ((Path, "rename"), (Path, "replace"), (Path, "unlink"), (shutil, "rmtree")):
        setattr(kind, name, die_before(getattr(kind, name), steps))
    try:
        extract(source, destination, 10**9)
        os._exit(0)
    finally:
        os._exit(1)


def test_a_kill_leaves_the_old_state_or_the_new_one_or_no_index(tmp_path, unpack):
    out = tmp_path / "out"
    old_source = make_zip(tmp_path / "old.zip", {"old.csv": b"old", "1.png": CAT})
    new_source = make_zip(tmp_path / "new.zip", {"new.csv": b"new", "1.png": DOG})
    unpack(new_source)
    new = read_files(out)
    status, states = 9, []
    while status == 9:
        unpack(old_source)
        old = read_files(out)
        destination = Destination(out / "out.tar", out / "out.csv", out / "tables")
        status = extract_and_die(new_source, destination, len(states))
        files = {name: data for name, data in read_files(out).items() if not name.startswith(".")}
        states.append("old" if files == old else "new" if files == new else "none")
        assert states[-1] != "none" or "out.csv" not in files
    assert status == 0
    assert states[0] == "old" and states[-1] == "new" and "none" in states
