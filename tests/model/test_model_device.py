"""Which device and precision are chosen, and what is said of those that are not there."""

import shutil
import sysconfig

import pytest
import torch
from tiny_bert import one_line_error

from dokkai.model import device as device_module
from dokkai.model.device import autocast, choose_device, choose_precision, has_compiler, has_fast_bf16

CPU = torch.device("cpu")


def test_the_best_device_there_is(monkeypatch):
    for is_there, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda is_there=is_there: is_there)
        assert choose_device().type == kind
    assert choose_device("cpu") == CPU


def test_devices_that_are_not_here(monkeypatch):
    with one_line_error("unknown device 'cdua'; did you mean 'cuda'"):
        choose_device("cdua")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    with one_line_error("no device 'cuda' on this machine .*use 'cpu'"):
        choose_device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert choose_device("cuda") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with one_line_error(r"no device 'cuda:2' on this machine \(PyTorch sees 2 of type 'cuda'\)"):
        choose_device("cuda:2")
    with one_line_error("no device 'meta' on this machine"):
        choose_device("meta")


@pytest.mark.parametrize(("is_fast", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_precision(is_fast, chosen, monkeypatch):
    monkeypatch.setattr(device_module, "has_fast_bf16", lambda device: is_fast)
    assert choose_precision("auto", CPU) == chosen
    assert [choose_precision(name, CPU) for name in ("bf16", "fp32")] == ["bf16", "fp32"]
    with one_line_error("unknown precision 'fp16'; did you mean 'bf16'"):
        choose_precision("fp16", CPU)


@pytest.mark.parametrize(("has_tiles", "has_instructions"), [(True, False), (False, True), (False, False)])
def test_bf16_on_a_cpu_is_fast_where_it_has_instructions_for_it(has_tiles, has_instructions, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_instructions)
    assert has_fast_bf16(CPU) is (has_tiles or has_instructions)


def test_products_are_in_the_chosen_precision():
    assert isinstance(has_fast_bf16(CPU), bool)
    product = torch.nn.Linear(2, 2)
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        with autocast(CPU, precision):
            assert product(torch.ones(1, 2)).dtype == dtype
    assert product.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("there", "on_cpu", "on_cuda"),
    [("g++ gcc", True, True), ("gcc", False, True), ("clang++", True, False), ("", False, False)],
)
def test_what_compiles(monkeypatch, tmp_path, there, on_cpu, on_cuda):
    """On CUDA it is Triton that needs one of C."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in there.split() else None)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    devices = [CPU, torch.device("cuda")]
    assert [has_compiler(device) for device in devices] == [False, False]
    (tmp_path / "Python.h").touch()
    assert [has_compiler(device) for device in devices] == [on_cpu, on_cuda]
