import numpy as np
import pytest

from unfreeze.core import draws
from unfreeze.labels.stratify import deal


def one_hot(labels):
    return np.eye(max(labels) + 1, dtype=np.int64)[labels]


def dealt(counts, shares, seed=1, sizes=None):
    counts = np.asarray(counts, dtype=np.int64)
    sizes = np.ones(len(counts), dtype=np.int64) if sizes is None else np.asarray(sizes)
    return deal(counts, sizes, shares, draws.generator(seed))


@pytest.mark.parametrize("seed", range(3))
def test_one_label_an_image_is_plain_stratification(seed):
    counts = one_hot([0] * 40 + [1] * 10)
    part = dealt(counts, [0.6, 0.2, 0.2], seed)
    assert [counts[part == k].sum(0).tolist() for k in range(3)] == [[24, 6], [8, 2], [8, 2]]


@pytest.mark.parametrize("seed", range(3))
def test_every_label_keeps_its_share(seed):
    rng = np.random.default_rng(seed)
    counts = (rng.random((2000, 12)) < np.geomspace(0.5, 0.01, 12)).astype(np.int64)
    part = dealt(counts, [0.7, 0.2, 0.1], seed)
    for k, share in enumerate([0.7, 0.2, 0.1]):
        assert abs((part == k).mean() - share) < 0.005
        assert np.abs(counts[part == k].sum(0) - share * counts.sum(0)).max() <= 2


def test_images_without_a_label_fill_up():
    part = dealt(np.zeros((10, 3)), [0.5, 0.3, 0.2])
    assert np.bincount(part).tolist() == [5, 3, 2]


def test_the_rarest_label_trains_first():
    assert dealt([[1, 0]] + [[0, 1]] * 9, [0.8, 0.2])[0] == 0


def test_the_generator_decides():
    counts = one_hot(list(range(4)) * 10)
    assert (dealt(counts, [0.5, 0.5], 1) == dealt(counts, [0.5, 0.5], 1)).all()
    assert (dealt(counts, [0.5, 0.5], 1) != dealt(counts, [0.5, 0.5], 2)).any()


def test_groups_of_different_sizes_add_up():
    sizes = np.array([30, 20, 10, *[1] * 40])
    part = dealt(sizes[:, None], [0.6, 0.2, 0.2], sizes=sizes)
    assert [sizes[part == k].sum() for k in range(3)] == [60, 20, 20]
