"""Names in zips are read by the strongest evidence that is there, and a guess is said."""

import shutil
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest
from made_archives import CAT, make_zip
from pydantic import ValidationError

from unfreeze.archive.extract import ExtractParams
from unfreeze.core.console import UserError

FLAG = 0x800
UMLAUT = "Bro\u0308tchen/Mu\u0308sli.png"


class RawName(zipfile.ZipInfo):
    """A member whose name is written as these bytes."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.raw, self.flags


def make_raw_zip(path: Path, *names: bytes, flags: int = 0, extra: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            info = RawName(f"{len(archive.infolist())}")
            info.raw, info.flags, info.extra = name, flags, extra
            archive.writestr(info, CAT)
    return path


def describe_path(raw: bytes, name: str, version: int = 1) -> bytes:
    """The Info-ZIP Unicode Path extra field, after one of another kind."""
    field = bytes([version]) + zlib.crc32(raw).to_bytes(4, "little") + name.encode()
    return struct.pack("<HHBHH", 0x9999, 1, 0, 0x7075, len(field)) + field


def read_notes(caplog) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


def test_utf8_with_the_flag_or_without_it(tmp_path, unpack, caplog):
    for flags in (FLAG, 0):
        source = make_raw_zip(tmp_path / "a.zip", UMLAUT.encode(), "写真.png".encode(), b"a.png", flags=flags)
        assert unpack(source).files == {UMLAUT: CAT, "写真.png": CAT, "a.png": CAT}
    assert not caplog.records
    assert unpack(source, names="cp932").files.keys() == {UMLAUT, "写真.png", "a.png"}
    assert "extract.names = cp932" in read_notes(caplog)


def test_the_unicode_path_field_counts_if_its_checksum_fits(tmp_path, unpack, caplog):
    raw = "é".encode()  # of another encoding, as it happens
    field = describe_path(raw, "ú.png")
    assert unpack(make_raw_zip(tmp_path / "a.zip", raw, extra=field)).files == {"ú.png": CAT}
    ascii_name = make_raw_zip(tmp_path / "b.zip", b"#U0161.png", extra=describe_path(b"#U0161.png", "š.png"))
    assert unpack(ascii_name).files == {"š.png": CAT}
    assert unpack(make_raw_zip(tmp_path / "c.zip", raw, extra=field, flags=FLAG)).files == {"é": CAT}
    for wrong in (
        describe_path(b"other", "ú.png"),
        describe_path(raw, "ú.png", 2),
        describe_path(raw, ""),
        field[:-9],
    ):
        if wrong == field[:-9]:
            continue  # zipfile refuses a field that is cut off
        assert unpack(make_raw_zip(tmp_path / "d.zip", raw, extra=wrong)).files == {"é": CAT}
    assert not caplog.records
    with pytest.raises(UserError, match=r"e\.zip: the name '\.\./up\.png' has"):
        unpack(make_raw_zip(tmp_path / "e.zip", b"a.png", extra=describe_path(b"a.png", "../up.png")))


def test_other_encodings_are_guessed_with_a_warning_or_named(tmp_path, unpack, caplog):
    source = make_raw_zip(tmp_path / "a.zip", "日本/写真.png".encode("cp932"), b"a.png")
    guessed = "日本/写真.png".encode("cp932").decode("cp437")
    assert unpack(source).files.keys() == {guessed, "a.png"}
    notes = read_notes(caplog)
    assert f"{source}: 1 names are not UTF-8" in notes
    assert "extract.names" in notes and "cp437" in notes and repr(guessed) in notes
    caplog.clear()
    assert unpack(source, names="cp932").files.keys() == {"日本/写真.png", "a.png"}
    assert unpack(make_raw_zip(tmp_path / "b.zip", "Größe.png".encode("cp437")), names="cp437").files.keys() == {
        "Größe.png"
    }
    assert not caplog.records
    with pytest.raises(UserError, match=r"a\.zip has the name b'.*', which is not in extract\.names = ascii"):
        unpack(source, names="ascii")


def test_a_name_that_could_be_utf8_is_read_as_the_others_of_its_archive(tmp_path, unpack, caplog):
    names = ["模", "照片"]  # of which the first is valid UTF-8 in GBK
    assert names[0].encode("gbk").decode() != names[0]
    source = make_raw_zip(tmp_path / "a.zip", *(name.encode("gbk") for name in names))
    assert unpack(source, names="gbk").files.keys() == set(names)
    mixed = make_raw_zip(tmp_path / "b.zip", UMLAUT.encode(), "Größe.png".encode("cp437"))
    assert unpack(mixed).files.keys() == {UMLAUT, "Größe.png"}
    assert "1 names are not UTF-8" in read_notes(caplog)


def test_backslashes_throughout_are_separators(tmp_path, unpack, caplog):
    names = [b"train\\", b"train\\cat\\1.png", b"train\\dog\\2.png", b"readme.txt"]
    assert unpack(make_raw_zip(tmp_path / "a.zip", *names)).files.keys() == {
        *("train/cat/1.png", "train/dog/2.png", "readme.txt"),
    }
    notes = read_notes(caplog)
    assert "a.zip: backslashes" in notes and repr("train\\") in notes
    for name in (b"x\\..\\..\\up.png", b"C:\\1.png", b"\\\\server\\1.png"):
        with pytest.raises(UserError, match=r"b\.zip: the name"):
            unpack(make_raw_zip(tmp_path / "b.zip", name))
    with pytest.raises(UserError, match=r"c\.zip: the name 'a\\\\1\.png' has a backslash"):
        unpack(make_raw_zip(tmp_path / "c.zip", b"a\\1.png", b"b/2.png"))


def test_a_backslash_in_a_guessed_name_is_no_separator(tmp_path, unpack):
    """In cp932 it is the second byte of many characters."""
    raw = "表/ソ.png".encode("cp932"), "表紙.png".encode("cp932")
    assert all(b"\\" in name for name in raw)
    for number in (1, 2):
        source = make_raw_zip(tmp_path / "a.zip", *raw[-number:])
        with pytest.raises(UserError, match=r"a\.zip has names that are not UTF-8.*set extract\.names"):
            unpack(source)
        assert "表紙.png" in unpack(source, names="cp932").files


@pytest.mark.parametrize("name", ["cp933", "rot13", "utf-16", "hex", ""])
def test_an_encoding_that_cannot_be_is_refused(name):
    with pytest.raises(ValidationError, match="names"):
        ExtractParams(source="a.zip", max_bytes=1, names=name)


@pytest.mark.skipif(not shutil.which("unzip"), reason="unzip is not installed")
@pytest.mark.parametrize("variant", ["c", "d"])
def test_names_of_the_macos_finder_are_those_that_unzip_shows(variant, real_data, unpack, caplog):
    source = real_data / "cases" / "10-zip-names-without-the-flag" / f"{variant}.zip"
    command = ["unzip", "-Z1", str(source)]
    shown = subprocess.run(command, capture_output=True, check=True, env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin"})
    assert unpack(source).files.keys() == set(shown.stdout.decode().splitlines())
    assert not caplog.records


def test_a_zip_by_python_is_read_as_before(tmp_path, unpack, caplog):
    assert unpack(make_zip(tmp_path / "a.zip", {UMLAUT: CAT})).files == {UMLAUT: CAT}
    assert not caplog.records
