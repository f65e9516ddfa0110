import json
from pathlib import Path

import numpy as np
import pytest

from unfreeze import files
from unfreeze.files import Spool, Texts, read_csv, read_table, replacing, write_csv, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_csv_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "a" / "x.csv"
    write_csv(path, ["name", "value"], [["a,b\n", 0.1], ['"ü"', None]])
    assert path.read_bytes() == 'name,value\n"a,b\n",0.1\n"""ü""",\n'.encode()
    assert read_csv(path) == [{"name": "a,b\n", "value": "0.1"}, {"name": '"ü"', "value": ""}]


def test_json_refuses_nan(tmp_path):
    write_json(tmp_path / "x.json", {"b": 1, "a": None})
    assert json.loads((tmp_path / "x.json").read_text()) == {"b": 1, "a": None}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"b": float("nan")})
    assert json.loads((tmp_path / "x.json").read_text()) == {"b": 1, "a": None}


def test_a_table_by_columns_has_the_rows_that_read_csv_gives(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK", 7)
    path = tmp_path / "x.csv"
    write_csv(path, ["row", "a,b", "same"], [(i, f"ü\n{i}", i % 2) for i in range(20)])
    table, rows = read_table(path), read_csv(path)
    assert list(table) == rows and table[:3] == rows[:3] and table[-1] == rows[-1] and len(table) == 20
    assert list(read_table(path, ["same", "row"]))[1] == {"same": "1", "row": "1"}
    write_csv(path, ["row"], [])
    assert list(read_table(path)) == [] and not read_table(path)


def test_texts_are_a_sequence_of_what_was_put_in():
    given = ["", "ü", "a\n,b", "𝄞", ""]
    texts = Texts(given)
    assert list(texts) == given == [texts[i] for i in range(5)] == texts[:] and len(texts) == 5
    assert texts[-2] == "𝄞" and texts[1:4:2] == ["ü", "𝄞"] and texts[np.int64(1)] == "ü"
    assert "a\n,b" in texts and list(Texts()) == []
    with pytest.raises(IndexError):
        texts[5]


def test_texts_can_be_put_behind_others_after_these_were_read():
    texts = Texts(["a"])
    assert list(texts) == ["a"]
    texts.extend(["ü", ""])
    texts.extend([])
    assert list(texts) == ["a", "ü", ""] and texts[2] == "" and texts[1] == "ü" and len(texts) == 3


def test_a_spool_takes_no_memory_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spool = Spool()
    assert bytes(spool.read()) == b""
    before = anonymous()
    for _ in range(64):
        spool.append(bytes(2**20))
    spool.append(b"end")
    seen = spool.read()
    assert len(seen) == 2**26 + 3 and seen[-3:] == b"end" and not any(seen[::4096][:-1])
    assert anonymous() - before < 2**24
    assert not list(tmp_path.iterdir())
    del spool
    assert seen[-3:] == b"end"  # stays as long as it is in use


def anonymous():
    """Bytes of memory that are no pages of files."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024
