"""Several runs of one fine-tuning, by seed or over a grid of settings, of which the best is kept."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dokkai.errors import Diverged, UserError
from dokkai.files import is_unfinished, link, read_json, remove_unfinished, write_json, write_text
from dokkai.pipeline import Pipeline
from dokkai.progress import say
from dokkai.reporting.forms import Table
from dokkai.reporting.page import REPORT, add_runs
from dokkai.settings import grid_overrides, load_settings
from dokkai.training.checkpoints import FOLDER
from dokkai.training.finetune import rate_for_width

_MOST_COLUMNS = 5  # of metrics, in the table
_RATE = "train.learning_rate"


@dataclass(frozen=True, slots=True)
class Point:
    """One of the runs: the name of its directory, and what it sets."""

    name: str
    overrides: list[str]


Recipe = str | Mapping[str, Any]
"""A recipe by its name or file, or what was guessed in its place."""

Train = Callable[[list[str], Path], Pipeline]
"""Fine-tune with additional overrides into a directory; a finished run is only opened."""


def choose_points(
    recipe: Recipe, overrides: Sequence[str], num_seeds: int | None, is_grid: bool, has_dev: bool
) -> tuple[str, list[Point]]:
    """What ``--seeds`` and ``--grid`` ask for: the kind of the search, and its runs. UserError if not one of them."""
    if num_seeds is not None and is_grid:
        raise UserError("--seeds and --grid are two searches; run the grid first, then the seeds with its best values")
    if not (has_dev or load_settings(recipe, overrides).train.dev_share):
        raise UserError("--seeds and --grid compare runs on labelled examples; give them with --dev")
    return ("grid", grid(recipe, overrides)) if is_grid else ("seeds", seeds(recipe, overrides, num_seeds or 1))


def seeds(recipe: Recipe, overrides: Sequence[str], number: int) -> list[Point]:
    """``number`` seeds, from the one in the settings on."""
    first = load_settings(recipe, overrides).train.seed
    return [Point(f"seed-{seed}", [f"train.seed={seed}"]) for seed in range(first, first + number)]


def grid(recipe: Recipe, overrides: Sequence[str]) -> list[Point]:
    """The points of the recipe's grid; a setting that is given on top is not searched. UserError without a grid."""
    given = {override.partition("=")[0].strip() for override in overrides}
    settings = load_settings(recipe, overrides)
    open_names = {name: values for name, values in settings.grid.items() if name not in given}
    if not open_names:
        reason = "all of its grid is given on the command line" if settings.grid else "it has no [grid]"
        name = f"recipe '{recipe}'" if isinstance(recipe, str) else "the guessed task"
        raise UserError(
            f"{name}: {reason}; write one, such as train.learning_rate = [5e-5, 3e-5, 2e-5], or take paper-classes"
        )
    points = [*grid_overrides(settings.model_copy(update={"grid": open_names}))]
    width = len(str(len(points)))
    return [Point(f"point-{number:0{width}}", point) for number, point in enumerate(points, start=1)]


def run_several(kind: str, points: Sequence[Point], out: Path, train: Train) -> dict[str, Any]:
    """Train all points, each in a directory of its own in ``out``; the best by the primary metric is put at ``out``.

    The record, also in ``out/KIND.json``: ``runs`` with ``name``, ``overrides``, ``metrics``, ``step``, ``restarts``
    and ``stuck``; ``metric``, ``best``; and over all runs ``mean`` and ``deviation`` (of the sample, one less than the
    runs in the denominator) of every metric. The same call goes on where a killed one was. A run whose loss is not
    finite has no metrics but ``diverged``, and counts for nothing; UserError if all of them are so.
    """
    record_path = out / f"{kind}.json"
    _check(out, record_path)
    record: dict[str, Any] = {"kind": kind, "state": "running", "runs": []}
    write_json(record_path, record)
    remove_unfinished(out)
    for number, point in enumerate(points, start=1):
        say(f"{point.name} ({number} of {len(points)}): {' '.join(point.overrides)}")
        try:
            pipeline = train(point.overrides, out / point.name)
        except Diverged as error:
            say(f"{point.name}: {str(error).partition(';')[0]}; it is left out")
            record["runs"].append({"name": point.name, "overrides": point.overrides, "metrics": {}, "diverged": True})
        else:
            assert pipeline.task is not None
            record["metric"] = pipeline.task.primary_metric
            record["runs"].append(_result(point, out / point.name))
        write_json(record_path, record)
    finished = [run for run in record["runs"] if run["metrics"]]
    if not finished:
        raise UserError(
            f"{out}: of no run the loss stayed finite; lower train.learning_rate and start again in another directory"
        )
    record |= _summary(finished, record["metric"])
    _place(out / record["best"], out, record)
    record["state"] = "finished"
    write_json(record_path, record)
    return record


def find_low_rates(points: Sequence[Point], width: int, is_classification: bool = True) -> str | None:
    """What to say if the highest rate of a grid is at most half of the usual one of an encoder of this hidden size."""
    pairs = [override.split("=", 1) for point in points for override in point.overrides]
    highest = max((float(value) for name, value in pairs if name == _RATE), default=None)
    usual = rate_for_width(width)
    if highest is None or highest > usual / 2:
        return None
    other = "take a recipe with a grid for such encoders (paper-classes-small), or " if is_classification else ""
    return (
        f"note: the highest {_RATE} of this grid is {highest:g}, and usual for an encoder {width} wide is {usual:g}; "
        f"{other}copy yours and write a [grid] of its own"
    )


def show_table(record: dict[str, Any]) -> str:
    """The runs as a table: what they set, their metrics with the primary one first, and mean and deviation of seeds.

    If any was stuck, a column says how often each began anew, and which of them never learned anything.
    """
    rows = _rows(record)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _rows(record: dict[str, Any]) -> list[list[str]]:
    """The head of the table and its lines, all of one length; the last column marks the best run."""
    runs, metric = record["runs"], record["metric"]
    known = next(run["metrics"] for run in runs if run["metrics"])
    names = [metric, *(name for name in known if name != metric)][:_MOST_COLUMNS]
    settings = [override.partition("=")[0] for override in runs[0]["overrides"]]
    were_stuck = any(run.get("restarts") or run.get("stuck") for run in runs)  # older records have not both
    rows = [["run", *settings, *names, *(["restarts"] if were_stuck else [])]]
    for run in runs:
        values = [override.partition("=")[2] for override in run["overrides"]]
        scores = [f"{run['metrics'][name]:.4f}" for name in names] if run["metrics"] else ["diverged"]
        rows.append([run["name"], *values, *scores, *([""] * (len(names) - len(scores)))])
        if were_stuck:
            rows[-1].append(f"{run.get('restarts', 0)}" + (", stuck" if run.get("stuck") else ""))
        if run["name"] == record["best"]:
            rows[-1].append("best")
    if record["kind"] == "seeds" and len(runs) > 1:
        for line in ("mean", "deviation"):
            rows.append([line, *("" for _ in settings), *(f"{record[line][name]:.4f}" for name in names)])
    longest = max(map(len, rows))
    return [row + [""] * (longest - len(row)) for row in rows]


def _check(out: Path, record_path: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; --out must be a directory")
    if out.exists() and not record_path.exists() and not all(map(is_unfinished, out.iterdir())):
        raise UserError(
            f"{out} holds something else than such runs (no {record_path.name} in it); choose another --out"
        )


def _result(point: Point, run: Path) -> dict[str, Any]:
    record = read_json(run / "run.json", "record of a run")
    return {
        "name": point.name,
        "overrides": point.overrides,
        "metrics": record["metrics"],
        "step": record.get("best", {}).get("step"),
        "restarts": len(record.get("restarts", [])),
        "stuck": record.get("stuck"),
    }


def _summary(runs: Sequence[dict[str, Any]], metric: str) -> dict[str, Any]:
    best = max(runs, key=lambda run: run["metrics"][metric])  # of equals the first
    values = {name: [run["metrics"][name] for run in runs] for name in runs[0]["metrics"]}
    return {
        "best": best["name"],
        "mean": {name: statistics.fmean(found) for name, found in values.items()},
        "deviation": {name: statistics.stdev(found) if len(found) > 1 else 0.0 for name, found in values.items()},
    }


def _place(best: Path, out: Path, record: dict[str, Any]) -> None:
    """The files of a run but its checkpoints under ``out`` too, each whole, and all runs in its report; a kill in
    between is made good by the same command.
    """
    for path in sorted(best.rglob("*")):
        place = path.relative_to(best)
        is_left = is_unfinished(path) or place.parts[0] == FOLDER or path.name.startswith("events.")
        if path == best / REPORT:
            write_text(out / REPORT, _with_all(path.read_text(encoding="utf-8"), record))
        elif path.is_file() and not is_left:
            link(path, out / place)  # whoever writes to a run replaces its files: the other name stays


def _with_all(page: str, record: dict[str, Any]) -> str:
    """The report of the best run with the table of all; "best" stands beside its name, where a phone shows it too."""
    head, *rows = ([" · ".join(filter(None, (name, mark))), *cells] for name, *cells, mark in _rows(record))
    title = "Each seed" if record["kind"] == "seeds" else "Each point of the grid"
    note = (
        f"{record['best']} was kept, the best by {record['metric']}; all else on this page is of this run alone. "
        f"All numbers lie in {record['kind']}.json."
    )
    return add_runs(page, Table(title, head, rows), note)
