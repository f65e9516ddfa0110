"""Several labels an image, and classes of unequal size, in training."""

import numpy as np
import pytest
import torch
from sklearn.metrics import fbeta_score
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from unfreeze.model.head import HeadParams, build_head
from unfreeze.train.head import Features, cross_validate, fit_head, head_learner, predict_head
from unfreeze.train.loop import Learner, balanced, build_optimizer, fit, loss_of, loss_weight, probabilities
from unfreeze.train.schedule import Pace, StepParams, TrainHeadParams
from unfreeze.train.score import score

PLAIN = {
    "batch_size": 8, "optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.0, "label_smoothing": 0.0,
    "clip_norm": 0.0, "balance": "none",
}  # fmt: skip
STEP = StepParams(**PLAIN)
LOSS = StepParams(**PLAIN | {"balance": "loss"})
HEAD = HeadParams(hidden=[], dropout=[0.0])
TRAIN = TrainHeadParams(**PLAIN, schedule="sgdr", lr=0.2, cycles=1, cycle_len=8, cycle_mult=1)
NAN = float("nan")


@pytest.fixture
def problem():
    """60 rows with any of three labels, which features tell; the last 6 have not been labelled."""
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(60, 3, generator=generator) < 0.3).float()
    features = torch.randn(60, 5, generator=generator) * 0.3 + targets @ torch.eye(3, 5) * 2
    targets[54:] = NAN
    return Features(features[None]), targets


def test_the_loss_of_several_labels_in_plain_numpy():
    logits, targets = torch.tensor([[2.0, -1.0], [0.5, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    p = 1 / (1 + np.exp(-logits.numpy()))
    for smoothing in (0.0, 0.2):
        soft = targets.numpy() * (1 - smoothing) + smoothing / 2
        weight = np.array([3.0, 0.5])
        plain = -(soft * np.log(p) + (1 - soft) * np.log(1 - p)).mean()
        weighted = -(weight * soft * np.log(p) + (1 - soft) * np.log(1 - p)).mean()
        assert loss_of(logits, targets, smoothing, True).item() == pytest.approx(plain)
        found = loss_of(logits, targets, smoothing, True, torch.tensor(weight).float())
        assert found.item() == pytest.approx(weighted)


def test_weights_of_classes_are_inverse_to_their_counts_with_mean_one_over_the_images():
    targets = torch.tensor([0, 0, 0, 1, 2, 2, 1, -1])
    rows = np.arange(6)  # 3, 1 and 2 images; a later row and one without a label do not count
    weight = loss_weight(targets, rows, LOSS)
    assert weight.tolist() == pytest.approx([2 / 3, 2, 1])
    assert weight[targets[:6]].mean().item() == pytest.approx(1)
    assert loss_weight(targets, rows, STEP) is None


def test_weights_of_labels_are_negatives_over_positives_within_bounds():
    targets = torch.zeros(400, 4)
    targets[:100, 0] = 1
    targets[:1, 1] = 1  # 399 times as many without it
    targets[:, 2] = 1
    targets[399] = NAN  # not trained on
    weight = loss_weight(targets, np.arange(399), LOSS)
    assert weight.tolist() == pytest.approx([299 / 100, 100, 1 / 100, 100])


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_a_weighted_step_is_the_mean_over_images_of_the_weighted_losses(fabric, mixup):
    model, x, targets = nn.Linear(4, 3), torch.randn(6, 4), torch.tensor([0, 0, 0, 1, 2, 0])
    weight = loss_weight(targets, np.arange(6), LOSS)
    learner = Learner(
        fabric, model, build_optimizer([model], [1.0], LOSS), lambda r, epoch: x[torch.from_numpy(r)], targets,
        LOSS, (1, "t"), mixup, weight,
    )  # fmt: skip
    with torch.no_grad():
        each = cross_entropy(model(x), targets, reduction="none")
    rows = np.arange(6)
    loss = learner.step(0, rows, 0, learner.seen(0, rows, 0), 0.0, 0.9)
    assert np.isfinite(loss)
    assert (loss == pytest.approx((each * weight[targets]).mean().item(), rel=1e-5)) == (mixup == 0)


def test_drawn_rows_are_as_many_from_every_class_and_new_each_epoch():
    rows = np.arange(1000, 2000)
    targets = np.repeat([0, 1, 2], [900, 90, 10])
    drawn = balanced(rows, targets, 1, "t", "balance", 0)
    counts = np.bincount(targets[drawn - 1000])
    assert len(drawn) == 1000 and abs(counts - 1000 / 3).max() < 60  # four standard deviations
    assert np.array_equal(balanced(rows, targets, 1, "t", "balance", 0), drawn)
    assert not np.array_equal(balanced(rows, targets, 1, "t", "balance", 1), drawn)


def test_a_row_drawn_twice_in_an_epoch_gets_two_views(fabric):
    seen = []

    def inputs(rows, view):
        seen.append(view)
        return torch.ones(len(rows), 4)

    params = StepParams(**PLAIN | {"balance": "sample"})
    model = nn.Linear(4, 2)
    targets = torch.tensor([0] * 15 + [1])
    learner = Learner(fabric, model, build_optimizer([model], [1.0], params), inputs, targets, params, (1, "t"))
    batches = learner.batches(np.arange(16), 0)
    assert np.isin(15, np.concatenate(batches)) and (np.concatenate(batches) == 15).sum() > 2
    list(fit(learner, np.arange(16), 0.1, [Pace(1.0, 0.9)] * 4))
    assert seen == [0, 1, 2, 3]  # by step, not by epoch


@pytest.mark.parametrize("balance", ["none", "loss"])
def test_a_head_learns_several_labels_and_unlabelled_rows_never_reach_a_loss(fabric, problem, balance):
    features, targets = problem
    head = build_head(5, 3, HEAD, 1)
    params = TRAIN.model_copy(update={"balance": balance})
    losses = [s.loss for steps in fit_head(fabric, head, features, targets, np.arange(40), params, 0.2, (1, "h"))
              for s in steps]  # fmt: skip
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    valid = score(predict_head(fabric, head, features, np.arange(40, 54)), targets[40:54])
    assert valid.value > 0.9 and np.isfinite(valid.loss)
    key = (1, "h")
    learner = head_learner(fabric, head, features, targets, np.arange(60), params, key)
    rows = np.arange(50, 60)
    assert np.isnan(learner.step(0, rows, 0, learner.seen(0, rows, 0), 0.0, 0.9))  # it would be seen


def test_mixup_mixes_several_labels(fabric, problem):
    features, targets = problem
    head = build_head(5, 3, HEAD, 1)
    plain = head_learner(fabric, head, features, targets, np.arange(40), STEP, (1, "h"))
    mixed = Learner(fabric, head, plain.optimizer, features.plain, targets, STEP, (1, "h"), mixup=0.4)
    rows = np.arange(40)
    one, other = (each.step(0, rows, 0, each.seen(0, rows, 0), 0.0, 0.9) for each in (plain, mixed))
    assert np.isfinite(other) and one != other


def test_the_score_is_the_mean_loss_and_the_best_f2():
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(40, 3, generator=generator) < 0.4).float()
    logits = torch.randn(40, 3, generator=generator) + targets
    found = score(logits, targets)
    assert found.loss == pytest.approx(binary_cross_entropy_with_logits(logits, targets).item(), rel=1e-6)
    p = logits.double().sigmoid().numpy()
    assert np.array_equal(probabilities(logits, multi=True), p)
    f2 = [
        fbeta_score(targets, p >= t, beta=2, average="samples", zero_division=1) for t in np.append(p.ravel(), 1)
    ]
    assert found.value == pytest.approx(max(f2))
    assert found.thresholds["global"] == [found.thresholds["global"][0]] * 3
    assert score(torch.eye(3), torch.tensor([0, 1, 1])).thresholds == {}


def test_cross_validation_gives_each_label_its_own_probability(fabric, problem):
    features, targets = problem
    folds = np.append(np.arange(54) % 3, [-1] * 6)
    found = cross_validate(fabric, features, targets, folds, 3, HEAD, TRAIN, 0.2, 1)
    assert found.shape == (54, 3) and not np.allclose(found.sum(1), 1)
    assert ((found > 0.5) == (targets[:54].numpy() > 0)).mean() > 0.9
