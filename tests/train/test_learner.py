import dataclasses

import numpy as np
import pytest
import torch
from small_training import CLASSES, multi_problem, step_params
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from unfreeze.model.head import HeadParams, build_head
from unfreeze.task.multi import Multi
from unfreeze.task.single import Single
from unfreeze.train.head import head_learner
from unfreeze.train.learner import (
    Learner,
    build_optimizer,
    draw_balanced,
    mix,
    set_pace,
    split_batches,
    steps_per_epoch,
    weigh_loss,
)

STEP = step_params(weight_decay=0.1)


def learner_of(fabric, model, x, targets, params, **more):
    """A learner on inputs `x` `[N, F]` of three classes."""
    return Learner(
        fabric=fabric,
        model=model,
        optimizer=build_optimizer([model], [1.0], params),
        inputs=lambda rows, epoch: x[torch.from_numpy(rows)],
        targets=targets,
        task=Single(CLASSES),
        params=params,
        key=(1, "t"),
        **more,
    )


def loss_at_rest(learner, rows):
    """The loss of one step whose rate is 0."""
    return learner.step(0, rows, 0, learner.read(0, rows, 0), 0.0, 0.9)


@pytest.mark.parametrize("rows", [2, 8, 9, 15, 16, 17, 64, 65])
@pytest.mark.parametrize("batch_size", [2, 8, 64])
def test_an_epoch_goes_through_every_row_once_and_never_trains_on_one_alone(rows, batch_size):
    batches = split_batches(np.arange(100, 100 + rows), batch_size, 1, "order", 0)
    assert sorted(np.concatenate(batches)) == list(range(100, 100 + rows))
    assert min(map(len, batches)) > 1
    assert len(batches) == steps_per_epoch(rows, batch_size)


def test_the_order_is_new_each_epoch_and_the_same_each_time():
    def order(epoch):
        return np.concatenate(split_batches(np.arange(50), 8, 1, "order", epoch)).tolist()

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


def test_adamw_decays_weights_apart_from_the_gradient(fabric):
    model = nn.Linear(3, 2)
    optimizer = build_optimizer([model], [1.0], STEP.model_copy(update={"optimizer": "adamw"}))
    set_pace(optimizer, 0.01, 0.8)
    assert all(part["betas"] == (0.8, 0.99) for part in optimizer.param_groups)
    weight, bias = model.weight.detach().clone(), model.bias.detach().clone()
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()  # without a gradient only the decay acts: w (1 - lr * decay), and none on biases
    assert torch.allclose(model.weight, weight * (1 - 0.01 * 0.1)) and torch.equal(model.bias, bias)


def test_a_step_smooths_labels_as_plain_numpy_does(fabric):
    torch.manual_seed(0)
    model, x, y = nn.Linear(4, 3), torch.randn(5, 4), torch.tensor([0, 2, 1, 1, 0])
    log_p = model(x).log_softmax(1).detach().numpy()
    for smoothing in (0.0, 0.1):
        learner = learner_of(fabric, model, x, y, STEP.model_copy(update={"label_smoothing": smoothing}))
        expected = -((one_hot(y, 3).numpy() * (1 - smoothing) + smoothing / 3) * log_p).sum(1).mean()
        assert loss_at_rest(learner, np.arange(5)) == pytest.approx(expected, rel=1e-5)


def test_clipping_bounds_the_norm_of_all_gradients_together(fabric):
    model, x, y = nn.Linear(4, 3), torch.randn(5, 4) * 100, torch.tensor([0, 2, 1, 1, 0])
    for clip, small in ((0.0, False), (0.5, True)):
        loss_at_rest(learner_of(fabric, model, x, y, step_params(clip_norm=clip)), np.arange(5))
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


def test_mixup_mixes_the_numbers_by_the_same_share():
    targets = torch.eye(3)[torch.arange(6) % 3]
    images, numbers = torch.rand(6, 3, 4, 4), torch.rand(6, 2)
    (mixed, beside), both = mix((images, numbers), targets, 0.4, 1, "mixup", 0)
    alone, same = mix(images, targets, 0.4, 1, "mixup", 0)
    assert torch.equal(mixed, alone) and torch.equal(both, same)
    assert torch.equal(beside, mix(numbers, targets, 0.4, 1, "mixup", 0)[0])


def test_mixup_mixes_several_labels(fabric):
    data = multi_problem(fabric)
    head, rows = build_head(5, 3, HeadParams(hidden=[], dropout=[0.0]), 1), np.arange(40)
    plain = head_learner(data, head, rows, step_params(), (1, "h"))
    mixed = dataclasses.replace(plain, mixup=0.4)
    one, other = (loss_at_rest(learner, rows) for learner in (plain, mixed))
    assert np.isfinite(other) and one != other


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_a_weighted_step_is_the_mean_over_images_of_the_weighted_losses(fabric, mixup):
    model, x, targets = nn.Linear(4, 3), torch.randn(6, 4), torch.tensor([0, 0, 0, 1, 2, 0])
    rows, params = np.arange(6), step_params(balance="loss")
    weight = weigh_loss(Single(CLASSES), targets, rows, params)
    with torch.no_grad():
        each = cross_entropy(model(x), targets, reduction="none")
    loss = loss_at_rest(learner_of(fabric, model, x, targets, params, mixup=mixup, weight=weight), rows)
    assert np.isfinite(loss)
    assert (loss == pytest.approx((each * weight[targets]).mean().item(), rel=1e-5)) == (mixup == 0)


def test_only_training_rows_weigh_the_loss_and_only_if_it_is_balanced():
    targets = torch.tensor([0, 0, 0, 1, 2, 2, 1, -1])
    rows = np.arange(6)  # a later row and one without a label do not count
    weight = weigh_loss(Single(CLASSES), targets, rows, step_params(balance="loss"))
    assert weight.tolist() == Single(CLASSES).loss_weight(targets[:6]).tolist()
    assert weigh_loss(Single(CLASSES), targets, rows, step_params()) is None
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [float("nan")] * 2])
    weight = weigh_loss(Multi(["a", "b"]), labels, np.arange(3), step_params(balance="loss"))
    assert weight.tolist() == pytest.approx([1 / 2, 2])


def test_drawn_rows_are_as_many_from_every_class_and_new_each_epoch():
    rows = np.arange(1000, 2000)
    targets = np.repeat([0, 1, 2], [900, 90, 10])
    balanced = draw_balanced(rows, targets, 1, "t", "balance", 0)
    counts = np.bincount(targets[balanced - 1000])
    assert len(balanced) == 1000 and abs(counts - 1000 / 3).max() < 60  # four standard deviations
    assert np.array_equal(draw_balanced(rows, targets, 1, "t", "balance", 0), balanced)
    assert not np.array_equal(draw_balanced(rows, targets, 1, "t", "balance", 1), balanced)
