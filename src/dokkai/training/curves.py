"""The curves of a run: ``metrics.jsonl`` as a picture, and what came before the run if it started from bare weights."""

import contextlib
import json
from pathlib import Path
from typing import Any

from dokkai.files import replacing

METRICS = "metrics.jsonl"
_EARLIER = "earlier.jsonl"
_RESTART = "restart"  # the key of the line that ends what came before
_NOT_DRAWN = {"step", "time", "tokens", "seconds"}  # straight lines


def take_over(start: Path, run: Path) -> None:
    """Write into a new run, as ``earlier.jsonl``, the measurements of the run whose weights it starts from.

    Steps count on over all runs; a last line marks the place where the weights went on and the optimizer did not.
    Nothing is written if ``start`` holds no measurements, or if it has been done before.
    """
    if (run / _EARLIER).exists() or not (start / METRICS).exists():
        return
    lines = _read(start / _EARLIER)
    shift = _last_step(lines)
    lines += [line | {"step": line["step"] + shift} for line in _read(start / METRICS)]
    lines.append({"step": _last_step(lines), _RESTART: str(start)})
    with replacing(run / _EARLIER) as temporary:
        temporary.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def draw_curves(run: Path) -> None:
    """``curves.png``: the numbers of ``metrics.jsonl`` over the steps, training and held-out together.

    A run from bare weights shows those of the runs before it, too, with a dashed line where the optimizer began anew.
    """
    from matplotlib.figure import Figure  # slow to import: only when there is something to draw

    earlier = _read(run / _EARLIER)
    restarts = [line["step"] for line in earlier if _RESTART in line]
    shift = _last_step(earlier)
    series = _series(earlier + [line | {"step": line["step"] + shift} for line in _read(run / METRICS)])
    if sum(name.startswith("loss/") for name in series) == 1:
        series.pop("loss", None)  # the sum of one loss is that loss
    panels: dict[str, list[str]] = {}
    for name in series:
        panels.setdefault("loss" if "loss" in name else name.removeprefix("heldout/"), []).append(name)
    if not panels:
        return
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.5 * columns, 3.2 * rows), layout="constrained")
    for place, (title, names) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, place + 1)
        for name in names:
            steps, values = series[name]
            axes.plot(steps, values, label=name, marker="." if len(steps) < 30 else "", linewidth=1.2)
        for step in restarts:
            axes.axvline(step, color="gray", linestyle="--", linewidth=1, label="restart from weights")
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if len(names) + len(restarts) > 1:
            axes.legend(fontsize="small")
    with replacing(run / "curves.png") as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _read(path: Path) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):  # a line cut off by a kill
            values = json.loads(line)
            if isinstance(values, dict) and isinstance(values.get("step"), int):
                lines.append(values)
    return lines


def _last_step(lines: list[dict[str, Any]]) -> int:
    return int(lines[-1]["step"]) if lines else 0


def _series(lines: list[dict[str, Any]]) -> dict[str, tuple[list[int], list[float]]]:
    series: dict[str, tuple[list[int], list[float]]] = {}
    for line in lines:
        for name in line.keys() - _NOT_DRAWN - {_RESTART}:
            steps, values = series.setdefault(name, ([], []))
            steps.append(line["step"])
            values.append(line[name])
    return dict(sorted(series.items()))
