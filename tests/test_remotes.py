"""What one clone has run, another need not: push and pull through a folder and through S3, and released models."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from small_project import SMALL, copy_run, dvc, git, ran, set_params

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def origin(small_run, tmp_path_factory) -> Path:
    """A repository with a run in a commit; its archive is under DVC."""
    folder = copy_run(small_run, tmp_path_factory.mktemp("origin"))
    dvc(folder, "add", "data/raw/cut.7z")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "a run")
    return folder


@pytest.fixture
def s3(monkeypatch):
    """The endpoint of an S3 server on this machine, with a bucket named `store`."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(logging.getLogger("werkzeug"), "disabled", True)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="store")
    yield endpoint
    server.stop()


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_second_clone_pulls_and_runs_nothing(origin, kind, request, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    copy_run(origin, first)
    dvc(first, "remote", "add", "--default", "store", "s3://store/unfreeze" if kind == "s3" else "../store")
    if kind == "s3":
        dvc(first, "remote", "modify", "store", "endpointurl", request.getfixturevalue("s3"))
    git(first, "commit", "-qam", "where the data are")
    dvc(first, "push", "--run-cache")
    # Tried, pushed and not committed.
    set_params(first, **SMALL, split__seed=2)
    assert ran(dvc(first, "repro", "split")) == ["split"]
    dvc(first, "push", "--run-cache", "split")

    git(tmp_path, "clone", "-q", "first", "second")
    dvc(second, "pull", "--run-cache")
    assert ran(dvc(second, "repro")) == []
    assert not git(second, "status", "--porcelain")
    for name in ("data/raw/cut.7z", "models/model.safetensors", "results/report/index.html"):
        assert (second / name).read_bytes() == (origin / name).read_bytes()

    set_params(second, **SMALL, split__seed=2)
    assert ran(dvc(second, "repro", "--pull", "split")) == []
    tried = (second / "data/split.csv").read_bytes()
    assert tried == (first / "data/split.csv").read_bytes() != (origin / "data/split.csv").read_bytes()


def test_clones_with_one_cache_run_nothing_twice(origin, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for clone in (first, second):
        git(tmp_path, "clone", "-q", str(origin), clone.name)
        dvc(clone, "cache", "dir", "--local", "../cache")
    copy_run(origin / ".dvc/cache", tmp_path / "cache")
    for clone, runs in ((first, ["find-lr"]), (second, [])):
        dvc(clone, "checkout")
        set_params(clone, **SMALL, find_lr__steps=30)
        assert ran(dvc(clone, "repro", "find-lr")) == runs
    curves = [(clone / "results/find_lr/curve.csv").read_bytes() for clone in (origin, first, second)]
    assert curves[0] != curves[1] == curves[2]


def test_a_released_model_is_fetched_by_its_name_and_version_and_predicts(origin, tmp_path):
    copy_run(origin, tmp_path / "project")
    git(tmp_path / "project", "tag", "classifier@v1.0.0", "-m", "the first one")
    (tmp_path / "elsewhere").mkdir()
    fetch = ["artifacts", "get", str(tmp_path / "project"), "classifier"]
    dvc(tmp_path / "elsewhere", *fetch, "--rev", "v1.0.0", "--out", "model.safetensors")
    model = tmp_path / "elsewhere/model.safetensors"
    assert model.read_bytes() == (origin / "models/model.safetensors").read_bytes()
    assert "v2.0.0" in dvc(tmp_path / "elsewhere", *fetch, "--rev", "v2.0.0", ok=False)

    command = [
        sys.executable,
        "-m",
        "unfreeze.predict",
        str(model),
        str(origin / "data/raw/cut.7z"),
        "--csv",
    ]
    environment = os.environ | {"PYTHONPATH": str(origin / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 301
