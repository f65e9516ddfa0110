"""Head, schedule, TTA and metrics against references in plain NumPy, written from the papers' formulas."""

import numpy as np
import pytest
import torch
from torch import nn

from unfreeze.evaluate.tta import Views, predict_views
from unfreeze.model.head import HeadParams, build_head
from unfreeze.task import metrics
from unfreeze.task.single import Single
from unfreeze.train.schedule import cycle_lengths, sgdr
from unfreeze.views.augment import AugmentParams
from unfreeze.views.images import Images


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def head_forward(x, state, hidden_layers):
    """BatchNorm by running statistics, no dropout, linear, ReLU between: the head at inference."""
    for layer in range(hidden_layers + 1):
        norm, linear = 4 * layer, 4 * layer + 2
        mean, var = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        x = (x - mean) / np.sqrt(var + 1e-5) * state[f"{norm}.weight"] + state[f"{norm}.bias"]
        x = x @ state[f"{linear}.weight"].T + state[f"{linear}.bias"]
        if layer < hidden_layers:
            x = np.maximum(x, 0)
    return x


@pytest.mark.parametrize(("hidden", "dropout"), [([], [0.5]), ([16], [0.25, 0.5]), ([16, 8], [0.1, 0.2, 0.3])])
def test_the_head_s_forward_pass(hidden, dropout):
    torch.manual_seed(0)
    head = build_head(12, 5, HeadParams(hidden=hidden, dropout=dropout), 1)
    for _ in range(3):  # running statistics that are not 0 and 1
        head(torch.randn(32, 12) * 2 + 1)
    for layer in head:
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
    x = torch.randn(7, 12)
    state = {name: value.double().numpy() for name, value in head.state_dict().items()}
    with torch.no_grad():
        logits = head.eval()(x).numpy()
    assert np.allclose(logits, head_forward(x.double().numpy(), state, len(hidden)), atol=1e-5)


@pytest.mark.parametrize(("per_epoch", "cycles", "length", "mult"), [(40, 3, 1, 2), (7, 2, 3, 1), (100, 1, 2, 1)])
def test_sgdr(per_epoch, cycles, length, mult):
    expected, start, steps = [], 0, per_epoch * length
    for _ in range(cycles):
        t = np.arange(steps)
        expected.append((1 + np.cos(np.pi * t / steps)) / 2)
        start, steps = start + steps, steps * mult
    expected = np.concatenate(expected)
    first = per_epoch * length
    expected[: int(np.ceil(first / 20))] = 0.01  # those before a twentieth of the first cycle
    assert np.allclose(sgdr(cycle_lengths(per_epoch, cycles, length, mult)), expected, atol=1e-12)


class Linear(nn.Module):
    """A linear network on flat images."""

    def __init__(self):
        super().__init__()
        self.weight = torch.linspace(-1, 1, 3 * 3 * 16 * 16).reshape(3, -1).sin()

    def forward(self, images):
        return images.flatten(1) @ self.weight.T


def test_the_mean_of_tta(fabric):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 20, 20, 3), dtype=np.uint8)
    images, augment = Images(pixels, 16, torch.device("cpu")), AugmentParams(set="side_on", max_zoom=1.1, pad=0)
    rows, network = np.arange(5), Linear()
    views = [images.plain(rows), *(images.augmented(rows, view, augment, 1, "tta") for view in range(4))]
    logits = [view.flatten(1).double().numpy() @ network.weight.double().numpy().T for view in views]
    expected = sum(softmax(each) for each in logits) / 5
    chosen = Views(images=images, count=4, augment=augment, seed=1)
    _, tta = predict_views(fabric, network, chosen, rows, 2, Single(["a", "b", "c"]))
    assert np.allclose(tta, expected, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_f1_calibration_error_and_log_loss(classes):
    rng = np.random.default_rng(classes)
    probabilities = softmax(rng.normal(size=(400, classes)) * 2)
    targets = np.where(rng.random(400) < 0.6, probabilities.argmax(1), rng.integers(0, classes, 400))
    predicted = probabilities.argmax(1)
    f1 = []
    for c in range(classes):
        hits = ((predicted == c) & (targets == c)).sum()
        f1.append(2 * hits / ((predicted == c).sum() + (targets == c).sum()))
    confidence, error = probabilities.max(1), 0.0
    for b in range(15):
        inside = (confidence * 15).astype(int).clip(max=14) == b
        if inside.any():
            error += inside.sum() / 400 * abs(confidence[inside].mean() - (predicted == targets)[inside].mean())
    result = metrics.scores(probabilities, targets)
    assert result["f1"] == pytest.approx(np.mean(f1))
    assert result["ece"] == pytest.approx(error)
    assert result["log_loss"] == pytest.approx(-np.log(probabilities[np.arange(400), targets]).mean())
