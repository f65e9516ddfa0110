"""Device, precision and allocator, chosen once for every stage that computes with torch."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING, Literal

from unfreeze.console import UserError
from unfreeze.params import Section

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class RuntimeParams(Section):
    """`runtime`: what the hardware is used for."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "32", "bf16"]
    """Of fine-tuning and prediction; auto: bf16 where the hardware computes in it, else 32 bits. The cached
    features and the head are always computed in 32 bits."""


def start(params: RuntimeParams, exact: bool = False) -> Fabric:
    """Settle allocator, device and precision; `exact` asks for 32 bits whatever the params say."""
    _keep_freed_memory()
    # OpenMP threads that wait for each other without sleeping take the core from the one they wait for when
    # anything else runs: training was three times slower on a busy machine, and no faster on an idle one.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    import torch
    from lightning_fabric import Fabric

    device = params.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("the device cuda was asked for and torch finds none here: take auto or cpu")
    precision = "32" if exact else params.precision
    if precision == "auto":
        precision = "bf16" if _computes_bf16(device) else "32"
    torch.use_deterministic_algorithms(device == "cpu")
    fabric = Fabric(accelerator=device, devices=1, precision={"32": "32-true", "bf16": "bf16-mixed"}[precision])
    fabric.launch()
    return fabric


def _computes_bf16(device: str) -> bool:
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch: 32 bits are always right
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _keep_freed_memory() -> None:
    """Let glibc reuse freed activations instead of mapping fresh pages for each: 16-40% of CPU time, same bits."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt:
        m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
        mallopt(m_mmap_max, 0)
        mallopt(m_trim_threshold, 2**31 - 1)
        mallopt(m_top_pad, 64 * 2**20)
