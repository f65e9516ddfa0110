"""Cells of tags, lists and flags, as users' tables have them."""

import pytest
from label_files import read_labels

from unfreeze.core.console import UserError

IMAGES = ["1.png", "2.png", "3.png"]


def read(tmp_path, cells, **changes):
    quoted = "".join(f'{i},"{cell}"\n' for i, cell in enumerate(cells, 1))
    images = [f"{i}.png" for i in range(1, len(cells) + 1)]
    return read_labels(tmp_path, "id,tags\n" + quoted, images, **({"kind": "multi"} | changes))[0]


@pytest.mark.parametrize(
    "cells",
    [
        ["['a', 'b c']", "[]", "['a']"],
        ["['a' 'b c']", "[]", "['a']"],
        ["('a', 'b c')", "()", "('a',)"],
        ["{'a', 'b c'}", "[]", "{'a'}"],
        ['[""a"", ""b c""]', "[]", '[""a""]'],
    ],
)
def test_lists_written_as_text_are_lists(tmp_path, cells):
    assert read(tmp_path, cells) == ["a b_c", "-", "a"]


def test_one_hot_lists_give_places(tmp_path):
    assert read(tmp_path, ["[1, 0, 1]", "[0, 0, 0]", "[0, 1, 0]"]) == ["0 2", "-", "1"]
    assert read(tmp_path, ["[1 0 1]", "[0 0 0]", "[0 1 0]"]) == ["0 2", "-", "1"]
    assert read(tmp_path, ["[0, 2]", "[2]"]) == ["0 2", "2"]


def test_a_class_may_be_a_list_of_one(tmp_path):
    assert read(tmp_path, ["['a']", "['b']"], kind="single") == ["a", "b"]
    with pytest.raises(UserError, match=r"line 2: 2 labels are in tags; .*split\.kind: multi"):
        read(tmp_path, ["['a', 'b']", "['b']"], kind="single")


def test_separators(tmp_path):
    assert read(tmp_path, ["a+b c", "b c"], separator="+") == ["a b_c", "b_c"]
    assert read(tmp_path, ["No Finding", "Mass"], separator="none") == ["No_Finding", "Mass"]
    assert read(tmp_path, ["b;x,a", "a"], separator=",") == ["a b;x", "a"]
    assert read(tmp_path, ["x y", "z w"], separator="space") == ["x y", "w z"]


@pytest.mark.parametrize("cells", [["No Finding", "Mass"], ["a+b", "a"], ["a,b", "a;b"], ["a/b", "b"]])
def test_cells_that_can_be_read_in_two_ways_need_the_key(tmp_path, cells):
    with pytest.raises(UserError, match=r"split\.separator"):
        read(tmp_path, cells)


def test_tags_that_combine_freely_are_parted_by_white_space(tmp_path):
    assert read(tmp_path, ["clear primary", "clear road", "primary road"])[0] == "clear primary"


def test_a_tag_may_stand_for_none(tmp_path):
    assert read(tmp_path, ["No Finding", "Mass"], separator="none", none="No Finding") == ["-", "Mass"]
    with pytest.raises(UserError, match=r"line 2: 'no' \(split\.none\) beside other labels: mass, no"):
        read(tmp_path, ["no|mass", "no"], none="no")
    with pytest.raises(UserError, match=r"split\.none = nix is no label"):
        read(tmp_path, ["a", "b"], none="nix")


def test_minus_is_absent_beside_1_alone(tmp_path):
    assert read_labels(tmp_path, "id,a,b\n1,1,-1\n2,-1,-1\n3,-1,1\n", IMAGES, kind="multi")[0] == ["a", "-", "b"]


@pytest.mark.parametrize(
    ("key", "rows", "expected"),
    [
        ("uncertain", "1,1,-1\n2,0,0\n3,-1,1\n", {"absent": ["a", "-", "b"], "present": ["a b", "-", "a b"]}),
        ("blank", "1,1,\n2,0,0\n3,,1\n", {"absent": ["a", "-", "b"], "present": ["a b", "-", "a b"]}),
        ("blank", "1,1,\n2,0,0\n3,,\n", {"absent": ["a", "-", "-"], "present": ["a b", "-", "a b"]}),
    ],
)
def test_cells_that_are_no_flag_follow_their_rule_and_stop_without_one(tmp_path, key, rows, expected):
    content = f"id,a,b\n{rows}"
    with pytest.raises(UserError, match=rf"line 2: b is .*split\.{key}"):
        read_labels(tmp_path, content, IMAGES, kind="multi")
    for rule, labels in (expected | {"unlabelled": ["", "-", ""]}).items():
        assert read_labels(tmp_path, content, IMAGES, kind="multi", **{key: rule})[0] == labels


def test_another_cell_is_an_error_with_its_line(tmp_path):
    with pytest.raises(UserError, match=r"line 3: b is '2'; 0 or 1"):
        read_labels(tmp_path, "id,a,b\n1,1,0\n2,1,2\n", IMAGES, kind="multi", label_column=["a", "b"])
