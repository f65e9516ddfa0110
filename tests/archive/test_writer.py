"""Links become more names for the same bytes, or are refused."""

import tarfile

import pytest
from made_archives import CAT, FILES, entry, make_tar, zip_link

from unfreeze.core.console import UserError


def test_links_to_files_of_the_tree_are_more_names_for_the_same_bytes(tmp_path, unpack):
    links = [
        entry("by/before.png", tarfile.SYMTYPE, "../through/1.png"),
        entry("through", tarfile.SYMTYPE, "set/cat"),
        entry("hard.png", tarfile.LNKTYPE, "set/cat/1.png"),
        entry("nowhere.png", tarfile.SYMTYPE, "set/none.png"),
        entry("loop", tarfile.SYMTYPE, "loop"),
    ]
    result = unpack(make_tar(tmp_path / "a.tar", FILES, *links))
    assert result.files == {**FILES, "by/before.png": CAT, "hard.png": CAT}
    assert result.summary.links_skipped == 3
    with tarfile.open(result.tar, "r:") as tar:
        assert tar.extractfile("by/before.png").read() == CAT


def test_links_in_a_zip(tmp_path, unpack):
    assert unpack(zip_link(tmp_path / "a.zip", "x/b.png", "../a.png")).files == {"a.png": CAT, "x/b.png": CAT}


@pytest.mark.parametrize("target", ["../../secret", "/etc/passwd", "C:\\secret", "x/../../../secret"])
def test_links_out_of_the_tree_are_refused(target, tmp_path, unpack):
    for source in (
        make_tar(tmp_path / "a.tar", FILES, entry("set/l.png", tarfile.SYMTYPE, target)),
        make_tar(tmp_path / "b.tar", FILES, entry("set/l.png", tarfile.LNKTYPE, target)),
        zip_link(tmp_path / "c.zip", "set/l.png", target),
    ):
        with pytest.raises(UserError, match=rf"{source.name}: set/l.png.*(outside|absolute|backslash)"):
            unpack(source)
