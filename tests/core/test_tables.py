import csv
import io

import numpy as np
import pandas as pd
import pytest

from unfreeze.core import tables
from unfreeze.core.console import UserError

TEXTS = [
    *("NA", "None", "nan", "NaN", "null", "01", "1.0", "1e5", "True", "-", "", " padded ", "#no comment"),
    *("a,b", 'say "x"', '"', "two\nlines", "back\rcarriage", "both\r\nends", "tab\t", "\x00", "çicada", "犬", "𝄞"),
]


def test_texts_come_back_as_they_were(tmp_path):
    path = tmp_path / "x.csv"
    tables.write(path, pd.DataFrame({"text": TEXTS, "other": TEXTS[::-1]}))
    frame = tables.read(path, {"other": "text", "text": "text"})
    assert list(frame) == ["other", "text"]
    assert frame["text"].tolist() == TEXTS and frame["other"].tolist() == TEXTS[::-1]
    assert list(tables.read(path)) == ["text", "other"] and tables.read(path)["text"].tolist() == TEXTS


def test_one_column_keeps_its_empty_texts(tmp_path):
    tables.write_rows(tmp_path / "x.csv", ["text"], [["a"], [""], ["b"]])
    assert tables.read(tmp_path / "x.csv")["text"].tolist() == ["a", "", "b"]


def test_headings_may_be_any_text(tmp_path):
    tables.write(tmp_path / "x.csv", pd.DataFrame([["1", "2", "3"]], columns=["a,1", "Unnamed: 0", "è\nb"]))
    assert tables.read(tmp_path / "x.csv", {"è\nb": "int", "a,1": "text"}).iloc[0].tolist() == [3, "1"]


def random_doubles() -> np.ndarray:
    bits = np.random.default_rng(0).integers(0, 2**64, 20_000, dtype=np.uint64).view(np.float64)
    return np.concatenate([bits[np.isfinite(bits)], [0.1, 1e-5, 5e-324, -0.0, 1e22, 1 / 3, np.inf, -np.inf]])


def test_doubles_of_every_exponent_come_back_to_the_bit(tmp_path):
    values = random_doubles()
    tables.write(tmp_path / "x.csv", pd.DataFrame({"value": values}))
    frame = tables.read(tmp_path / "x.csv", {"value": "float"})
    assert frame["value"].to_numpy().tobytes() == values.tobytes()


def test_float32_comes_back_to_the_bit(tmp_path):
    bits = np.random.default_rng(1).integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32)
    values = bits[np.isfinite(bits)]
    tables.write(tmp_path / "x.csv", pd.DataFrame({"value": values}))
    frame = tables.read(tmp_path / "x.csv", {"value": "float"})
    assert frame["value"].to_numpy(np.float32).tobytes() == values.tobytes()


def test_blank_numbers_and_large_ones(tmp_path):
    whole = [2**63 - 1, -(2**63), 2**53 + 1, None, 0]
    tables.write_rows(tmp_path / "x.csv", ["row", "p"], zip(whole, [0.5, None, float("nan"), 1, 2], strict=True))
    frame = tables.read(tmp_path / "x.csv", {"row": "int", "p": "float"})
    assert frame.dtypes.tolist() == [np.int64, np.float64]
    assert frame["row"].tolist() == [2**63 - 1, -(2**63), 2**53 + 1, -1, 0]
    np.testing.assert_array_equal(frame["p"], [0.5, np.nan, np.nan, 1, 2])


def test_categories_are_in_order(tmp_path):
    tables.write(tmp_path / "x.csv", pd.DataFrame({"label": ["b", "a", "é", "b", ""]}))
    label = tables.read(tmp_path / "x.csv", {"label": "category"})["label"]
    assert label.tolist() == ["b", "a", "é", "b", ""]
    assert label.cat.categories.tolist() == ["", "a", "b", "é"] and label.cat.codes.tolist() == [2, 1, 3, 2, 0]


def test_a_table_without_rows_has_its_columns_and_their_types(tmp_path):
    tables.write_rows(tmp_path / "x.csv", ["path", "row", "p", "label"], [])
    frame = tables.read(tmp_path / "x.csv", {"path": "text", "row": "int", "p": "float", "label": "category"})
    assert len(frame) == 0 and list(frame) == ["path", "row", "p", "label"]
    assert frame["row"].dtype == np.int64 and frame["p"].dtype == np.float64
    assert frame["label"].cat.categories.tolist() == [] and frame["path"].tolist() == []


def test_a_frame_and_its_rows_are_the_same_bytes_which_those_of_the_csv_module_are(tmp_path):
    values = random_doubles()[: len(TEXTS)]
    frame = pd.DataFrame({"text": TEXTS, "value": values, "row": range(len(TEXTS)), "flag": [True] * len(TEXTS)})
    tables.write(tmp_path / "a/frame.csv", frame)
    tables.write_rows(tmp_path / "a/rows.csv", list(frame), frame.itertuples(index=False, name=None))
    assert (tmp_path / "a/frame.csv").read_bytes() == (tmp_path / "a/rows.csv").read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["frame.csv", "rows.csv"]
    plain = frame[~frame["text"].str.contains("\r")]
    tables.write(tmp_path / "plain.csv", plain)
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(plain)
    writer.writerows(plain.itertuples(index=False, name=None))
    assert (tmp_path / "plain.csv").read_bytes() == stream.getvalue().encode()


def test_a_failing_row_leaves_the_old_table(tmp_path):
    def fail():
        yield [1]
        raise RuntimeError

    tables.write_rows(tmp_path / "x.csv", ["a"], [[0]])
    with pytest.raises(RuntimeError):
        tables.write_rows(tmp_path / "x.csv", ["a"], fail())
    assert tables.read(tmp_path / "x.csv")["a"].tolist() == ["0"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


DAMAGED = {
    "a,b,a\n1,2,3\n": "several columns are called 'a'",
    "b\n1\n": "has no column 'a'",
    "": "no headings",
    "\n": "no headings",
    "a,b\n1,2\n3,4,5\n": "Expected 2 columns, got 3",
    "a,b\n1,2\n3\n": "Expected 2 columns, got 1",
    "a,b\n1,2\n3,4": "ends within a line",
    'a,b\n1,"2\n': "quote",
    'a,b\n"1,2\n3,4\n': "quote",
    "a,b\nx,2\n": "'a'.*'x'",
    "a,b\n1.5,2\n": "'a'.*'1.5'",
    "a,b\n99999999999999999999,2\n": "'a'.*'99999999999999999999'",
    "a,b\n\udcff,2\n": "utf-8",
    "a,b\udcff\n1,2\n": "utf-8",
}


@pytest.mark.parametrize(("content", "reason"), DAMAGED.items(), ids=range(len(DAMAGED)))
@pytest.mark.parametrize("columns", [{"a": "int"}, {"a": "int", "b": "text"}], ids=["some", "all"])
def test_a_damaged_table_is_named_with_the_reason(tmp_path, content, reason, columns):
    path = tmp_path / "x.csv"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=rf"x\.csv.*{reason}"):
        tables.read(path, columns)


def test_a_float_column_is_named_too_and_a_missing_file(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,NA\n")
    with pytest.raises(UserError, match=r"x\.csv.*'b'.*'NA'"):
        tables.read(tmp_path / "x.csv", {"b": "float"})
    with pytest.raises(UserError, match=r"y\.csv is missing"):
        tables.read(tmp_path / "y.csv", {"b": "float"})


def test_a_long_table_is_read_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "CHUNK", 1000)
    rows = [(i, f'"{i}"\n', i / 7) for i in range(10_000)]
    tables.write_rows(tmp_path / "x.csv", ["row", "text", "value"], rows)
    frame = tables.read(tmp_path / "x.csv", {"row": "int", "text": "text", "value": "float"})
    assert list(frame.itertuples(index=False, name=None)) == rows
    assert frame.index.equals(pd.RangeIndex(10_000))
