"""A run directory: what was asked for, what came of it, and the curves.

``run.json`` (settings, versions, state, metrics), ``metrics.jsonl`` (one line per measurement), ``curves.png``,
TensorBoard events, and the files of the model.
"""

import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from dokkai.errors import UserError
from dokkai.files import is_unfinished, lock, read_json, remove, remove_unfinished, replacing, write_json
from dokkai.progress import say
from dokkai.reporting.curves import draw_curves
from dokkai.reporting.forms import Outcomes
from dokkai.reporting.measurements import METRICS, take_over
from dokkai.reporting.page import write_report
from dokkai.settings import parse_settings
from dokkai.training.checkpoints import FOLDER
from dokkai.training.events import EventFile

_RUN = "run.json"
_PICTURES = 0.05  # of the time of a run goes into drawing its curves, at most
_HARMLESS = {  # what may be another when a run goes on: the same examples give the same updates, dropout apart
    f"train.{name}"
    for name in ("micro_batch_tokens", "workers", "evaluate_every", "log_every", "save_every", "save_minutes")
} | {"train.keep_checkpoints"}
_LATER = ("sources.checksum", "sources.train_checksum", "sources.dev_checksum")  # older records have none


class RunDirectory:
    """Opened once per run; continues a run with the same settings, refuses one with others.

    ``weights`` is the run whose weights this one starts from: the curves show what came before. Nothing is written
    before ``start_at``: what fails earlier leaves no directory behind. ``with run:`` gives the directory free at its
    end, for the next start in the same process too.
    """

    def __init__(
        self,
        path: Path,
        command: str,
        settings: Mapping[str, Any],
        sources: Mapping[str, Any],
        weights: Path | None = None,
    ) -> None:
        self.path, self._weights = Path(path), weights
        self._record: dict[str, Any] = {
            "command": command,
            "settings": dict(settings),
            "sources": dict(sources),
            "versions": {"dokkai": version("dokkai"), "torch": torch.__version__, "python": platform.python_version()},
            "state": "running",
            "metrics": {},
        }
        self._events: EventFile | None = None
        self._next_picture = 0.0
        self._handle: int | None = None  # holds the lock
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; --out must be a directory")
        if (self.path / _RUN).exists():
            self._continue()
        elif self.path.exists() and not all(map(is_unfinished, self.path.iterdir())):
            raise UserError(f"{self.path} holds something that is no run; choose another --out")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    @property
    def is_finished(self) -> bool:
        """Whether an earlier run of the same command came to its end."""
        return bool(self._record["state"] == "finished")

    @property
    def metrics(self) -> dict[str, Any]:
        """The last metrics that were written down."""
        return dict(self._record["metrics"])

    def take(self) -> None:
        """Keep other processes out of the directory from here on; UserError if one is at work in it."""
        if self._handle is not None:
            return
        self._handle = self._lock()
        for folder in (self.path, self.path / FOLDER):  # room for what is to be written
            remove_unfinished(folder)
        if (self.path / _RUN).exists():
            for note in self._continue():  # again: another process may have begun or ended here meanwhile
                say(f"note: {note}")

    def start_at(self, step: int) -> None:
        """Begin to measure at ``step``: lines of later steps, from a run that was killed, are dropped."""
        self.take()
        write_json(self.path / _RUN, self._record)
        if self._weights is not None:
            take_over(self._weights, self.path)
        self._forget_after(step)
        self._events = EventFile(self.path, step + 1)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line to ``metrics.jsonl`` and the same numbers to the TensorBoard events."""
        line = json.dumps({"step": step, "time": round(time.time(), 1), **values})
        try:
            with (self.path / METRICS).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            if self._events is not None:
                self._events.write(step, values)
        except OSError as error:
            raise UserError(
                f"cannot write to {self.path}: {error.strerror or error}; make room, then the same command goes on "
                "from the last checkpoint"
            ) from error

    def evaluated(self, step: int, metrics: Mapping[str, float], seconds: float = 0.0) -> None:
        """Write down an evaluation after so many seconds of training, and draw the curves, not too often."""
        self.log(step, {f"heldout/{name}": value for name, value in metrics.items()} | {"seconds": round(seconds, 3)})
        self._record["metrics"] = dict(metrics)
        write_json(self.path / _RUN, self._record)
        begin = time.monotonic()
        if begin >= self._next_picture:
            draw_curves(self.path)
            end = time.monotonic()
            self._next_picture = end + (end - begin) / _PICTURES

    def note(self, **facts: Any) -> None:
        """Write down what else is to be known of the run."""
        self._record |= facts
        write_json(self.path / _RUN, self._record)

    @property
    def restarts(self) -> list[dict[str, Any]]:
        """What is known of the attempts before this one."""
        return list(self._record.get("restarts", []))

    def restart(self, **facts: Any) -> None:
        """Forget what the run has learned, and write down why.

        First the checkpoints go: a kill in between begins the same attempt again, which comes to the same end.
        """
        remove(self.path / FOLDER)
        self._record |= {"metrics": {}, "restarts": [*self.restarts, facts]}
        write_json(self.path / _RUN, self._record)

    def finish(self, outcomes: Outcomes | None = None, **facts: Any) -> None:
        """Mark the run as finished, with its curves (a run without evaluations has had none yet) and its report."""
        draw_curves(self.path)
        self._record |= {"state": "finished", **facts}
        write_report(self.path, self._record, outcomes)
        write_json(self.path / _RUN, self._record)

    def _lock(self) -> int:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}; choose another --out") from error
        try:
            lock(handle, self.path)
        except BlockingIOError as error:
            os.close(handle)
            raise UserError(f"{self.path}: another process is at this run; wait, or choose another --out") from error
        return handle

    def _forget_after(self, step: int) -> None:
        path = self.path / METRICS
        if path.exists():
            lines = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
            with replacing(path) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def _continue(self) -> list[str]:
        """Take over what the directory says of its run; returns what has changed and does no harm."""
        old = read_json(self.path / _RUN, "record of a run")
        if not isinstance(old, dict) or "settings" not in old:
            raise UserError(f"{self.path / _RUN}: not the record of a dokkai run; choose another --out")
        differences = _differences(old, self._record)
        changed = [words for name, words in differences.items() if name not in _HARMLESS]
        if changed:
            raise UserError(
                f"{self.path} holds a run with other settings ({'; '.join(changed[:3])}); "
                "choose another --out, or repeat its settings to continue it"
            )
        self._record |= {name: old[name] for name in ("state", "metrics", "restarts") if name in old}
        notes = [words for name, words in differences.items() if name in _HARMLESS]
        if old.get("versions") != self._record["versions"]:
            notes.append(f"the run was started with other versions: {old.get('versions')}")
        return notes


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return sys.maxsize  # a line cut off by a kill


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """What differs in settings, sources or command, by name: "NAME was X, is Y".

    Settings and checksums that an older dokkai did not write count as equal to their defaults, or to what is there now.
    """
    before, after = (
        flatten({key: record.get(key) for key in ("command", "settings", "sources")}) for record in (old, new)
    )
    with contextlib.suppress(UserError):
        before = flatten({"settings": parse_settings(old["settings"], _RUN).model_dump()}) | before
    before = {name: after[name] for name in _LATER if name in after} | before
    names = {name: name.removeprefix("settings.") for name in before.keys() | after.keys()}
    return {
        short: f"{short} was {before.get(name)}, is {after.get(name)}"
        for name, short in sorted(names.items())
        if before.get(name) != after.get(name) and short != "description"
    }


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by their dotted names."""
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in flatten(item, f"{prefix}{key}.").items()}
    return {prefix.removesuffix("."): value}
