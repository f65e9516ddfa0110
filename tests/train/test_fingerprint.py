"""Large outs of earlier stages are known by the hashes in dvc.lock, and everything else by its content."""

import os
from pathlib import Path

import pytest
import yaml

from unfreeze.train import fingerprint as module
from unfreeze.train.fingerprint import fingerprint

ARRAY = "data/images/pixels.npy"
FOLDER = "data/features"
DEPS = [ARRAY, FOLDER, "weights", "src/unfreeze/train"]
FILES = {
    ARRAY: "pixels",
    "data/features/plain.npy": "plain",
    "data/features/view_00.npy": "view",
    "weights/resnet18.pth": "weights",
    "src/unfreeze/train/fit.py": "code",
}
HASHES = {ARRAY: "0123", FOLDER: "4567.dir"}
BY_DVC = pytest.mark.parametrize("by_dvc", [True, False])


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a stage of four deps, of which dvc.lock records two as outs; none is too small for that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setattr(module, "READ_ANYWAY", 1)
    stage = {"cmd": "", "deps": DEPS, "params": ["seed"]}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"finetune": stage}}))
    Path("params.yaml").write_text("seed: 1\n")
    for name in FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        write(name, FILES[name], age=100)
    write_lock()
    return tmp_path


@pytest.fixture
def opened(monkeypatch):
    """The files of FILES that are opened, in a list that grows."""
    names, opens = [], Path.open

    def watched(path, *args, **more):
        names.append(str(path))
        return opens(path, *args, **more)

    monkeypatch.setattr(Path, "open", watched)
    return names


def write(name, content, age=0):
    """Write a file that is `age` seconds older than dvc.lock, or newer."""
    Path(name).write_text(content)
    os.utime(name, (1e9 - age, 1e9 - age))


def write_lock(**changes):
    """Write dvc.lock as the stages that made both outs left it."""
    array = {"path": ARRAY, "hash": "md5", "md5": HASHES[ARRAY], "size": len("pixels"), **changes}
    folder = {"path": FOLDER, "hash": "md5", "md5": HASHES[FOLDER], "size": len("plainview"), "nfiles": 2}
    stages = {"decode": {"cmd": "", "outs": [array]}, "precompute": {"cmd": "", "outs": [folder]}}
    write("dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": stages}))


def set_origin(monkeypatch, by_dvc):
    if by_dvc:
        monkeypatch.setenv("DVC_STAGE", "finetune")


def list_read(opened):
    """The files of FILES that one fingerprint opens."""
    opened.clear()
    fingerprint("finetune")
    return [name for name in FILES if name in opened]


CODE_AND_WEIGHTS = ["weights/resnet18.pth", "src/unfreeze/train/fit.py"]


@BY_DVC
def test_outs_that_dvc_recorded_are_not_opened_and_code_and_weights_are(project, monkeypatch, opened, by_dvc):
    set_origin(monkeypatch, by_dvc)
    assert list_read(opened) == CODE_AND_WEIGHTS


def test_dvc_may_have_checked_an_out_out_after_dvc_lock_came(project, monkeypatch, opened):
    write(ARRAY, "pixels", age=-100)
    monkeypatch.setenv("DVC_STAGE", "finetune")
    assert list_read(opened) == CODE_AND_WEIGHTS


@BY_DVC
def test_another_hash_in_dvc_lock_is_another_fingerprint(project, monkeypatch, by_dvc):
    set_origin(monkeypatch, by_dvc)
    before = fingerprint("finetune")
    write_lock(md5="89ab")
    assert fingerprint("finetune") != before
    write_lock()
    assert fingerprint("finetune") == before


def test_by_hand_an_out_that_is_newer_than_dvc_lock_is_read(project, opened):
    before = fingerprint("finetune")
    write(ARRAY, "PIXELS", age=-100)
    assert list_read(opened) == [ARRAY, *CODE_AND_WEIGHTS]
    newer = fingerprint("finetune")
    write(ARRAY, "others", age=-100)
    assert len({before, newer, fingerprint("finetune")}) == 3
    write("data/features/view_00.npy", "seen", age=-100)
    assert list_read(opened) == list(FILES)


@BY_DVC
def test_an_out_of_another_size_is_read(project, monkeypatch, opened, by_dvc):
    set_origin(monkeypatch, by_dvc)
    write(ARRAY, "more pixels", age=100)
    assert list_read(opened) == [ARRAY, *CODE_AND_WEIGHTS]
    before = fingerprint("finetune")
    write(ARRAY, "MORE PIXELS", age=100)
    assert fingerprint("finetune") != before


@BY_DVC
def test_a_folder_with_another_file_is_read_whole(project, monkeypatch, opened, by_dvc):
    set_origin(monkeypatch, by_dvc)
    write("data/features/view_01.npy", "another", age=100)
    assert list_read(opened) == [name for name in FILES if name != ARRAY]


@pytest.mark.parametrize("name", CODE_AND_WEIGHTS)
def test_other_code_or_weights_are_another_fingerprint(project, monkeypatch, name):
    set_origin(monkeypatch, by_dvc=True)
    before = fingerprint("finetune")
    write(name, FILES[name][::-1], age=100)  # no newer, and of the same size
    assert fingerprint("finetune") != before


def test_small_outs_are_read_even_for_dvc(project, monkeypatch, opened):
    """`dvc repro --single-item` trains on outs that were made by hand, with the old hashes in dvc.lock."""
    set_origin(monkeypatch, by_dvc=True)
    monkeypatch.setattr(module, "READ_ANYWAY", len("pixels") + 1)
    assert list_read(opened) == [ARRAY, *CODE_AND_WEIGHTS]
    before = fingerprint("finetune")
    write(ARRAY, "PIXELS", age=100)
    assert fingerprint("finetune") != before


@pytest.mark.parametrize("content", [None, "schema: '2.0'\n", "schema: '2.0'\nstages: {}\n"])
def test_without_hashes_everything_is_read(project, opened, content):
    Path("dvc.lock").unlink()
    if content is not None:
        Path("dvc.lock").write_text(content)
    assert list_read(opened) == list(FILES)


def test_an_out_without_an_md5_is_read(project, opened):
    array = {"path": ARRAY, "hash": "etag", "etag": "0123", "size": len("pixels")}
    write("dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": {"decode": {"cmd": "", "outs": [array]}}}))
    assert list_read(opened) == list(FILES)


def test_a_missing_out_is_no_error_and_another_fingerprint(project):
    before = fingerprint("finetune")
    Path(ARRAY).unlink()
    assert fingerprint("finetune") != before


def test_bytecode_is_not_code(project):
    before = fingerprint("finetune")
    write("src/unfreeze/train/fit.pyc", "bytecode")
    assert fingerprint("finetune") == before


def test_other_params_are_another_fingerprint(project):
    before = fingerprint("finetune")
    Path("params.yaml").write_text("seed: 2\n")
    assert fingerprint("finetune") != before
