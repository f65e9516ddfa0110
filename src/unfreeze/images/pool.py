"""Maps a function over items in several processes: results in order, few items at once, no process left behind."""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerKilledError(Exception):
    """A process was killed from outside, or by a fault in native code.

    Attributes:
        items: what the processes were working on or were about to, in order. One of them may be the reason.
    """

    def __init__(self, items: list) -> None:
        super().__init__(f"a process was killed at one of {len(items)} items")
        self.items = items


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yield `function(item)` for each of `items`, in their order.

    At most `2 * workers + 1` items are taken ahead, so that memory does not grow with their number. One worker is
    this process itself. `function`, items and results are pickled otherwise.

    Raises:
        WorkerKilledError: a process was killed.
    """
    if workers == 1:
        yield from map(function, items)
        return
    # A fork costs 0.01 s, a fresh interpreter 0.3 s; other systems' libraries do not stand being forked.
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker)
    running: deque[tuple[Item, Future[Result]]] = deque()

    def take_first() -> Result:
        result = running[0][1].result()
        running.popleft()  # only now: it is a suspect if its process was killed
        return result

    try:
        for item in items:
            running.append((item, pool.submit(function, item)))
            if len(running) > 2 * workers:
                yield take_first()
        while running:
            yield take_first()
    except BrokenProcessPool:
        raise WorkerKilledError([item for item, _ in running]) from None
    finally:
        pool.shutdown(cancel_futures=True)


def count_cores() -> int:
    """Count the cores that this process may use; where the system does not tell, all of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, end with it however it ends, and keep libtiff quiet."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # libtiff prints a line for each odd tag and names no file; errors reach the parent by another way.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    def follow_parent() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()
