import numpy as np
import pytest

from unfreeze.report import similarity
from unfreeze.report.similarity import Directions, find_near_duplicates, find_outliers, project_on_components


def planted() -> np.ndarray:
    """200 images, of which 190 is nearly 3 and 191 the same as 4, and 7 is far from all."""
    features = np.random.default_rng(0).random((200, 300), dtype=np.float32)
    features[:150] += np.repeat(np.random.default_rng(1).random((15, 300)), 10, axis=0).astype(np.float32)
    features[190] = features[3] + 0.02 * features[100]
    features[191] = features[4]
    features[7] = np.random.default_rng(2).normal(size=300) * 3
    return features


def test_near_duplicates_across_the_split_are_found_with_their_true_similarity():
    directions = Directions(planted(), np.arange(150), seed=1)
    pairs = find_near_duplicates(directions, np.arange(150, 200), np.arange(150))
    assert [(one, other) for one, other, _ in pairs] == [(191, 4), (190, 3)]
    assert pairs[0][2] == 1 and 0.95 < pairs[1][2] < 1
    assert find_near_duplicates(directions, np.arange(0), np.arange(150)) == []


def test_of_too_many_pairs_the_near_duplicates_are_found_by_pivots(monkeypatch):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4000, 100)) + 2 * np.repeat(rng.normal(size=(40, 100)), 100, axis=0)
    features = np.concatenate(
        [features, features[rng.permutation(4000)[:300]] + 0.3 * rng.normal(size=(300, 100))]
    )
    directions = Directions(features.astype(np.float32), np.arange(4000), seed=1)
    train, others = np.arange(4000), np.arange(4000, 4300)
    every = find_near_duplicates(directions, others, train)
    monkeypatch.setattr(similarity, "MOST_PAIRS", 0)
    monkeypatch.setattr(similarity, "COLUMNS_AT_ONCE", 16)
    pairs = find_near_duplicates(directions, others, train)
    assert len(every) > 250
    assert set(pairs) <= set(every) and len(pairs) >= 0.98 * len(every)
    monkeypatch.setattr(similarity, "PROBED_AT_ONCE", 77)
    assert find_near_duplicates(directions, others, train) == pairs


def test_an_image_unlike_all_others_is_the_first_outlier():
    directions = Directions(planted(), np.arange(150), seed=1)
    (first, similarity), *_ = outliers = find_outliers(directions, np.arange(150), 5)
    assert (first, len(outliers)) == (7, 5) and similarity < 0.5


@pytest.mark.parametrize("width", [2, 300])
def test_the_map_is_that_of_the_principal_components_with_a_fixed_sign(width):
    features = planted()[:, :width]
    directions = Directions(features, np.arange(200), seed=1)
    places = project_on_components(directions, np.arange(200), seed=1)
    centred = features - features.mean(0, dtype=np.float64)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    for place, wanted in zip(places.T, (centred @ axes.T).T, strict=True):
        assert abs(np.corrcoef(place, wanted)[0, 1]) > 0.999
        assert place[np.abs(place).argmax()] == np.abs(place).max() == 1
