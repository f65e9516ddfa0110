"""Every archive is unpacked right, or refused with its name and the reason."""

import gzip
import hashlib
import tarfile

import pytest
from made_archives import FILES, FORMATS, LONG, entry, make_7z, make_tar, make_zip

from unfreeze.archive.names import list_tables_beside
from unfreeze.core.console import UserError


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_files(name, tmp_path, unpack):
    result = unpack(FORMATS[name](tmp_path / name, FILES))
    assert result.files == FILES
    assert (result.summary.files, result.summary.bytes) == (3, sum(map(len, FILES.values())))


def test_the_tar_is_plain_and_the_index_describes_it(tmp_path, unpack):
    files = {**FILES, LONG: b"long", "empty.txt": b""}
    result = unpack(make_7z(tmp_path / "a.7z", files))
    with tarfile.open(result.tar, "r:") as tar:
        assert {member.name: tar.extractfile(member).read() for member in tar} == files
        for member in tar:
            assert (member.mtime, member.uid, member.gid, member.mode) == (0, 0, 0, 0o644)
            assert member.uname == member.gname == ""
    assert [row["path"] for row in result.rows] == sorted(files)
    for row in result.rows:
        data = files[row["path"]]
        assert (int(row["size"]), row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_same_source_gives_the_same_bytes(tmp_path, unpack):
    source = make_tar(tmp_path / "a.tar", FILES, entry("link.png", tarfile.SYMTYPE, "set/cat/1.png"))
    first = unpack(source)
    before = first.tar.read_bytes(), first.csv.read_bytes()
    again = unpack(source)
    assert (again.tar.read_bytes(), again.csv.read_bytes()) == before


@pytest.mark.parametrize("name", FORMATS)
def test_truncated_archives_are_refused(name, tmp_path, unpack):
    source = FORMATS[name](tmp_path / name, FILES)
    data = source.read_bytes()
    for length in (len(data) // 3, len(data) // 2, len(data) * 9 // 10):
        source.write_bytes(data[:length])
        with pytest.raises(UserError, match=rf"{name}.* (is damaged|is not an archive)"):
            unpack(source)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_archives_are_refused_or_harmless(name, tmp_path, unpack):
    """Where a changed byte is seen it is named; where it is not (padding, times), the files are right."""
    source = FORMATS[name](tmp_path / name, FILES)
    data = source.read_bytes()
    checked = name != "a.tar"  # a plain tar has no checksum over its data
    for at in range(0, len(data), max(1, len(data) // 25)):
        source.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            result = unpack(source)
        except UserError as error:
            assert name in str(error)
            assert "Traceback" not in str(error)
        else:
            assert not checked or sorted(result.files.values()) == sorted(FILES.values())


def test_more_than_max_bytes_is_refused(tmp_path, unpack):
    bomb = bytes(10**7)
    inner = make_zip(tmp_path / "inner.zip", {"zeros": bomb}).read_bytes()
    for source in (
        make_7z(tmp_path / "a.7z", {"zeros": bomb}),
        make_zip(tmp_path / "a.zip", {"zeros": bomb}),
        make_tar(tmp_path / "a.tar", {"zeros": bomb}),
        make_tar(tmp_path / "a.tgz", {"zeros": bomb}, mode="w:gz"),
        make_zip(tmp_path / "outer.zip", {"inner.zip": inner}),
        make_tar(tmp_path / "junk.tgz", {"._zeros": bomb}, mode="w:gz"),
    ):
        with pytest.raises(UserError, match=r"max_bytes = 9,999,999"):
            unpack(source, max_bytes=10**7 - 1)
    (tmp_path / "a.gz").write_bytes(gzip.compress(bomb))
    with pytest.raises(UserError, match=r"max_bytes = 9,999,999"):
        unpack(tmp_path / "a.gz", max_bytes=10**7 - 1)
    assert unpack(tmp_path / "a.zip", max_bytes=10**7).summary.bytes == 10**7


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "is empty"),
    (b"Rar!\x1a\x07\x01\x00", "is a RAR archive"),
    (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    (b"<!DOCTYPE html>", "is a web page"),
    (b"path,label\n", "is not an archive"),
])  # fmt: skip
def test_what_is_no_archive_is_named(content, reason, tmp_path, unpack):
    (tmp_path / "a.7z").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.7z {reason}"):
        unpack(tmp_path / "a.7z")


def test_a_missing_source_says_what_is_there(tmp_path, unpack):
    (tmp_path / "photos.7z").write_bytes(b"")
    with pytest.raises(UserError, match=r"photo\.7z is not there; .* holds: photos\.7z"):
        unpack(tmp_path / "photo.7z")
    (tmp_path / "link").symlink_to(tmp_path / "gone.7z")
    with pytest.raises(UserError, match=r"is a link to .*gone\.7z, which is not there"):
        unpack(tmp_path / "link")
    with pytest.raises(UserError, match="holds the pipeline's own"):
        unpack(tmp_path)


def test_an_archive_without_files_is_refused(tmp_path, unpack):
    with pytest.raises(UserError, match="holds no files"):
        unpack(make_tar(tmp_path / "a.tar", {}, entry("cat", tarfile.DIRTYPE)))


def test_tables_beside_an_archive_without_one_are_hinted_at(tmp_path, unpack, caplog):
    source = make_zip(tmp_path / "a.zip", {"1.png": b"x"})
    for name in ("labels.csv", "test.JSONL", ".hidden.csv", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.csv").mkdir()
    beside = [tmp_path / "labels.csv", tmp_path / "test.JSONL"]
    assert list_tables_beside(source) == beside
    assert list_tables_beside(tmp_path) == []
    unpack(source)
    [hint] = [record.getMessage() for record in caplog.records]
    assert str(tmp_path) in hint and "extract.source" in hint and "labels.csv, test.JSONL" in hint
    caplog.clear()
    unpack(make_zip(tmp_path / "b.zip", FILES))  # it has a table
    assert not caplog.records
