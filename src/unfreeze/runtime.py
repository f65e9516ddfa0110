"""Device, precision, threads and allocator, chosen once for every stage that computes with torch."""

from __future__ import annotations

import logging
import os
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from unfreeze.allocator import keep_freed_memory
from unfreeze.console import UserError
from unfreeze.params import Number, Section, read_yaml
from unfreeze.paths import PARAMS

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

STRICT = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OMP_DYNAMIC": "FALSE",
}
"""What holds torch to the instructions that every x86-64 machine of the last ten years has. By itself it takes
the best that it finds, and others round differently."""


SIDE_BY_SIDE = 4
"""At most, for each holds the activations of a batch."""
AHEAD, READERS = 3, 2
"""Batches that wait in the memory of a GPU, and threads that read them."""
IN_QUEUE = 2
"""Batches whose operations wait for those of the batch that a GPU computes on."""

AutoOrCount = Literal["auto"] | Annotated[int, Field(ge=1, le=1024)]
Devices = int | Literal["auto", "any"]


class RuntimeParams(Section):
    """`runtime`: what the hardware is used for."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "32", "bf16"]
    """Of the backbone; auto: bf16 where the hardware computes in it, else 32 bits. The head on cached features is
    always trained in 32 bits."""
    strict: bool
    """The same bytes on every x86-64 CPU: AVX2 alone, and as many threads as `threads` says."""
    threads: AutoOrCount
    """Threads on the CPU of each device; their number changes how sums are rounded. auto: one a core, or a core's
    share if there are several devices."""


class TrainingRuntimeParams(RuntimeParams):
    """The section of the stage that trains on images."""

    devices: AutoOrCount
    """How many devices work together, over all machines. auto: all GPUs of this machine, of CPUs one.

    Fine-tuning declares it, for sums over several devices are rounded otherwise. Features and predictions are the
    same to the bit, and their stages read it around DVC (`start`)."""


class AllRuntimeParams(TrainingRuntimeParams):
    """The section with what cannot change a result, so that no stage declares it: see `checkpoint_minutes`."""

    checkpoint_minutes: Annotated[Number, Field(gt=0)]
    """Between two saves of training that is under way; it is saved at the end of every epoch besides."""

    def check_with(self, params: SimpleNamespace) -> None:
        if not self.strict:
            return
        for key, needed in (("device", "cpu"), ("precision", "32"), ("devices", 1)):
            if getattr(self, key) != needed:
                raise ValueError(
                    f"runtime.{key} = {getattr(self, key)}: with runtime.strict = true it must be {needed!r}, for "
                    "nothing else gives the same bytes on every machine"
                )
        if self.threads == "auto":
            raise ValueError("runtime.threads = auto: with runtime.strict = true it must be a number, such as 2")


def start(params: RuntimeParams, exact: bool = False, devices: Devices = 1) -> Fabric:
    """Settle allocator, threads, device and precision; `exact` asks for 32 bits whatever the params say.

    With several `devices` this process is the first rank and starts one of the same command for each other
    device, unless torchrun, `fabric run` or srun has started all of them. Otherwise than `runtime.devices`, `any`
    takes of that number what is here: for stages whose outs have the same bytes on any number of devices, so that
    they read it around DVC.

    Must be called before anything imports torch, which reads these settings then.
    """
    keep_freed_memory()
    # OpenMP threads that wait for each other without sleeping take the core from the one they wait for when
    # anything else runs: by default training is three times slower on a busy machine. So short a wait costs
    # nothing there, and on an idle one the head's small steps are 12% faster than with a fifth of it.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if params.strict:
        os.environ.update(STRICT)
    import torch
    from lightning_fabric import Fabric

    device = params.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("the device cuda was asked for and torch finds none here: take auto or cpu")
    precision = "32" if exact else params.precision
    if precision == "auto":
        precision = "bf16" if supports_bf16(device) else "32"
    torch.use_deterministic_algorithms(device == "cpu")
    # It also fills all new memory, so that who reads it unwritten reads the same: nothing here does.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.allow_tf32 = False  # 32 bits are 32: by default a GPU's convolutions drop 13 of them
    precision = {"32": "32-true", "bf16": "bf16-mixed"}[precision]
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # what it would tell is told below
    fabric = Fabric(accelerator=device, precision=precision, **_ranks(device, devices))
    if "LT_CLI_USED" not in os.environ:  # fabric run has launched it, and a second time is an error
        fabric.launch()
    if params.threads != "auto":  # only now, for the launch sets them as well
        torch.set_num_threads(params.threads)
    found = environment(params, fabric)
    where = (
        found["gpu"]
        or f"{found['cpu']} ({found['instructions']}), {found['threads']} thread{'s' * (found['threads'] > 1)}"
    )
    how = {"32-true": "32 bits", "bf16-mixed": "bf16"}[found["precision"]]
    several = f"{fabric.world_size} devices: " if fabric.world_size > 1 else ""
    logging.getLogger(__name__).info(f"{several}{where}, {how}{', strict' if params.strict else ''}")
    return fabric


def predict_batch(device: torch.device, size: int) -> int:
    """How many images of `size` pixels a side are predicted at once: few on a CPU, whose cache is to hold what a
    layer reads and writes; on a GPU enough to keep it busy, 256 at 224 pixels."""
    return max(32, 256 * 224**2 // size**2) if device.type == "cuda" else 32


@contextmanager
def overlapped(
    device: torch.device, fetch: Callable[[Any], Any], compute: Callable[[Any], Any], items: Sequence[Any]
) -> Iterator[Iterator[Any]]:
    """`compute(fetch(item))` of each of `items` in their order, of independent computations with torch.

    A GPU computes while the next items are `fetched` for it. A CPU makes several at a time, each with its share of
    the threads, for all threads at one computation wait for each other in every operation: predictions are 8%
    faster so in 32 bits and 30% in bf16.
    """
    import torch

    if device.type == "cuda":
        yield map(compute, fetched(device, fetch, items))
        return

    def both(item: Any) -> Any:
        return compute(fetch(item))

    threads = torch.get_num_threads()
    most = min(SIDE_BY_SIDE, threads, len(items)) if device.type == "cpu" else 1
    workers = next(count for count in range(max(1, most), 0, -1) if threads % count == 0)
    if workers == 1:
        yield map(both, items)
        return
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,))
    try:
        yield ahead(pool, both, items, 2 * workers)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def fetched(device: torch.device, fetch: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """What `fetch` makes of each of `items`, a tensor or a tuple of some, in their order; for a GPU it is made by
    threads and sent to it while it computes on what came before.

    Whoever asks for the next one has given the GPU all that it is to compute on the last one. It is not asked for
    more than the GPU soon comes to, so that memory stays the same however many there are.
    """
    if device.type != "cuda":
        yield from map(fetch, items)
        return
    import torch

    computing, sending = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    sending.wait_stream(computing)  # which may still write what is fetched from

    def send(item: Any) -> tuple[Any, torch.cuda.Event]:
        with torch.cuda.stream(sending):
            return fetch(item), sending.record_event()

    pool, given = ThreadPoolExecutor(READERS), deque()
    try:
        for found, sent in ahead(pool, send, items, AHEAD):
            computing.wait_event(sent)
            for tensor in found if isinstance(found, tuple) else (found,):
                tensor.record_stream(computing)  # its memory is taken for another one only after that
            yield found
            del found, tensor  # they are used up
            given.append(computing.record_event())
            if len(given) > IN_QUEUE:
                given.popleft().synchronize()
    finally:
        pool.shutdown(cancel_futures=True)


def ahead(pool: ThreadPoolExecutor, call: Callable[[Any], Any], items: Iterable[Any], most: int) -> Iterator[Any]:
    """`call(item)` of each of `items` in their order, by `pool`, which has at most so many of them at a time."""
    items = iter(items)
    waiting = deque(pool.submit(call, item) for item in islice(items, most))
    while waiting:
        found = waiting.popleft().result()
        waiting.extend(pool.submit(call, item) for item in islice(items, 1))
        yield found
        del found


def holds(device: torch.device, size: int) -> bool:
    """Whether data of `size` bytes are to stay in the memory of `device`: a GPU, half of whose free memory takes
    them. The CPU reads them from their files, which the system keeps in memory as long as it can."""
    import torch

    return device.type == "cuda" and size <= torch.cuda.mem_get_info(device)[0] / 2


def _ranks(device: str, devices: Devices) -> dict[str, Any]:
    """What Fabric has to know about the ranks: how many, on how many machines, and who starts them."""
    import torch
    from lightning_fabric.plugins.environments import (
        LightningEnvironment,
        SLURMEnvironment,
        TorchElasticEnvironment,
    )
    from lightning_fabric.strategies import DDPStrategy

    found = os.environ
    here = torch.cuda.device_count() if device == "cuda" else 1
    if "LOCAL_WORLD_SIZE" in found:  # torchrun, and fabric run, which is torchrun
        environment, started = TorchElasticEnvironment(), int(found["WORLD_SIZE"])
        machines = started // int(found["LOCAL_WORLD_SIZE"])
    elif "SLURM_STEP_NUM_TASKS" in found and found["SLURM_STEP_NUM_TASKS"] != "1":  # srun
        environment, started = SLURMEnvironment(), int(found["SLURM_STEP_NUM_TASKS"])
        machines = int(found["SLURM_STEP_NUM_NODES"])
    else:
        environment, started, machines = LightningEnvironment(), None, 1
    if devices == "any":
        asked = AllRuntimeParams(**read_yaml(PARAMS)["runtime"]).devices
        devices = "auto" if started or asked == "auto" else min(asked, here) if device == "cuda" else asked
    wanted = (started or here) if devices == "auto" else devices
    if started and started != wanted:
        raise UserError(
            f"{started} processes were started, and this stage computes with {wanted}: set runtime.devices to the "
            "number of processes (find-lr and train-head are always a single one: leave them to dvc repro)"
        )
    if device == "cuda" and wanted > here * machines:
        raise UserError(f"runtime.devices = {wanted}: there are {here * machines} GPUs")
    if wanted == 1:
        return {"devices": 1}
    strategy = DDPStrategy(cluster_environment=environment)
    return {"devices": wanted // machines, "num_nodes": machines, "strategy": strategy}


def computes_half(fabric: Fabric) -> bool:
    """Whether the precision that was settled is bf16."""
    return fabric._precision.precision == "bf16-mixed"


def checkpoint_minutes() -> float:
    """`runtime.checkpoint_minutes`, read around DVC: it changes no result, and no stage runs again for it."""
    return AllRuntimeParams(**read_yaml(PARAMS)["runtime"]).checkpoint_minutes


def environment(params: RuntimeParams, fabric: Fabric) -> dict[str, Any]:
    """What the numbers of a run may depend on besides its inputs and params."""
    import torch

    on_gpu = fabric.device.type == "cuda"
    return {
        "strict": params.strict,
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name(fabric.device) if on_gpu else None,
        "devices": fabric.world_size,
        "precision": fabric._precision.precision,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "numpy", "pillow", "scikit-learn")},
    }


def cpu_model() -> str:
    """The name of this machine's CPU."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - Linux only, and no file of ours
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def supports_bf16(device: str) -> bool:
    """Whether the hardware computes in bfloat16, so that it pays, and is not kept from it (ONEDNN_MAX_CPU_ISA)."""
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch: 32 bits are always right
        return False
    capabilities = torch.cpu.get_capabilities()
    has_it = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return bool(has_it and torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())
