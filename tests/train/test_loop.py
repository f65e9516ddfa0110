import itertools
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from torch import nn

from unfreeze.console import UserError
from unfreeze.data.table import SplitTable
from unfreeze.model.backbone import build_backbone
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.network import Network
from unfreeze.train import loop
from unfreeze.train.augment import AugmentParams, Images
from unfreeze.train.finetune import Finetuning, plan, snapshot_epochs
from unfreeze.train.head import Features, cross_validate, fit_head, predict_head, read_features
from unfreeze.train.history import History
from unfreeze.train.loop import (
    Learner,
    batches,
    build_optimizer,
    fit,
    mix,
    predict,
    predicted,
    set_pace,
    steps_per_epoch,
    train_step,
)
from unfreeze.train.schedule import FinetuneParams, Pace, StepParams, TrainHeadParams
from unfreeze.train.score import score

PLAIN = {
    "optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.0, "label_smoothing": 0.0, "clip_norm": 0.0,
    "balance": "none",
}  # fmt: skip
STEP = StepParams(batch_size=8, **PLAIN | {"weight_decay": 0.1})
HEAD = HeadParams(hidden=[16], dropout=[0.25, 0.5])
TRAIN = TrainHeadParams(batch_size=8, **PLAIN, schedule="sgdr", lr=0.05, cycles=2, cycle_len=2, cycle_mult=2)


@pytest.fixture
def problem():
    """60 rows of three classes that features tell apart."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(60) % 3
    features = torch.randn(60, 5, generator=generator) * 0.3 + torch.eye(3, 5)[targets] * 2
    return Features(features[None]), targets


@pytest.mark.parametrize("rows", [2, 8, 9, 15, 16, 17, 64, 65])
@pytest.mark.parametrize("batch_size", [2, 8, 64])
def test_an_epoch_goes_through_every_row_once_and_never_trains_on_one_alone(rows, batch_size):
    made = batches(np.arange(100, 100 + rows), batch_size, 1, "order", 0)
    assert sorted(np.concatenate(made)) == list(range(100, 100 + rows))
    assert min(map(len, made)) > 1
    assert len(made) == steps_per_epoch(rows, batch_size)


def test_the_order_is_new_each_epoch_and_the_same_each_time():
    def order(epoch):
        return np.concatenate(batches(np.arange(50), 8, 1, "order", epoch)).tolist()

    assert order(0) == order(0) != order(1)


def test_rates_keep_their_multiples_and_only_weights_decay():
    groups = [nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Linear(4, 2)]
    optimizer = build_optimizer(groups, [0.1, 1.0], STEP)
    set_pace(optimizer, 0.02, 0.85)
    assert all(part["momentum"] == 0.85 for part in optimizer.param_groups)
    of = {id(p): part for part in optimizer.param_groups for p in part["params"]}
    assert len(of) == 6
    for group, lr in zip(groups, (0.002, 0.02), strict=True):
        for p in group.parameters():
            assert of[id(p)]["lr"] == pytest.approx(lr)
            assert of[id(p)]["weight_decay"] == (0.1 if p.ndim > 1 else 0)


def test_a_step_is_sgd_with_momentum(fabric):
    """Two steps on one batch against the formula v = m v + g, w = w - lr v."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    weight = model.weight.detach().clone()
    x, y = torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
    params = StepParams(batch_size=4, **PLAIN)
    rates, velocity = [0.1, 0.05], 0
    bias = model.bias.detach().clone()
    bias_velocity = 0
    for lr in rates:
        difference = (x @ weight.T + bias).softmax(1) - nn.functional.one_hot(y, 2)
        velocity = 0.9 * velocity + difference.T @ x / 4
        bias_velocity = 0.9 * bias_velocity + difference.mean(0)
        weight, bias = weight - lr * velocity, bias - lr * bias_velocity
    optimizer, schedule = build_optimizer([model], [1.0], params), [Pace(1.0, 0.9), Pace(0.5, 0.9)]
    rows = np.arange(4)
    learner = Learner(fabric, model, optimizer, lambda r, epoch: x[torch.from_numpy(r)], y, params, (0, "t"))
    list(fit(learner, rows, 0.1, schedule))
    assert torch.allclose(model.weight, weight, atol=1e-6)


def test_adamw_decays_weights_apart_from_the_gradient(fabric):
    model = nn.Linear(3, 2)
    params = STEP.model_copy(update={"optimizer": "adamw"})
    optimizer = build_optimizer([model], [1.0], params)
    set_pace(optimizer, 0.01, 0.8)
    assert all(part["betas"] == (0.8, 0.99) for part in optimizer.param_groups)
    weight, bias = model.weight.detach().clone(), model.bias.detach().clone()
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()  # without a gradient only the decay acts: w (1 - lr * decay), and none on biases
    assert torch.allclose(model.weight, weight * (1 - 0.01 * 0.1)) and torch.equal(model.bias, bias)


def test_label_smoothing_and_mixed_targets_in_plain_numpy(fabric):
    torch.manual_seed(0)
    model, x, y = nn.Linear(4, 3), torch.randn(5, 4), torch.tensor([0, 2, 1, 1, 0])
    soft = nn.functional.one_hot(y, 3).float()
    log_p = model(x).log_softmax(1).detach().numpy()
    for smoothing in (0.0, 0.1):
        params = STEP.model_copy(update={"label_smoothing": smoothing})
        expected = -((soft.numpy() * (1 - smoothing) + smoothing / 3) * log_p).sum(1).mean()
        for targets in (y, soft):
            still = build_optimizer([model], [1.0], params)  # its rate is 0
            assert train_step(fabric, model, still, params, x, targets) == pytest.approx(expected, rel=1e-5)


def test_clipping_bounds_the_norm_of_all_gradients_together(fabric):
    model, x, y = nn.Linear(4, 3), torch.randn(5, 4) * 100, torch.tensor([0, 2, 1, 1, 0])
    for clip, small in ((0.0, False), (0.5, True)):
        params = STEP.model_copy(update={"clip_norm": clip})
        train_step(fabric, model, build_optimizer([model], [1.0], params), params, x, y)
        norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()
        assert (norm <= 0.5 + 1e-4) == small


def test_mixup_mixes_inputs_and_targets_by_one_share():
    x, y = torch.eye(6), torch.eye(6)
    mixed_x, mixed_y = mix(x, y, 0.4, 1, "mixup", 0)
    assert torch.equal(mixed_x, mixed_y)  # the same pairs and the same share
    assert torch.allclose(mixed_y.sum(1), torch.ones(6))
    shares = {round(v, 5) for v in mixed_y.flatten().tolist() if 0 < v < 1}
    assert len(shares) <= 2 and sum(shares) == pytest.approx(1, abs=1e-4)
    assert torch.equal(mix(x, y, 0.4, 1, "mixup", 0)[0], mixed_x)
    assert not torch.equal(mix(x, y, 0.4, 1, "mixup", 1)[0], mixed_x)


def test_training_the_head_learns_and_repeats_to_the_bit(fabric, problem):
    features, targets = problem
    heads = []
    for _ in range(2):
        torch.manual_seed(len(heads))  # whatever torch's own generator did before
        head = build_head(5, 3, HEAD, 1)
        epochs = list(fit_head(fabric, head, features, targets, np.arange(48), TRAIN, 0.05, (1, "head")))
        heads.append(head)
    assert len(epochs) == 6 and [s.step for s in itertools.chain(*epochs)] == list(range(36))
    assert all(
        torch.equal(a, b)
        for a, b in zip(heads[0].state_dict().values(), heads[1].state_dict().values(), strict=True)
    )
    logits = predict_head(fabric, heads[0], features, np.arange(48, 60))
    assert score(logits, targets[48:])[1] > 0.9
    assert epochs[0][0].loss > epochs[-1][-1].loss


def test_a_loss_that_is_not_finite_stops_with_step_and_rate(fabric, problem):
    features, targets = problem
    features = Features(features.views * 1e30)
    with pytest.raises(
        UserError, match=r"loss is (nan|inf) at step \d+ \(epoch 0\), learning rate .*: try a rate"
    ):
        list(fit_head(fabric, nn.Linear(5, 3), features, targets, np.arange(48), TRAIN, 1e30, (1, "head")))


def test_predictions_are_in_order_whatever_the_batch(fabric, problem):
    features, _ = problem
    head = build_head(5, 3, HEAD, 1)
    rows = np.array([5, 3, 40])
    one = predict(fabric, head, features.plain, rows, 1)
    assert torch.allclose(one, head.eval()(features.views[0, [5, 3, 40]]), atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_predictions_of_many_batches_need_no_gradients_and_are_told(fabric, problem, threads):
    features, _ = problem
    head, rows, told, shares = build_head(5, 3, HEAD, 1), np.arange(40)[::-1].copy(), [], set()

    def inputs(batch, view):
        shares.add(torch.get_num_threads())
        return features.plain(batch)

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    found = predict(fabric, head, inputs, rows, 7, done=told.append)
    assert torch.get_num_threads() == threads and shares == {1}  # side by side, a thread for each batch
    torch.set_num_threads(before)
    assert torch.allclose(found, head.eval()(features.views[0, rows.copy()]), atol=1e-6)
    assert not found.requires_grad and told == [7] * 5 + [5]


def test_blocks_are_predicted_without_a_pause_between_them(fabric, problem):
    features, _ = problem
    head, fetched = build_head(5, 3, HEAD, 1), []

    def inputs(batch, view):
        fetched.append(batch[0])
        return features.plain(batch)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    blocks = [np.arange(start, start + 8) for start in range(0, 40, 8)]
    found = predicted(fabric, head, inputs, blocks, 8)
    first = next(found)
    deadline = time.monotonic() + 20
    while len(fetched) < 4 and time.monotonic() < deadline:  # of the next blocks, that nobody has asked for yet
        time.sleep(0.01)
    assert 4 <= len(fetched) <= 5  # and of no more than are computed ahead
    every = torch.cat([first, *found])
    torch.set_num_threads(before)
    assert torch.allclose(every, head.eval()(features.views[0, :40]), atol=1e-6)


def test_an_epoch_draws_one_cached_view_of_each_image():
    views = torch.arange(5.0)[:, None, None] + 10 * torch.arange(400.0)[None, :, None]  # [view, row, 1]
    features, rows = Features(views), np.arange(400)
    drawn = [features.drawn(rows, epoch, 1, "head")[:, 0] for epoch in (0, 1)]
    for view in drawn:
        assert torch.equal(view // 10, torch.arange(400.0))  # rows stay theirs
        counts = torch.bincount((view % 10).long(), minlength=5)
        assert len(counts) == 5 and counts.min() > 50  # every view, the plain one too
    assert not torch.equal(*drawn)
    assert torch.equal(features.drawn(rows[[7, 3]], 0, 1, "head")[:, 0], drawn[0][[7, 3]])
    assert torch.equal(features.plain(rows)[:, 0], 10 * torch.arange(400.0))


def test_views_train_the_head_and_held_out_rows_are_predicted_by_the_plain_one(fabric, problem):
    features, targets = problem
    noisy = Features(torch.cat([features.views, features.views.flip(2)]))
    learnt = []
    for each in (features, noisy):
        head = build_head(5, 3, HEAD, 1)
        list(fit_head(fabric, head, each, targets, np.arange(48), TRAIN, 0.05, (1, "head")))
        learnt.append(head)
    assert not torch.equal(learnt[0][2].weight, learnt[1][2].weight)
    rows = np.arange(48, 60)
    one, two = (predict_head(fabric, learnt[0], each, rows) for each in (features, noisy))
    assert torch.equal(one, two)


def test_every_row_of_a_fold_is_predicted_by_a_head_that_has_not_seen_it(fabric, problem):
    features, targets = problem
    folds = np.arange(60) % 4
    folds[:6] = -1
    probabilities = cross_validate(fabric, features, targets, folds, 3, HEAD, TRAIN, 0.05, 1)
    assert probabilities.shape == (54, 3) and np.allclose(probabilities.sum(1), 1)
    assert (probabilities.argmax(1) == targets[6:].numpy()).mean() > 0.9
    # A row's label must not matter to its own prediction: turn those of fold 2 round.
    turned = targets.clone()
    turned[folds == 2] = (turned[folds == 2] + 1) % 3
    again = cross_validate(fabric, features, turned, folds, 3, HEAD, TRAIN, 0.05, 1)
    assert np.array_equal(again[folds[6:] == 2], probabilities[folds[6:] == 2])
    assert not np.array_equal(again[folds[6:] == 1], probabilities[folds[6:] == 1])


@pytest.fixture
def pictures():
    """24 images of two classes, dark and bright, and their split."""
    rng = np.random.default_rng(0)
    targets = np.arange(24) % 2
    pixels = (rng.integers(0, 128, (24, 36, 36, 3)) + 127 * targets[:, None, None, None]).astype(np.uint8)
    rows = {"train": np.arange(16), "valid": np.arange(16, 24), "test": np.array([], dtype=np.int64)}
    table = SplitTable(["a", "b"], rows, targets, np.full(24, -1), [f"{i}.png" for i in range(24)])
    return Images(pixels, 32, torch.device("cpu")), table


def run_finetune(fabric, pictures, head_lr=None, **changes):
    images, table = pictures
    network = Network(build_backbone("resnet18", "none", 1), build_head(1024, 2, HEAD, 1))
    params = FinetuneParams(**{
        **PLAIN, "batch_size": 8, "schedule": "sgdr", "mixup": 0.0, "snapshots": 1, "lr": 0.01,
        "lr_multipliers": [0.01, 0.1, 1], "sizes": [], "find_lr": 0,
        "frozen_cycles": 1, "cycles": 1, "cycle_len": 1, "cycle_mult": 1, "bn_freeze": False, **changes,
    })  # fmt: skip
    start = {name: value.clone() for name, value in network.state_dict().items()}
    seen = []
    augment = AugmentParams(set="side_on", max_zoom=1.1, pad=0)
    with TemporaryDirectory() as folder, History(Path(folder), "accuracy") as history:
        training = Finetuning(fabric, network, images, table, augment, params, head_lr, 1, history, None)
        for epoch in training:
            changed = {n.split(".")[0] for n, v in network.state_dict().items() if not torch.equal(v, start[n])}
            steps = sum(step.epoch == epoch.epoch for step in history.steps)
            seen.append((epoch.phase, steps, changed, (epoch.valid_loss, epoch.valid_score)))
    return seen, network, start, training


def test_finetune_trains_the_head_first_and_then_everything(fabric, pictures):
    seen, *_ = run_finetune(fabric, pictures, frozen_cycles=2, cycles=2)
    assert [(phase, steps) for phase, steps, _, _ in seen] == [("frozen", 2)] * 2 + [("unfrozen", 2)] * 2
    assert [changed for *_, changed, _ in seen] == [{"head"}] * 2 + [{"early", "late", "head"}] * 2


@pytest.mark.parametrize("schedule", ["sgdr", "one_cycle", "constant"])
def test_the_groups_rates_keep_their_ratios_at_every_step(fabric, pictures, monkeypatch, schedule):
    seen, step = [], loop.train_step

    def watched(fabric, model, optimizer, *rest):
        seen.append({group["multiplier"]: group["lr"] for group in optimizer.param_groups})
        return step(fabric, model, optimizer, *rest)

    monkeypatch.setattr(loop, "train_step", watched)
    run_finetune(fabric, pictures, frozen_cycles=0, cycles=2, schedule=schedule)
    assert len(seen) == 4
    for rates in seen:
        assert {m: rate / rates[1] for m, rate in rates.items()} == pytest.approx({0.01: 0.01, 0.1: 0.1, 1: 1})


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
    params = FinetuneParams(
        **PLAIN, batch_size=8, schedule="sgdr", lr=0.1, lr_multipliers=[1, 1, 1], frozen_cycles=2, cycles=3,
        cycle_len=1, cycle_mult=2, bn_freeze=False, mixup=0.0, snapshots=snapshots, sizes=[], find_lr=0,
    )  # fmt: skip
    assert (
        snapshot_epochs(plan(params, 32), snapshots) == epochs
    )  # two frozen epochs, then cycles that end with epochs 2, 4 and 8


def test_no_cycles_at_all_leave_the_network_as_it_was(fabric, pictures):
    seen, network, start, _ = run_finetune(fabric, pictures, frozen_cycles=0, cycles=0)
    assert seen == []
    assert all(torch.equal(v, start[n]) for n, v in network.state_dict().items())


def test_sizes_grow_with_all_cycles_at_each_and_the_weights_going_on(fabric, pictures):
    seen, network, *_ = run_finetune(fabric, pictures, sizes=[16, 32], cycles=2)
    names = ["frozen 16", "unfrozen 16", "unfrozen 16", "frozen 32", "unfrozen 32", "unfrozen 32"]
    assert [phase for phase, *_ in seen] == names
    assert seen[3][2] == {"early", "late", "head"}  # frozen again, on weights that have moved
    _, alone, *_ = run_finetune(fabric, pictures, cycles=2)
    assert not torch.equal(network.head[2].weight, alone.head[2].weight)


def test_snapshots_are_of_the_last_size(fabric):
    params = FinetuneParams(
        **PLAIN, batch_size=8, schedule="sgdr", lr=0.1, lr_multipliers=[1, 1, 1], frozen_cycles=1, cycles=2,
        cycle_len=1, cycle_mult=2, bn_freeze=False, mixup=0.0, snapshots=2, sizes=[16, 32], find_lr=0,
    )  # fmt: skip
    phases = plan(params, 32)
    assert [(p.name, p.size, p.frozen, p.cycles) for p in phases] == [
        ("frozen 16", 16, True, [1]),
        ("unfrozen 16", 16, False, [1, 2]),
        ("frozen 32", 32, True, [1]),
        ("unfrozen 32", 32, False, [1, 2]),
    ]
    assert snapshot_epochs(phases, 2) == [5]


def test_the_range_test_of_the_whole_network_leaves_it_as_it_was(fabric, pictures):
    _, tested, _, training = run_finetune(fabric, pictures, find_lr=20)
    _, plain, *_ = run_finetune(fabric, pictures)
    assert len(training.curve) >= 3 and training.lr == 0.01
    assert set(training.suggestions) == {"steepest", "minimum_tenth"}
    assert all(torch.equal(tested.state_dict()[name], value) for name, value in plain.state_dict().items())


def test_auto_takes_the_head_s_rate_while_frozen_and_the_suggestion_after(fabric, pictures):
    seen, *_, training = run_finetune(fabric, pictures, lr="auto", find_lr=30, head_lr=0.02)
    assert training.lr == training.suggestions["minimum_tenth"]
    by_hand = run_finetune(fabric, pictures, lr=0.02, cycles=0)
    assert seen[0] == by_hand[0][0]  # the frozen epoch, whose rate is the head's
    assert seen[1] != run_finetune(fabric, pictures, lr=0.02)[0][1]


def test_finetuning_repeats_to_the_bit(fabric, pictures):
    one, two = (run_finetune(fabric, pictures)[1].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_history_counts_on_over_phases(tmp_path):
    from unfreeze.files import read_csv
    from unfreeze.train.loop import Step

    with History(tmp_path, "accuracy") as history:
        history.record([Step(0, 0, 0.1, 2.0), Step(1, 0, 0.05, 1.0)], "frozen", 0.9, 0.5)
        history.record([Step(0, 0, 0.1, 0.5)], "unfrozen", 0.4, 0.75)
    assert read_csv(tmp_path / "epochs.csv") == [
        {"epoch": "0", "phase": "frozen", "train_loss": "1.5", "valid_loss": "0.9", "valid_score": "0.5"},
        {"epoch": "1", "phase": "unfrozen", "train_loss": "0.5", "valid_loss": "0.4", "valid_score": "0.75"},
    ]
    assert [(row["step"], row["epoch"]) for row in read_csv(tmp_path / "steps.csv")] == [
        ("0", "0"),
        ("1", "0"),
        ("2", "1"),
    ]
    live = (tmp_path / "live/plots/metrics/valid/accuracy.tsv").read_text().splitlines()
    assert live == ["step\taccuracy", "0\t0.5", "1\t0.75"]


def test_mixup_mixes_the_numbers_by_the_same_share():
    targets = torch.eye(3)[torch.arange(6) % 3]
    images, numbers = torch.rand(6, 3, 4, 4), torch.rand(6, 2)
    (mixed, beside), both = mix((images, numbers), targets, 0.4, 1, "mixup", 0)
    alone, same = mix(images, targets, 0.4, 1, "mixup", 0)
    assert torch.equal(mixed, alone) and torch.equal(both, same)
    assert torch.equal(beside, mix(numbers, targets, 0.4, 1, "mixup", 0)[0])


@pytest.mark.parametrize("extra", [0, 2])
def test_stored_features_are_those_in_memory_to_the_bit(tmp_path, extra):
    rng = np.random.default_rng(0)
    views = [rng.normal(size=(50, 7)).astype(np.float32) for _ in range(3)]
    numbers = rng.normal(size=(50, extra)).astype(np.float32)
    for name, array in zip(("plain", "view_00", "view_01", "numbers"), (*views, numbers), strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "numbers.npy").rename(tmp_path / "beside")
    stored = read_features(tmp_path, tmp_path / "beside", torch.device("cpu"))
    resident = Features(torch.from_numpy(np.stack([np.concatenate([view, numbers], 1) for view in views])))
    assert (stored.count, stored.width) == (resident.count, resident.width) == (50, 7 + extra)
    rows = rng.permutation(50)[:20]
    assert torch.equal(stored.plain(rows), resident.plain(rows))
    assert torch.equal(stored.drawn(rows, 1, 5, "key"), resident.drawn(rows, 1, 5, "key"))


def test_numbers_join_the_features_alike_in_the_head_and_in_the_network(tmp_path):
    """The head on cached features beside numbers says what the whole network says."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    numbers = np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32)
    network = Network(build_backbone("resnet18", "none", 1), build_head(1024 + 2, 2, HEAD, 1)).eval()
    images = Images(pixels, 32, torch.device("cpu"), numbers=numbers)
    with torch.no_grad():
        np.save(tmp_path / "plain.npy", network.features(images.plain(np.arange(6))[0]).numpy())
        np.save(tmp_path / "numbers.npy", numbers)
        features = read_features(tmp_path, tmp_path / "numbers.npy", torch.device("cpu"))
        assert features.width == 1026
        rows = np.array([4, 0])
        assert torch.allclose(network.head(features.plain(rows)), network(*images.plain(rows)), atol=1e-5)


def test_numbers_alone_can_tell_the_classes(fabric):
    """Images of noise with a number that says the class: fine-tuning learns it, and predicts by it."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 32, 32, 3), np.uint8)
    classes = np.arange(48) % 2
    numbers = (2.0 * classes - 1).astype(np.float32)[:, None]
    rows = {"train": np.arange(32), "valid": np.arange(32, 48), "test": np.array([], dtype=np.int64)}
    table = SplitTable(["a", "b"], rows, classes, np.full(48, -1), [""] * 48)
    network = Network(
        build_backbone("resnet18", "none", 1), build_head(1025, 2, HeadParams(hidden=[], dropout=[0]), 1)
    )
    params = FinetuneParams(
        **PLAIN, batch_size=8, schedule="constant", lr=0.3, lr_multipliers=[0.001, 0.001, 1], frozen_cycles=6,
        cycles=0, cycle_len=1, cycle_mult=1, bn_freeze=False, mixup=0.2, snapshots=1, sizes=[], find_lr=0,
    )  # fmt: skip
    network.head[0].weight.data[:1024] = 0.01
    images = Images(pixels, 32, torch.device("cpu"), numbers=numbers)
    augment = AugmentParams(set="flip", max_zoom=1, pad=0)
    with TemporaryDirectory() as folder, History(Path(folder), "accuracy") as history:
        *_, last = Finetuning(fabric, network, images, table, augment, params, None, 1, history, None)
    assert last.valid_score == 1
