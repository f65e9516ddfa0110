"""Training that is stopped at any step and started again ends with the bytes of one that was not."""

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import yaml
from small_training import (
    CLASSES,
    CPU,
    HEAD,
    finetune_params,
    head_data,
    head_params,
    split_table,
    start_finetuning,
)
from torch import nn

from unfreeze.core import tables
from unfreeze.core.console import UserError
from unfreeze.model.backbone import build_backbone
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.network import Network
from unfreeze.task.base import Score
from unfreeze.task.single import Single
from unfreeze.train.checkpoint import Checkpoint, Saving, describe_stale, fit_resumably, pack, restore_optimizer
from unfreeze.train.fingerprint import fingerprint
from unfreeze.train.fit import Plan
from unfreeze.train.head import head_learner, head_paces
from unfreeze.train.history import History
from unfreeze.train.learner import Learner, build_optimizer, set_pace
from unfreeze.views.augment import AugmentParams
from unfreeze.views.images import Images

PARAMS = head_params(optimizer="adamw", weight_decay=0.01, cycle_len=1)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a stage `train-head` of one dep and one param, in a git repository for DVCLive."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    os.system("git init -q && git -c user.name=t -c user.email=t@localhost commit -q --allow-empty -m start")
    stage = {"cmd": "", "deps": ["data.txt", "folder"], "params": ["train_head.lr"]}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"train-head": stage}}))
    write_params(minutes=1000)
    Path("data.txt").write_text("data")
    Path("folder").mkdir()
    Path("folder/code.py").write_text("code")
    return tmp_path


def write_params(lr=0.05, minutes=1000):
    runtime = {"device": "cpu", "precision": "32", "strict": False, "threads": "auto", "devices": 1}
    content = {"train_head": {"lr": lr, "cycles": 2}, "runtime": runtime | {"checkpoint_minutes": minutes}}
    Path("params.yaml").write_text(yaml.safe_dump(content))


class Stopped(Exception):
    """Stands for a kill: nothing is saved for it."""


def train(fabric, folder, stop_after=None, signal_after=None):
    """Three epochs of six steps of a head, as the stage does them; what it leaves, by file and tensor."""
    torch.manual_seed(0)
    targets = torch.arange(48) % 3
    data = head_data(fabric, torch.randn(48, 5) + torch.eye(3, 5)[targets], targets, Single(CLASSES))
    head = build_head(5, 3, HEAD, 1)
    rows, steps = np.arange(48), 0
    learner = head_learner(data, head, rows, PARAMS, (1, "train-head"))
    step, plan = learner.step, Plan(rows=rows, lr=0.05, paces=head_paces(PARAMS, 48))

    def counted(*args):
        nonlocal steps
        steps += 1
        if stop_after is not None and steps > stop_after:
            raise Stopped
        loss = step(*args)
        if steps == signal_after:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    object.__setattr__(learner, "step", counted)
    checkpoint = Checkpoint("train-head")
    with checkpoint, History(folder, "accuracy", checkpoint.info) as history:
        checkpoint.restore(head)
        for epoch in fit_resumably(learner, plan, Saving(history=history, checkpoint=checkpoint)):
            history.record(epoch, "head", Score(float(len(history.epochs)), 0.5, {}))
    checkpoint.remove()
    live = {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    weights = {name: value.numpy().tobytes() for name, value in head.state_dict().items()}
    return {**live, **weights}, steps


@pytest.fixture
def uninterrupted(fabric, project):
    left, steps = train(fabric, project / "whole")
    assert steps == 18 and len(tables.read(project / "whole/epochs.csv")) == 3
    return left


@pytest.mark.parametrize("at", [1, 5, 6, 7, 12, 17])
def test_a_signal_finishes_the_step_and_saves_and_the_next_run_goes_on(fabric, project, uninterrupted, at, capsys):
    with pytest.raises(SystemExit) as stopped:
        train(fabric, project / "again", signal_after=at)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in capsys.readouterr().err
    left, steps = train(fabric, project / "again")
    assert steps == 18 - at  # not one step is done twice
    assert left == uninterrupted
    assert not list((project / ".checkpoints").iterdir())


@pytest.mark.parametrize(("at", "lost"), [(3, 3), (6, 0), (7, 1), (13, 1)])
def test_a_kill_loses_what_came_after_the_last_save(fabric, project, uninterrupted, at, lost):
    """Saves are at the ends of epochs here, of six steps each."""
    with pytest.raises(Stopped):
        train(fabric, project / "again", stop_after=at)
    left, steps = train(fabric, project / "again")
    assert steps == 18 - at + lost
    assert left == uninterrupted


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_optimizer_goes_on_to_the_bit_whatever_the_layout_of_the_weights(name):
    """Convolutions keep their channels last, and files do not."""

    def step():
        optimizer.zero_grad()
        conv(images).square().sum().backward()
        set_pace(optimizer, 0.01, 0.9)
        optimizer.step()

    torch.manual_seed(0)
    images, conv = torch.randn(2, 3, 5, 5), nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimizer = build_optimizer([conv], [1.0], PARAMS.model_copy(update={"optimizer": name}))
    step()
    kept = {
        key: value.detach().clone(memory_format=torch.contiguous_format)
        for key, value in pack(conv, optimizer).items()
    }
    step()
    expected = [p.detach().clone() for p in conv.parameters()]
    conv.load_state_dict({key.removeprefix("model."): kept[key] for key in kept if key.startswith("model.")})
    optimizer = build_optimizer([conv], [1.0], PARAMS.model_copy(update={"optimizer": name}))
    restore_optimizer(optimizer, kept)
    step()
    assert all(torch.equal(p, before) for p, before in zip(conv.parameters(), expected, strict=True))


def test_time_is_a_reason_to_save(fabric, project, uninterrupted):
    write_params(minutes=1e-9)
    with pytest.raises(Stopped):
        train(fabric, project / "again", stop_after=3)
    left, steps = train(fabric, project / "again")
    assert steps == 15 and left == uninterrupted


def test_a_checkpoint_of_other_params_data_or_code_is_not_picked_up_and_named(fabric, project, capsys):
    with pytest.raises(SystemExit):
        train(fabric, project / "again", signal_after=7)
    mine = fingerprint("train-head")
    for change, back in (
        (lambda: write_params(lr=0.1), lambda: write_params()),
        (lambda: Path("data.txt").write_text("other"), lambda: Path("data.txt").write_text("data")),
        (lambda: Path("folder/code.py").write_text("other"), lambda: Path("folder/code.py").write_text("code")),
    ):
        change()
        assert fingerprint("train-head") != mine
        with Checkpoint("train-head") as checkpoint:
            assert checkpoint.state is None
        assert "1 checkpoints of other params or data take 0 MB: make clean-checkpoints" in capsys.readouterr().err
        back()
    write_params(minutes=5)  # changes no result
    assert fingerprint("train-head") == mine and Checkpoint("train-head").state
    assert describe_stale("train-head", project / "none") != ""


def test_a_damaged_checkpoint_is_named(fabric, project):
    with pytest.raises(SystemExit):
        train(fabric, project / "again", signal_after=7)
    [file] = (project / ".checkpoints").rglob("state.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"state\.safetensors is damaged .* make clean-checkpoints"):
        Checkpoint("train-head")


def test_ranks_that_see_different_checkpoints_say_so_instead_of_waiting_for_each_other(project, monkeypatch):
    two = SimpleNamespace(world_size=2, is_global_zero=True, device=torch.device("cpu"))
    monkeypatch.setattr(dist, "all_reduce", lambda number, op: None)  # the other rank sees the same
    Checkpoint("train-head", two)
    monkeypatch.setattr(dist, "all_reduce", lambda number, op: number.add_(op == dist.ReduceOp.MAX))
    with pytest.raises(UserError, match=r"the machines see different .* must share the project's folder"):
        Checkpoint("train-head", two)


def test_checkpoints_lie_in_the_repository_also_of_experiments_in_a_copy(project, monkeypatch, tmp_path):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))
    assert Checkpoint("train-head").folder.parent == tmp_path / "repository/.checkpoints"


def test_what_is_saved_is_plain_data(fabric, project):
    with pytest.raises(SystemExit):
        train(fabric, project / "again", signal_after=8)
    info = Checkpoint("train-head").info
    assert json.loads(json.dumps(info)) == info
    assert len(info["epochs"]) == 1 and len(info["partial"]) == 2


def finetune(fabric, folder, monkeypatch, signal_after=None):
    """Two frozen steps, a range test and two unfrozen steps; what is left, and how many steps there were."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), np.uint8)
    head = build_head(2048, 2, HeadParams(hidden=[], dropout=[0]), 1)
    network = Network(build_backbone("shufflenet_v2_x0_5", "none", 1), head)
    params = finetune_params(optimizer="adamw", weight_decay=0.01, lr_multipliers=[0.1, 0.3, 1], find_lr=20)
    steps, step = [], Learner.step

    def counted(learner, *args):
        steps.append(step(learner, *args))
        if len(steps) == signal_after:
            os.kill(os.getpid(), signal.SIGINT)
        return steps[-1]

    monkeypatch.setattr(Learner, "step", counted)
    try:
        checkpoint = Checkpoint("train-head")
        with checkpoint, History(folder, "accuracy", checkpoint.info) as history:
            table = split_table(Single(["a", "b"]), np.arange(24) % 2, train=16)
            fields = {"params": params, "augment": AugmentParams(set="flip", max_zoom=1, pad=0)}
            tuning = start_finetuning(
                fabric, network, Images(pixels, 32, CPU), table, history, checkpoint=checkpoint, **fields
            )
            list(tuning)
        checkpoint.remove()
    finally:
        monkeypatch.setattr(Learner, "step", step)
    left = {name: value.numpy().tobytes() for name, value in network.state_dict().items()}
    left |= {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return left | {"curve": tuning.curve}, len(steps)


@pytest.mark.slow
def test_fine_tuning_goes_on_from_every_part_of_it(fabric, project, monkeypatch, capsys):
    whole, total = finetune(fabric, project / "whole", monkeypatch)
    assert 10 < len(whole["curve"]) <= total - 4
    # Within the frozen epoch, within the range test, which begins anew, and within the unfrozen epoch.
    for at, left_to_do in ((1, total - 1), (9, total - 2), (total - 1, 1)):
        with pytest.raises(SystemExit) as stopped:
            finetune(fabric, project / f"at {at}", monkeypatch, signal_after=at)
        assert stopped.value.code == 128 + signal.SIGINT, at
        assert "what was learnt is kept in" in capsys.readouterr().err
        again, steps = finetune(fabric, project / f"at {at}", monkeypatch)
        assert steps == left_to_do, at
        assert again == whole, at


def test_a_signal_before_anything_was_saved_keeps_nothing(project, capsys):
    checkpoint = Checkpoint("train-head")
    with pytest.raises(SystemExit), checkpoint:
        checkpoint.stop_if_asked()  # nobody has asked yet
        os.kill(os.getpid(), signal.SIGTERM)
        checkpoint.stop_if_asked()
    assert "stopped by SIGTERM; nothing was learnt yet" in capsys.readouterr().err
    assert Checkpoint("train-head").state is None
