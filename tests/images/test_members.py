import pytest
from image_files import pack

from unfreeze.core.console import UserError
from unfreeze.images import members
from unfreeze.images.members import Member, Rejection, iterate_members, read_index, read_member, select_files


def test_the_index_gives_files_and_no_folders(tmp_path):
    pack(tmp_path, {"b/01": b"four", "a": b"xyz"})
    files = list(iterate_members(read_index(tmp_path / "extracted.csv")))
    assert files == [Member("a", 512, 3), Member("b/01", 1536, 4)]
    assert all(type(number) is int for file in files for number in file[1:])
    with (tmp_path / "extracted.tar").open("rb") as tar:
        assert [read_member(tar, file) for file in files] == [b"xyz", b"four"]


def test_files_are_selected_by_their_paths_even_if_there_are_none(tmp_path):
    pack(tmp_path, {"a.png": b"", "b.csv": b"", "c.png": b""})
    files = select_files(read_index(tmp_path / "extracted.csv"), lambda path: path.endswith(".png"))
    assert [file.path for file in iterate_members(files)] == ["a.png", "c.png"]
    pack(tmp_path, {})
    nothing = select_files(read_index(tmp_path / "extracted.csv"), lambda path: True)
    assert len(nothing) == 0 and list(iterate_members(nothing)) == []


def test_a_missing_index_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"extracted\.csv is missing"):
        read_index(tmp_path / "extracted.csv")


def test_members_that_cannot_be_read(tmp_path, monkeypatch):
    pack(tmp_path, {"a": b"xyz"})
    with (tmp_path / "extracted.tar").open("rb") as tar:
        with pytest.raises(UserError, match=r"extracted\.tar ends before the end of b; run the extract stage"):
            read_member(tar, Member("b", 512, 10**6))
        monkeypatch.setattr(members, "MAX_BYTES", 2)
        with pytest.raises(Rejection, match="larger than 2 bytes"):
            read_member(tar, Member("a", 512, 3))


def test_an_index_takes_little_memory(tmp_path):
    count = 5000
    with (tmp_path / "index.csv").open("w") as file:
        file.write("path,offset,size,sha256\n")
        file.writelines(f"train/some class/image_{i:030}.jpeg,{i * 1024},700,{i:064}\n" for i in range(count))
    files = read_index(tmp_path / "index.csv")
    assert files.memory_usage(deep=True).sum() < 150 * count
