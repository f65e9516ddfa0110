import json

import pytest

from unfreeze.core.files import replacing, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_refuses_nan(tmp_path):
    write_json(tmp_path / "x.json", {"b": 1, "a": None})
    assert json.loads((tmp_path / "x.json").read_text()) == {"b": 1, "a": None}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"b": float("nan")})
    assert json.loads((tmp_path / "x.json").read_text()) == {"b": 1, "a": None}
