import math

import pytest
import torch

from unfreeze.train.schedule import epochs_of, sgdr


@pytest.mark.parametrize(
    ("cycles", "cycle_len", "cycle_mult", "epochs"), [(3, 1, 2, 7), (3, 1, 1, 3), (3, 4, 1, 12), (1, 2, 1, 2)]
)
def test_epochs_of_cycles(cycles, cycle_len, cycle_mult, epochs):
    assert epochs_of(cycles, cycle_len, cycle_mult) == epochs
    assert len(sgdr(10, cycles, cycle_len, cycle_mult)) == 10 * epochs


def test_values_worked_out_by_hand():
    factors = sgdr(40, cycles=2, cycle_len=1, cycle_mult=2)
    assert factors[:2] == [0.01, 0.01]  # 1/20 of the first cycle's 40 steps
    assert factors[2] == (1 + math.cos(math.pi * 2 / 40)) / 2
    assert factors[10] == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert factors[20] == pytest.approx(0.5)
    assert factors[40] == 1.0  # the restart
    assert factors[80] == pytest.approx(0.5)  # half way of the second cycle's 80 steps
    assert factors[119] == pytest.approx((1 + math.cos(math.pi * 79 / 80)) / 2)


def test_the_last_step_of_each_cycle_is_almost_at_rest():
    factors = sgdr(50, cycles=3, cycle_len=1, cycle_mult=2)
    assert all(factors[end - 1] < 1e-3 for end in (50, 150, 350))


def test_later_cycles_equal_torch_s_warm_restarts():
    factors = sgdr(10, cycles=3, cycle_len=2, cycle_mult=2)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    peer = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=20, T_mult=2)
    for step, factor in enumerate(factors):
        if step >= 1:  # step 0 is the warm-up's
            assert factor == pytest.approx(peer.get_last_lr()[0])
        optimizer.step()
        peer.step()


def test_a_first_cycle_of_one_step_has_no_warm_up():
    assert sgdr(1, 3, 1, 1) == [1.0, 1.0, 1.0]


def test_no_cycles_are_no_steps():
    assert sgdr(10, 0, 1, 1) == []
