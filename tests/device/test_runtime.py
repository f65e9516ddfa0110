import logging
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from unfreeze.core import allocator
from unfreeze.core.console import UserError
from unfreeze.device import runtime
from unfreeze.device.runtime import RuntimeParams, start

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("native", "may"), [(True, True), (True, False), (False, True)])
def test_automatic_precision_is_bf16_only_where_the_hardware_computes_in_it_and_may(monkeypatch, native, may):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native, "amx_bf16": False})
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: may)
    fabric = start(RuntimeParams(device="cpu", precision="auto", strict=False, threads="auto"))
    with fabric.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if native and may else torch.float32)


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
from unfreeze.core.allocator import keep_freed_memory

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
        plan = runtime._plan_ranks("cpu", devices)
        assert (plan["devices"], plan["num_nodes"]) == (4, 2)
        assert plan["strategy"].cluster_environment.creates_processes_externally
    with pytest.raises(UserError, match="8 processes were started, and this stage computes with 1: set run"):
        runtime._plan_ranks("cpu", 1)


def test_devices_are_counted_and_too_many_refused(monkeypatch, tmp_path):
    assert runtime._plan_ranks("cpu", "auto") == {"devices": 1}
    assert runtime._plan_ranks("cpu", 3)["devices"] == 3
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert runtime._plan_ranks("cuda", "auto")["devices"] == 2
    with pytest.raises(UserError, match=r"runtime\.devices = 8: there are 2 GPUs"):
        runtime._plan_ranks("cuda", 8)
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["runtime"] |= {"strict": False, "devices": 8}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    assert runtime._plan_ranks("cuda", "any")["devices"] == 2


STEPS = """
import hashlib, sys
from unfreeze.device.runtime import RuntimeParams, start
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


@pytest.mark.slow
def test_strict_gives_the_same_bytes_whatever_threads_and_instructions_there_are():
    expected = weights_after_two_steps("strict")
    assert weights_after_two_steps("strict", OMP_NUM_THREADS="1") == expected
    assert weights_after_two_steps("strict", **OTHER_ISA) == expected
    assert weights_after_two_steps("loose", **OTHER_ISA) != expected  # it does make a difference


AUTO = """
from unfreeze.device.runtime import RuntimeParams, computes_half, start
print(computes_half(start(RuntimeParams(device="cpu", precision="auto", strict=False, threads=1))))
"""


def test_auto_takes_no_bf16_that_onednn_would_have_to_emulate():
    command, environment = [sys.executable, "-c", AUTO], os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert answer == "False\n"


def test_the_environment_says_what_the_numbers_may_depend_on():
    params = RuntimeParams(device="cpu", precision="32", strict=False, threads="auto")
    facts = runtime.describe_environment(params, start(params))
    assert facts["torch"] == torch.__version__.partition("+")[0] and facts["precision"] == "32-true"
    assert facts["cpu"] and facts["threads"] == torch.get_num_threads() and facts["gpu"] is None
