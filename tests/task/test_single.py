"""One class an image, in training."""

import pytest
import torch
from torch.nn.functional import one_hot

from unfreeze.task.single import Single

TASK = Single(["a", "b", "c"])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_classes_and_of_mixed_targets_in_plain_numpy(smoothing):
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 2, 1, 1, 0])
    log_p, soft = logits.log_softmax(1).numpy(), one_hot(classes, 3).numpy()
    expected = -((soft * (1 - smoothing) + smoothing / 3) * log_p).sum(1).mean()
    for targets in (classes, TASK.mixable(classes)):
        assert TASK.loss(logits, targets, smoothing).item() == pytest.approx(expected, rel=1e-5)


def test_mixable_targets_have_a_column_for_every_class_of_the_task():
    mixable = TASK.mixable(torch.tensor([1, 0]))  # none of the last class
    assert mixable.tolist() == [[0, 1, 0], [1, 0, 0]] and mixable.dtype == torch.float32


def test_weights_of_classes_are_inverse_to_their_counts_with_mean_one_over_the_images():
    targets = torch.tensor([0, 0, 0, 1, 2, 2])
    weight = TASK.loss_weight(targets)
    assert weight.tolist() == pytest.approx([2 / 3, 2, 1])
    assert weight[targets].mean().item() == pytest.approx(1)


def test_a_class_without_images_takes_nothing_from_the_mean_weight():
    weight = TASK.loss_weight(torch.tensor([0, 0, 0, 1]))
    assert weight[:2].tolist() == pytest.approx([2 / 3, 2]) and weight.isfinite().all()


def test_the_score_is_the_mean_loss_and_the_accuracy():
    logits, targets = torch.eye(3) * 2, torch.tensor([0, 1, 1])
    score = TASK.score(logits, targets)
    assert score.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, targets).item(), rel=1e-6)
    assert score.value == pytest.approx(2 / 3) and score.thresholds == {}
