"""What the measurements share: the machine and its matrix rate, versions, the record in results/, and the picture.

A measurement is a script beside this one. It starts the sides in turn, each in a fresh process, several times over.
"""

import datetime
import json
import lzma
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dokkai.files import replacing, write_json

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
CODE = ("src", "benchmarks/*.py")
PICTURES = ROOT / "docs" / "pictures"

_ROWS, _INNER, _COLUMNS = 8192, 384, 1536  # of the product that stands for the machine: a feed-forward layer of H384


def machine() -> dict:
    """Processor and cores, as the system names them."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
    ]
    return {"processor": names[0] if names else platform.processor(), "cores": os.cpu_count()}


def versions(*packages: str) -> dict[str, str]:
    """Of Python, and of the named packages."""
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def commit() -> str:
    """The commit that is checked out, and whether code of dokkai's or of a measurement differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "HEAD") + (" with changes" if git("status", "--porcelain", "-uno", *CODE) else "")


def articles(file: Path) -> list[dict[str, Any]]:
    """Those of an ``.xz`` file in SQuAD's layout, with their ``paragraphs``."""
    found: list[dict[str, Any]] = json.loads(lzma.decompress(file.read_bytes()))["data"]
    return found


def matrix_rate(dtype: str, threads: int) -> float:
    """GFLOP/s of the best of 20 products 8192×384×1536, in a fresh process; ``dtype`` as torch names it.

    After half a minute it stops with fewer: a processor without instructions for bf16 takes seconds for one.
    """
    command = [sys.executable, __file__, dtype, str(threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment(threads)).stdout)


def _products(dtype: str, threads: int) -> float:
    import torch

    torch.set_num_threads(threads)
    a, b = (torch.randn(shape).to(getattr(torch, dtype)) for shape in ((_ROWS, _INNER), (_INNER, _COLUMNS)))
    best, end = float("inf"), time.perf_counter() + 30
    for _ in range(20):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() > end:
            break
    return 2 * _ROWS * _INNER * _COLUMNS / best / 1e9


def environment(threads: int) -> dict[str, str]:
    """This process's environment with dokkai on the path, so many threads, and no network for model names."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return os.environ | dict.fromkeys(names, str(threads)) | offline | {"PYTHONPATH": path}


def alternate(sides: Sequence[str], repetitions: int, measure: Callable[[str], dict], warm_up: bool = True) -> list:
    """What ``measure`` returns for each side in turn, first in this order, then in the other, and so on.

    With ``warm_up`` there is one round more, before the others, that is not kept: it brings files into memory.
    """
    runs = []
    for repetition in range(0 if warm_up else 1, repetitions + 1):
        for side in sides if repetition % 2 else sides[::-1]:
            run = {"side": side, "repetition": repetition} | measure(side)
            print(json.dumps(run), file=sys.stderr, flush=True)
            if repetition:
                runs.append(run)
    return runs


def medians(runs: Iterable[Mapping], names: Sequence[str], key: str = "side") -> dict[str, dict[str, float]]:
    """The medians of these values over the repetitions of each side."""
    runs = list(runs)
    return {
        side: {name: statistics.median(run[name] for run in runs if run[key] == side) for name in names}
        for side in dict.fromkeys(run[key] for run in runs)
    }


def write_result(
    name: str, command: str, runs: list, notes: Sequence[str] = (), out: Path | None = None, **more: object
) -> Path:
    """Write ``results/NAME.json`` (or ``out``): commit, command, machine, matrix rates, ``more``, and the runs.

    Give the versions among ``more``: ``versions=versions("torch")``. The matrix rate is measured here, at the end.
    """
    threads = os.cpu_count() or 1
    rates = {dtype: round(matrix_rate(dtype, threads), 1) for dtype in ("float32", "bfloat16")}
    result = {
        "name": name,
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "command": command,
        "notes": list(notes),
        "machine": machine(),
        "matrix_gflops": {"threads": threads} | rates,
        **more,
        "runs": runs,
    }
    path = out or RESULTS / f"{name}.json"
    write_json(path, result, indent=1)
    print(path)
    return path


def bar_plot(path: Path, title: str, unit: str, sides: Mapping[str, Sequence[float]]) -> None:
    """A bar as long as the median of each side, with a dot for every repetition."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 0.9 + 0.55 * len(sides)), layout="constrained")
    for row, (label, values) in enumerate(sides.items()):
        middle = statistics.median(values)
        axes.barh(row, middle, color="#4c78a8" if "dokkai" in label else "#bab0ac", height=0.6)
        axes.plot(values, [row] * len(values), ".", color="black", markersize=4)
        axes.annotate(f"{middle:,.4g}", (max(middle, *values), row), (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(sides)), list(sides))
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format=path.suffix[1:])
    plt.close(figure)


if __name__ == "__main__":
    print(_products(sys.argv[1], int(sys.argv[2])))
