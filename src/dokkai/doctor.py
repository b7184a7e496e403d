"""What this machine offers, and what is missing with the exact line that installs it."""

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = {  # name: what it is for, how to get it; None: part of every installation
    "torch": ("computing", None),
    "tokenizers": ("WordPiece", None),
    "safetensors": ("weights on disk", None),
    "tensorboard": ("event files", None),
    "matplotlib": ("pictures of the curves", None),
    "transformers": ("reference in tests and benchmarks", "pip install 'dokkai[test]'"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; ``install`` is the command to run, empty if nothing is missing."""

    name: str
    value: str
    is_good: bool = True
    install: str = ""


def examine() -> list[Finding]:
    """Look at processor, memory, GPU, compiler and packages."""
    import torch
    from joblib import cpu_count

    from dokkai.model.device import choose_device, choose_precision, has_compiler, has_fast_bf16

    cpu, device = torch.device("cpu"), choose_device()
    findings = [
        Finding("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"),
        Finding("cores", f"{cpu_count()} ({torch.get_num_threads()} threads used by PyTorch)"),
        Finding("memory", _memory()),
        Finding("vectors", str(torch.backends.cpu.get_cpu_capability())),
        Finding("bf16 on CPU", "fast: it is used" if has_fast_bf16(cpu) else "not faster than fp32: fp32 is used"),
        _gpu(),
        Finding("computes on", f"{device.type} in {choose_precision('auto', device)}"),
    ]
    if has_compiler(cpu):
        compiler = next(path for path in map(shutil.which, ("g++", "clang++")) if path)
        findings.append(Finding("C++ compiler", compiler))
    else:
        missing = "no compiler, or no headers of Python: no torch.compile on the CPU"
        findings.append(Finding("C++ compiler", missing, False, "apt install g++ python3-dev (Debian, Ubuntu)"))
    for name, (purpose, install) in _PACKAGES.items():
        try:
            findings.append(Finding(name, f"{version(name)} ({purpose})"))
        except PackageNotFoundError:
            findings.append(Finding(name, f"not installed ({purpose})", False, install or f"pip install {name}"))
    return findings


def _gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        is_cpu_build = torch.version.cuda is None
        if is_cpu_build and shutil.which("nvidia-smi"):
            line = "pip install --force-reinstall torch"
            return Finding("GPU", "there is one of NVIDIA's, but this PyTorch is the CPU build", False, line)
        return Finding(
            "GPU", "none" + (" (this PyTorch is the CPU build)" if is_cpu_build else " that PyTorch can use")
        )
    names = []
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        names.append(f"{properties.name} ({free / 2**30:.0f} of {total / 2**30:.0f} GiB free)")
    bf16 = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no bf16"
    return Finding("GPU", ", ".join(names) + f", {bf16}")


def _memory() -> str:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return "unknown"
    page = os.sysconf("SC_PAGE_SIZE")
    total = page * os.sysconf("SC_PHYS_PAGES") / 2**30
    if "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return f"{total:.0f} GiB"
    return f"{total:.0f} GiB ({page * os.sysconf('SC_AVPHYS_PAGES') / 2**30:.0f} GiB free)"
