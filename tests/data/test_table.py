import mmap

import numpy as np
import pytest

from unfreeze.console import UserError
from unfreeze.data.table import read_split, write_split

IMAGES = [{"path": f"{i}.png"} for i in range(5)]


def test_single_labels(tmp_path):
    path = tmp_path / "split.csv"
    write_split(
        path,
        IMAGES,
        ["b", "a c", "b", "", "b"],
        ["train", "valid", None, "test", "train"],
        [0, 1, -1, -1, 0],
        "single",
    )
    assert path.read_text() == (
        "row,path,label,split,fold\n0,0.png,b,train,0\n1,1.png,a c,valid,1\n3,3.png,,test,\n4,4.png,b,train,0\n"
    )
    table = read_split(path, 5)
    assert not table.multi and table.classes == ["a c", "b"]
    assert table.targets.dtype == np.int64 and table.targets.tolist() == [1, 0, -1, -1, 1]
    assert table.folds.tolist() == [0, 1, -1, -1, 0]
    assert table.rows["train"].tolist() == [0, 4] and table.labelled("train").tolist() == [0, 4]
    assert table.rows["test"].tolist() == [3] and table.labelled("test").tolist() == []
    assert table.unlabelled("test").tolist() == [3] and table.unlabelled("train").tolist() == []
    for array in (table.targets, table.folds, *table.rows.values()):
        while isinstance(array, np.ndarray):
            array = array.base
        assert isinstance(getattr(array, "obj", array), mmap.mmap)  # they need not fit into memory


def test_multi_labels_tell_no_label_from_unlabelled(tmp_path):
    path = tmp_path / "split.csv"
    write_split(
        path,
        IMAGES,
        ["a b", "-", "b", "", "b"],
        ["train", "valid", None, "test", "test"],
        [0, 1, -1, -1, -1],
        "multi",
    )
    assert path.read_text() == (
        "row,path,labels,split,fold\n0,0.png,a b,train,0\n1,1.png,-,valid,1\n3,3.png,,test,\n4,4.png,b,test,\n"
    )
    table = read_split(path, 5)
    assert table.multi and table.classes == ["a", "b"]
    assert table.labelled("test").tolist() == [4] and table.unlabelled("test").tolist() == [3]
    nan = [np.nan, np.nan]
    assert table.targets.dtype == np.float32
    np.testing.assert_array_equal(table.targets, np.array([[1, 1], [0, 0], nan, nan, [0, 1]], dtype=np.float32))
    assert table.labelled("valid").tolist() == [1] and table.labelled("test").tolist() == [4]


def test_a_table_of_other_images_is_refused(tmp_path):
    write_split(tmp_path / "split.csv", IMAGES, ["a"] * 5, ["train"] * 5, [-1] * 5, "single")
    with pytest.raises(UserError, match="names row 4 of 3 images"):
        read_split(tmp_path / "split.csv", 3)
