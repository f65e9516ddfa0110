"""The head on cached features: one class an image, and several labels."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from small_training import HEAD, head_params, multi_problem, single_problem

from unfreeze.features.read import Features
from unfreeze.model.head import HeadParams, build_head
from unfreeze.train.head import cross_validate, fit_head, head_learner

TRAIN = head_params()
LINEAR = HeadParams(hidden=[], dropout=[0.0])
MULTI = head_params(lr=0.2, cycles=1, cycle_len=8, cycle_mult=1)


def test_training_the_head_learns_and_repeats_to_the_bit(fabric):
    data, heads = single_problem(fabric), []
    for _ in range(2):
        torch.manual_seed(len(heads))  # whatever torch's own generator did before
        head = build_head(5, 3, HEAD, 1)
        epochs = list(fit_head(data, head, np.arange(48), TRAIN, 0.05, (1, "head")))
        heads.append(head)
    assert len(epochs) == 6 and [s.step for s in itertools.chain(*epochs)] == list(range(36))
    one, other = (head.state_dict() for head in heads)
    assert all(torch.equal(one[name], other[name]) for name in one)
    logits = data.predict(heads[0], np.arange(48, 60))
    assert data.task.score(logits, data.targets[48:]).value > 0.9
    assert epochs[0][0].loss > epochs[-1][-1].loss


def test_a_new_head_is_of_the_features_the_classes_and_the_seed(fabric):
    data = single_problem(fabric)
    one, same, other = (data.new_head(HEAD, seed) for seed in (1, 1, 2))
    assert one(torch.zeros(4, 5)).shape == (4, 3)
    assert torch.equal(one[-1].weight, same[-1].weight) and not torch.equal(one[-1].weight, other[-1].weight)


def test_views_train_the_head_and_held_out_rows_are_predicted_by_the_plain_one(fabric):
    data = single_problem(fabric)
    views = data.features.views
    noisy = dataclasses.replace(data, features=Features(torch.cat([views, views.flip(2)])))
    heads = []
    for each in (data, noisy):
        head = build_head(5, 3, HEAD, 1)
        list(fit_head(each, head, np.arange(48), TRAIN, 0.05, (1, "head")))
        heads.append(head)
    assert not torch.equal(heads[0][2].weight, heads[1][2].weight)
    one, two = (each.predict(heads[0], np.arange(48, 60)) for each in (data, noisy))
    assert torch.equal(one, two)


def test_every_row_of_a_fold_is_predicted_by_a_head_that_has_not_seen_it(fabric):
    data, folds = single_problem(fabric), np.arange(60) % 4
    folds[:6] = -1
    probabilities = cross_validate(data, folds, HEAD, TRAIN, 0.05, 1)
    assert probabilities.shape == (54, 3) and np.allclose(probabilities.sum(1), 1)
    assert (probabilities.argmax(1) == data.targets[6:].numpy()).mean() > 0.9
    # A row's label must not matter to its own prediction: turn those of fold 2 round.
    turned = data.targets.clone()
    turned[folds == 2] = (turned[folds == 2] + 1) % 3
    again = cross_validate(dataclasses.replace(data, targets=turned), folds, HEAD, TRAIN, 0.05, 1)
    assert np.array_equal(again[folds[6:] == 2], probabilities[folds[6:] == 2])
    assert not np.array_equal(again[folds[6:] == 1], probabilities[folds[6:] == 1])


@pytest.mark.parametrize("balance", ["none", "loss"])
def test_a_head_learns_several_labels_and_unlabelled_rows_never_reach_a_loss(fabric, balance):
    data, head, key = multi_problem(fabric), build_head(5, 3, LINEAR, 1), (1, "h")
    params = MULTI.model_copy(update={"balance": balance})
    epochs = fit_head(data, head, np.arange(40), params, 0.2, key)
    losses = [step.loss for step in itertools.chain(*epochs)]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    valid = data.task.score(data.predict(head, np.arange(40, 54)), data.targets[40:54])
    assert valid.value > 0.9 and np.isfinite(valid.loss)
    learner = head_learner(data, head, np.arange(60), params, key)
    rows = np.arange(50, 60)
    assert np.isnan(learner.step(0, rows, 0, learner.read(0, rows, 0), 0.0, 0.9))  # one would show


def test_cross_validation_gives_each_label_its_own_probability(fabric):
    data, folds = multi_problem(fabric), np.append(np.arange(54) % 3, [-1] * 6)
    probabilities = cross_validate(data, folds, LINEAR, MULTI, 0.2, 1)
    assert probabilities.shape == (54, 3) and not np.allclose(probabilities.sum(1), 1)
    assert ((probabilities > 0.5) == (data.targets[:54].numpy() > 0)).mean() > 0.9
