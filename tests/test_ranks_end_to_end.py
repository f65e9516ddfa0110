"""The real stages on two devices, of which each is a rank on the CPU here."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import py7zr
import pytest
from small_project import ROOT, SMALL, copy_project, dvc, ran, set_params

from unfreeze.core import tables

pytestmark = pytest.mark.slow

TINY = SMALL | {
    "finetune__batch_size": 20, "finetune__frozen_cycles": 5, "finetune__cycles": 1, "finetune__snapshots": 1,
    "finetune__lr": 0.0001, "tta__views": 1, "split__folds": 0, "runtime__strict": False, "runtime__threads": 1,
}  # fmt: skip
"""Three unfrozen steps alone: more of them from scratch, on so few images, blow rounding up to percents."""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The whole chain on 10 digits of each class, by one device."""
    folder = tmp_path_factory.mktemp("ranks")
    copy_project(folder)
    with py7zr.SevenZipFile(ROOT / "data/raw/digits.7z") as archive:
        names = sorted(name for name in archive.getnames() if name.endswith(".png"))
        archive.extract(folder / "cut", targets=names[::18])
    with py7zr.SevenZipFile(folder / "data/raw/cut.7z", "w") as archive:
        for name in names[::18]:
            archive.write(folder / "cut" / name, name)
    set_params(folder, **TINY)
    dvc(folder, "repro")
    return folder


@pytest.fixture(scope="module")
def two(project) -> Path:
    """The same with two devices: what it left by one is in `one/`."""
    for name in ("data/features", "results/evaluate", "results/finetune"):
        shutil.copytree(project / name, project / "one" / name)
    set_params(project, **TINY, runtime__devices=2)
    said = dvc(project, "repro")
    assert ran(said) == ["unfreeze-finetune", "tta-evaluate", "report"]  # features are the same to the bit
    for stage in ran(said)[:2]:
        summary, start = re.findall(rf"^{stage}: .*", said, re.MULTILINE)  # standard output is the first
        assert summary.endswith(" s)") and "2 devices: " in start
    assert json.loads((project / "results/environment.json").read_text())["devices"] == 2
    return project


@pytest.fixture
def launch(two):
    """Start a command on two devices; what is left of it when the test is over is killed."""
    running = []

    def start(*command: str) -> subprocess.Popen:
        environment = os.environ | {"PYTHONPATH": str(two / "src")}
        arguments = {"cwd": two, "env": environment, "stderr": subprocess.PIPE, "text": True}
        running.append(psutil.Popen([sys.executable, *command], **arguments))
        return running[-1]

    yield start
    for process in running:
        for each in [*process.children(recursive=True), process] if process.is_running() else []:
            each.kill()


def test_two_devices_give_the_metrics_of_one_up_to_rounding(two):
    files = [folder / "results/finetune/steps.csv" for folder in (two / "one", two)]
    one, other = (tables.read(file, {"loss": "float"})["loss"].tolist() for file in files)
    assert len(one) == 18 and other == pytest.approx(one, rel=1e-4)
    one, other = (json.loads((f / "results/evaluate/details.json").read_text()) for f in (two / "one", two))
    for part in ("valid", "test"):
        for method in ("head", "plain", "tta"):
            before, after = one[part][method], other[part][method]
            assert after["log_loss"] == pytest.approx(before["log_loss"], rel=1e-2)
            assert after["accuracy"] == pytest.approx(before["accuracy"], abs=0.051)  # one image of 20


def test_features_and_predictions_have_the_bytes_of_one_device(two, launch):
    """Both stages again, started by `fabric run` and by torchrun."""
    features = two / "data/features/plain.npy"

    def read_predictions() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (two / "results/evaluate").glob("pr*")}

    set_params(two, **TINY)
    assert launch("stages/tta_evaluate.py").wait(300) == 0
    expected = read_predictions()
    assert {"predictions.csv", "probabilities.npy"} <= set(expected)
    set_params(two, **TINY, runtime__devices=2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "stages/tta_evaluate.py"]
    fabric = [str(Path(sys.executable).with_name("fabric")), "run", "--devices", "2", "--main-port", port]
    for command in (torchrun, [*fabric, "stages/precompute_features.py"]):
        running = launch(*command)
        _, said = running.communicate(timeout=300)
        assert running.returncode == 0, said
    assert read_predictions() == expected
    assert features.read_bytes() == (two / "one/data/features/plain.npy").read_bytes()


def test_a_stop_or_a_kill_leaves_no_rank_behind_and_the_next_run_goes_on(two, launch):
    """By hand, as on several machines, and at the end DVC is told."""
    model = two / "models/model.safetensors"
    expected = model.read_bytes()

    def saved() -> list[int]:
        return [path.stat().st_mtime_ns for path in two.glob(".checkpoints/*/state.safetensors")]

    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 128 + signal.SIGTERM)):
        before, running = saved(), launch("stages/finetune.py")
        deadline = time.monotonic() + 300
        while saved() == before:
            assert time.monotonic() < deadline and running.poll() is None
            time.sleep(0.02)
        [other] = running.children()
        running.send_signal(number)  # to the first rank alone
        _, said = running.communicate(timeout=60)
        assert running.returncode == status
        assert not psutil.wait_procs([other], timeout=30)[1]
        assert said.count("stopped by SIGTERM") == (number == signal.SIGTERM)
        assert saved() != before
    model.unlink()
    assert launch("stages/finetune.py").wait(300) == 0
    assert model.read_bytes() == expected
    assert not saved()
    dvc(two, "commit", "-f", "unfreeze-finetune")
    assert "unfreeze-finetune" not in ran(dvc(two, "repro"))
