"""Device, precision, threads and allocator, chosen once for every stage that computes with torch."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from unfreeze.core.allocator import keep_freed_memory
from unfreeze.core.console import UserError
from unfreeze.core.params import Number, Section, read_yaml
from unfreeze.core.paths import PARAMS

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric


STRICT = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OMP_DYNAMIC": "FALSE",
}
"""Environment variables that hold torch to the instructions that every x86-64 machine of the last ten years has.
Without them torch takes the best that it finds, and others round differently."""

AutoOrCount = Literal["auto"] | Annotated[int, Field(ge=1, le=1024)]

Devices = int | Literal["auto", "any"]
"""auto: all GPUs of this machine, of CPUs one. any: of `runtime.devices` as many as are here."""


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

    Fine-tuning declares it, because sums over several devices are rounded otherwise. Features and predictions are
    the same to the bit, and their stages read it around DVC (`start`)."""


class AllRuntimeParams(TrainingRuntimeParams):
    """The section with what cannot change a result and no stage declares: see `read_checkpoint_minutes`."""

    checkpoint_minutes: Annotated[Number, Field(gt=0)]
    """Minutes between two saves of training that is under way. It is also saved at the end of every epoch."""

    def check_with(self, params: SimpleNamespace) -> Iterator[str]:
        if not self.strict:
            return
        for key, needed in (("device", "cpu"), ("precision", "32"), ("devices", 1)):
            if getattr(self, key) != needed:
                yield (
                    f"runtime.{key} = {getattr(self, key)}: with runtime.strict = true it must be {needed!r}, for "
                    "nothing else gives the same bytes on every machine"
                )
        if self.threads == "auto":
            yield ("runtime.threads = auto: with runtime.strict = true it must be a number, such as 2")


def start(params: RuntimeParams, exact: bool = False, devices: Devices = 1) -> Fabric:
    """Settle allocator, threads, device and precision, and start the ranks.

    It must be called before anything imports torch, which reads these settings then.

    Args:
        exact: compute in 32 bits, whatever the params say.
        devices: how many work together. With several, this process is the first rank and starts the same command
            once for each other device, unless torchrun, `fabric run` or srun has started all of them. Stages whose
            outs have the same bytes on any number of devices pass `any`.

    Raises:
        UserError: a device was asked for that is not here, or another number of processes was started.
    """
    keep_freed_memory()
    # OpenMP threads spin while they wait for each other. On a busy machine they take the core from the thread that
    # they wait for: by default training is three times slower there. So short a wait costs nothing, and on an idle
    # machine the head's small steps are 12% faster than with a fifth of it.
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
    # It also fills new memory, for code that reads what was never written: there is none here.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.allow_tf32 = False  # 32 bits are 32: by default a GPU's convolutions drop 13 of them
    precision = {"32": "32-true", "bf16": "bf16-mixed"}[precision]
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # what it would tell is told below
    fabric = Fabric(accelerator=device, precision=precision, **_plan_ranks(device, devices))
    if "LT_CLI_USED" not in os.environ:  # fabric run has launched it, and a second time is an error
        fabric.launch()
    if params.threads != "auto":  # only now: the launch sets them as well
        torch.set_num_threads(params.threads)
    _log_start(describe_environment(params, fabric))
    return fabric


def _log_start(facts: dict[str, Any]) -> None:
    """Log one line about device and precision; `facts` as `describe_environment` returns them."""
    threads = f"{facts['threads']} thread{'s' * (facts['threads'] > 1)}"
    where = facts["gpu"] or f"{facts['cpu']} ({facts['instructions']}), {threads}"
    precision = {"32-true": "32 bits", "bf16-mixed": "bf16"}[facts["precision"]]
    several = f"{facts['devices']} devices: " if facts["devices"] > 1 else ""
    logging.getLogger(__name__).info(f"{several}{where}, {precision}{', strict' if facts['strict'] else ''}")


def choose_batch_size(device: torch.device, size: int) -> int:
    """Return how many images of `size` pixels a side to predict at once.

    On a CPU they are few, so that its cache holds what a layer reads and writes. On a GPU they are enough to keep
    it busy: 256 at 224 pixels.
    """
    return max(32, 256 * 224**2 // size**2) if device.type == "cuda" else 32


def _plan_ranks(device: str, devices: Devices) -> dict[str, Any]:
    """Return what Fabric has to know about the ranks: how many, on how many machines, and who starts them."""
    import torch
    from lightning_fabric.plugins.environments import (
        LightningEnvironment,
        SLURMEnvironment,
        TorchElasticEnvironment,
    )
    from lightning_fabric.strategies import DDPStrategy

    variables = os.environ
    here = torch.cuda.device_count() if device == "cuda" else 1
    if "LOCAL_WORLD_SIZE" in variables:  # torchrun, and fabric run, which is torchrun
        launcher, started = TorchElasticEnvironment(), int(variables["WORLD_SIZE"])
        machines = started // int(variables["LOCAL_WORLD_SIZE"])
    elif variables.get("SLURM_STEP_NUM_TASKS", "1") != "1":  # srun
        launcher, started = SLURMEnvironment(), int(variables["SLURM_STEP_NUM_TASKS"])
        machines = int(variables["SLURM_STEP_NUM_NODES"])
    else:
        launcher, started, machines = LightningEnvironment(), None, 1
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
    strategy = DDPStrategy(cluster_environment=launcher)
    return {"devices": wanted // machines, "num_nodes": machines, "strategy": strategy}


def computes_half(fabric: Fabric) -> bool:
    """Return whether `start` settled on bf16."""
    return fabric._precision.precision == "bf16-mixed"


def read_checkpoint_minutes() -> float:
    """Read `runtime.checkpoint_minutes` around DVC: it changes no result, and no stage runs again for it."""
    return AllRuntimeParams(**read_yaml(PARAMS)["runtime"]).checkpoint_minutes


def describe_environment(params: RuntimeParams, fabric: Fabric) -> dict[str, Any]:
    """Return what the numbers of a run may depend on besides its inputs and params, as JSON takes it."""
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
    """Return the name of this machine's CPU."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - Linux only, and no file of ours
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def supports_bf16(device: str) -> bool:
    """Return whether the hardware itself computes in bfloat16 and may do so (ONEDNN_MAX_CPU_ISA).

    Where it does not, bfloat16 is emulated and slower than 32 bits.
    """
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch: 32 bits are always right
        return False
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return bool(native and torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())
