import dataclasses

import numpy as np
import pytest
import torch
from small_training import head_params, single_problem, step_params
from torch import nn

from unfreeze.core.console import UserError
from unfreeze.features.read import Features
from unfreeze.task.single import Single
from unfreeze.train.fit import Plan, Position, fit
from unfreeze.train.head import fit_head
from unfreeze.train.learner import Learner, build_optimizer
from unfreeze.train.schedule import Pace


def learner_of(fabric, model, inputs, targets, params):
    """A learner of two classes."""
    return Learner(
        fabric=fabric,
        model=model,
        optimizer=build_optimizer([model], [1.0], params),
        inputs=inputs,
        targets=targets,
        task=Single(["a", "b"]),
        params=params,
        key=(1, "t"),
    )


def test_a_step_is_sgd_with_momentum(fabric):
    """Two steps on one batch against the formula v = m v + g, w = w - lr v."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    weight = model.weight.detach().clone()
    x, y = torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
    rates, velocity = [0.1, 0.05], 0
    bias = model.bias.detach().clone()
    bias_velocity = 0
    for lr in rates:
        difference = (x @ weight.T + bias).softmax(1) - nn.functional.one_hot(y, 2)
        velocity = 0.9 * velocity + difference.T @ x / 4
        bias_velocity = 0.9 * bias_velocity + difference.mean(0)
        weight, bias = weight - lr * velocity, bias - lr * bias_velocity
    learner = learner_of(
        fabric, model, lambda rows, epoch: x[torch.from_numpy(rows)], y, step_params(batch_size=4)
    )
    [one], [other] = fit(learner, Plan(rows=np.arange(4), lr=0.1, paces=[Pace(1.0, 0.9), Pace(0.5, 0.9)]))
    assert [(s.step, s.epoch, s.lr) for s in (one, other)] == [(0, 0, 0.1), (1, 1, 0.05)]
    assert torch.allclose(model.weight, weight, atol=1e-6)


def test_a_loss_that_is_not_finite_stops_with_step_and_rate(fabric):
    data = single_problem(fabric)
    data = dataclasses.replace(data, features=Features(data.features.views * 1e30))
    with pytest.raises(
        UserError, match=r"loss is (nan|inf) at step \d+ \(epoch 0\), learning rate .*: try a rate"
    ):
        list(fit_head(data, nn.Linear(5, 3), np.arange(48), head_params(), 1e30, (1, "head")))


def test_a_row_drawn_twice_in_an_epoch_gets_two_views(fabric):
    views = []

    def inputs(rows, view):
        views.append(view)
        return torch.ones(len(rows), 4)

    targets = torch.tensor([0] * 15 + [1])
    learner = learner_of(fabric, nn.Linear(4, 2), inputs, targets, step_params(balance="sample"))
    batches = learner.batches(np.arange(16), 0)
    assert np.isin(15, np.concatenate(batches)) and (np.concatenate(batches) == 15).sum() > 2
    list(fit(learner, Plan(rows=np.arange(16), lr=0.1, paces=[Pace(1.0, 0.9)] * 4)))
    assert views == [0, 1, 2, 3]  # by step, not by epoch


def test_a_fit_goes_on_from_its_position_and_tells_each_step(fabric):
    def train(start=None, stop=None):
        torch.manual_seed(0)
        model, x = nn.Linear(3, 2), torch.randn(24, 3)
        params = step_params(momentum=0.0)  # the optimizer has nothing to remember
        learner = learner_of(fabric, model, lambda rows, epoch: x[torch.from_numpy(rows)], targets, params)
        if start:
            model.load_state_dict(start[1])
        told, plan = [], Plan(rows=np.arange(24), lr=0.1, paces=[Pace(1.0, 0.0)] * 6)

        def after_step(steps):
            told.append(len(steps))
            if len(told) == stop:
                raise KeyboardInterrupt

        try:
            epochs = list(fit(learner, plan, start and start[0], after_step))
        except KeyboardInterrupt:
            epochs = []
        return epochs, told, {name: value.clone() for name, value in model.state_dict().items()}

    targets = torch.arange(24) % 2
    epochs, told, weights = train()
    assert [[s.step for s in steps] for steps in epochs] == [[0, 1, 2], [3, 4, 5]] and told == [1, 2, 3, 1, 2, 3]
    for stop, position in ((2, Position(0, epochs[0][:2])), (4, Position(1, epochs[1][:1]))):
        _, _, half = train(stop=stop)
        again, told, end = train(start=(position, half))
        assert again == epochs[position.epochs :] and len(told) == 6 - stop
        assert all(torch.equal(weights[name], end[name]) for name in weights)
