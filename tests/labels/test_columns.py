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
        (
            "id,a,b\n1,x,y\n",
            {},
            r"which column holds the labels\? Set split\.label_column to one of a \(x\), b \(y\)",
        ),
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


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Image,Id\n1.png,w\n2.png,v\n", LabelColumns("Image", ["Id"])),
        ("id,photo,breed\n7,1.png,a\n8,2.png,b\n", LabelColumns("photo", ["breed"], None, ["id"])),
        ("id,file,breed\n1,2.png,a\n2,1.png,b\n", LabelColumns("file", ["breed"], None, ["id"])),
        ("file,is_valid,a,b\n1,True,1,0\n2,False,0,1\n", LabelColumns("file", ["a", "b"], "is_valid")),
        ("file,Set,what\n1,train,x\n2,Val,y\n", LabelColumns("file", ["what"], "Set")),
        ("file,fold,what\n1,0,x\n2,4,y\n", None),
        ("file,set\n1,a\n2,b\n", LabelColumns("file", ["set"])),
    ],
)
def test_columns_are_chosen_by_their_cells(tmp_path, content, expected):
    table = read_table(tmp_path, content)
    if expected:
        assert choose_columns(table, split_params(), ["1.png", "2.png"]) == expected
    else:
        with pytest.raises(UserError, match=r"split\.label_column"):
            choose_columns(table, split_params(), ["1.png", "2.png"])


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (
            "first,second,label\n1.png,2.png,a\n2.png,1.png,b\n",
            r"split\.id_column: first \(1\.png\), second \(2\.png\)",
        ),
        (
            "file,partition,label\n1,0,a\n2,1,b\n",
            r'split\.folders: \{"0": train, "1": valid\}.*split\.split_column',
        ),
        (
            "file,split,set,label\n1,train,val,a\n2,val,train,b\n",
            r"split\.split_column: split \(train\), set \(val\)",
        ),
    ],
)
def test_several_columns_that_fit_are_an_error_with_an_example_of_each(tmp_path, content, key):
    with pytest.raises(UserError, match=key):
        choose_columns(read_table(tmp_path, content), split_params(), ["1.png", "2.png"])


def test_a_split_column_gives_splits_and_its_values_may_be_named(tmp_path):
    content = "file,partition,label\n1,0,a\n2,1,b\n3,2,a\n"
    table = read_table(tmp_path, content)
    folders = {"0": "train", "1": "valid", "2": "out"}
    labels = label_by_table(table, ["1.png", "2.png", "3.png"], [], split_params(folders=folders)).labels
    assert labels == [Label("a", "train"), Label("b", "valid"), Label("", "out")]
    with pytest.raises(UserError, match=r"line 4: partition is '2'.*split\.folders"):
        label_by_table(
            table, ["1.png"], [], split_params(split_column="partition", folders={"0": "train", "1": "valid"})
        )


def test_a_list_of_label_columns_leaves_the_others_out(tmp_path):
    content = "file,sex,a,b\n1,m,1,0\n2,f,0,1\n"
    table = read_table(tmp_path, content)
    columns = choose_columns(table, split_params(label_column=["a", "b"]), ["1.png", "2.png"])
    assert columns == LabelColumns("file", ["a", "b"], None, ["sex"])
    with pytest.raises(UserError, match=r"split\.label_column = c is no column"):
        choose_columns(table, split_params(label_column=["a", "c"]), ["1.png"])
