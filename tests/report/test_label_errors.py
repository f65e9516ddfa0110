import numpy as np

from unfreeze.core import arrays
from unfreeze.report.label_errors import find_class_errors, find_label_errors


def test_a_label_is_suspect_if_another_class_is_as_sure_as_that_class_usually_is():
    # Class 0 usually gets (0.9 + 0.8 + 0.1) / 3 = 0.6 of its own images, class 1 (0.9 + 0.7) / 2 = 0.8.
    p = np.array([0.9, 0.8, 0.1, 0.1, 0.3])
    probabilities = np.stack([p, 1 - p], axis=1)
    assert find_class_errors(probabilities, np.array([0, 0, 0, 1, 1])) == [(2, 0, 1)]
    # An image of class 1 that gets 0.35 of it is wrong, but 0.65 is no more than usual for class 0 by then.
    p = np.array([0.9, 0.8, 0.9, 0.1, 0.65])
    assert find_class_errors(np.stack([p, 1 - p], axis=1), np.array([0, 0, 0, 1, 1])) == []


def test_of_planted_label_errors_the_sure_ones_are_found():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 5, 500)
    probabilities = 0.7 * np.eye(5)[true] + 0.3 * rng.dirichlet(np.ones(5), 500)
    labels = true.copy()
    labels[:20] = (true[:20] + 1) % 5
    errors = find_class_errors(probabilities, labels)
    assert {i for i, *_ in errors} < set(range(20)) and len(errors) >= 8  # the surer half, and nothing else
    assert all((own, likely) == (labels[i], true[i]) for i, own, likely in errors)


def test_of_several_labels_each_is_judged_for_itself():
    probabilities = np.array([[0.9, 0.1], [0.95, 0.2], [0.05, 0.1], [0.1, 0.1], [0.02, 0.9]])
    labels = np.array([[1, 0], [0, 0], [0, 0], [0, 0], [1, 0]])
    errors = find_label_errors(probabilities, labels)
    assert errors == [(4, 0, True), (1, 0, False)]  # nobody has the second label: there is nothing to tell it by


def test_judged_in_blocks_labels_are_as_suspect(monkeypatch):
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 4, 100), rng.dirichlet(np.ones(4), 100)
    several = rng.integers(0, 2, (100, 4))
    whole = find_class_errors(probabilities, labels), find_label_errors(probabilities, several)
    assert min(map(len, whole)) > 5
    monkeypatch.setattr(arrays, "BLOCK", 7)
    assert find_class_errors(probabilities, labels) == whole[0]
    assert find_label_errors(probabilities, several) == whole[1]
