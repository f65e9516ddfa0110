import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from image_files import encode, pack
from PIL import Image

from unfreeze.images.pool import WorkerKilledError, count_cores, map_in_order


def negate(item: int) -> int:
    return -item


def touch(folder: Path, item: int) -> int:
    (folder / str(item)).touch()
    return item


def die_at(item: int, deadly: int) -> int:
    if item == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def fail_at(item: int, bad: int) -> int:
    if item == bad:
        raise ValueError(f"bad item {item}")
    return item


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(map_in_order(negate, range(50), workers)) == [-i for i in range(50)]
    assert list(map_in_order(negate, [], workers)) == []


def test_only_a_few_items_are_under_way(tmp_path):
    taken = []

    def items():
        for i in range(40):
            taken.append(i)
            yield i

    results = map_in_order(partial(touch, tmp_path), items(), workers=2)
    assert next(results) == 0
    time.sleep(0.2)
    assert len(list(tmp_path.iterdir())) <= 5
    assert len(taken) <= 5  # nor are they made before they are needed
    assert list(results) == list(range(1, 40))


def test_a_killed_process_is_an_error_that_holds_its_item():
    with pytest.raises(WorkerKilledError) as caught:
        list(map_in_order(partial(die_at, deadly=17), range(40), workers=2))
    items = caught.value.items
    assert 17 in items
    assert len(items) <= 5 and items == list(range(items[0], items[-1] + 1))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_function_s_own_error_comes_through(workers):
    results = map_in_order(partial(fail_at, bad=3), range(40), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="bad item 3"):
        next(results)


def test_cores_are_those_of_this_process():
    cores = count_cores()
    assert cores >= 1
    if hasattr(os, "sched_setaffinity"):
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            assert count_cores() == 1
        finally:
            os.sched_setaffinity(0, before)


@pytest.mark.skipif(sys.platform != "linux", reason="only forked workers see the replaced decoder")
def test_workers_end_with_their_parent(tmp_path):
    pack(tmp_path, {f"{i:03}.png": encode(Image.new("RGB", (20, 20), (i, 0, 0))) for i in range(20)})
    code = (
        "import os, sys, time; from pathlib import Path; sys.path[:0] = sys.argv[2:]\n"
        "import test_decode as t\n"
        "def slow(*_): os.write(1, f'{os.getpid()}\\n'.encode()); time.sleep(60)\n"  # one write a line
        "t.decode.decode_image = slow\n"
        "t.decode_folder(Path(sys.argv[1]), workers=2)\n"
    )
    here = Path(__file__).parent
    command = [sys.executable, "-c", code, tmp_path, here, here.parent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        workers = [parent.stdout.readline().strip() for _ in range(2)]
        parent.kill()
    assert len(set(workers)) == 2
    deadline = time.monotonic() + 10
    while any(runs(int(worker)) for worker in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether the process has not ended: one that has stays a zombie until whoever inherited it looks."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
