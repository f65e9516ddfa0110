"""How a model does on the validation rows after an epoch."""

from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from unfreeze.thresholds import Rule, f2, tune
from unfreeze.train.loop import probabilities


class Score(NamedTuple):
    """Of the validation rows, never reweighted."""

    loss: float
    """Cross-entropy, or of several labels the mean binary cross-entropy."""
    value: float
    """Accuracy, or of several labels F2 at the one threshold that maximises it on these very rows: good for
    comparing epochs, and a little optimistic."""
    thresholds: dict[Rule, list[float]]
    """Those that maximise F2 (see `thresholds.tune`); none with one class an image."""


def score(logits: Tensor, targets: Tensor) -> Score:
    """The score of `logits` `[N, C]` for `targets`: int64 `[N]`, or float `[N, C]` of several labels an image."""
    logits = logits.double()
    if not targets.is_floating_point():
        accuracy = (logits.argmax(1) == targets).double().mean()
        return Score(cross_entropy(logits, targets).item(), accuracy.item(), {})
    loss = binary_cross_entropy_with_logits(logits, targets.double()).item()
    predicted, actual = probabilities(logits, multi=True), targets.numpy()
    thresholds = tune(predicted, actual)
    return Score(loss, f2(predicted, actual, thresholds["global"]), thresholds)
