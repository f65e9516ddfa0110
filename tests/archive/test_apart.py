"""One archive a class: names of archives in one folder collide, and each goes into a folder called as it."""

import gzip
from pathlib import Path

import pytest
from made_archives import CAT, DOG, make_7z, make_tar, make_zip

from unfreeze.core.console import UserError

FORMS = {
    "zip": make_zip, "7z": make_7z, "tar": make_tar,
    "tar.gz": lambda path, files: make_tar(path, files, mode="w:gz"),
    "tgz": lambda path, files: make_tar(path, files, mode="w:gz"),
}  # fmt: skip
ROCK = {"0.png": CAT, "1.png": DOG}
PAPER = {"0.png": DOG, "1.png": CAT, "sub/2.png": CAT}
EXPECTED = {**{f"rock/{path}": data for path, data in ROCK.items()}, **{f"paper/{p}": d for p, d in PAPER.items()}}


def write(folder: Path, suffix: str = "zip") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    FORMS[suffix](folder / f"rock.{suffix}", ROCK)
    FORMS[suffix](folder / f"paper.{suffix}", PAPER)
    return folder


@pytest.mark.parametrize("suffix", FORMS)
def test_archives_in_a_folder_whose_names_collide_go_into_folders_called_as_they(suffix, tmp_path, unpack, caplog):
    source = write(tmp_path / "raw", suffix)
    make_zip(source / "third.zip", {"other.png": CAT})
    (source / "labels.csv").write_bytes(b"x")
    (source / "more.csv.gz").write_bytes(gzip.compress(b"y"))
    result = unpack(source)
    assert result.files == EXPECTED | {"third/other.png": CAT, "labels.csv": b"x", "more.csv": b"y"}
    layers = 2 if suffix in ("tgz", "tar.gz") else 1
    assert result.summary.archives == 2 * layers + 2
    [line] = [record.getMessage() for record in caplog.records]
    assert f"paper.{suffix}" in line and f"rock.{suffix}" in line and "0.png" in line


def test_archives_inside_an_archive_and_in_several_folders(tmp_path, unpack, caplog):
    inner = {f"{split}/{path.name}": path.read_bytes() for split in ("train", "test")
             for path in sorted(write(tmp_path / "x").iterdir())}  # fmt: skip
    inner["train/sub.zip"] = make_zip(tmp_path / "sub.zip", inner).read_bytes()
    result = unpack(make_7z(tmp_path / "outer.7z", inner))
    both = {f"{split}/{path}": data for split in ("train", "test") for path, data in EXPECTED.items()}
    assert result.files == both | {f"train/sub/{path}": data for path, data in both.items()}
    assert len(caplog.records) == 4


def test_the_same_bytes_come_out_each_time_and_nothing_of_the_first_try(tmp_path, unpack):
    source = write(tmp_path / "raw")
    first = unpack(source)
    before = first.tar.read_bytes(), first.csv.read_bytes()
    again = unpack(source)
    assert (again.tar.read_bytes(), again.csv.read_bytes()) == before
    assert set(first.files) == set(EXPECTED)
    assert first.summary.bytes == sum(map(len, EXPECTED.values()))
    assert unpack(source, max_bytes=first.summary.bytes).files == EXPECTED  # nothing counts twice


def test_where_no_names_collide_nothing_changes(tmp_path, unpack, caplog):
    (tmp_path / "raw").mkdir()
    make_zip(tmp_path / "raw" / "rock.zip", {"rock/0.png": CAT})
    make_zip(tmp_path / "raw" / "paper.zip", {"paper/0.png": DOG})
    assert unpack(tmp_path / "raw").files == {"rock/0.png": CAT, "paper/0.png": DOG}
    assert not caplog.records


def test_other_collisions_stay_errors(tmp_path, unpack):
    source = write(tmp_path / "raw")
    (source / "paper").mkdir()
    (source / "paper" / "1.png").write_bytes(CAT)
    with pytest.raises(UserError, match=r"paper/1\.png has come out before"):
        unpack(source)
    other = tmp_path / "other"
    (other / "sub").mkdir(parents=True)
    make_zip(other / "a.zip", {"sub/1.png": CAT})
    make_zip(other / "sub" / "b.zip", {"1.png": DOG})
    with pytest.raises(UserError, match=r"sub/1\.png has come out before, of .*a\.zip"):
        unpack(other)
    same = tmp_path / "same"
    same.mkdir()
    make_zip(same / "a.zip", {"1.png": CAT})
    make_tar(same / "a.tar", {"1.png": DOG})
    with pytest.raises(UserError, match=r"a\.zip: 1\.png: a/1\.png has come out before, of .*a\.tar"):
        unpack(same)
    tables = tmp_path / "tables"
    tables.mkdir()
    for suffix in ("csv.gz", "CSV.gz"):
        (tables / f"a.{suffix}").write_bytes(gzip.compress(b"x"))
    assert unpack(tables).files == {"a.csv": b"x", "a.CSV": b"x"}


def test_an_archive_and_its_copy_are_refused(tmp_path, unpack):
    source = write(tmp_path / "raw")
    (source / "paper (1).zip").write_bytes((source / "paper.zip").read_bytes())
    with pytest.raises(UserError, match=r"paper \(1\)\.zip and .*paper\.zip hold the same files.*extract\.skip"):
        unpack(source)
    assert unpack(source, skip=("paper (1).zip",)).files == EXPECTED


def test_patterns_see_the_folders_called_as_the_archives(tmp_path, unpack):
    source = write(tmp_path / "raw")
    assert unpack(source, skip=("rock/0.png",)).files == {p: d for p, d in EXPECTED.items() if p != "rock/0.png"}
    assert unpack(source, skip=("rock.zip",)).files == PAPER


def test_the_case_of_one_zip_a_class(real_data, unpack):
    result = unpack(real_data / "cases" / "25-one-zip-a-class" / "classes")
    assert set(result.files) == {f"{name}-samples/{i}.jpg" for name in ("rock", "paper") for i in range(12)}
