import time

import numpy as np
import pytest
import torch
from small_training import HEAD, single_problem

from unfreeze.core import arrays
from unfreeze.model.head import build_head
from unfreeze.task.kinds import TASKS
from unfreeze.views.predict import Predictor, predict_probabilities

CLASSES = ["a", "b", "c"]


@pytest.fixture
def features(fabric):
    return single_problem(fabric).features


@pytest.fixture
def set_threads():
    """Sets torch's number of threads, until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_predictions_are_in_order_whatever_the_batch(fabric, features):
    head = build_head(5, 3, HEAD, 1)
    logits = Predictor(fabric, head, features.plain, batch_size=1).predict(np.array([5, 3, 40]))
    assert torch.allclose(logits, head.eval()(features.views[0, [5, 3, 40]]), atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_predictions_of_many_batches_need_no_gradients_and_are_told(fabric, features, set_threads, threads):
    head, rows, told, shares = build_head(5, 3, HEAD, 1), np.arange(40)[::-1].copy(), [], set()

    def inputs(batch, view):
        shares.add(torch.get_num_threads())
        return features.plain(batch)

    set_threads(threads)
    logits = Predictor(fabric, head, inputs, batch_size=7).predict(rows, advance=told.append)
    assert torch.get_num_threads() == threads and shares == {1}  # side by side, a thread for each batch
    assert torch.allclose(logits, head.eval()(features.views[0, rows.copy()]), atol=1e-6)
    assert not logits.requires_grad and told == [7] * 5 + [5]


def test_blocks_are_predicted_without_a_pause_between_them(fabric, features, set_threads):
    head, read = build_head(5, 3, HEAD, 1), []

    def inputs(batch, view):
        read.append(batch[0])
        return features.plain(batch)

    set_threads(2)
    blocks = [np.arange(start, start + 8) for start in range(0, 40, 8)]
    results = Predictor(fabric, head, inputs, batch_size=8).predict_blocks(blocks)
    first = next(results)
    deadline = time.monotonic() + 20
    while len(read) < 4 and time.monotonic() < deadline:  # of the next blocks, that nobody has asked for yet
        time.sleep(0.01)
    assert 4 <= len(read) <= 5  # and of no more than are computed ahead
    logits = torch.cat([first, *results])
    assert torch.allclose(logits, head.eval()(features.views[0, :40]), atol=1e-6)


def test_the_inputs_are_told_the_epoch(fabric, features):
    epochs = []

    def inputs(batch, epoch):
        epochs.append(epoch)
        return features.plain(batch)

    predictor = Predictor(fabric, build_head(5, 3, HEAD, 1), inputs, batch_size=64)
    predictor.predict(np.arange(3), epoch=4)
    predictor.predict(np.arange(3))
    assert epochs == [4, 0]


@pytest.mark.parametrize("kind", TASKS.values())
def test_probabilities_made_in_blocks_are_those_of_all_at_once(kind, monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK", 3)
    logits = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    blocks, task = [], kind(CLASSES)

    def predict(rows: np.ndarray) -> torch.Tensor:
        blocks.append(len(rows))
        return logits[rows]

    probabilities = predict_probabilities(predict, np.arange(10), classes=3, activate=task.activate)
    # Where a vector of the CPU ends, torch's sigmoid differs by the last bit: no block ends there but the tests'.
    np.testing.assert_allclose(probabilities, task.activate(logits), rtol=1e-15)
    assert blocks == [3, 3, 3, 1] and probabilities.dtype == np.float64


@pytest.mark.parametrize("kind", TASKS.values())
def test_no_rows_have_no_probabilities(kind):
    assert predict_probabilities(None, np.arange(0), classes=3, activate=kind(CLASSES).activate).shape == (0, 3)
