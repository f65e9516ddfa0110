import numpy as np

from unfreeze.core import draws


def test_a_key_gives_the_same_seed_everywhere():
    # Pinned: a change of this number changes every result of every user.
    assert draws.seed_of(1, "augment", 3) == 1296624526383149061
    assert draws.seed_of(1, "2") != draws.seed_of(1, 2) != draws.seed_of(12)


def test_numbers_of_a_row_depend_on_neither_batch_nor_order():
    every = draws.uniform(np.arange(1000), 5, 1, "augment", 0)
    assert np.array_equal(draws.uniform(np.array([7, 3, 999]), 5, 1, "augment", 0), every[[7, 3, 999]])
    assert not np.array_equal(draws.uniform(np.arange(1000), 5, 1, "augment", 1), every)


def test_numbers_are_uniform_and_uncorrelated():
    u = draws.uniform(np.arange(100_000), 4, 1, "x")
    assert u.min() >= 0 and u.max() < 1
    counts = np.histogram(u, bins=100, range=(0, 1))[0]
    assert ((counts - 4000) ** 2 / 4000).sum() < 150  # chi-squared with 99 degrees: p = 0.0007
    assert np.abs(np.corrcoef(u.T) - np.eye(4)).max() < 0.02
    assert abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 0.02
