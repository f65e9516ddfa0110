"""The tables of an archive lie open: written by path, found by name, checked when read."""

import hashlib
from pathlib import Path

import pytest

from unfreeze.core import table_files
from unfreeze.core.console import UserError
from unfreeze.core.files import replacing_folder
from unfreeze.core.table_files import read_table_file, write_table_files
from unfreeze.core.tables import read

KEY = "split.labels"


def write(folder: Path, *files: tuple[str, bytes]) -> Path:
    """Write the folder of tables of a tar, here without headers, that holds `files`, sorted by path."""
    tar = folder.with_name("x.tar")
    tar.write_bytes(b"".join(content for _, content in files))
    rows, offset = [], 0
    for path, content in files:
        rows.append((path, offset, len(content), hashlib.sha256(content).hexdigest()))
        offset += len(content)
    with replacing_folder(folder) as new:
        write_table_files(new, tar, rows)
    return folder


def list_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "tables"


def test_tables_are_copied_by_path_and_listed(folder):
    tables = (("a.CSV", b"1"), ("b/c.tsv", b""), ("b/d.json", b"[]"), ("b/e.jsonl", b"{}\n"))
    write(folder, *tables, ("f.png", b"x"), ("g.csv/", b""), ("h.csv.png", b"x"))
    content = list_files(folder)
    listing = content.pop(".tables.csv").decode().splitlines()
    assert content == dict(tables)
    assert listing[0] == "path,size,sha256"
    assert listing[1:] == [f"{path},{len(data)},{hashlib.sha256(data).hexdigest()}" for path, data in tables]


def test_hidden_files_are_not_copied_nor_listed(folder):
    write(folder, (".tables.csv", b"mine"), (".x/a.csv", b"1"), ("a/.b.csv", b"2"), ("c.csv", b"3"))
    assert list_files(folder).keys() == {".tables.csv", "c.csv"}
    assert read(folder / ".tables.csv")["path"].tolist() == ["c.csv"]
    write(folder, (".tables.csv/a.csv", b"1"))
    assert list_files(folder) == {".tables.csv": b"path,size,sha256\n"}


def test_of_very_many_tables_those_in_the_fewest_folders_are_copied(folder, monkeypatch):
    monkeypatch.setattr(table_files, "MOST_COPIES", 2)
    write(folder, ("a/b/1.json", b"1"), ("a/b/2.json", b"2"), ("a/c.json", b"3"), ("labels.csv", b"4"))
    assert list_files(folder).keys() == {".tables.csv", "a/c.json", "labels.csv"}
    with pytest.raises(UserError, match=rf"{KEY}: a/b/1.json is one of 4 tables"):
        read_table_file(KEY, "1.json", folder)


def test_a_table_that_is_too_large_is_listed_but_not_copied(folder, monkeypatch):
    monkeypatch.setattr(table_files, "MAX_BYTES", 3)
    write(folder, ("large.csv", b"1234"), ("small.csv", b"123"))
    assert list_files(folder).keys() == {".tables.csv", "small.csv"}
    assert read_table_file(KEY, "small.csv", folder) == ("small.csv", b"123")
    with pytest.raises(UserError, match=rf"{KEY}: large\.csv has 4 bytes; such a file may have 3"):
        read_table_file(KEY, "large.csv", folder)


def test_a_table_whose_name_is_too_long_for_the_file_system(folder):
    long = "ö" * 200 + ".csv"
    write(folder, ("a.csv", b"1"), (long, b"2"))
    assert read_table_file(KEY, "a.csv", folder) == ("a.csv", b"1")
    with pytest.raises(UserError, match=f"{KEY}: {long} cannot be read"):
        read_table_file(KEY, long, folder)


def test_two_tables_with_one_name_are_refused(folder):
    """As a file system that takes upper and lower case for the same makes them."""
    with pytest.raises(UserError, match=r"a\.csv is there already"):
        write(folder, ("a.csv", b"1"), ("a.csv", b"2"))
    with pytest.raises(UserError, match=r"b\.csv is there already"):
        write(folder, ("a.csv", b"1"), ("a.csv/b.csv", b"2"))
    assert [path.name for path in folder.parent.iterdir()] == ["x.tar"]


def test_a_table_is_found_by_its_path_or_the_end_of_it(folder):
    write(
        folder,
        ("a/labels.csv", b"1"),
        ("b/labels.csv", b"2"),
        ("c.csv", b"3"),
        ("d/c.csv", b"4"),
        ("e.jsonl", b"5"),
    )
    assert read_table_file(KEY, "a/labels.csv", folder) == ("a/labels.csv", b"1")
    assert read_table_file(KEY, "c.csv", folder) == ("c.csv", b"3")
    assert read_table_file(KEY, "e.jsonl", folder) == ("e.jsonl", b"5")
    for name, message in (
        ("labels.csv", r"could be a/labels\.csv, b/labels\.csv"),
        ("f.csv", r"holds no such file; of tables there are: a/labels\.csv, b/labels\.csv, c\.csv, .*e\.jsonl"),
        ("../x.tar", "holds no such file"),
    ):
        with pytest.raises(UserError, match=message):
            read_table_file(KEY, name, folder)
    write(folder)
    with pytest.raises(UserError, match=f"{KEY} = c.csv: .* of tables there is none"):
        read_table_file(KEY, "c.csv", folder)


def test_a_folder_that_is_missing_or_changed_is_refused(folder):
    with pytest.raises(UserError, match="run dvc repro"):
        read_table_file(KEY, "a.csv", folder)
    write(folder, ("a.csv", b"1234"))
    for content in (b"123", b"12345", b"1235"):
        (folder / "a.csv").write_bytes(content)
        with pytest.raises(
            UserError, match=r"a\.csv in .* is not what was extracted; delete .* and run dvc repro"
        ):
            read_table_file(KEY, "a.csv", folder)
    (folder / "a.csv").unlink()
    with pytest.raises(UserError, match=r"a\.csv is missing .*; delete .* and run dvc repro"):
        read_table_file(KEY, "a.csv", folder)


def test_a_new_folder_takes_the_place_of_the_old_one_or_of_none(folder):
    write(folder, ("old.csv", b"1"))
    for leftover in (".tables.tmp", ".tables.old"):  # of a killed run
        (folder.with_name(leftover) / "sub").mkdir(parents=True)
    with pytest.raises(ZeroDivisionError), replacing_folder(folder) as new:
        assert list_files(new) == {}
        (new / "half.csv").write_bytes(b"1")
        raise ZeroDivisionError
    assert list_files(folder).keys() == {"old.csv", ".tables.csv"}
    write(folder, ("new.csv", b"1"))
    assert list_files(folder).keys() == {"new.csv", ".tables.csv"}
    assert sorted(path.name for path in folder.parent.iterdir()) == ["tables", "x.tar"]
