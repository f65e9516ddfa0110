import hashlib
import json

import pytest

from unfreeze.train.environment import read_environment, record_environment


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path / "model.safetensors"


def test_another_machine_that_trains_the_same_model_leaves_the_record_alone(tmp_path, model):
    path = tmp_path / "results/environment.json"
    record_environment(path, {"cpu": "first"}, model)
    first = path.read_bytes()
    record_environment(path, {"cpu": "second"}, model)
    assert path.read_bytes() == first
    assert json.loads(first) == {"cpu": "first", "model_md5": hashlib.md5(b"weights").hexdigest()}


def test_another_model_is_recorded_with_the_machine_that_trained_it(tmp_path, model):
    path = tmp_path / "environment.json"
    record_environment(path, {"cpu": "first"}, model)
    model.write_bytes(b"other weights")
    record_environment(path, {"cpu": "second"}, model)
    assert read_environment(path, hashlib.md5(b"other weights").hexdigest())["cpu"] == "second"
    assert read_environment(path, hashlib.md5(b"weights").hexdigest()) is None


@pytest.mark.parametrize("content", ["", "<<<<<<< HEAD", "[]", '{"cpu": "first"}', "\x00"])
def test_a_damaged_record_is_written_anew(tmp_path, model, content):
    path = tmp_path / "environment.json"
    path.write_text(content)
    record_environment(path, {"cpu": "second"}, model)
    assert read_environment(path, hashlib.md5(b"weights").hexdigest())["cpu"] == "second"
