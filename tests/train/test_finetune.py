from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from small_training import CPU, HEAD, finetune_params, split_table, start_finetuning

from unfreeze.model.backbone import build_backbone
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.network import Network
from unfreeze.task.single import Single
from unfreeze.train.finetune import plan_phases, snapshot_epochs
from unfreeze.train.history import History
from unfreeze.train.learner import Learner
from unfreeze.views.augment import AugmentParams
from unfreeze.views.images import Images


@pytest.fixture
def pictures():
    """24 images of two classes, dark and bright, and their split."""
    rng = np.random.default_rng(0)
    targets = np.arange(24) % 2
    pixels = (rng.integers(0, 128, (24, 36, 36, 3)) + 127 * targets[:, None, None, None]).astype(np.uint8)
    return Images(pixels, 32, CPU), split_table(Single(["a", "b"]), targets, train=16)


def run_finetune(fabric, pictures, head_lr=None, **changes):
    images, table = pictures
    network = Network(build_backbone("resnet18", "none", 1), build_head(1024, 2, HEAD, 1))
    start = {name: value.clone() for name, value in network.state_dict().items()}
    epochs = []
    with TemporaryDirectory() as folder, History(Path(folder), "accuracy") as history:
        params = finetune_params(**changes)
        tuning = start_finetuning(fabric, network, images, table, history, params=params, head_lr=head_lr)
        for epoch in tuning:
            changed = {n.split(".")[0] for n, v in network.state_dict().items() if not torch.equal(v, start[n])}
            steps = sum(step.epoch == epoch.epoch for step in history.steps)
            epochs.append((epoch.phase, steps, changed, (epoch.valid_loss, epoch.valid_score)))
    return epochs, network, start, tuning


def test_finetune_trains_the_head_first_and_then_everything(fabric, pictures):
    epochs, *_ = run_finetune(fabric, pictures, frozen_cycles=2, cycles=2)
    assert [(phase, steps) for phase, steps, _, _ in epochs] == [("frozen", 2)] * 2 + [("unfrozen", 2)] * 2
    assert [changed for *_, changed, _ in epochs] == [{"head"}] * 2 + [{"early", "late", "head"}] * 2


@pytest.mark.parametrize("schedule", ["sgdr", "one_cycle", "constant"])
def test_the_groups_rates_keep_their_ratios_at_every_step(fabric, pictures, monkeypatch, schedule):
    rates, descend = [], Learner._descend

    def watched(learner, *inputs):
        rates.append({group["multiplier"]: group["lr"] for group in learner.optimizer.param_groups})
        return descend(learner, *inputs)

    monkeypatch.setattr(Learner, "_descend", watched)
    run_finetune(fabric, pictures, frozen_cycles=0, cycles=2, schedule=schedule)
    assert len(rates) == 4
    for each in rates:
        assert {m: rate / each[1] for m, rate in each.items()} == pytest.approx({0.01: 0.01, 0.1: 0.1, 1: 1})


def test_finetune_with_bn_freeze_keeps_the_body_s_statistics(fabric, pictures):
    _, network, start, _ = run_finetune(fabric, pictures, bn_freeze=True)
    state = network.state_dict()
    assert torch.equal(state["late.1.1.bn2.running_mean"], start["late.1.1.bn2.running_mean"])
    assert not torch.equal(state["late.1.1.bn2.weight"], start["late.1.1.bn2.weight"])


def test_bn_freeze_train_trains_batchnorm_alone_while_the_body_is_frozen(fabric, pictures):
    _, network, start, _ = run_finetune(fabric, pictures, cycles=0, bn_freeze="train")
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, start[name])}
    body = {name for name in changed if not name.startswith("head.")}
    assert {"early.1.weight", "early.1.running_mean", "late.1.1.bn2.weight", "late.1.1.bn2.running_var"} <= body
    assert not any("conv" in name or name == "early.0.weight" for name in body)


@pytest.mark.parametrize(
    "changes",
    [
        {"mixup": 0.4},
        {"schedule": "one_cycle"},
        {"optimizer": "adamw"},
        {"label_smoothing": 0.1},
        {"clip_norm": 0.1},
        {"balance": "sample"},
    ],
)
def test_every_option_changes_what_is_learnt(fabric, pictures, changes):
    _, network, *_ = run_finetune(fabric, pictures, **changes)
    _, plain, *_ = run_finetune(fabric, pictures)
    assert not torch.equal(network.head[2].weight, plain.head[2].weight)


@pytest.mark.parametrize(("snapshots", "epochs"), [(1, []), (2, [4]), (3, [2, 4])])
def test_snapshots_are_the_ends_of_the_last_cycles_but_one(snapshots, epochs):
    params = finetune_params(frozen_cycles=2, cycles=3, cycle_mult=2, snapshots=snapshots)
    # Two frozen epochs, then cycles that end with epochs 2, 4 and 8.
    assert snapshot_epochs(plan_phases(params, 32), snapshots) == epochs


def test_a_network_that_stays_frozen_has_no_snapshots():
    params = finetune_params(frozen_cycles=3, cycles=0, snapshots=3)
    assert snapshot_epochs(plan_phases(params, 32), 3) == []


@pytest.mark.parametrize("changes", [{"frozen_cycles": 0, "cycles": 0}, {"skip": True, "sizes": [16, 32]}])
def test_no_cycles_at_all_leave_the_network_as_it_was(fabric, pictures, changes):
    epochs, network, start, tuning = run_finetune(fabric, pictures, **changes)
    assert epochs == [] and tuning.snapshots == []
    assert all(torch.equal(v, start[n]) for n, v in network.state_dict().items())


def test_sizes_grow_with_all_cycles_at_each_and_the_weights_going_on(fabric, pictures):
    epochs, network, *_ = run_finetune(fabric, pictures, sizes=[16, 32], cycles=2)
    names = ["frozen 16", "unfrozen 16", "unfrozen 16", "frozen 32", "unfrozen 32", "unfrozen 32"]
    assert [phase for phase, *_ in epochs] == names
    assert epochs[3][2] == {"early", "late", "head"}  # frozen again, on weights that have moved
    _, alone, *_ = run_finetune(fabric, pictures, cycles=2)
    assert not torch.equal(network.head[2].weight, alone.head[2].weight)


def test_snapshots_are_of_the_last_size():
    phases = plan_phases(finetune_params(cycles=2, cycle_mult=2, snapshots=2, sizes=[16, 32]), 32)
    assert [(p.name, p.size, p.frozen, p.cycles) for p in phases] == [
        ("frozen 16", 16, True, [1]),
        ("unfrozen 16", 16, False, [1, 2]),
        ("frozen 32", 32, True, [1]),
        ("unfrozen 32", 32, False, [1, 2]),
    ]
    assert snapshot_epochs(phases, 2) == [5]


def test_the_range_test_of_the_whole_network_leaves_it_as_it_was(fabric, pictures):
    _, tested, _, tuning = run_finetune(fabric, pictures, find_lr=20)
    _, plain, *_ = run_finetune(fabric, pictures)
    assert len(tuning.curve) >= 3 and tuning.lr == 0.01
    assert set(tuning.suggestions) == {"steepest", "minimum_tenth"}
    assert all(torch.equal(tested.state_dict()[name], value) for name, value in plain.state_dict().items())


def test_auto_takes_the_head_s_rate_while_frozen_and_the_suggestion_after(fabric, pictures):
    epochs, *_, tuning = run_finetune(fabric, pictures, lr="auto", find_lr=30, head_lr=0.02)
    assert tuning.lr == tuning.suggestions["minimum_tenth"]
    by_hand = run_finetune(fabric, pictures, lr=0.02, cycles=0)
    assert epochs[0] == by_hand[0][0]  # the frozen epoch, whose rate is the head's
    assert epochs[1] != run_finetune(fabric, pictures, lr=0.02)[0][1]


def test_finetuning_repeats_to_the_bit(fabric, pictures):
    one, two = (run_finetune(fabric, pictures)[1].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_numbers_alone_can_tell_the_classes(fabric):
    """Images of noise with a number that says the class: fine-tuning learns it, and predicts by it."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 32, 32, 3), np.uint8)
    classes = np.arange(48) % 2
    numbers = (2.0 * classes - 1).astype(np.float32)[:, None]
    head = build_head(1025, 2, HeadParams(hidden=[], dropout=[0]), 1)
    network = Network(build_backbone("resnet18", "none", 1), head)
    network.head[0].weight.data[:1024] = 0.01
    params = finetune_params(
        schedule="constant", lr=0.3, lr_multipliers=[0.001, 0.001, 1], frozen_cycles=6, cycles=0, mixup=0.2
    )
    with TemporaryDirectory() as folder, History(Path(folder), "accuracy") as history:
        images = Images(pixels, 32, CPU, numbers=numbers)
        table = split_table(Single(["a", "b"]), classes, train=32)
        augment = AugmentParams(set="flip", max_zoom=1, pad=0)
        *_, last = start_finetuning(fabric, network, images, table, history, params=params, augment=augment)
    assert last.valid_score == 1
