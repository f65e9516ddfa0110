"""Several labels an image, in training."""

import numpy as np
import pytest
import torch
from sklearn.metrics import fbeta_score
from torch.nn.functional import binary_cross_entropy_with_logits

from unfreeze.task.multi import Multi

TASK = Multi(["a", "b", "c"])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_several_labels_in_plain_numpy(smoothing):
    logits, targets = torch.tensor([[2.0, -1.0], [0.5, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    task, p = Multi(["a", "b"]), 1 / (1 + np.exp(-logits.numpy()))
    soft = targets.numpy() * (1 - smoothing) + smoothing / 2
    weight = np.array([3.0, 0.5])
    plain = -(soft * np.log(p) + (1 - soft) * np.log(1 - p)).mean()
    weighted = -(weight * soft * np.log(p) + (1 - soft) * np.log(1 - p)).mean()
    assert task.loss(logits, targets, smoothing).item() == pytest.approx(plain)
    loss = task.loss(logits, targets, smoothing, torch.tensor(weight).float())
    assert loss.item() == pytest.approx(weighted)


def test_weights_of_labels_are_negatives_over_positives_within_bounds():
    targets = torch.zeros(399, 4)
    targets[:100, 0] = 1
    targets[:1, 1] = 1  # 398 times as many without it
    targets[:, 2] = 1
    weight = Multi(list("abcd")).loss_weight(targets)
    assert weight.tolist() == pytest.approx([299 / 100, 100, 1 / 100, 100])


def test_the_score_is_the_mean_loss_and_the_best_f2():
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(40, 3, generator=generator) < 0.4).float()
    logits = torch.randn(40, 3, generator=generator) + targets
    score = TASK.score(logits, targets)
    assert score.loss == pytest.approx(binary_cross_entropy_with_logits(logits, targets).item(), rel=1e-6)
    p = logits.double().sigmoid().numpy()
    assert np.array_equal(TASK.activate(logits), p)
    f2 = [
        fbeta_score(targets, p >= t, beta=2, average="samples", zero_division=1) for t in np.append(p.ravel(), 1)
    ]
    assert score.value == pytest.approx(max(f2))
    assert score.thresholds["global"] == [score.thresholds["global"][0]] * 3


def test_targets_can_be_mixed_as_they_are():
    targets = torch.rand(4, 3)
    assert TASK.mixable(targets) is targets
