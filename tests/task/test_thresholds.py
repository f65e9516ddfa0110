"""Against values worked out by hand, scikit-learn, and trying everything."""

import itertools
import time

import numpy as np
import pytest
from sklearn.metrics import fbeta_score

from unfreeze.core import arrays
from unfreeze.task.thresholds import (
    SWEEPS,
    TOLERANCE,
    _cut,
    best_per_label,
    best_threshold,
    f2,
    f2_by_image,
    f2_of,
    tune,
)


def case(seed, images=30, labels=4):
    """Images of which some have no label, and probabilities with ties."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((images, labels)) < 0.3).astype(np.float32)
    probabilities = np.clip(targets * 0.3 + rng.random((images, labels)), 0, 1).round(1 + seed % 2)
    return probabilities, targets


def reference(probabilities, targets, thresholds):
    predicted = probabilities >= thresholds
    return fbeta_score(targets, predicted, beta=2, average="samples", zero_division=1)


@pytest.mark.parametrize("seed", range(4))
def test_f2_is_scikit_learn_s(seed):
    probabilities, targets = case(seed)
    for threshold in (0.0, 0.3, 0.55, 1.0):
        assert f2(probabilities, targets, threshold) == pytest.approx(reference(probabilities, targets, threshold))


def test_f2_by_hand():
    targets = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]])
    predicted = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 0], [1, 0, 0]])
    # 5 hits / (4 labels + predicted): 5 / (8 + 2), 5 / (4 + 1); no label and none predicted; one too many
    assert f2_by_image(predicted, targets).tolist() == [0.5, 1, 1, 0]


def test_the_best_threshold_by_hand():
    # Above 0.8 nothing; from 0.8 one of two labels: 5/9; from 0.6 both: 1; from 0.2 one too many: 10/11.
    assert best_threshold(np.array([[0.8, 0.6, 0.2]]), np.array([[1, 1, 0]])) == pytest.approx(0.4)
    # A false label costs nothing once the other image gets its label: both at 0.5 come together.
    probabilities, targets = np.array([[0.9, 0.5], [0.5, 0.1]]), np.array([[1, 0], [1, 0]])
    # from 0.9: (1 + 0) / 2; from 0.5: (5/6 + 1) / 2; from 0.1: (5/6 + 5/6) / 2
    assert best_threshold(probabilities, targets) == pytest.approx(0.3)


@pytest.mark.parametrize("seed", range(8))
def test_no_threshold_is_better_than_the_best(seed):
    probabilities, targets = case(seed)
    best = f2(probabilities, targets, best_threshold(probabilities, targets))
    grid = np.append(np.linspace(0, 1, 401), np.unique(probabilities))
    assert best == pytest.approx(max(f2(probabilities, targets, t) for t in grid))


def test_images_without_labels_ask_for_none():
    probabilities = np.array([[0.3, 0.4], [0.1, 0.9]])
    threshold = best_threshold(probabilities, np.zeros((2, 2)))
    assert threshold == pytest.approx(0.95)
    assert f2(probabilities, np.zeros((2, 2)), threshold) == 1


def test_saturated_probabilities_stay_on_their_side():
    probabilities = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    for targets in (np.array([[1, 1, 0], [1, 0, 0]]), np.zeros((2, 3)), np.ones((2, 3))):
        threshold = best_threshold(probabilities, targets)
        grid = [f2(probabilities, targets, t) for t in (0, 0.5, 1)]  # above 1 there is no threshold
        assert f2(probabilities, targets, threshold) == pytest.approx(max(grid))
    near = np.nextafter(0.5, 1)
    assert 0.5 < best_threshold(np.array([[near, 0.5]]), np.array([[1, 0]])) <= near


@pytest.mark.parametrize("seed", range(4))
def test_per_label_no_single_threshold_can_be_bettered_and_none_is_worse_than_together(seed):
    probabilities, targets = case(seed, images=20, labels=3)
    tuned = tune(probabilities, targets)
    together, each = (f2(probabilities, targets, np.array(tuned[rule])) for rule in ("global", "per_label"))
    assert each >= together
    for c in range(3):
        for t in np.append(np.unique(probabilities[:, c]), 1.0):
            tried = np.array(tuned["per_label"])
            tried[c] = t
            assert f2(probabilities, targets, tried) <= each + 1e-9


def plain_cut(values, gains):
    """The cut from a list of all thresholds that there are."""
    order = np.argsort(-values, kind="stable")
    values, sums = values[order], np.cumsum(gains[order])
    ends = np.flatnonzero(np.append(values[1:] < values[:-1], True))
    uppers, lowers = np.append(1.0, values[ends]), np.append(values[ends], 0.0)
    sums = np.append(0.0, sums[ends])
    if values[0] >= 1:
        uppers, lowers, sums = uppers[1:], lowers[1:], sums[1:]
    best = np.argmax(sums >= sums.max() - TOLERANCE)
    middle = (uppers[best] + lowers[best]) / 2
    return float(middle if middle > lowers[best] else uppers[best])


def test_the_cut_is_the_first_of_the_best_thresholds():
    rng = np.random.default_rng(0)
    for i in range(300):
        values = rng.integers(0, 8, 1 + i % 12) / 7  # with ties, zeros and ones
        gains = rng.integers(-3, 4, len(values)) / 4 - (i % 3) / 4
        assert _cut(values, gains) == plain_cut(values, gains)


def test_rows_in_blocks_have_the_threshold_of_all_of_them(monkeypatch):
    probabilities, targets = case(3, images=100)
    whole = best_threshold(probabilities, targets)
    monkeypatch.setattr(arrays, "BLOCK", 7)
    assert best_threshold(probabilities, targets) == whole


def plain_ascent(probabilities, targets, start):
    """Coordinate ascent that counts all labels of all images anew for each label."""
    thresholds = np.full(probabilities.shape[1], start)
    best = f2(probabilities, targets, thresholds)
    for _ in range(SWEEPS):
        before = best
        for c in np.flatnonzero(targets.any(0)):
            predicted = probabilities >= thresholds
            predicted[:, c] = False
            hits, given, actual = (targets * predicted).sum(1), predicted.sum(1), targets.sum(1)
            gains = f2_of(hits + targets[:, c], given + 1, actual) - f2_of(hits, given, actual)
            tried = thresholds.copy()
            tried[c] = plain_cut(probabilities[:, c], gains)
            reached = f2(probabilities, targets, tried)
            if reached > best + TOLERANCE:
                thresholds, best = tried, reached
        if best == before:
            break
    return thresholds


@pytest.mark.parametrize("seed", range(6))
def test_counting_one_column_at_a_time_gives_the_same_thresholds_to_the_bit(seed):
    probabilities, targets = case(seed, images=200, labels=9)
    start = best_threshold(probabilities, targets)
    thresholds = best_per_label(probabilities, targets, start)
    assert len(set(thresholds)) > 1
    assert np.array_equal(thresholds, plain_ascent(probabilities, targets, start))


def test_labels_on_different_scales_get_different_thresholds():
    probabilities = np.array([[0.9, 0.2], [0.8, 0.1], [0.3, 0.2], [0.3, 0.1]])
    targets = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    thresholds = best_per_label(probabilities, targets, best_threshold(probabilities, targets))
    assert f2(probabilities, targets, thresholds) == 1
    assert 0.3 < thresholds[0] <= 0.8 and 0.1 < thresholds[1] <= 0.2
    everything = max(
        f2(probabilities, targets, np.array(pair))
        for pair in itertools.product(np.unique(probabilities), repeat=2)
    )
    assert everything == 1


def test_a_label_that_no_image_has_keeps_the_common_threshold():
    probabilities, targets = case(1)
    targets[:, 2] = 0
    tuned = tune(probabilities, targets)
    assert tuned["per_label"][2] == tuned["global"][2]


def test_forty_thousand_images_of_seventeen_labels_take_a_moment():
    rng = np.random.default_rng(0)
    targets = (rng.random((40_479, 17)) < 0.17).astype(np.float32)
    probabilities = np.clip(targets * 0.2 + rng.random((40_479, 17)) * 0.8, 0, 1)
    started = time.perf_counter()
    threshold = best_threshold(probabilities, targets)
    assert time.perf_counter() - started < 5
    grid = [f2(probabilities[::50], targets[::50], t) for t in np.linspace(0.05, 0.95, 19)]
    assert f2(probabilities[::50], targets[::50], threshold) > max(grid) - 0.01
