import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import py7zr
import pytest

from unfreeze.archive.extract import Destination, extract
from unfreeze.core import tables
from unfreeze.core.console import UserError
from unfreeze.evaluate.results import Evaluation
from unfreeze.evaluate.submission import SubmissionParams, plan, plan_submission, write_submission
from unfreeze.task.kinds import TASKS
from unfreeze.task.split_table import SplitTable

PATHS = ["top/test/b.jpg", "top/test/a.jpg", "top/test/sub/c.png"]
AUTO = SubmissionParams(sample="none", format="auto", positive="auto")


def make_table(classes, paths=PATHS, kind="single"):
    """Two validation images, then unlabelled test images."""
    task, images = TASKS[kind](classes), 2 + len(paths)
    targets = task.blank_targets(images)
    targets[:2] = 0
    return SplitTable(
        task=task,
        rows={"train": np.arange(0), "valid": np.arange(2), "test": np.arange(2, images)},
        targets=targets,
        folds=np.full(images, -1),
        paths=["top/train/x.jpg", "top/train/y.jpg", *paths],
    )


def predict(table):
    """An evaluation as the stage has it, its probabilities different for every image."""
    rows = np.concatenate([table.rows["valid"], table.rows["test"]])
    probabilities, thresholds = np.random.default_rng(1).random((len(rows), len(table.classes))), None
    if table.task.uses_thresholds:
        thresholds = [0.5] * len(table.classes)
    else:
        probabilities /= probabilities.sum(1, keepdims=True)
    return Evaluation(table=table, rows=rows, methods={"tta": probabilities}, thresholds={"tta": thresholds})


def submit(tmp_path, table, sample=None, **params):
    """The lines of the submission, header first, and the probabilities and labels of its images by path."""
    params = AUTO.model_copy(update=params)
    planned = plan(params, table, None if sample is None else ("sample.csv", sample.encode()))
    evaluation = predict(table)
    write_submission(tmp_path / "submission.csv", planned, evaluation)
    predicted = table.task.describe(table.task.decide(evaluation.final, evaluation.final_thresholds))
    by_path = {
        table.paths[row]: (p, label)
        for row, p, label in zip(evaluation.rows, evaluation.final, predicted, strict=True)
    }
    return read_lines(tmp_path / "submission.csv"), by_path


def read_lines(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def accept(lines, sample, kind, classes):
    """What a competition checks before it scores: the sample's form, and cells that can be scored."""
    wanted = list(csv.reader(sample.splitlines()))
    assert lines[0] == wanted[0]
    assert [line[0] for line in lines[1:]] == [line[0] for line in wanted[1:]]
    assert {len(line) for line in lines} == {len(wanted[0])}
    cells = [line[1:] for line in lines[1:]]
    if kind == "probabilities":
        numbers = np.array(cells, float)
        assert ((numbers >= 0) & (numbers <= 1)).all()
        if numbers.shape[1] > 1:
            assert numbers.sum(1) == pytest.approx(np.ones(len(numbers)))
    elif kind == "flags":
        assert {cell for row in cells for cell in row} <= {"0", "1"}
    else:
        assert {name for [text] in cells for name in text.split(" ")} <= {*classes, ""}


# The kinds


def test_a_column_a_class_in_the_sample_s_order_and_spelling(tmp_path):
    classes = ["Boston bull", "pug", "shih-tzu"]
    sample = "id,pug,boston_bull,Shih-Tzu\na,0.3,0.3,0.3\nc,0.3,0.3,0.3\nb,0.3,0.3,0.3\n"
    lines, images = submit(tmp_path, make_table(classes), sample)
    accept(lines, sample, "probabilities", classes)
    assert [float(cell) for cell in lines[1][1:]] == images["top/test/a.jpg"][0][[1, 0, 2]].tolist()


def test_columns_of_zeros_and_ones_are_flags(tmp_path):
    classes = ["a", "b", "c"]
    sample = "id,a,b,c\na,0,0,0\nb,0,0,1\nc,0,0,0\n"
    lines, images = submit(tmp_path, make_table(classes), sample)
    accept(lines, sample, "flags", classes)
    assert all(line[1:].count("1") == 1 for line in lines[1:])
    assert classes[lines[1].index("1") - 1] == images["top/test/a.jpg"][1]
    accept(submit(tmp_path, make_table(classes), sample, format="probabilities")[0], sample, "probabilities", "")
    lines, images = submit(tmp_path, make_table(classes, kind="multi"), sample)
    tags = [name for name, cell in zip(classes, lines[1][1:], strict=True) if cell == "1"]
    assert tags == images["top/test/a.jpg"][1].split()


@pytest.mark.parametrize(
    ("classes", "heading", "positive", "expected"),
    [
        (["0", "1"], "is_iceberg", "auto", 1),
        (["iceberg", "ship"], "is_iceberg", "auto", 0),
        (["no", "yes"], "label", "auto", 1),
        (["cats", "dogs"], "label", "dogs", 1),
        (["cats", "dogs"], "label", "cats", 0),
    ],
)
def test_one_column_of_numbers_with_a_point_is_the_positive_class(tmp_path, classes, heading, positive, expected):
    sample = f"id,{heading}\nb,0.5\na,0.5\nc,0.5\n"
    lines, images = submit(tmp_path, make_table(classes), sample, positive=positive)
    accept(lines, sample, "probabilities", classes)
    assert float(lines[1][1]) == images["top/test/b.jpg"][0][expected]


def test_one_column_of_zeros_and_ones(tmp_path):
    sample = "id,label\nb,0\na,0\nc,0\n"
    lines, images = submit(tmp_path, make_table(["cat", "dog"]), sample, positive="dog")
    accept(lines, sample, "flags", [])
    assert lines[1][1] == str(int(images["top/test/b.jpg"][1] == "dog"))
    lines, images = submit(tmp_path, make_table(["0", "1"]), sample)
    assert lines[1][1] == images["top/test/b.jpg"][1]  # the name of the class is the number


@pytest.mark.parametrize("cell", ["HTC-1", ""])
def test_one_column_of_class_names(tmp_path, cell):
    classes = ["HTC-1", "iPhone 4s", "x,y"]
    sample = f"fname,camera\na.jpg,{cell}\nb.jpg,{cell}\nc.png,{cell}\n"
    lines, images = submit(tmp_path, make_table(classes), sample)
    assert lines[0] == ["fname", "camera"]
    assert [line[1] for line in lines[1:]] == [images[f"top/test/{x}"][1] for x in ("a.jpg", "b.jpg", "sub/c.png")]


def test_one_column_of_tags(tmp_path):
    classes = ["clear", "haze", "primary"]
    sample = "image_name,tags\nc,clear primary\na,haze\nb,\n"
    lines, images = submit(tmp_path, make_table(classes, kind="multi"), sample)
    accept(lines, sample, "labels", classes)
    assert [line[1] for line in lines[1:]] == [
        images[path][1].replace("-", "") for path in ("top/test/sub/c.png", "top/test/a.jpg", "top/test/b.jpg")
    ]


def test_without_a_sample(tmp_path):
    lines, images = submit(tmp_path, make_table(["a", "b"]))
    assert lines[0] == ["id", "a", "b"] and [line[0] for line in lines[1:]] == PATHS
    assert [float(cell) for cell in lines[1][1:]] == images[PATHS[0]][0].tolist()
    assert submit(tmp_path, make_table(["a", "b"], kind="multi"))[0][0] == ["id", "tags"]
    assert submit(tmp_path, make_table(["a", "b"]), format="labels")[0][0] == ["id", "label"]
    lines, _ = submit(tmp_path, make_table(["a", "b"]), format="flags")
    assert all(line[1:].count("1") == 1 for line in lines[1:])
    assert submit(tmp_path, make_table(["a", "b"], paths=[]))[0] == [["id", "a", "b"]]


# The ids


@pytest.mark.parametrize(
    "ids",
    [
        ["a.jpg", "b.jpg", "c.png"],
        ["top/test/a.jpg", "top/test/b.jpg", "top/test/sub/c.png"],
        ["test/a", "test/b", "test/sub/c"],
        ["./test/a", " b", "sub\\c"],
    ],
)
def test_the_spelling_of_ids_is_the_sample_s(tmp_path, ids):
    sample = "id,x\n" + "".join(f"{text},\n" for text in ids)
    lines, images = submit(tmp_path, make_table(["k", "l", "m"]), sample)
    assert [line[0] for line in lines[1:]] == ids
    assert lines[1][1] == images["top/test/a.jpg"][1] and lines[3][1] == images["top/test/sub/c.png"][1]


def test_windows_line_ends_and_a_byte_order_mark(tmp_path):
    lines, _ = submit(tmp_path, make_table(["k", "l", "m"]), "\ufeffid,x\r\na,\r\nb,\r\nc,\r\n")
    assert lines[0] == ["id", "x"] and [line[0] for line in lines[1:]] == ["a", "b", "c"]


WRONG = [
    ("id,x\na,\nb,\n", r"1 unlabelled test images are not among its ids: top/test/sub/c\.png"),
    ("id,x\na,\nb,\nc,\nd,\ne,\n", r"2 ids \('d', 'e'\) are none of the 3 unlabelled test images, such as"),
    ("id,x\na,\nb,\nc,\nx,\n", r"1 ids \('x'\) are none of the 3 .*, or labelled\?"),
    ("id,x\na,\nb,\nc,\na,\n", r"2 ids \('a', 'a'\) are not the only ones"),
    ("id,x\na,\nb,\nc,d,e\n", r"line 4: 3 cells under 2 headings"),
    ("id,x\n", r"found 0 lines under 'id', 'x'"),
    ("id\na\n", r"found 1 lines under 'id'"),
    ("", r"found 0 lines under no heading"),
    ('id,x\na,"b\n', r"sample\.csv, line 2: unexpected end"),
    ("id,k,l\na,0.5,0.5\n", r"no column without a class, 'm' without a column"),
    ("id,k,l,n\na,0.5,0.5,0\n", r"'n' without a class, 'm' without a column"),
    ("id,k,l,m,M\na,0.5,0.5,0,0\n", r"'M' without a class"),
    ("id,k,l,m,m\na,0.5,0.5,0,0\n", r"several columns are of the same class: 'm', 'm'"),
    ("id,x\na,0.5\n", r"'x' holds numbers such as 0\.5, but the classes are k, l, m\. .*format: labels"),
]


@pytest.mark.parametrize(("sample", "message"), WRONG)
def test_samples_that_do_not_fit_are_refused(tmp_path, sample, message):
    with pytest.raises(UserError, match=message):
        submit(tmp_path, make_table(["k", "l", "m"]), sample)
    assert not list(tmp_path.iterdir())


def test_ids_that_fit_several_images_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"1 ids \('a'\) fit several images; write more of their paths"):
        submit(tmp_path, make_table(["k", "l"], ["test/a.jpg", "test/a.png"]), "id,x\na,k\n")


def test_a_positive_class_that_is_unknown_unneeded_or_wrong_is_refused(tmp_path):
    table, sample = make_table(["cat", "dog"]), "id,label\na,0.5\nb,0.5\nc,0.5\n"
    with pytest.raises(UserError, match=r"positive = auto: which class is 'label' .* Set it to cat or dog"):
        submit(tmp_path, table, sample)
    with pytest.raises(UserError, match=r"positive = cow: which class"):
        submit(tmp_path, table, sample, positive="cow")
    with pytest.raises(UserError, match=r"positive = dog has no effect: sample\.csv asks for labels"):
        submit(tmp_path, table, sample.replace("0.5", "cat"), positive="dog")
    with pytest.raises(UserError, match=r"positive = dog has no effect: sample\.csv asks for a column for each"):
        submit(tmp_path, table, "id,cat,dog\na,0.5,0.5\n", positive="dog")


def test_a_format_that_does_not_fit_the_columns_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"format = labels takes one column beside the ids; sample\.csv has 2"):
        submit(tmp_path, make_table(["cat", "dog"]), "id,cat,dog\na,0.5,0.5\n", format="labels")
    with pytest.raises(UserError, match=r"format = flags: the only column 'x' .* two classes, but there are 3"):
        submit(tmp_path, make_table(["k", "l", "m"]), "id,x\na,k\n", format="flags")


# Real files


def test_dog_breeds(real_data, tmp_path):
    """Two hundred test images, and a sample as the competition had it."""
    with py7zr.SevenZipFile(real_data / "dog_breeds.7z") as archive:
        archive.extract(tmp_path, ["labels.csv"])
        names = sorted(name for name in archive.getnames() if name.startswith("test/"))
    breeds = sorted(set(tables.read(tmp_path / "labels.csv", {"breed": "text"})["breed"]))
    ids = [Path(name).stem for name in names]
    np.random.default_rng(0).shuffle(ids)
    sample = f"id,{','.join(breeds)}\n" + "".join(f"{text}{',0.008333333333333333' * 120}\n" for text in ids)
    lines, _ = submit(tmp_path, make_table(breeds, names), sample)
    assert len(lines) == 201 and len(lines[0]) == 121
    accept(lines, sample, "probabilities", breeds)


BIG = """
import resource, sys, numpy as np
from pathlib import Path
from unfreeze.evaluate.results import Evaluation
from unfreeze.evaluate.submission import SubmissionParams, plan_submission, write_submission
from unfreeze.task.single import Single
from unfreeze.task.split_table import SplitTable
count, folder, out = int(sys.argv[1]), *map(Path, sys.argv[2:])
rows = np.arange(count)
parts = {"train": rows[:0], "valid": rows[:0], "test": rows}
paths = [f"test/{count - 1 - i}.jpg" for i in range(count)]
table = SplitTable(Single(["0", "1"]), parts, np.full(count, -1), np.full(count, -1), paths)
positive = rows / count
methods = {"tta": np.stack([1 - positive, positive], 1)}
evaluation = Evaluation(table=table, rows=rows, methods=methods, thresholds={"tta": None})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
params = SubmissionParams(sample="sample_submission.csv", format="auto", positive="auto")
plan = plan_submission(params, table, folder)
print(write_submission(out, plan, evaluation))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_a_sample_among_the_extracted_tables(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "sample.csv").write_text("id,x\nb,\na,\nc,\n")
    tables_folder = tmp_path / "tables"
    extract(source, Destination(tmp_path / "x.tar", tmp_path / "x.csv", tables_folder), 10**6)
    table = make_table(["k", "l", "m"])
    planned = plan_submission(AUTO.model_copy(update={"sample": "sample.csv"}), table, tables_folder)
    assert planned.ids == ["b", "a", "c"] and planned.rows.tolist() == [2, 3, 4]
    assert plan_submission(AUTO, table, tmp_path / "no folder").ids == PATHS


def test_a_submission_that_holds_nothing_is_written_and_not_spoken_of(tmp_path):
    table = make_table(["k", "l", "m"], paths=[])
    planned = plan(AUTO, table, None)
    assert write_submission(tmp_path / "submission.csv", planned, predict(table)) == ""
    assert read_lines(tmp_path / "submission.csv") == [["id", "k", "l", "m"]]


@pytest.mark.slow
def test_two_and_a_half_million_rows(real_data, tmp_path):
    tables_folder = tmp_path / "tables"
    destination = Destination(tmp_path / "x.tar", tmp_path / "x.csv", tables_folder)
    extract(real_data / "sample_submission.csv.7z", destination, 10**9)
    sample = (tables_folder / "sample_submission.csv").read_bytes()
    count = sample.count(b"\n") - 1
    arguments = [str(count), str(tables_folder), str(tmp_path / "submission.csv")]
    done = subprocess.run([sys.executable, "-c", BIG, *arguments], capture_output=True, text=True, check=True)
    said, megabytes = done.stdout.splitlines()
    assert said == f"submission of {count:,} rows of probabilities"
    assert float(megabytes) < 1500
    with (tmp_path / "submission.csv").open("rb") as file:
        for written, wanted in zip(file, sample.splitlines(), strict=True):
            name, cell = written.rstrip(b"\n").split(b",")
            assert name == wanted.split(b",")[0]
            if name != b"id":
                assert abs(float(cell) - (1 - (int(name) + 1) / count)) < 1e-9
