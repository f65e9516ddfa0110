"""What the files look like beside their labels."""

import pytest
from label_files import split_params, write_tables

from unfreeze.core.console import UserError
from unfreeze.labels.hints import find_other_jobs
from unfreeze.labels.sources import Files, read_labels

IMAGES = [f"set/{i}.jpg" for i in range(8)]


@pytest.mark.parametrize(("suffix", "what"), [(".xml", "Pascal VOC"), (".txt", "YOLO")])
def test_boxes_beside_the_images_are_called_by_their_name(suffix, what):
    [hint] = find_other_jobs(IMAGES, [f"labels/{i}{suffix}" for i in range(8)])
    assert what in hint and f"labels/0{suffix}" in hint
    assert find_other_jobs(IMAGES, [f"labels/0{suffix}", "readme.txt"]) == []


def test_masks_beside_the_images_are_told_with_the_pattern_that_skips_them():
    [hint] = find_other_jobs([*IMAGES, *(f"set/{i}_mask.png" for i in range(8))], [])
    assert 'extract.skip: ["*_mask*"]' in hint
    assert find_other_jobs([*IMAGES, "set/0_mask.png"], []) == []


def test_without_class_folders_tables_names_and_boxes_are_suggested(tmp_path):
    write_tables(tmp_path / "tables", {"l.csv": "file,breed,age\n1,a,2\n", "odd.csv": "x"})
    images = [f"{label}.{i}.jpg" for label in ("cat", "dog") for i in range(4)]
    boxes = [f"{label}.{i}.xml" for label in ("cat", "dog") for i in range(4)]
    files = Files(images=images, rejected=[], others=boxes, tables=tmp_path / "tables")
    with pytest.raises(UserError) as raised:
        read_labels(files, split_params(labels="folders"))
    for part in ("split.labels: l.csv", "file, breed, age", "split.labels: names", "cat, dog", "Pascal VOC"):
        assert part in str(raised.value)
    reading = read_labels(files, split_params(labels="names"))
    assert {label.label for label in reading.labels} == {"cat", "dog"}
    assert any("Pascal VOC" in fact for fact in reading.facts)
    assert any("l.csv" in fact and "not read" in fact for fact in reading.facts)
