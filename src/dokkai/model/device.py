"""Which device computes, and in which precision."""

import shutil
import sysconfig
import time
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import torch

from dokkai.errors import UserError, did_you_mean

_PRECISIONS = ("auto", "bf16", "fp32")
_CLEARLY = 1.3  # times as fast: a start that measures anew must not come to another end


def choose_device(name: str | None = None) -> torch.device:
    """The named device, or the best there is: CUDA, else the CPU; UserError for one that is not here."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"unknown device '{name}'{did_you_mean(name, ('cpu', 'cuda', 'cuda:0'))}") from None
    here = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if here is not None and here.type == device.type else 0
    if device.type != "cpu" and (device.index or 0) >= count:
        raise UserError(f"no device '{name}' on this machine (PyTorch sees {count} of type '{device.type}'); use 'cpu'")
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Whether matrix products in bf16 are clearly faster than in float32 here.

    A CPU with AMX has units for them. With AVX-512's bf16 instructions alone it depends on the model (0.7 to 2.2 times
    float32 on three of them), so one product is timed; without either they are a hundred times slower.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if torch.cpu._is_amx_tile_supported():
        return True
    return bool(torch.cpu._is_avx512_bf16_supported()) and _bf16_gain() > _CLEARLY


@cache
def _bf16_gain() -> float:
    """How many times as fast a product in bf16 is as in float32 here: the best of eight times each."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, y = torch.ones(512, 384, dtype=dtype), torch.ones(384, 1536, dtype=dtype)
        times = []
        for _ in range(8):
            start = time.perf_counter()
            torch.mm(x, y)
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times)
    return seconds[torch.float32] / seconds[torch.bfloat16]


def choose_precision(setting: str, device: torch.device) -> str:
    """``auto``, ``bf16`` or ``fp32`` to one of the last two; UserError for another word."""
    if setting not in _PRECISIONS:
        raise UserError(f"unknown precision '{setting}'{did_you_mean(setting, _PRECISIONS)}")
    if setting == "auto":
        return "bf16" if has_fast_bf16(device) else "fp32"
    return setting


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """A context in which matrix products are in ``precision``; weights stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def has_compiler(device: torch.device) -> bool:
    """Whether torch.compile can work: on a CPU it needs a C++ compiler and the headers of Python."""
    if device.type == "cuda":
        return True
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return headers.exists() and any(shutil.which(name) for name in ("g++", "clang++"))
