"""Label files of real data sets."""

import csv
import io
import tarfile
import time
from collections import Counter

import numpy as np
from label_files import split_params

from unfreeze.archive.extract import Destination, extract
from unfreeze.core import tables
from unfreeze.labels.check import check_classes
from unfreeze.labels.match import label_by_table
from unfreeze.labels.split import make_splits
from unfreeze.labels.table import read_label_files
from unfreeze.task.kinds import TASKS
from unfreeze.task.split_table import read_split, write_split


def extract_tables(archive, tmp_path):
    destination = Destination(tmp_path / "x.tar", tmp_path / "x.csv", tmp_path / "tables")
    extract(archive, destination, max_bytes=10**9)
    return destination


def split_real(tmp_path, archive, images=None, **changes):
    """Labels, splits and their table from a real archive; the seconds from labels to splits."""
    extracted = extract_tables(archive, tmp_path)
    if images is None:
        images = [path for path in tables.read(extracted.index, {"path": "text"})["path"] if path.endswith(".jpg")]
    started = time.perf_counter()
    params = split_params(**changes)
    task = TASKS[params.kind]
    reading = label_by_table(read_label_files(params.labels, extracted.tables), images, [], params)
    labels, unmatched = reading.labels, reading.unmatched
    splits = make_splits(labels, [str(i) for i in range(len(images))], params)
    seconds = time.perf_counter() - started
    warnings = check_classes(labels, splits.split, task)
    split_csv = tmp_path / "split.csv"
    names = [label.label for label in labels]
    write_split(split_csv, task=task, paths=images, labels=names, split=splits.split, fold=splits.fold)
    return read_split(split_csv, len(images)), Counter(reason for _, reason in unmatched), warnings, seconds


def drift(table, part):
    """How far each label's count in a part is from its share, in images."""
    rows = table.labelled(part)
    everywhere = np.concatenate([table.labelled(name) for name in table.rows])
    expected = table.targets[everywhere].sum(0, dtype=np.float64) * len(rows) / len(everywhere)
    return np.abs(table.targets[rows].sum(0, dtype=np.float64) - expected)


def test_dog_breeds(real_data, tmp_path):
    table, reasons, warnings, _ = split_real(tmp_path, real_data / "dog_breeds.7z", test=0, folds=5)
    assert len(table.classes) == 120 and not warnings
    assert reasons == {"no image: left out": 9222, "no label: predicted only": 200}
    assert len(table.labelled("train")) + len(table.labelled("valid")) == 1000
    assert len(table.rows["test"]) == 200 and len(table.labelled("test")) == 0
    assert 190 <= len(table.rows["valid"]) <= 210


def test_dog_breeds_of_two_images_only_train_where_a_test_split_is_made_too(real_data, tmp_path):
    table, _, warnings, _ = split_real(tmp_path, real_data / "dog_breeds.7z")
    few = ["clumber", "shetland_sheepdog", "wire-haired_fox_terrier"]
    assert warnings == [
        f"{p} has no image of {', '.join(few)}: their scores are undefined there" for p in ("valid", "test")
    ]
    for name in few:
        rows = np.flatnonzero(table.targets == table.classes.index(name))
        assert len(rows) == 2 and set(rows) <= set(table.rows["train"])


def test_movie_posters(real_data, tmp_path):
    table, reasons, _, _ = split_real(tmp_path, real_data / "movie_posters.7z", kind="multi", test=0, folds=5)
    assert table.task.kind == "multi" and table.targets.shape == (700, 23) and not reasons
    assert int(table.targets[:, table.classes.index("Drama")].sum()) == 342
    assert 136 <= len(table.rows["valid"]) <= 144
    assert drift(table, "valid").max() < 1
    in_folds = np.array([table.targets[table.folds == fold].sum(0) for fold in range(5)])
    assert np.ptp(in_folds, axis=0).max() <= 2


def test_planet(real_data, tmp_path):
    images = [f"train-jpg/train_{i}.jpg" for i in range(40479)] + ["test-jpg/test_0.jpg"]
    table, reasons, warnings, seconds = split_real(
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
    extracted = extract_tables(real_data / "train_v2.csv.7z", tmp_path)
    table = read_label_files("train_v2.csv", extracted.tables)
    with tarfile.open(extracted.tar) as tar:
        text = tar.extractfile("train_v2.csv").read().decode()
    headings, *rows = csv.reader(io.StringIO(text))
    assert list(table.columns) == headings
    assert list(zip(*table.columns.values(), strict=True)) == [tuple(row) for row in rows]
