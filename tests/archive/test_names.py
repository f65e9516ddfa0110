"""Names that are safe are kept, others are refused, and junk is skipped."""

import tarfile

import pytest
from made_archives import CAT, DOG, entry, make_7z, make_tar, make_zip

from unfreeze.core.console import UserError


def test_junk_is_skipped_and_empty_folders_are_listed(tmp_path, unpack):
    junk = {"__MACOSX/a/._1.png": b"j", "a/.DS_Store": b"j", "a/Thumbs.db": b"j", "a/._1.png": b"j"}
    folders = [entry(name, tarfile.DIRTYPE) for name in ("a", "b", "b/c", "__MACOSX", "./")]
    result = unpack(make_tar(tmp_path / "a.tar", {"./a//1.png": CAT, **junk}, *folders))
    assert result.files == {"a/1.png": CAT, "b/c/": b""}
    assert result.rows[1]["sha256"] == ""
    assert result.summary.junk == 4


HIDDEN = {
    "train/.ipynb_checkpoints/1.png": CAT, ".git/config": b"x", ".cache/a/b/1.png": CAT, "a/.1.png": CAT,
}  # fmt: skip
LEFT_BEHIND = {
    "a/Icon\r": b"", "a/ehthumbs.db": b"x", "a/@eaDir/1.png/SYNO_THUMB.jpg": CAT, "$RECYCLE.BIN/1.png": CAT,
    ".Spotlight-V100/x": b"x", "a/__pycache__/x.pyc": b"x", "System Volume Information/x": b"x", "a.7z.dvc": b"x",
}  # fmt: skip


@pytest.mark.parametrize("make", [make_zip, make_tar, make_7z])
def test_hidden_files_and_junk_are_skipped_and_counted_everywhere(make, tmp_path, unpack):
    skipped = HIDDEN | LEFT_BEHIND
    kept = {"a/1.png": CAT, "a/x.y/Icon.png": DOG, "a/1.": b"x", "train/2.png": DOG}
    assert unpack(make(tmp_path / "a.zip", skipped | kept)).files == kept
    inner = make(tmp_path / "inner.zip", skipped | kept).read_bytes()
    result = unpack(make(tmp_path / "outer.zip", {"x/inner.zip": inner, "x/.inner.zip": b"no archive"}))
    assert result.files == {f"x/{path}": data for path, data in kept.items()}
    assert result.summary.junk == len(skipped) + 1
    source = tmp_path / "raw"
    for path, data in (skipped | kept).items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(data)
    (source / ".hidden").symlink_to(tmp_path)
    (source / ".git" / "loop").symlink_to(source)
    (source / ".git" / "gone").symlink_to("nothing")
    result = unpack(source)
    assert result.files == kept
    assert result.summary.junk == len(skipped) + 1  # the link to nothing; links to folders are no files


def test_the_summary_gives_three_examples_of_different_folders(tmp_path, unpack):
    names = [f"{folder}/.ipynb_checkpoints/{i}.png" for folder in "abcd" for i in range(3)]
    result = unpack(make_zip(tmp_path / "a.zip", {"1.png": CAT} | dict.fromkeys(names, DOG)))
    assert "12 hidden or junk files skipped (such as a/.ipynb_checkpoints/0.png, b/" in str(result.summary)
    assert result.summary.remarks[0].count(".png") == 3


def test_an_empty_hidden_folder_is_said_too(tmp_path, unpack):
    result = unpack(make_tar(tmp_path / "a.tar", {"1.png": CAT}, entry("a/.git", tarfile.DIRTYPE)))
    assert result.files == {"1.png": CAT}
    assert "1 hidden or junk folder skipped (such as a/.git/)" in str(result.summary)


def test_a_source_with_nothing_but_hidden_files_says_so(tmp_path, unpack):
    with pytest.raises(
        UserError, match=r"a\.zip holds no files but 1 hidden or junk file skipped \(such as \.a\)"
    ):
        unpack(make_zip(tmp_path / "a.zip", {".a": CAT}))


def test_a_source_that_is_hidden_itself_is_read(tmp_path, unpack):
    folder = tmp_path / ".cache"
    folder.mkdir()
    assert unpack(make_zip(folder / ".a.zip", {"1.png": CAT})).files == {"1.png": CAT}
    (folder / ".a.zip").unlink()
    make_zip(folder / "b.zip", {"1.png": CAT})
    assert unpack(folder).files == {"1.png": CAT}


@pytest.mark.parametrize(
    "name", ["../.up.png", ".git/../../up.png", "/.abs", ".a\x07.png", ".git/a\rb", "x/../Icon\r"]
)
def test_hidden_names_that_lead_out_are_refused(name, tmp_path, unpack):
    with pytest.raises(UserError, match=r"a\.tar: the name"):
        unpack(make_tar(tmp_path / "a.tar", {name: CAT, "1.png": CAT}))


def test_links_that_are_hidden_or_lead_to_what_is_hidden(tmp_path, unpack):
    links = [entry(".soft", tarfile.SYMTYPE, "1.png"), entry("a/to.png", tarfile.SYMTYPE, "../.git/1.png")]
    result = unpack(make_tar(tmp_path / "a.tar", {"1.png": CAT, ".git/1.png": DOG}, *links))
    assert result.files == {"1.png": CAT}
    assert (result.summary.junk, result.summary.links_skipped) == (2, 1)
    assert "what is left out skipped (such as a/to.png)" in str(result.summary)


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
    with pytest.raises(UserError, match=r"a/1\.png has come out"):
        unpack(make_tar(tmp_path / "a.tar", {"a/1.png": CAT}, entry(again, tarfile.REGTYPE)))
    source = tmp_path / "raw"
    (source / "a").mkdir(parents=True)
    (source / "a" / "1.png").write_bytes(CAT)
    make_zip(source / "b.zip", {again: DOG})
    with pytest.raises(UserError, match=r"a/1\.png has come out"):
        unpack(source)
