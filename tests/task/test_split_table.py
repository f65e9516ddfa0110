import mmap

import numpy as np
import pytest

from unfreeze.core.console import UserError
from unfreeze.task.multi import Multi
from unfreeze.task.single import Single
from unfreeze.task.split_table import read_split, write_split

PATHS = [f"{i}.png" for i in range(5)]


def test_single_labels(tmp_path):
    path = tmp_path / "split.csv"
    write_split(
        path,
        task=Single,
        paths=PATHS,
        labels=["b", "a c", "b", "", "b"],
        split=["train", "valid", None, "test", "train"],
        fold=[0, 1, -1, -1, 0],
    )
    assert path.read_text() == (
        "row,path,label,split,fold\n0,0.png,b,train,0\n1,1.png,a c,valid,1\n3,3.png,,test,\n4,4.png,b,train,0\n"
    )
    table = read_split(path, 5)
    assert isinstance(table.task, Single) and table.classes == ["a c", "b"]
    assert table.targets.dtype == np.int64 and table.targets.tolist() == [1, 0, -1, -1, 1]
    assert table.folds.tolist() == [0, 1, -1, -1, 0]
    assert list(table.paths) == ["0.png", "1.png", "", "3.png", "4.png"]
    assert table.rows["train"].tolist() == [0, 4] and table.labelled("train").tolist() == [0, 4]
    assert table.rows["test"].tolist() == [3] and table.labelled("test").tolist() == []
    assert table.unlabelled("test").tolist() == [3] and table.unlabelled("train").tolist() == []
    assert len(read_split(path).targets) == 5  # as many as the table names


def test_multi_labels_tell_no_label_from_unlabelled(tmp_path):
    path = tmp_path / "split.csv"
    write_split(
        path,
        task=Multi,
        paths=PATHS,
        labels=["a b", "-", "b", "", "b"],
        split=["train", "valid", None, "test", "test"],
        fold=[0, 1, -1, -1, -1],
    )
    assert path.read_text() == (
        "row,path,labels,split,fold\n0,0.png,a b,train,0\n1,1.png,-,valid,1\n3,3.png,,test,\n4,4.png,b,test,\n"
    )
    table = read_split(path, 5)
    assert isinstance(table.task, Multi) and table.classes == ["a", "b"]
    assert table.labelled("test").tolist() == [4] and table.unlabelled("test").tolist() == [3]
    nan = [np.nan, np.nan]
    assert table.targets.dtype == np.float32
    np.testing.assert_array_equal(table.targets, np.array([[1, 1], [0, 0], nan, nan, [0, 1]], dtype=np.float32))
    assert table.labelled("valid").tolist() == [1] and table.labelled("test").tolist() == [4]
    array = table.targets
    while isinstance(array, np.ndarray):
        array = array.base
    assert isinstance(getattr(array, "obj", array), mmap.mmap)  # images x labels need not fit into memory


def test_texts_that_look_like_something_else_stay_what_they_are(tmp_path):
    path, labels = tmp_path / "split.csv", ["NA", "None", "nan", "01", "1"]
    write_split(path, task=Single, paths=PATHS, labels=labels, split=["train"] * 5, fold=[-1] * 5)
    table = read_split(path, 5)
    assert table.classes == sorted(labels) and table.task.describe(table.targets) == labels


def test_a_table_of_other_images_is_refused(tmp_path):
    path = tmp_path / "split.csv"
    write_split(path, task=Single, paths=PATHS, labels=["a"] * 5, split=["train"] * 5, fold=[-1] * 5)
    with pytest.raises(UserError, match="names row 4 of 3 images"):
        read_split(path, 3)


def test_a_table_without_labels_is_refused(tmp_path):
    (tmp_path / "split.csv").write_text("row,path,split,fold\n0,0.png,train,\n")
    with pytest.raises(UserError, match="has no column of labels"):
        read_split(tmp_path / "split.csv")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("0,a.png,a,train,\n2,c.png,a,train,\n1,b.png,a,train,\n", "line 4"),
        ("0,a.png,a,train,\n0,b.png,a,train,\n", "line 3"),
        (",a.png,a,train,\n", "line 2"),
        ("0,a.png,a,train,\n1,b.png,a,tests,\n", "tests"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, lines, message):
    (tmp_path / "split.csv").write_text(f"row,path,label,split,fold\n{lines}")
    with pytest.raises(UserError, match=message):
        read_split(tmp_path / "split.csv", 3)
