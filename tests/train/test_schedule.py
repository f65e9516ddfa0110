import math

import pytest
import torch

from unfreeze.train.schedule import Pace, cycle_lengths, one_cycle, paces, sgdr


@pytest.mark.parametrize(
    ("cycles", "cycle_len", "cycle_mult", "epochs"), [(3, 1, 2, 7), (3, 1, 1, 3), (3, 4, 1, 12), (1, 2, 1, 2)]
)
def test_epochs_of_cycles(cycles, cycle_len, cycle_mult, epochs):
    lengths = cycle_lengths(10, cycles, cycle_len, cycle_mult)
    assert len(lengths) == cycles and sum(lengths) == 10 * epochs
    assert all(len(paces(name, lengths, 0.9)) == 10 * epochs for name in ("sgdr", "one_cycle", "constant"))


def test_sgdr_by_hand():
    factors = sgdr([40, 80])
    assert factors[:2] == [0.01, 0.01]  # 1/20 of the first cycle's 40 steps
    assert factors[2] == (1 + math.cos(math.pi * 2 / 40)) / 2
    assert factors[10] == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert factors[20] == pytest.approx(0.5)
    assert factors[40] == 1.0  # the restart
    assert factors[80] == pytest.approx(0.5)  # half way of the second cycle's 80 steps
    assert factors[119] == pytest.approx((1 + math.cos(math.pi * 79 / 80)) / 2)


def test_the_last_step_of_each_cycle_is_almost_at_rest():
    factors = sgdr([50, 100, 200])
    assert all(factors[end - 1] < 1e-3 for end in (50, 150, 350))


def test_later_cycles_equal_torch_s_warm_restarts():
    factors = sgdr([20, 40, 80])
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    peer = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=20, T_mult=2)
    for step, factor in enumerate(factors):
        if step >= 1:  # step 0 is the warm-up's
            assert factor == pytest.approx(peer.get_last_lr()[0])
        optimizer.step()
        peer.step()


def test_a_first_cycle_of_one_step_has_no_warm_up():
    assert sgdr([1, 1, 1]) == [1.0, 1.0, 1.0]


def test_one_cycle_by_hand():
    pairs = one_cycle([100])
    assert pairs[0] == pytest.approx((0.1, 1))
    assert pairs[45] == pytest.approx((1, 0))  # the highest rate meets the lowest momentum
    assert pairs[9] == pytest.approx((0.1 + 0.9 * 0.2, 0.8))
    assert pairs[81] == pytest.approx((0.1 + 0.9 * 0.2, 0.8))  # falls as it rose
    assert pairs[99] == pytest.approx((0.001, 1))
    assert pairs[94] == pytest.approx((0.0505, 1))
    assert all(
        0 < factor <= 1 and 0 <= high <= 1 for length in range(1, 30) for factor, high in one_cycle([length])
    )


def test_one_cycle_s_slopes_equal_torch_s_linear_one_cycle():
    """Torch's three-phase policy with the same turning points, apart from its tail, has the same two slopes."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    peer = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=100, pct_start=0.46, anneal_strategy="linear", div_factor=10,
        final_div_factor=100, three_phase=True, base_momentum=0.85, max_momentum=0.95,
    )  # fmt: skip
    for step, pace in enumerate(paces("one_cycle", [100], 0.95)[:90]):
        assert pace.factor == pytest.approx(peer.get_last_lr()[0], abs=1e-9), step
        assert pace.momentum == pytest.approx(optimizer.param_groups[0]["momentum"], abs=1e-9), step
        optimizer.step()
        peer.step()


def test_constant_stays():
    assert paces("constant", [3, 6], 0.9) == [Pace(1.0, 0.9)] * 9


def test_no_cycles_are_no_steps():
    assert paces("sgdr", [], 0.9) == paces("one_cycle", [], 0.9) == []
