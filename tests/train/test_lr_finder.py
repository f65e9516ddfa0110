import itertools
import math

import numpy as np
import pytest
import torch
from small_training import CLASSES, head_data, step_params
from torch import nn

from unfreeze.core.console import UserError
from unfreeze.task.single import Single
from unfreeze.train.head import head_learner
from unfreeze.train.lr_finder import FindLrParams, choose_lr, find_lr, range_test, suggest, write_curve

PARAMS = FindLrParams(lr_min=1e-5, lr_max=10, steps=101)


def test_the_rate_grows_geometrically_from_end_to_end():
    curve = range_test(PARAMS, lambda i, lr: 1.0)
    assert len(curve) == 101
    assert curve[0].lr == 1e-5 and curve[-1].lr == pytest.approx(10)
    assert all(b.lr / a.lr == pytest.approx(10**0.06) for a, b in itertools.pairwise(curve))


def test_the_smoothed_loss_has_no_bias():
    curve = range_test(PARAMS, lambda i, lr: 3.0)
    assert all(point.smoothed == pytest.approx(3.0) for point in curve)
    curve = range_test(PARAMS, lambda i, lr: float(i == 0))
    assert curve[1].smoothed == pytest.approx(0.98 * 0.02 / (1 - 0.98**2))


def test_it_stops_when_the_loss_is_four_times_its_best_and_leaves_that_step_out():
    losses = [1.0] * 50 + [1000.0] * 51
    curve = range_test(PARAMS, lambda i, lr: losses[i])
    assert len(curve) == 50


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_it_stops_when_the_loss_is_not_finite(bad):
    assert len(range_test(PARAMS, lambda i, lr: 1.0 if i < 30 else bad)) == 30


def test_suggestions():
    # The loss falls fastest at lr = 1e-2, is lowest at 1e-1 and rises after.
    def loss(i, lr):
        return 1 - 1 / (1 + math.exp(-4 * (math.log10(lr) + 2))) + max(0, math.log10(lr) + 1) ** 2 * 0.1

    curve = range_test(PARAMS, loss)
    for point in curve:  # smoothing moves the curve: look at the rule on the loss itself
        object.__setattr__(point, "smoothed", point.loss)
    rates = suggest(curve)
    assert rates["steepest"] == pytest.approx(1e-2, rel=0.01)
    lowest = min(curve, key=lambda point: point.loss).lr
    assert rates["minimum_tenth"] == lowest / 10


def test_too_short_a_curve_suggests_nothing():
    assert suggest(range_test(PARAMS, lambda i, lr: math.nan)) == {"steepest": None, "minimum_tenth": None}


def test_a_test_with_real_steps_restores_the_model_to_the_byte(fabric):
    torch.manual_seed(0)
    targets = torch.arange(48) % 3
    features = torch.randn(48, 5) * 0.3 + torch.eye(3, 5)[targets] * 2
    data = head_data(fabric, features, targets, Single(CLASSES))
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    curves = []
    for _ in range(2):
        learner = head_learner(data, model, np.arange(48), step_params(), (1, "find-lr"))
        curves.append(find_lr(PARAMS, learner, np.arange(48)))
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert curves[0] == curves[1]
    assert len(curves[0]) > 30  # 6 batches: the rows are gone through more than five times
    assert min(p.smoothed for p in curves[0][10:]) < 0.9 * curves[0][10].smoothed  # it trained


def test_auto_takes_a_tenth_of_the_minimum_s_rate():
    suggestions = {"steepest": 0.002, "minimum_tenth": 0.03}
    assert choose_lr("auto", suggestions, "train_head.lr") == 0.03
    assert choose_lr(0.5, suggestions, "train_head.lr") == 0.5
    with pytest.raises(UserError, match=r"train_head\.lr = auto: the range test ended after too few steps"):
        choose_lr("auto", suggest([]), "train_head.lr")


def test_no_curve_is_a_header(tmp_path):
    write_curve(tmp_path / "curve.csv", [])
    assert (tmp_path / "curve.csv").read_text() == "step,lr,loss,smoothed\n"
