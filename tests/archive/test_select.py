"""`extract.only` and `extract.skip` take a part of a source."""

import re
import tarfile

import pytest
from made_archives import CAT, DOG, entry, make_7z, make_tar, make_zip
from pydantic import ValidationError

from unfreeze.archive.extract import ExtractParams
from unfreeze.archive.select import translate
from unfreeze.core.console import UserError


# Pattern, paths that it matches, and paths that it does not. A folder ends with a slash.
@pytest.mark.parametrize(("pattern", "matches", "others"), [
    ("*_mask.png", ["1_mask.png", "a/b/1_mask.png"], ["1_mask.PNG", "1_mask.png.txt", "a_mask"]),
    ("masks", ["masks", "masks/", "masks/1.png", "a/masks/b/1.png"], ["masks2/1.png", "Masks/1.png"]),
    ("masks/", ["masks/", "masks/1.png", "a/masks/1.png"], ["masks", "a/masks"]),
    ("/masks", ["masks", "masks/1.png"], ["a/masks/1.png"]),
    ("./masks", ["masks/1.png"], ["a/masks/1.png"]),
    ("a/b", ["a/b", "a/b/c"], ["a/bc", "x/a/b", "a"]),
    ("a/*.png", ["a/1.png", "a/x.png/1"], ["a/b/1.png", "b/a/1.png"]),
    ("a/**/b", ["a/b", "a/x/b", "a/x/y/b/z"], ["ab", "x/a/b"]),
    ("a/**", ["a/", "a/b/c"], ["a", "b/a/c"]),
    ("**/a", ["a", "x/y/a/b"], ["xa"]),
    ("a/**.png", ["a/1.png", "a/b/1.png"], ["a/1.jpg"]),
    ("a?.png", ["ab.png"], ["a.png", "a/.png"]),
    ("[ab]1", ["a1", "x/b1"], ["c1", "/1"]),
    ("[!ab]1", ["c1"], ["a1", "x/b1"]),
    ("cats [2019]", ["cats 2", "cats [2019]", "cats [2019]/1.png"], ["cats 2019"]),
    ("benign (1).png", ["x/benign (1).png"], ["x/benign 1.png"]),
    ("[!]", ["[!]"], ["a"]),
    ("a+b", ["a+b"], ["aab"]),
    ("Gro\u0308\u00dfe", ["Gr\u00f6\u00dfe/1.png"], []),
])  # fmt: skip
def test_patterns_match_as_in_a_gitignore_file(pattern, matches, others):
    regex = re.compile(translate(pattern), re.DOTALL)
    assert [path for path in matches if not regex.fullmatch(path)] == []
    assert [path for path in others if regex.fullmatch(path)] == []


PAIRS = {f"us/{kind}/{kind} ({i}){end}.png": CAT for kind in ("a", "b") for i in (1, 2) for end in ("", "_mask")}
TWICE = {f"{top}{split}/{i}.png": DOG for top in ("x/", "x/x/") for split in ("train", "test") for i in range(3)}


@pytest.mark.parametrize("make", [make_zip, make_tar, make_7z])
def test_masks_and_one_of_two_copies_are_left_out(make, tmp_path, unpack):
    result = unpack(make(tmp_path / "a.zip", PAIRS), skip=("*_mask.png",))
    assert sorted(result.files) == sorted(path for path in PAIRS if "_mask" not in path)
    assert result.summary.left_out == 4
    assert "4 files left out by extract.only and extract.skip (such as us/a/a (1)_mask.png, " in str(
        result.summary
    )
    source = make(tmp_path / "b.zip", TWICE)
    below = {path: data for path, data in TWICE.items() if path.startswith("x/x/")}
    assert unpack(source, only=("x/x",)).files == below
    assert unpack(source, skip=("x/x/",)).files == {p: data for p, data in TWICE.items() if p not in below}
    assert unpack(source, only=("x/x", "x/test"), skip=("0.png", "x/x/train")).files.keys() == {
        *("x/test/1.png", "x/test/2.png", "x/x/test/1.png", "x/x/test/2.png"),
    }


def test_patterns_see_files_folders_and_links_of_a_source_folder(tmp_path, unpack):
    source = tmp_path / "raw"
    (source / "masks").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "masks" / "1.png").write_bytes(CAT)
    (source / "2.png").write_bytes(CAT)
    (source / "gone.png").symlink_to("nothing")
    with pytest.raises(UserError, match=r"gone\.png is neither"):
        unpack(source)
    result = unpack(source, skip=("masks", "gone.png", "empty/"))
    assert result.files == {"2.png": CAT}
    assert result.summary.left_out == 2
    assert unpack(source, only=("masks",)).files == {"masks/1.png": CAT}


def test_links_are_left_out_and_those_to_what_is_left_out_are_counted(tmp_path, unpack):
    links = [entry("a/soft.png", tarfile.SYMTYPE, "1.png"), entry("b/hard.png", tarfile.LNKTYPE, "a/1.png")]
    source = make_tar(tmp_path / "a.tar", {"a/1.png": CAT, "b/2.png": DOG}, *links)
    result = unpack(source, only=("b",))
    assert result.files == {"b/2.png": DOG}
    assert (result.summary.left_out, result.summary.links_skipped) == (2, 1)
    assert unpack(source, skip=("soft.png",)).files == {"a/1.png": CAT, "b/2.png": DOG, "b/hard.png": CAT}


def test_an_archive_inside_is_matched_like_a_folder_and_its_members_by_their_final_paths(tmp_path, unpack):
    old = make_zip(tmp_path / "old.zip", {"1.png": CAT, "x/3.png": CAT}).read_bytes()
    new = make_tar(tmp_path / "new.tgz", {"2.png": DOG, "x/4.png": DOG}, mode="w:gz").read_bytes()
    outer = make_7z(tmp_path / "a.7z", {"set/old.zip": old, "set/new.tgz": new, "set/none.rar": b"Rar!"})
    with pytest.raises(UserError, match="is a RAR archive"):
        unpack(outer)
    rar = "*.rar"
    result = unpack(outer, skip=(rar, "old.zip"))
    assert result.files == {"set/2.png": DOG, "set/x/4.png": DOG}
    assert (result.summary.archives, result.summary.left_out) == (3, 2)
    assert unpack(outer, skip=(rar,), only=("set/old.zip",)).files == {"set/1.png": CAT, "set/x/3.png": CAT}
    assert unpack(outer, skip=(rar,), only=("new.tgz",)).files == {"set/2.png": DOG, "set/x/4.png": DOG}
    assert unpack(outer, skip=(rar,), only=("set/x",)).files == {"set/x/3.png": CAT, "set/x/4.png": DOG}
    assert unpack(outer, skip=(rar, "set/x"), only=("old.zip",)).files == {"set/1.png": CAT}
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "old.zip").write_bytes(old)
    (folder / "new.tgz").write_bytes(new)
    assert unpack(folder, skip=("old.zip",)).files == {"2.png": DOG, "x/4.png": DOG}
    assert unpack(folder, only=("old.zip",)).files == {"1.png": CAT, "x/3.png": CAT}


@pytest.mark.parametrize(("key", "pattern", "near"), [
    ("only", "chest/trian", "chest/train/"),
    ("skip", "Masks", "chest/train/masks/"),
    ("skip", "*.jpg", "chest/train/1.jpeg"),
    ("skip", "*_Mask.png", "are: chest/1_mask.png"),
    ("only", ".git", "chest"),
])  # fmt: skip
def test_a_pattern_that_matches_nothing_is_an_error_that_shows_what_is_near(key, pattern, near, tmp_path, unpack):
    files = {
        "chest/1.png": CAT,
        "chest/1_mask.png": CAT,
        "chest/train/1.jpeg": CAT,
        "chest/train/masks/1.png": CAT,
        "labels.csv": b"x",
        ".git/x": b"x",
    }
    with pytest.raises(UserError) as caught:
        unpack(make_zip(tmp_path / "a.zip", files), **{key: (pattern,)})
    message = str(caught.value)
    assert message.startswith(f"extract.{key}: {pattern!r} matches nothing")
    assert near in message


def test_a_pattern_of_skip_may_match_hidden_files_alone(tmp_path, unpack):
    source = make_zip(tmp_path / "a.zip", {"1.png": CAT, ".git/x": b"x"})
    assert unpack(source, skip=(".git",)).files == {"1.png": CAT}


def test_what_is_left_out_counts_towards_max_bytes(tmp_path, unpack):
    source = make_7z(tmp_path / "a.7z", {"big.bin": bytes(10**6), "1.png": CAT})
    with pytest.raises(UserError, match=r"max_bytes = 999,999"):
        unpack(source, max_bytes=999_999, skip=("big.bin",))


def test_the_params_take_patterns_and_default_to_none():
    params = ExtractParams(source="a.7z", max_bytes=1)
    assert (params.only, params.skip, params.names) == ([], [], "auto")
    for wrong in ("masks", [""], ["[b-a]"], [1]):
        with pytest.raises(ValidationError, match=r"skip"):
            ExtractParams(source="a.7z", max_bytes=1, skip=wrong)
