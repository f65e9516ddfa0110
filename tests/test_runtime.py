import logging
import os
import platform
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml

from unfreeze import allocator, runtime
from unfreeze.console import UserError
from unfreeze.runtime import RuntimeParams, start

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("native", [True, False])
def test_automatic_precision_is_bf16_only_where_the_hardware_computes_in_it(monkeypatch, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native, "amx_bf16": False})
    fabric = start(RuntimeParams(device="cpu", precision="auto", strict=False, threads="auto"))
    with fabric.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if native else torch.float32)


def test_what_was_settled_is_told(caplog):
    with caplog.at_level(logging.INFO, "unfreeze"):
        start(RuntimeParams(device="cpu", precision="bf16", strict=False, threads="auto"))
    assert (
        f"{runtime.cpu_model()} (" in caplog.text
        and f"{torch.get_num_threads()} thread" in caplog.text
        and ", bf16" in caplog.text
    )


def test_exact_stages_compute_in_32_bits_whatever_the_params_say():
    fabric = start(RuntimeParams(device="cpu", precision="bf16", strict=False, threads="auto"), exact=True)
    with fabric.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_a_device_that_is_not_there_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds none here"):
        start(RuntimeParams(device="cuda", precision="auto", strict=False, threads="auto"))


def test_the_allocator_s_setting_is_harmless_where_there_is_no_glibc(monkeypatch):
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    allocator.keep_freed_memory()


HEAPS = """
import ctypes, sys, threading
from unfreeze.allocator import keep_freed_memory

libc, meeting = ctypes.CDLL(None), threading.Barrier(4)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
if sys.argv[1:] == ["one"]:
    keep_freed_memory()

def take():
    meeting.wait()  # a thread that has ended leaves its heap to the next
    libc.malloc(10_000)
    meeting.wait()

threads = [threading.Thread(target=take) for _ in range(4)]
for each in threads:
    each.start()
for each in threads:
    each.join()
out = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, out)
libc.fclose(out)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has heaps for threads")
def test_all_threads_share_one_heap():
    heaps = [
        subprocess.run([sys.executable, "-c", HEAPS, *how], stdout=subprocess.PIPE, text=True, check=True).stdout
        for how in (["one"], [])
    ]
    assert heaps[0].count("<heap nr=") == 1 < heaps[1].count("<heap nr=")


@pytest.mark.parametrize(
    "started",
    [
        {"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"},  # torchrun
        {"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2"},  # srun
    ],
)
def test_processes_that_others_started_are_the_ranks(monkeypatch, started):
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    for devices in ("auto", "any", 8):
        found = runtime._ranks("cpu", devices)
        assert (found["devices"], found["num_nodes"]) == (4, 2)
        assert found["strategy"].cluster_environment.creates_processes_externally
    with pytest.raises(UserError, match="8 processes were started, and this stage computes with 1: set run"):
        runtime._ranks("cpu", 1)


def test_devices_are_counted_and_too_many_refused(monkeypatch, tmp_path):
    assert runtime._ranks("cpu", "auto") == {"devices": 1}
    assert runtime._ranks("cpu", 3)["devices"] == 3
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert runtime._ranks("cuda", "auto")["devices"] == 2
    with pytest.raises(UserError, match=r"runtime\.devices = 8: there are 2 GPUs"):
        runtime._ranks("cuda", 8)
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["runtime"] |= {"strict": False, "devices": 8}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    assert runtime._ranks("cuda", "any")["devices"] == 2


STEPS = """
import hashlib, sys
from unfreeze.runtime import RuntimeParams, start
start(RuntimeParams(device="cpu", precision="32", strict=sys.argv[1] == "strict", threads=2))
import torch
from unfreeze.model.backbone import build_backbone
torch.manual_seed(0)
body = build_backbone("resnet18", "none", 1)
net = torch.nn.Sequential(body.early, body.late, torch.nn.Flatten(), torch.nn.Linear(512, 3))
optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
images, targets = torch.rand(8, 3, 32, 32), torch.arange(8) % 3
for _ in range(2):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(net(images), targets).backward()
    optimizer.step()
print(hashlib.sha256(b"".join(value.numpy().tobytes() for value in net.state_dict().values())).hexdigest())
"""


def weights_after_two_steps(mode, **environment):
    """In a process of its own: what torch chooses, it chooses when it is imported."""
    command = [sys.executable, "-c", STEPS, mode]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return done.stdout


OTHER_ISA = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}


def test_strict_gives_the_same_bytes_whatever_threads_and_instructions_there_are():
    expected = weights_after_two_steps("strict")
    assert weights_after_two_steps("strict", OMP_NUM_THREADS="1") == expected
    assert weights_after_two_steps("strict", **OTHER_ISA) == expected
    assert weights_after_two_steps("loose", **OTHER_ISA) != expected  # it does make a difference


AUTO = """
from unfreeze.runtime import RuntimeParams, computes_half, start
print(computes_half(start(RuntimeParams(device="cpu", precision="auto", strict=False, threads=1))))
"""


def test_auto_takes_no_bf16_that_onednn_would_have_to_emulate():
    command, environment = [sys.executable, "-c", AUTO], os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert found == "False\n"


def test_the_environment_says_what_the_numbers_may_depend_on():
    params = RuntimeParams(device="cpu", precision="32", strict=False, threads="auto")
    found = runtime.environment(params, start(params))
    assert found["torch"] == torch.__version__.partition("+")[0] and found["precision"] == "32-true"
    assert found["cpu"] and found["threads"] == torch.get_num_threads() and found["gpu"] is None


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("threads", "calls", "expected"),
    [(4, 9, (4, 1)), (4, 2, (2, 2)), (4, 1, (1, 4)), (6, 9, (3, 2)), (5, 9, (1, 5))],
)
def test_computations_side_by_side_share_out_the_threads(four_threads, threads, calls, expected):
    """Beside each other run as many as divide the threads."""
    torch.set_num_threads(threads)
    meeting, workers = threading.Barrier(expected[0]), set()

    def fetch(number):
        workers.add(threading.get_ident())
        return -number

    def compute(number):
        if -number < expected[0]:
            meeting.wait(20)  # it is never complete unless so many run at once
        workers.add(threading.get_ident())
        return -number, torch.get_num_threads()

    with runtime.overlapped(CPU, fetch, compute, range(calls)) as results:
        found = list(results)
    assert found == [(number, expected[1]) for number in range(calls)]
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
        runtime.overlapped(CPU, lambda number: number, compute, range(400)) as results,
    ):
        list(results)
    assert len(begun) < 100 and torch.get_num_threads() == 4


def test_what_is_not_for_a_gpu_is_fetched_when_it_is_asked_for():
    numbers = []
    next(runtime.fetched(CPU, numbers.append, range(9)))
    assert numbers == [0]


def test_an_unknown_device_gets_one_computation_at_a_time(four_threads):
    numbers = []
    with runtime.overlapped(torch.device("meta"), abs, numbers.append, range(9)) as results:
        next(results)
    assert numbers == [0] and torch.get_num_threads() == 4


def test_what_is_ahead_is_bounded_and_comes_in_order():
    begun = []

    def call(number):
        begun.append(number)
        time.sleep(0.02 * (number % 3 == 0))
        return number

    with ThreadPoolExecutor(3) as pool:
        for i, found in enumerate(runtime.ahead(pool, call, iter(range(30)), 5)):
            assert found == i and max(begun) <= i + 5
    assert sorted(begun) == list(range(30))


class Gpu:
    """Stands in for a GPU's queues: notes in which order `fetched` has them wait for each other."""

    def __init__(self, monkeypatch):
        self.log, self.thread, self.fetched = [], threading.local(), []
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

    def fetch(self, number):
        """A batch, on the stream on which it has to be made."""
        assert self.thread.name == "sending"
        if number == 20:
            raise UserError("no twentieth")
        self.thread.last = number
        self.fetched.append(number)
        return (Sent(number, self.log), Sent(number, self.log)) if number % 2 else Sent(number, self.log)


class Sent:
    def __init__(self, number, log):
        self.number, self.log = number, log

    def record_stream(self, stream):
        self.log.append((stream.name, "holds", self.number))


def test_a_gpu_waits_for_a_batch_that_was_sent_and_holds_it_until_it_has_computed(monkeypatch):
    gpu = Gpu(monkeypatch)
    for number, found in enumerate(runtime.fetched(torch.device("cuda"), gpu.fetch, range(9))):
        parts = found if isinstance(found, tuple) else (found,)
        assert len(parts) == 1 + number % 2 and all(part.number == number for part in parts)
        own = [("computing", "waits for", number), *[("computing", "holds", number)] * len(parts)]
        assert gpu.log[-len(own) :] == own
    assert gpu.log[0] == ("sending", "waits for all of", "computing")
    assert gpu.log.count(("the CPU", "waits")) == 9 - runtime.IN_QUEUE


def test_no_more_is_sent_to_a_gpu_than_it_soon_computes_on(monkeypatch):
    gpu = Gpu(monkeypatch)
    batches = runtime.fetched(torch.device("cuda"), gpu.fetch, range(20))
    for number in range(4):
        next(batches)
        deadline = time.monotonic() + 20
        while len(gpu.fetched) < number + 1 + runtime.AHEAD and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)  # in which more might be fetched
        assert sorted(gpu.fetched) == list(range(number + 1 + runtime.AHEAD))
        assert gpu.log.count(("the CPU", "waits")) == max(0, number - runtime.IN_QUEUE)
    batches.close()  # an error on the way, or nobody wants more
    assert len(gpu.fetched) == 4 + runtime.AHEAD


def test_what_cannot_be_fetched_for_a_gpu_fails_at_its_place(monkeypatch):
    gpu, found = Gpu(monkeypatch), 0
    with pytest.raises(UserError, match="no twentieth"):
        for _ in runtime.fetched(torch.device("cuda"), gpu.fetch, range(99)):
            found += 1
    assert found == 20 and len(gpu.fetched) < 20 + runtime.AHEAD + 1
