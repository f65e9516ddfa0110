"""Archives inside archives, folders of them, and archives in parts."""

import pytest
from made_archives import CAT, DOG, FILES, make_7z, make_tar, make_zip

from unfreeze.core.console import UserError


def test_archives_inside_archives_land_in_the_folder_that_holds_them(tmp_path, unpack):
    inner = make_zip(tmp_path / "inner.zip", {"1.png": CAT}).read_bytes()
    tar = make_tar(tmp_path / "x.tar", {"jpg/2.png": DOG, "deep/inner.zip": inner}).read_bytes()
    table = make_7z(tmp_path / "t.7z", {"train.csv": b"a,b\n"}).read_bytes()
    outer = make_7z(tmp_path / "outer.7z", {"set/train-jpg.tar": tar, "set/train.csv.7z": table, "top.zip": inner})
    result = unpack(outer)
    assert result.files == {
        "set/jpg/2.png": DOG,
        "set/deep/1.png": CAT,
        "set/train.csv": b"a,b\n",
        "1.png": CAT,
    }
    assert result.summary.archives == 5


def test_archives_too_deep_inside_each_other(tmp_path, unpack):
    data = make_zip(tmp_path / "0.zip", {"a.txt": b"a"}).read_bytes()
    for i in range(6):
        data = make_zip(tmp_path / "next.zip", {f"{i}.zip": data}).read_bytes()
    with pytest.raises(UserError, match="more than 5 deep"):
        unpack(tmp_path / "next.zip")


def test_a_folder_of_archives_images_links_and_junk(tmp_path, unpack):
    source = tmp_path / "raw"
    (source / "plain" / "cat").mkdir(parents=True)
    (source / "plain" / "cat" / "1.png").write_bytes(CAT)
    (source / "empty").mkdir()
    make_zip(source / "plain" / "more.zip", {"cat/2.png": CAT})
    (source / "labels.csv").write_bytes(b"x")
    (source / ".gitignore").write_bytes(b"/photos.7z")
    elsewhere = make_7z(tmp_path / "elsewhere.7z", {"dog/3.png": DOG})
    (source / "linked.7z").symlink_to(elsewhere)
    (tmp_path / "link").symlink_to(source)
    result = unpack(tmp_path / "link")
    assert result.files == {
        "plain/cat/1.png": CAT, "plain/cat/2.png": CAT, "labels.csv": b"x", "dog/3.png": DOG, "empty/": b"",
    }  # fmt: skip
    assert (result.summary.archives, result.summary.junk) == (2, 1)
    assert (
        str(result.summary)
        == "4 files, 0.2 MB from 2 archives, 1 hidden or junk file skipped (such as .gitignore)"
    )


def test_parts_side_by_side_are_one_archive(tmp_path, unpack):
    data = make_7z(tmp_path / "whole.7z", FILES).read_bytes()
    source = tmp_path / "raw"
    source.mkdir()
    for number in range(3):
        (source / f"a.7z.{number + 1:03}").write_bytes(
            data[number * 200 : (number + 1) * 200 if number < 2 else None]
        )
    assert unpack(source).files == FILES
    assert unpack(source / "a.7z.001").files == FILES
    with pytest.raises(UserError, match=r"name .*a\.7z\.001"):
        unpack(source / "a.7z.002")
    (source / "a.7z.002").unlink()
    for wrong in (source, source / "a.7z.001"):
        with pytest.raises(UserError, match=r"a\.7z\.002 is missing"):
            unpack(wrong)
