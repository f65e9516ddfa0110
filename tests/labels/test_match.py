"""Labels from a table: reading its cells, and finding the image of each id."""

from collections import Counter

import pytest
from label_files import read_labels, read_table, split_params

from unfreeze.core.console import UserError
from unfreeze.labels.ids import find_images
from unfreeze.labels.label import Label
from unfreeze.labels.match import label_by_table
from unfreeze.labels.split import make_splits


def test_single_labels_may_have_spaces_and_empty_cells_are_no_label(tmp_path):
    labels, unmatched = read_labels(tmp_path, "id,label\n1,great dane\n2,\n3,b\n", ["1.png", "2.png", "3.png"])
    assert labels == ["great dane", "", "b"]
    assert unmatched == [("2.png", "empty label: predicted only")]


def test_of_several_0_1_columns_exactly_one_is_the_class(tmp_path):
    images = ["1.png", "2.png"]
    assert read_labels(tmp_path, "id,a,b\n1,1.0,0.0\n2,0.0,1.0\n", images)[0] == ["a", "b"]
    with pytest.raises(UserError, match=r"line 3: 2 of the columns a, b are 1; .* split\.kind: multi"):
        read_labels(tmp_path, "id,a,b\n1,1,0\n2,1,1\n", images)


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
    assert read_labels(tmp_path, content, ["1.png", "2.png", "3.png"], kind="multi")[0] == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('id,tags\n1,"a b,a_b"\n', "'a b' and 'a_b'|'a_b' and 'a b'"),
        ("id,tags\n1,-\n", "'-' stands for no label at all"),
        ('id,tags\n1,"a,b"\n2,a|b\n', r"tags has , and \|; use one of them between labels.* split\.separator"),
        ('id,tags\n1,"a\nb"\n', r"line 3: tags has unprintable characters: 'a\\nb'"),
        ("id,a,b\n1,1,\n", r"line 2: b is empty; set split\.blank: absent, present or unlabelled"),
    ],
)
def test_multi_labels_in_doubt_are_errors(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_labels(tmp_path, content, ["1.png", "2.png"], kind="multi")


@pytest.mark.parametrize(
    "name",
    ["top/a/1.x.png", "a/1.x.png", "1.x.png", "1.x", "a/1.x", "top/a/1.x", "./a/1.x.png", r"a\1.x.png", " 1.x "],
)
def test_ids_are_paths_names_or_stems(tmp_path, name):
    labels = read_labels(tmp_path, f"id,label\n{name},dog\n2,cat\n", ["top/a/1.x.png", "top/b/2.png"])
    assert labels == (["dog", "cat"], [])


def test_composed_and_decomposed_letters_are_the_same(tmp_path):
    assert read_labels(tmp_path, "id,label\nu\u0308,a\n", ["\u00fc.png"])[0] == ["a"]


def test_a_whole_path_goes_before_an_end_and_an_end_with_suffix_before_one_without(tmp_path):
    assert read_labels(tmp_path, "id,label\n1.png,a\nb/1.png,b\n", ["1.png", "b/1.png"])[0] == ["a", "b"]
    assert read_labels(tmp_path, "id,label\n1.png,a\n", ["x/1.png", "x/1.png.jpg"])[0] == ["a", ""]


def test_an_id_that_fits_several_images_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"1 ids fit several images: 1 \(a/1\.png, b/1\.png\)\. Write the paths"):
        read_labels(tmp_path, "id,label\n1,a\n", ["a/1.png", "b/1.png"])


def test_repeated_ids_must_agree(tmp_path):
    images = ["1.png", "2.png"]
    assert read_labels(tmp_path, "id,label\n1,a\n2,b\n1,a\n1.png,a\n", images)[0] == ["a", "b"]
    with pytest.raises(
        UserError, match=r"1 repeated ids with another label, group or number: 1 \(line 2 and line 4\)"
    ):
        read_labels(tmp_path, "id,label\n1,a\n2,b\n1,b\n", images)
    with pytest.raises(UserError, match=r"1 images have several different labels: 1\.png \(line 2 and line 4\)"):
        read_labels(tmp_path, "id,label\n1,a\n2,b\n1.png,b\n", images)


def test_an_empty_id_is_an_error_with_its_line(tmp_path):
    with pytest.raises(UserError, match=r"labels\.csv, line 3: id is empty"):
        read_labels(tmp_path, "id,label\n1,a\n ,b\n", ["1.png"])


def test_no_match_at_all_shows_an_id_and_an_image(tmp_path):
    with pytest.raises(UserError, match=r"no 'id' fits an image\. An id is 'x7', an image is 'a/1\.png'"):
        read_labels(tmp_path, "id,label\nx7,a\n", ["a/1.png"])


def test_a_table_without_headings_is_recognised(tmp_path):
    with pytest.raises(UserError, match=r"line 1 names the image 1\.png; add a line of headings"):
        read_labels(tmp_path, "1.png,a\n2.png,b\n", ["1.png", "2.png"])


def test_what_has_no_counterpart_is_listed_and_images_without_label_are_predicted_only(tmp_path):
    table = read_table(tmp_path, "id,label\n1,a\n2,b\n3,a\n4,b\n")
    images = ["train/1.png", "train/2.png", "train/extra.png", "test/9.png"]
    reading = label_by_table(table, images, ["train/3.png"], split_params())
    assert reading.labels == [Label("a", "train"), Label("b", "train"), Label("", "test"), Label("", "test")]
    assert reading.unmatched == [
        ("3", "its image was rejected: left out"),
        ("4", "no image: left out"),
        ("test/9.png", "no label: predicted only"),
        ("train/extra.png", "no label: predicted only"),
    ]


def test_split_folders_above_labelled_images_are_given_splits(tmp_path):
    table = read_table(tmp_path, "id,label\n1,a\n2,b\n3,a\n")
    labels = label_by_table(table, ["d/train/1.png", "d/val/2.png", "d/Test/x/3.png"], [], split_params()).labels
    assert [label.split for label in labels] == ["train", "valid", "test"]


def test_labelled_images_beside_split_folders_or_none_to_train_on_are_errors(tmp_path):
    table = read_table(tmp_path, "id,label\n1,a\n2,b\n3,a\n")
    with pytest.raises(UserError, match=r"1 labelled images lie beside the split folders .*: more/3\.png"):
        label_by_table(table, ["train/1.png", "train/2.png", "more/3.png"], [], split_params())
    with pytest.raises(UserError, match=r"all labelled images lie in test/: there is none to train on"):
        label_by_table(table, ["test/1.png", "test/2.png"], [], split_params())


def test_unlabelled_images_of_a_test_folder_beside_any_folder_of_labelled_ones(tmp_path):
    table = read_table(tmp_path, "id,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(20)))
    images = [f"images/{i}.png" for i in range(20)] + ["test/x.png"]
    labels = label_by_table(table, images, [], split_params()).labels
    splits = make_splits(labels, images, split_params(test=0))
    assert Counter(splits.split) == {"train": 16, "valid": 4, "test": 1} and splits.split[-1] == "test"


def test_numbers_are_read_beside_the_labels_and_missing_ones_are_none(tmp_path):
    content = "id,label,angle,age\n1,cat,38.5,3\n2,dog,na,\n3,,41,NaN\n"
    images = ["1.png", "2.png", "3.png", "4.png"]
    labels = label_by_table(
        read_table(tmp_path, content), images, [], split_params(numbers=["angle", "age"])
    ).labels
    assert [label.numbers for label in labels] == [(38.5, 3.0), (None, None), (41.0, None), (None, None)]
    assert [label.label for label in labels] == ["cat", "dog", "", ""]


@pytest.mark.parametrize("cell", ["steep", "inf", "1e999", "1,5"])
def test_a_cell_that_is_no_number_is_an_error_with_its_line(tmp_path, cell):
    with pytest.raises(UserError, match=r"labels.csv, line 3: angle is '.*'; split.numbers takes numbers"):
        read_labels(tmp_path, f'id,label,angle\n1,cat,1\n2,dog,"{cell}"\n', ["1.png", "2.png"], numbers=["angle"])


def test_a_group_that_is_missing_is_none(tmp_path):
    content = "id,label,angle\n1,cat,na\n2,dog,38.5\n3,cat,NA\n4,cat,\n"
    images = [f"{i}.png" for i in range(1, 5)]
    labels = label_by_table(read_table(tmp_path, content), images, [], split_params(group="angle")).labels
    assert [label.group for label in labels] == ["", "38.5", "", ""]


def test_an_id_means_whole_paths_before_ends_before_ends_without_suffix():
    paths = ["top/a/1.png", "top/1.png", "top/b/2.png", "top/c/2.png"]
    ids = ["1.png", "a/1.png", "top/a/1.png", "1", "2", "b/2", "top", "3"]
    images = find_images({name: row for row, name in enumerate(ids)}, paths)
    assert images == {0: [1], 1: [0], 2: [0], 3: [0, 1], 4: [2, 3], 5: [2]}


@pytest.mark.parametrize(
    ("cells", "told"), [(["a b", "b c", "a c", "a b c"], True), (["great dane", "pug"], False)]
)
def test_classes_that_look_like_several_labels_are_told(tmp_path, cells, told):
    content = "id,tags\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells))
    images = [f"{i}.png" for i in range(len(cells))]
    reading = label_by_table(read_table(tmp_path, content), images, [], split_params())
    assert any("split.kind: multi" in fact for fact in reading.facts) == told
