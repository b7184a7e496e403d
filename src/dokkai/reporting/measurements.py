"""The measurements of a run, ``metrics.jsonl``, and those before it if it started from the weights of another."""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dokkai.files import replacing

METRICS = "metrics.jsonl"
_EARLIER = "earlier.jsonl"
_RESTART = "restart"  # the key of the line that ends what came before
_COUNTS = {f"heldout/{name}" for name in ("total", "HasAns_total", "NoAns_total")}
_NOT_DRAWN = {"step", "time", "tokens", "seconds"} | _COUNTS  # straight lines


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


@dataclass(frozen=True, slots=True)
class Curves:
    """Numbers over the steps, counted on over all runs; ``restarts`` are the steps where the optimizer began anew."""

    series: dict[str, tuple[list[int], list[float]]]
    restarts: list[int]
    steps: int
    """Of the run alone, without those before it."""
    seconds: float
    """The same, without evaluations."""

    @property
    def panels(self) -> dict[str, list[str]]:
        """What belongs into one picture, by its title: all losses, and training and held-out together."""
        panels: dict[str, list[str]] = {}
        for name in self.series:
            panels.setdefault("loss" if "loss" in name else name.removeprefix("heldout/"), []).append(name)
        return panels


def read_curves(run: Path) -> Curves:
    """All measurements of a run, and of the runs before it."""
    earlier = _read(run / _EARLIER)
    shift = _last_step(earlier)
    own = _read(run / METRICS)
    series = _series(earlier + [line | {"step": line["step"] + shift} for line in own])
    if sum(name.startswith("loss/") for name in series) == 1:
        series.pop("loss", None)  # the sum of one loss is that loss
    restarts = [line["step"] for line in earlier if _RESTART in line]
    return Curves(series, restarts, _last_step(own), max((line.get("seconds", 0.0) for line in own), default=0.0))


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
