"""Names that are safe are kept, others are refused, and junk is skipped."""

import tarfile

import pytest
from made_archives import CAT, DOG, entry, make_tar, make_zip

from unfreeze.core.console import UserError


def test_junk_is_skipped_and_empty_folders_are_listed(tmp_path, unpack):
    junk = {"__MACOSX/a/._1.png": b"j", "a/.DS_Store": b"j", "a/Thumbs.db": b"j", "a/._1.png": b"j"}
    folders = [entry(name, tarfile.DIRTYPE) for name in ("a", "b", "b/c", "__MACOSX", "./")]
    result = unpack(make_tar(tmp_path / "a.tar", {"./a//1.png": CAT, **junk}, *folders))
    assert result.files == {"a/1.png": CAT, "b/c/": b""}
    assert result.rows[1]["sha256"] == ""
    assert result.summary.junk == 4


HOSTILE_NAMES = ["../up.png", "a/../../up.png", "/abs.png", "C:/abs.png", "//server/x", "a\x07.png"]


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, "a\\..\\..\\up.png", "\\\\server\\x", "a\0.png"])
def test_names_that_lead_out_are_refused(name, tmp_path, unpack):
    archives = [make_zip(tmp_path / "a.zip", {name.replace("\0", "#"): CAT})]
    if "\0" in name:  # zipfile does not write it, and in tar it ends the name
        archives[0].write_bytes(archives[0].read_bytes().replace(b"a#.png", name.encode()))
    else:
        archives.append(make_tar(tmp_path / "a.tar", {name: CAT}))
    for source in archives:
        with pytest.raises(UserError, match=rf"{source.name}: the name"):
            unpack(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["out", *(path.name for path in archives)])


@pytest.mark.parametrize("again", ["a/1.png", "./a//1.png", "a/1.png/x.png"])
def test_a_name_that_repeats_or_is_also_a_folder_is_refused(again, tmp_path, unpack):
    source = tmp_path / "raw"
    source.mkdir()
    make_zip(source / "one.zip", {"a/1.png": CAT})
    make_tar(source / "two.tar", {again: DOG})
    with pytest.raises(UserError, match=r"a/1\.png has come out"):
        unpack(source)
