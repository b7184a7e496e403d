"""Progress with rate and time left, on standard error, for everything that takes longer than two seconds."""

import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

_PATIENCE = 2.0  # seconds before anything is shown
_said: set[str] = set()
_LOG_EVERY = 30.0  # seconds between lines where standard error is no terminal


def say(message: str) -> None:
    """One line for the person at the terminal, on standard error (standard output holds results only)."""
    _write(f"{message}\n")


def say_once(message: str) -> None:
    """A line that this process says the first time only: a training with several seeds need not repeat it."""
    if message not in _said:
        _said.add(message)
        say(message)


class Progress:
    """A counter that shows itself: a live line on a terminal, a line every half minute in a log.

    ``total`` may be None (a stream); ``unit`` is what is counted ("tokens", "steps"), or "%": the share is shown alone.
    """

    def __init__(self, what: str, total: float | None = None, unit: str = "") -> None:
        self._what, self._total, self._unit = what, total, unit
        self._start = self._last = time.monotonic()
        self._done = self._first = 0.0
        self._shown = False
        self._is_terminal = sys.stderr.isatty()

    def start_at(self, done: float) -> None:
        """Count from here: what an earlier run did is not part of this run's rate."""
        self._done = self._first = done

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Count ``amount`` more; ``note`` is shown behind the rate."""
        self._done += amount
        now = time.monotonic()
        wait = 0.2 if self._is_terminal else _LOG_EVERY
        if now - self._start > _PATIENCE and now - self._last > wait:
            self._last = now
            self._show(self._line(now, note))

    def clear(self) -> None:
        """Wipe the live line, so that something else can be printed."""
        if self._shown and self._is_terminal:
            _write("\r\033[K")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        now = time.monotonic()
        if kind is None and now - self._start > _PATIENCE:
            rate = (self._done - self._first) / max(now - self._start, 1e-9)
            end = "" if self._unit == "%" else f" ({_count(rate)}/s)"
            say(f"{self._what}: {self._amount()} in {clock(now - self._start)}{end}")

    def _line(self, now: float, note: str) -> str:
        rate = (self._done - self._first) / max(now - self._start, 1e-9)
        parts = [f"{self._what}: {self._amount(self._total)}"]
        if self._unit != "%":
            parts.append(f"{_count(rate)}/s")
        if self._total and rate > 0:
            parts.append(f"{clock(max(0.0, self._total - self._done) / rate)} left")
        if note:
            parts.append(note)
        return " · ".join(parts)

    def _amount(self, total: float | None = None) -> str:
        if self._unit == "%" and self._total:
            return f"{self._done / self._total:.0%}"
        return _count(self._done) + (f"/{_count(total)}" if total else "") + (f" {self._unit}" if self._unit else "")

    def _show(self, line: str) -> None:
        self._shown = True
        if self._is_terminal:
            _write(f"\r\033[K{line}")
        else:
            say(line)


def _write(text: str) -> None:
    """Where nobody can read it any more (a terminal that was closed, a full disk), the work goes on all the same."""
    with suppress(OSError):
        print(text, end="", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """``75`` -> ``1:15``; hours appear when there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _count(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):.1f}{letter}"
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
