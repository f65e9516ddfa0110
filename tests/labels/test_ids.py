"""The images that ids mean where no id is a name of one as it is."""

import pytest

from unfreeze.labels.ids import match_ids


@pytest.mark.parametrize(
    ("ids", "paths", "said"),
    [
        (["C:/x/i/1.jpg", "C:/x/i/2.jpg"], ["i/1.jpg", "i/2.jpg"], "C:/x/"),
        (["/a/b/train/1.jpg", "/a/b/test/1.jpg"], ["s/train/1.jpg", "s/test/1.jpg"], "/a/b/"),
        (["A.jpg", "b.jpg"], ["p/A.JPG", "p/B.jpeg"], "case or suffix"),
        (["7", "12"], ["0007.jpg", "0012.jpg"], "leading zeros"),
        (["7.0", "12.0"], ["7.jpg", "0012.jpg"], "leading zeros"),
    ],
)
def test_what_is_passed_over_is_said(ids, paths, said):
    images, facts = match_ids({name: row for row, name in enumerate(ids)}, paths)
    assert images == {0: [0], 1: [1]}
    assert said in facts[0] and ids[0] in facts[0]


@pytest.mark.parametrize(
    ("ids", "paths"),
    [
        (["1.jpg", "a.jpg"], ["1.jpg", "A.png", "A.JPG"]),
        (["1.jpg", "a.jpg", "A.JPG"], ["1.jpg", "A.png"]),
        (["x", "7"], ["x.jpg", "07.jpg", "007.jpg"]),
        (["train/1.jpg", "train/9.jpg"], ["train/1.jpg", "test/9.jpg"]),
    ],
)
def test_what_is_not_one_to_one_fits_nothing(ids, paths):
    images, facts = match_ids({name: row for row, name in enumerate(ids)}, paths)
    assert images == {0: [0]} and len(facts) == 1
