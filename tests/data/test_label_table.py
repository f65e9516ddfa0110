"""Label files: how they are found, read, and matched with images; hostile ones; real ones."""

import csv
import hashlib
import io
import json
import tarfile
import time
from collections import Counter

import numpy as np
import pytest

from unfreeze.console import UserError
from unfreeze.data.archive import extract
from unfreeze.data.label_table import from_table, read_table
from unfreeze.data.labels import Label
from unfreeze.data.split import SplitParams, check_classes, make_splits
from unfreeze.data.table import read_split, write_split
from unfreeze.data.table_file import MAX_BYTES
from unfreeze.files import read_csv


def params(**changes):
    plain = {
        "labels": "labels.csv",
        "kind": "single",
        "id_column": "auto",
        "label_column": "auto",
        "group": "none",
        "numbers": [],
    }
    return SplitParams(**(plain | {"seed": 1, "train": "all", "valid": 0.2, "test": 0.2, "folds": 0} | changes))


def read(tmp_path, content, name="labels.csv", wanted=None):
    """The table of a tar that holds `content` (a file's text or bytes, or a dictionary of files) alone."""
    files = content if isinstance(content, dict) else {name: content}
    index = []
    with tarfile.open(tmp_path / "extracted.tar", "w") as tar:
        for path, data in files.items():
            data = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(path)
            info.size = len(data)
            offset = tar.offset + tarfile.BLOCKSIZE
            tar.addfile(info, io.BytesIO(data))
            digest = hashlib.sha256(data).hexdigest()
            index.append({"path": path, "offset": str(offset), "size": str(len(data)), "sha256": digest})
    return read_table(wanted or name, index, tmp_path / "extracted.tar")


def labels(tmp_path, content, images, name="labels.csv", **changes):
    """The label texts of `images`, and what found no counterpart."""
    found, unmatched = from_table(read(tmp_path, content, name), images, [], params(**changes))
    return [label.label for label in found], unmatched


# Finding and reading


@pytest.mark.parametrize("wanted", ["labels.csv", "all/labels.csv"])
def test_a_file_is_named_by_its_path_or_by_the_end_of_it(tmp_path, wanted):
    files = {"all/labels.csv": "id,label\n1,a\n", "all/more_labels.csv": "id,label\n1,b\n"}
    assert read(tmp_path, files, wanted=wanted).rows == [["1", "a"]]


def test_a_whole_path_goes_before_an_end_and_two_ends_are_ambiguous(tmp_path):
    files = {"labels.csv": "id,label\n1,a\n", "old/labels.csv": "id,label\n1,b\n"}
    assert read(tmp_path, files, wanted="labels.csv").rows == [["1", "a"]]
    files = {"new/labels.csv": "id,label\n1,a\n", "old/labels.csv": "id,label\n1,b\n"}
    with pytest.raises(UserError, match=r"labels\.csv could be new/labels\.csv, old/labels\.csv; write one"):
        read(tmp_path, files, wanted="labels.csv")


def test_an_absent_file_is_an_error_that_names_those_that_are_there(tmp_path):
    files = {"a/train.csv": "id,label\n1,a\n", "b.json": "[]", "c.png": "x"}
    with pytest.raises(UserError, match=r"holds no such file; of tables there are: a/train\.csv, b\.json$"):
        read(tmp_path, files, wanted="labels.csv")
    with pytest.raises(UserError, match="of tables there is none"):
        read(tmp_path, {"c.png": "x"}, wanted="labels.csv")


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
    assert labels(tmp_path, content, ["x/1.png", "x/2.png"]) == (["a", "b"], [])


def test_tsv_and_json(tmp_path):
    images = ["1.png", "2.png"]
    assert labels(tmp_path, "id\tlabel\n1\ta, b\n2\tb\n", images, "labels.tsv")[0] == ["a, b", "b"]
    rows = [{"id": 1, "label": "a"}, {"label": "b", "id": 2}]
    assert labels(tmp_path, json.dumps(rows), images, "labels.json")[0] == ["a", "b"]
    rows = [{"id": 1, "tags": ["night sky", "b"]}, {"id": 2, "tags": []}]
    assert labels(tmp_path, json.dumps(rows), images, "labels.json", kind="multi")[0] == ["b night_sky", "-"]


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
    ("id,label\n1,a\n".encode("utf-16"), "is not UTF-8 text"),
    ("id,label\n1,é\n".encode("latin-1"), "is not UTF-8 text .* save it as CSV UTF-8"),
]


@pytest.mark.parametrize(("content", "message"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_tables_are_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"id": 1}', "must be a list of objects"),
        ("[1, 2]", "must be a list of objects"),
        ("[]", "found 0 lines"),
        ('[{"id": [1], "label": "a"}]', r"object 1: id is a list, one value is expected"),
        ('[{"id": 1, "label": {"a": 1}}]', r"object 1: label is an object"),
        ('[{"label": "a"}, {"label": "a", "id": 1}]', r"object 1: id is empty"),
    ],
)
def test_hostile_json_is_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        labels(tmp_path, content, ["1.png"], "labels.json")


def test_a_file_that_is_too_big_or_not_what_was_extracted_is_refused(tmp_path):
    tar = tmp_path / "x.tar"
    tar.write_bytes(b"id,label\n1,a\n")
    row = {"path": "labels.csv", "offset": "0", "size": str(MAX_BYTES + 1), "sha256": "0"}
    with pytest.raises(UserError, match="such a file may have 268,435,456"):
        read_table("labels.csv", [row], tar)
    for changes in ({"size": "13"}, {"size": "20"}):
        with pytest.raises(UserError, match=r"labels\.csv in .* is not what was extracted"):
            read_table("labels.csv", [row | changes], tar)


# Columns


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
    assert labels(tmp_path, content, ["1.png"])[0] == expected


def test_columns_can_be_named(tmp_path):
    content = "id,file,label,other,patient\n9,1,a,b,p\n"
    assert labels(tmp_path, content, ["1.png"], id_column="file", label_column="other")[0] == ["b"]
    table = read(tmp_path, content)
    found, _ = from_table(table, ["1.png"], [], params(id_column="file", group="patient"))
    assert found == [Label("a", None, "p")]


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        ("id,a,b\n1,x,y\n", {}, r"which column holds the labels\? Set split\.label_column: a, b"),
        ("id,label,class\n1,x,y\n", {}, r"which column holds the labels\? .* label, class"),
        ("label,class\n1,x\n", {}, r"which column holds the ids\? Set split\.id_column: label, class"),
        ("id,label\n1,x\n", {"id_column": "idd"}, r"split\.id_column = idd is no column .* \(did you mean id\?\)"),
        ("id,label\n1,x\n", {"label_column": "q"}, r"split\.label_column = q is no column .*; it has id, label"),
        ("id,label\n1,x\n", {"group": "patient"}, r"split\.group = patient is no column"),
    ],
)
def test_columns_in_doubt_are_errors_that_list_them(tmp_path, content, changes, message):
    with pytest.raises(UserError, match=message):
        labels(tmp_path, content, ["1.png"], **changes)


# Labels


def test_single_labels_may_have_spaces_and_empty_cells_are_no_label(tmp_path):
    found, unmatched = labels(tmp_path, "id,label\n1,great dane\n2,\n3,b\n", ["1.png", "2.png", "3.png"])
    assert found == ["great dane", "", "b"]
    assert unmatched == [("2.png", "empty label: predicted only")]


def test_of_several_0_1_columns_exactly_one_is_the_class(tmp_path):
    images = ["1.png", "2.png"]
    assert labels(tmp_path, "id,a,b\n1,1.0,0.0\n2,0.0,1.0\n", images)[0] == ["a", "b"]
    with pytest.raises(UserError, match=r"line 3: 2 of the columns a, b are 1; .* split\.kind: multi"):
        labels(tmp_path, "id,a,b\n1,1,0\n2,1,1\n", images)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("id,tags\n1,b a\n2,\n3,a\n", ["a b", "-", "a"]),
        ('id,tags\n1,"night sky, a"\n2,\n3,night sky\n', ["a night_sky", "-", "night_sky"]),
        ("id,tags\n1,b|a\n2,\n3,b|b\n", ["a b", "-", "b"]),
        ("id,b c,a\n1,1,1\n2,0,0\n3,0,1\n", ["a b_c", "-", "a"]),
        ("id,a,b\n1,True,true\n2,False,0\n3,1,0\n", ["a b", "-", "a"]),
        ("id,a,b\n1,1,1\n2,,\n3,0,0\n", ["a b", "", "-"]),
        ("id,ship\n1,1\n2,0\n3,1\n", ["ship", "-", "ship"]),
    ],
)
def test_multi_labels_from_tags_or_from_0_1_columns(tmp_path, content, expected):
    assert labels(tmp_path, content, ["1.png", "2.png", "3.png"], kind="multi")[0] == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('id,tags\n1,"a b,a_b"\n', "'a b' and 'a_b'|'a_b' and 'a b'"),
        ("id,tags\n1,-\n", "'-' stands for no label at all"),
        ('id,tags\n1,"a,b"\n2,a|b\n', r"tags has , and \|; use one of them between labels"),
        ('id,tags\n1,"a\nb"\n', r"line 3: tags has unprintable characters: 'a\\nb'"),
        ("id,a,b\n1,1,\n", "line 2: b is empty; 0 or 1 is expected"),
    ],
)
def test_multi_labels_in_doubt_are_errors(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        labels(tmp_path, content, ["1.png", "2.png"], kind="multi")


# Matching


@pytest.mark.parametrize(
    "name",
    ["top/a/1.x.png", "a/1.x.png", "1.x.png", "1.x", "a/1.x", "top/a/1.x", "./a/1.x.png", r"a\1.x.png", " 1.x "],
)
def test_ids_are_paths_names_or_stems(tmp_path, name):
    found = labels(tmp_path, f"id,label\n{name},dog\n2,cat\n", ["top/a/1.x.png", "top/b/2.png"])
    assert found == (["dog", "cat"], [])


def test_composed_and_decomposed_letters_are_the_same(tmp_path):
    assert labels(tmp_path, "id,label\nu\u0308,a\n", ["\u00fc.png"])[0] == ["a"]


def test_a_whole_path_goes_before_an_end_and_an_end_with_suffix_before_one_without(tmp_path):
    assert labels(tmp_path, "id,label\n1.png,a\nb/1.png,b\n", ["1.png", "b/1.png"])[0] == ["a", "b"]
    assert labels(tmp_path, "id,label\n1.png,a\n", ["x/1.png", "x/1.png.jpg"])[0] == ["a", ""]


def test_an_id_that_fits_several_images_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"1 ids fit several images: 1 \(a/1\.png, b/1\.png\)\. Write the paths"):
        labels(tmp_path, "id,label\n1,a\n", ["a/1.png", "b/1.png"])


def test_repeated_ids_must_agree(tmp_path):
    images = ["1.png", "2.png"]
    assert labels(tmp_path, "id,label\n1,a\n2,b\n1,a\n1.png,a\n", images)[0] == ["a", "b"]
    with pytest.raises(
        UserError, match=r"1 repeated ids with another label, group or number: 1 \(line 2 and line 4\)"
    ):
        labels(tmp_path, "id,label\n1,a\n2,b\n1,b\n", images)
    with pytest.raises(UserError, match=r"1 images have several different labels: 1\.png \(line 2 and line 4\)"):
        labels(tmp_path, "id,label\n1,a\n2,b\n1.png,b\n", images)


def test_an_empty_id_is_an_error_with_its_line(tmp_path):
    with pytest.raises(UserError, match=r"labels\.csv, line 3: id is empty"):
        labels(tmp_path, "id,label\n1,a\n ,b\n", ["1.png"])


def test_no_match_at_all_shows_an_id_and_an_image(tmp_path):
    with pytest.raises(UserError, match=r"no 'id' fits an image\. An id is 'x7', an image is 'a/1\.png'"):
        labels(tmp_path, "id,label\nx7,a\n", ["a/1.png"])


def test_a_table_without_headings_is_recognised(tmp_path):
    with pytest.raises(UserError, match=r"line 1 names the image 1\.png; add a line of headings"):
        labels(tmp_path, "1.png,a\n2.png,b\n", ["1.png", "2.png"])


def test_what_has_no_counterpart_is_listed_and_images_without_label_are_predicted_only(tmp_path):
    table = read(tmp_path, "id,label\n1,a\n2,b\n3,a\n4,b\n")
    images = ["train/1.png", "train/2.png", "train/extra.png", "test/9.png"]
    found, unmatched = from_table(table, images, ["train/3.png"], params())
    assert found == [Label("a", "train"), Label("b", "train"), Label("", "test"), Label("", "test")]
    assert unmatched == [
        ("3", "its image was rejected: left out"),
        ("4", "no image: left out"),
        ("test/9.png", "no label: predicted only"),
        ("train/extra.png", "no label: predicted only"),
    ]


def test_split_folders_above_labelled_images_are_given_splits(tmp_path):
    table = read(tmp_path, "id,label\n1,a\n2,b\n3,a\n")
    found, _ = from_table(table, ["d/train/1.png", "d/val/2.png", "d/Test/x/3.png"], [], params())
    assert [label.split for label in found] == ["train", "valid", "test"]


def test_labelled_images_beside_split_folders_or_none_to_train_on_are_errors(tmp_path):
    table = read(tmp_path, "id,label\n1,a\n2,b\n3,a\n")
    with pytest.raises(UserError, match=r"1 labelled images lie beside the split folders .*: more/3\.png"):
        from_table(table, ["train/1.png", "train/2.png", "more/3.png"], [], params())
    with pytest.raises(UserError, match=r"all labelled images lie in test/: there is none to train on"):
        from_table(table, ["test/1.png", "test/2.png"], [], params())


def test_unlabelled_images_of_a_test_folder_beside_any_folder_of_labelled_ones(tmp_path):
    table = read(tmp_path, "id,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(20)))
    images = [f"images/{i}.png" for i in range(20)] + ["test/x.png"]
    found, _ = from_table(table, images, [], params())
    splits = make_splits(found, images, params(test=0))
    assert Counter(splits.split) == {"train": 16, "valid": 4, "test": 1} and splits.split[-1] == "test"


# Real data


def real(tmp_path, archive, images=None, **changes):
    """Labels, splits and their table from a real archive; the seconds from labels to splits."""
    extract(archive, tmp_path / "x.tar", tmp_path / "x.csv", 10**9)
    index = read_csv(tmp_path / "x.csv")
    images = images or [row["path"] for row in index if row["path"].endswith(".jpg")]
    started = time.perf_counter()
    chosen = params(**changes)
    found, unmatched = from_table(read_table(chosen.labels, index, tmp_path / "x.tar"), images, [], chosen)
    splits = make_splits(found, [str(i) for i in range(len(images))], chosen)
    seconds = time.perf_counter() - started
    warnings = check_classes(found, splits.split, chosen.kind)
    write_split(
        tmp_path / "split.csv",
        [{"path": path} for path in images],
        [label.label for label in found],
        splits.split,
        splits.fold,
        chosen.kind,
    )
    return read_split(tmp_path / "split.csv", len(images)), Counter(r for _, r in unmatched), warnings, seconds


def drift(table, part):
    """How far each label's count in a part is from its share, in images."""
    rows = table.labelled(part)
    everywhere = np.concatenate([table.labelled(name) for name in table.rows])
    expected = table.targets[everywhere].sum(0, dtype=np.float64) * len(rows) / len(everywhere)
    return np.abs(table.targets[rows].sum(0, dtype=np.float64) - expected)


def test_dog_breeds(real_data, tmp_path):
    table, reasons, warnings, _ = real(tmp_path, real_data / "dog_breeds.7z", test=0, folds=5)
    assert len(table.classes) == 120 and not warnings
    assert reasons == {"no image: left out": 9222, "no label: predicted only": 200}
    assert len(table.labelled("train")) + len(table.labelled("valid")) == 1000
    assert len(table.rows["test"]) == 200 and len(table.labelled("test")) == 0
    assert 190 <= len(table.rows["valid"]) <= 210


def test_dog_breeds_of_two_images_only_train_where_a_test_split_is_made_too(real_data, tmp_path):
    table, _, warnings, _ = real(tmp_path, real_data / "dog_breeds.7z")
    few = ["clumber", "shetland_sheepdog", "wire-haired_fox_terrier"]
    assert warnings == [
        f"{p} has no image of {', '.join(few)}: their scores are undefined there" for p in ("valid", "test")
    ]
    for name in few:
        rows = np.flatnonzero(table.targets == table.classes.index(name))
        assert len(rows) == 2 and set(rows) <= set(table.rows["train"])


def test_movie_posters(real_data, tmp_path):
    table, reasons, _, _ = real(tmp_path, real_data / "movie_posters.7z", kind="multi", test=0, folds=5)
    assert table.multi and table.targets.shape == (700, 23) and not reasons
    assert int(table.targets[:, table.classes.index("Drama")].sum()) == 342
    assert 136 <= len(table.rows["valid"]) <= 144
    assert drift(table, "valid").max() < 1
    in_folds = np.array([table.targets[table.folds == fold].sum(0) for fold in range(5)])
    assert np.ptp(in_folds, axis=0).max() <= 2


def test_planet(real_data, tmp_path):
    images = [f"train-jpg/train_{i}.jpg" for i in range(40479)] + ["test-jpg/test_0.jpg"]
    table, reasons, warnings, seconds = real(
        tmp_path, real_data / "train_v2.csv.7z", images, labels="train_v2.csv", kind="multi", folds=5
    )
    assert seconds < 30, "3 s on two busy cores"
    assert not warnings and reasons == {"no label: predicted only": 1}
    counts = dict(zip(table.classes, np.nansum(table.targets, axis=0, dtype=np.int64), strict=True))
    assert len(counts) == 17
    # Some rows name a tag twice: blow_down stands in the file 101 times.
    assert (counts["primary"], counts["blow_down"], counts["conventional_mine"]) == (37513, 98, 100)
    everywhere = sum(len(table.labelled(part)) for part in table.rows)
    for part, share in (("train", 0.6), ("valid", 0.2), ("test", 0.2)):
        assert abs(len(table.labelled(part)) / everywhere - share) < 0.001
        assert (drift(table, part) <= np.maximum(1, 0.01 * share * np.array(list(counts.values())))).all()


def test_rows_written_by_hand_equal_those_of_the_standard_reader(real_data, tmp_path):
    extract(real_data / "train_v2.csv.7z", tmp_path / "x.tar", tmp_path / "x.csv", 10**9)
    table = read_table("train_v2.csv", read_csv(tmp_path / "x.csv"), tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as tar:
        text = tar.extractfile("train_v2.csv").read().decode()
    assert [table.header, *table.rows] == list(csv.reader(io.StringIO(text)))


def test_numbers_are_read_beside_the_labels_and_missing_ones_are_none(tmp_path):
    content = "id,label,angle,age\n1,cat,38.5,3\n2,dog,na,\n3,,41,NaN\n"
    images = ["1.png", "2.png", "3.png", "4.png"]
    found, _ = from_table(read(tmp_path, content), images, [], params(numbers=["angle", "age"]))
    assert [label.numbers for label in found] == [(38.5, 3.0), (None, None), (41.0, None), (None, None)]
    assert [label.label for label in found] == ["cat", "dog", "", ""]


@pytest.mark.parametrize("cell", ["steep", "inf", "1e999", "1,5"])
def test_a_cell_that_is_no_number_is_an_error_with_its_line(tmp_path, cell):
    with pytest.raises(UserError, match=r"labels.csv, line 3: angle is '.*'; split.numbers takes numbers"):
        labels(tmp_path, f'id,label,angle\n1,cat,1\n2,dog,"{cell}"\n', ["1.png", "2.png"], numbers=["angle"])


def test_an_unknown_column_of_numbers_is_an_error(tmp_path):
    with pytest.raises(
        UserError, match=r"split.numbers = angel is no column of labels.csv \(did you mean angle\?\)"
    ):
        labels(tmp_path, "id,label,angle\n1,cat,1\n2,dog,2\n", ["1.png", "2.png"], numbers=["angel"])


def test_a_group_that_is_missing_is_none(tmp_path):
    content = "id,label,angle\n1,cat,na\n2,dog,38.5\n3,cat,NA\n4,cat,\n"
    images = [f"{i}.png" for i in range(1, 5)]
    found, _ = from_table(read(tmp_path, content), images, [], params(group="angle"))
    assert [label.group for label in found] == ["", "38.5", "", ""]


def test_the_fields_of_records_are_a_table(tmp_path):
    plain = {"row": "0", "width": "75", "height": "75", "mode": "bands", "pixels_sha256": "0", "format": "JSON"}
    images = [
        {"path": "p/train.json/a"} | plain | {"id": "a", "inc_angle": "38.5", "is_iceberg": "1"},
        {"path": "p/train.json/b"} | plain | {"id": "b", "inc_angle": "na", "is_iceberg": "0"},
        {"path": "p/test.json/c"} | plain | {"id": "c", "inc_angle": "40.0", "is_iceberg": ""},
    ]
    chosen = params(labels="records", label_column="is_iceberg", group="inc_angle", numbers=["inc_angle"])
    table = read_table("records", [], tmp_path / "x.tar", images)
    found, unmatched = from_table(table, [image["path"] for image in images], [], chosen)
    assert found == [
        Label("1", None, "38.5", (38.5,)),
        Label("0", None, "", (None,)),
        Label("", "test", "", (40.0,)),
    ]
    assert unmatched == [("p/test.json/c", "empty label: predicted only")]
