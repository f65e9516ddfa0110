import itertools
import math

import pytest

from unfreeze.train.lr_finder import FindLrParams, range_test, suggest

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
