import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import torch

from unfreeze.core.console import UserError
from unfreeze.device.prefetch import QUEUED, WAITING, fits_on_gpu, map_ahead, map_batches, prefetch

CPU = torch.device("cpu")


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("threads", "calls", "expected"),
    [(4, 9, (4, 1)), (4, 2, (2, 2)), (4, 1, (1, 4)), (6, 9, (3, 2)), (5, 9, (1, 5))],
)
def test_computations_side_by_side_share_out_the_threads(four_threads, threads, calls, expected):
    """Beside each other run as many as divide the threads."""
    torch.set_num_threads(threads)
    meeting, workers = threading.Barrier(expected[0]), set()

    def read(number):
        workers.add(threading.get_ident())
        return -number

    def compute(number):
        if -number < expected[0]:
            meeting.wait(20)  # it is never complete unless so many run at once
        workers.add(threading.get_ident())
        return -number, torch.get_num_threads()

    with map_batches(CPU, read, compute, range(calls)) as results:
        values = list(results)
    assert values == [(number, expected[1]) for number in range(calls)]
    assert len(workers) == expected[0] and torch.get_num_threads() == threads


def test_what_fails_side_by_side_ends_the_others(four_threads):
    begun = []

    def compute(number):
        begun.append(number)
        if number == 1:
            raise UserError("no")
        time.sleep(0.05)

    with (
        pytest.raises(UserError, match="no"),
        map_batches(CPU, lambda number: number, compute, range(400)) as results,
    ):
        list(results)
    assert len(begun) < 100 and torch.get_num_threads() == 4


def test_what_is_not_for_a_gpu_is_read_when_it_is_asked_for():
    numbers = []
    next(prefetch(CPU, numbers.append, range(9)))
    assert numbers == [0]


def test_an_unknown_device_gets_one_computation_at_a_time(four_threads):
    numbers = []
    with map_batches(torch.device("meta"), abs, numbers.append, range(9)) as results:
        next(results)
    assert numbers == [0] and torch.get_num_threads() == 4


def test_what_is_ahead_is_bounded_and_comes_in_order():
    begun = []

    def call(number):
        begun.append(number)
        time.sleep(0.02 * (number % 3 == 0))
        return number

    with ThreadPoolExecutor(3) as pool:
        for i, result in enumerate(map_ahead(pool, call, iter(range(30)), 5)):
            assert result == i and max(begun) <= i + 5
    assert sorted(begun) == list(range(30))


class Gpu:
    """Stands in for a GPU's queues: notes in which order `prefetch` has them wait for each other."""

    def __init__(self, monkeypatch):
        self.log, self.thread, self.numbers = [], threading.local(), []
        gpu = self

        class Stream:
            def __init__(self, name):
                self.name = name

            def wait_stream(self, other):
                gpu.log.append((self.name, "waits for all of", other.name))

            def wait_event(self, event):
                gpu.log.append((self.name, "waits for", event.of))

            def record_event(self):
                return Event(getattr(gpu.thread, "last", None))

        class Event:
            def __init__(self, of):
                self.of = of

            def synchronize(self):
                gpu.log.append(("the CPU", "waits"))

        @contextmanager
        def stream(entered):
            gpu.thread.name = entered.name
            yield
            gpu.thread.name = "computing"

        computing = Stream("computing")
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: computing)
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("sending"))
        monkeypatch.setattr(torch.cuda, "stream", stream)

    def read(self, number):
        """Return a batch; the stream must be the one that sends."""
        assert self.thread.name == "sending"
        if number == 20:
            raise UserError("no twentieth")
        self.thread.last = number
        self.numbers.append(number)
        return (Sent(number, self.log), Sent(number, self.log)) if number % 2 else Sent(number, self.log)


class Sent:
    def __init__(self, number, log):
        self.number, self.log = number, log

    def record_stream(self, stream):
        self.log.append((stream.name, "holds", self.number))


def test_a_gpu_waits_for_a_batch_that_was_sent_and_holds_it_until_it_has_computed(monkeypatch):
    gpu = Gpu(monkeypatch)
    for number, batch in enumerate(prefetch(torch.device("cuda"), gpu.read, range(9))):
        parts = batch if isinstance(batch, tuple) else (batch,)
        assert len(parts) == 1 + number % 2 and all(part.number == number for part in parts)
        own = [("computing", "waits for", number), *[("computing", "holds", number)] * len(parts)]
        assert gpu.log[-len(own) :] == own
    assert gpu.log[0] == ("sending", "waits for all of", "computing")
    assert gpu.log.count(("the CPU", "waits")) == 9 - QUEUED


def test_no_more_is_sent_to_a_gpu_than_it_soon_computes_on(monkeypatch):
    gpu = Gpu(monkeypatch)
    batches = prefetch(torch.device("cuda"), gpu.read, range(20))
    for number in range(4):
        next(batches)
        deadline = time.monotonic() + 20
        while len(gpu.numbers) < number + 1 + WAITING and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)  # in which more might be read
        assert sorted(gpu.numbers) == list(range(number + 1 + WAITING))
        assert gpu.log.count(("the CPU", "waits")) == max(0, number - QUEUED)
    batches.close()  # an error on the way, or nobody wants more
    assert len(gpu.numbers) == 4 + WAITING


def test_what_cannot_be_read_for_a_gpu_fails_at_its_place(monkeypatch):
    gpu, batches = Gpu(monkeypatch), 0
    with pytest.raises(UserError, match="no twentieth"):
        for _ in prefetch(torch.device("cuda"), gpu.read, range(99)):
            batches += 1
    assert batches == 20 and len(gpu.numbers) < 20 + WAITING + 1


@pytest.mark.parametrize(("device", "size", "fits"), [("cuda", 50, True), ("cuda", 51, False), ("cpu", 1, False)])
def test_half_of_what_is_free_on_a_gpu_may_be_filled_and_no_cpu_is_asked(monkeypatch, device, size, fits):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    assert fits_on_gpu(torch.device(device), size) == fits
