"""Which columns of a label file are the ids and the labels."""

import pytest
from label_files import read_labels, read_table, split_params

from unfreeze.core.console import UserError
from unfreeze.labels.columns import LabelColumns, choose_columns
from unfreeze.labels.label import Label
from unfreeze.labels.match import label_by_table


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Image_Name,BREED\n1,a\n", ["a"]),
        ("breed,photo\na,1\n", ["a"]),
        ("photo,what\n1,a\n", ["a"]),
        ("age,class,id\n7,a,1\n", ["a"]),
        ("name,id,y\nrex,1,a\n", ["a"]),
    ],
)
def test_columns_are_found_by_name_else_by_place(tmp_path, content, expected):
    assert read_labels(tmp_path, content, ["1.png"])[0] == expected


def test_columns_can_be_named(tmp_path):
    content = "id,file,label,other,patient\n9,1,a,b,p\n"
    assert read_labels(tmp_path, content, ["1.png"], id_column="file", label_column="other")[0] == ["b"]
    table = read_table(tmp_path, content)
    labels = label_by_table(table, ["1.png"], [], split_params(id_column="file", group="patient")).labels
    assert labels == [Label("a", None, "p")]


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        ("id,a,b\n1,x,y\n", {}, r"which column holds the labels\? Set split\.label_column: a \(x\), b \(y\)"),
        ("id,label,class\n1,x,y\n", {}, r"which column holds the labels\? .* label \(x\), class \(y\)"),
        ("label,class\n1,x\n", {}, r"which column holds the ids\? Set split\.id_column: label, class"),
        ("id,label\n1,x\n", {"id_column": "idd"}, r"split\.id_column = idd is no column .* \(did you mean id\?\)"),
        ("id,label\n1,x\n", {"label_column": "q"}, r"split\.label_column = q is no column .*; it has id, label"),
        ("id,label\n1,x\n", {"group": "patient"}, r"split\.group = patient is no column"),
    ],
)
def test_columns_in_doubt_are_errors_that_list_them(tmp_path, content, changes, message):
    with pytest.raises(UserError, match=message):
        read_labels(tmp_path, content, ["1.png"], **changes)


def test_an_unknown_column_of_numbers_is_an_error(tmp_path):
    with pytest.raises(
        UserError, match=r"split.numbers = angel is no column of labels.csv \(did you mean angle\?\)"
    ):
        read_labels(tmp_path, "id,label,angle\n1,cat,1\n2,dog,2\n", ["1.png", "2.png"], numbers=["angel"])


def test_columns_of_0_and_1_are_all_labels_and_those_with_another_use_are_none(tmp_path):
    table = read_table(tmp_path, "id,patient,angle,a,b\n1,p,3.5,1,0\n")
    columns = choose_columns(table, split_params(group="patient", numbers=["angle"]), ["1.png"])
    assert columns == LabelColumns(id="id", labels=["a", "b"])
