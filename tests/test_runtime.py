import pytest
import torch

from unfreeze import runtime
from unfreeze.console import UserError
from unfreeze.runtime import RuntimeParams, start


@pytest.mark.parametrize("native", [True, False])
def test_automatic_precision_is_bf16_only_where_the_hardware_computes_in_it(monkeypatch, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native, "amx_bf16": False})
    fabric = start(RuntimeParams(device="cpu", precision="auto"))
    with fabric.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if native else torch.float32)


def test_exact_stages_compute_in_32_bits_whatever_the_params_say():
    fabric = start(RuntimeParams(device="cpu", precision="bf16"), exact=True)
    with fabric.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_a_device_that_is_not_there_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds none here"):
        start(RuntimeParams(device="cuda", precision="auto"))


def test_the_allocator_s_setting_is_harmless_where_there_is_no_glibc(monkeypatch):
    monkeypatch.setattr(runtime.sys, "platform", "darwin")
    runtime._keep_freed_memory()
