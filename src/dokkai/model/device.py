"""Which device computes, and in which precision."""

import os
import shutil
import sysconfig
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from dokkai.errors import UserError, did_you_mean

_PRECISIONS = ("auto", "bf16", "fp32")


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
    """Whether matrix products in bf16 are faster than in float32 here.

    On a CPU that takes instructions for them: AMX, or AVX-512's for bf16 (2.2 times float32 where it was measured).
    Without, they are slower, up to a hundred times. Nothing is timed: each start of a run must come to the same end.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


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
    """Whether torch.compile can work: it needs headers of Python and a compiler of C++, or on CUDA (Triton) of C."""
    headers = Path(sysconfig.get_path("include"), "Python.h")
    names = (os.environ.get("CC", "gcc"), "gcc", "clang") if device.type == "cuda" else ("g++", "clang++")
    return headers.exists() and any(map(shutil.which, names))
