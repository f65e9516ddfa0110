"""Label files: how they are found and read; hostile ones."""

import json

import pytest
from label_files import read_labels, read_table, split_params, write_tables

from unfreeze.core import tables
from unfreeze.core.console import UserError
from unfreeze.core.table_files import LIST, MAX_BYTES
from unfreeze.labels.match import label_by_table
from unfreeze.labels.table import read_label_files


@pytest.mark.parametrize("wanted", ["labels.csv", "all/labels.csv"])
def test_a_file_is_named_by_its_path_or_by_the_end_of_it(tmp_path, wanted):
    files = {"all/labels.csv": "id,label\n1,a\n", "all/more_labels.csv": "id,label\n1,b\n"}
    assert read_table(tmp_path, files, wanted=wanted).columns == {"id": ["1"], "label": ["a"]}


def test_a_whole_path_goes_before_an_end_and_two_ends_are_ambiguous(tmp_path):
    files = {"labels.csv": "id,label\n1,a\n", "old/labels.csv": "id,label\n1,b\n"}
    assert read_table(tmp_path, files, wanted="labels.csv").columns == {"id": ["1"], "label": ["a"]}
    files = {"new/labels.csv": "id,label\n1,a\n", "old/labels.csv": "id,breed\n1,b\n"}
    with pytest.raises(UserError, match=r"labels\.csv could be .*new/labels\.csv.*old/labels\.csv"):
        read_table(tmp_path, files, wanted="labels.csv")


def test_an_absent_file_is_an_error_that_names_those_that_are_there(tmp_path):
    files = {"a/train.csv": "id,label\n1,a\n", "b.json": "[]", "c.png": "x"}
    with pytest.raises(UserError, match=r"holds no such file; of tables there are: a/train\.csv, b\.json$"):
        read_table(tmp_path, files, wanted="labels.csv")
    with pytest.raises(UserError, match="of tables there is none"):
        read_table(tmp_path, {"c.png": "x"}, wanted="labels.csv")


@pytest.mark.parametrize(
    "content",
    [
        "id,label\n1,a\n2,b\n",
        "\ufeffid,label\r\n1,a\r\n\r\n2,b",
        "id;label\n1;a\n2;b\n",
        "id\tlabel\n1\ta\n2\tb\n",
        '"id","label"\n"1","a"\n" 2 "," b "\n',
        ",id,label\n0,1,a\n1,2,b\n",
    ],
)
def test_csv_dialects(tmp_path, content):
    assert read_labels(tmp_path, content, ["x/1.png", "x/2.png"]) == (["a", "b"], [])


def test_tsv_and_json(tmp_path):
    images = ["1.png", "2.png"]
    assert read_labels(tmp_path, "id\tlabel\n1\ta, b\n2\tb\n", images, "labels.tsv")[0] == ["a, b", "b"]
    rows = [{"id": 1, "label": "a"}, {"label": "b", "id": 2}]
    assert read_labels(tmp_path, json.dumps(rows), images, "labels.json")[0] == ["a", "b"]
    rows = [{"id": 1, "tags": ["night sky", "b"]}, {"id": 2, "tags": []}]
    assert read_labels(tmp_path, json.dumps(rows), images, "labels.json", kind="multi")[0] == ["b night_sky", "-"]


HOSTILE = [
    ("", "found 0 lines under no heading"),
    ("id,label\n", "found 0 lines under id, label"),
    ("id\n1\n", "found 1 lines under id"),
    ("id,label\n1,a\n2,b,c\n", r"labels\.csv, line 3: 3 cells under 2 headings; quote cells"),
    ("id,label\n1,a\n2\n", "line 3: 1 cells under 2 headings"),
    ('id,label\n1,"a\n2,b\n', "line 3: unexpected end of data"),
    ('id,label\n1,"a"b\n', "line 2: "),
    ("id,label\n1," + "a" * 200_000 + "\n", "line 2: field larger than field limit"),
    ("id,label,label\n1,a,b\n", "several columns are called label"),
    ("id,la\x07bel\n1,a\n", r"unprintable characters in the heading 'la\\x07bel'"),
    ("id,label\n1,a\0b\n", "holds zero bytes"),
    ("id,label\n1,ab\n".encode("utf-16")[:-1], "is not UTF-8 text"),
    ("id,label\n1,é\n".encode("latin-1"), "is not UTF-8 text .* save it as CSV UTF-8"),
]


@pytest.mark.parametrize(("content", "message"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_tables_are_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_table(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"a": {"b": 1}}', "must be a list of objects"),
        ('{"images": [], "annotations": []}', r"boxes \(COCO\)"),
        ("[1, 2]", "must be a list of objects"),
        ("[]", "found 0 lines"),
        ('[{"id": [1], "label": "a"}]', r"object 1: id is a list, one value is expected"),
        ('[{"id": 1, "label": {"a": 1}}]', r"object 1: label is an object"),
        ('[{"label": "a"}, {"label": "a", "id": 1}]', r"object 1: id is empty"),
    ],
)
def test_hostile_json_is_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_labels(tmp_path, content, ["1.png"], "labels.json")


def test_a_file_that_is_too_big_or_not_what_was_extracted_is_refused(tmp_path):
    folder = tmp_path / "tables"
    write_tables(folder, {"labels.csv": "id,label\n1,a\n"})
    (folder / "labels.csv").write_text("id,label\n1,b\n")
    with pytest.raises(UserError, match=r"labels\.csv in .* is not what was extracted"):
        read_label_files("labels.csv", folder)
    tables.write_rows(folder / LIST, ["path", "size", "sha256"], [["labels.csv", MAX_BYTES + 1, "0"]])
    with pytest.raises(UserError, match="such a file may have 268,435,456"):
        read_label_files("labels.csv", folder)


def test_a_column_without_a_name_is_left_out_and_every_line_has_its_place(tmp_path):
    table = read_table(tmp_path, ',id,,label\n0,1,x,a\n\n1,"2",y,"b\nc"\n2,3,z,d\n')
    assert table.columns == {"id": ["1", "2", "3"], "label": ["a", "b\nc", "d"]}
    assert table.places == ["line 2", "line 5", "line 6"]


def test_line_ends_of_any_kind_separate_lines(tmp_path):
    for ends in ("\n", "\r\n", "\r"):
        table = read_table(tmp_path, ends.join(["id,label", "1,a\u2028b", "2,\x0bc", ""]))
        assert table.columns == {"id": ["1", "2"], "label": ["a\u2028b", "\x0bc"]}


def test_separator_lines_utf16_and_json_lines(tmp_path):
    expected = {"id": ["1", "2"], "label": ["a", "b"]}
    assert read_table(tmp_path, "sep=;\r\nid;label\r\n1;a\r\n2;b\r\n").columns == expected
    assert read_table(tmp_path, "id,label\n1,a\n2,b\n".encode("utf-16")).columns == expected
    assert (
        read_table(tmp_path, '{"id": "1", "label": "a"}\n\n{"id": "2", "label": "b"}\n', "x.jsonl").columns
        == expected
    )
    assert read_table(tmp_path, '{"1": "a", "2": "b"}', "x.json").columns == expected
    with pytest.raises(UserError, match=r"labels\.csv, line 3: 1 cells"):
        read_table(tmp_path, "sep=;\nid;label\n1\n")


def test_tables_of_the_same_columns_are_read_together_each_beside_its_images(tmp_path):
    files = {f"{part}/meta.csv": f"file,label\n1.png,{part[0]}\n" for part in ("train", "test")}
    reading = label_by_table(
        read_table(tmp_path, files, wanted="meta.csv"), ["test/1.png", "train/1.png"], [], split_params()
    )
    assert [(label.label, label.split) for label in reading.labels] == [("t", "test"), ("t", "train")]
    with pytest.raises(UserError, match=r"split\.labels could be several files, in new, old, and in new, old"):
        label_by_table(
            read_table(
                tmp_path, {f"{part}/meta.csv": "file,label\n1,a\n" for part in ("new", "old")}, wanted="meta.csv"
            ),
            ["1.png"],
            [],
            split_params(),
        )
