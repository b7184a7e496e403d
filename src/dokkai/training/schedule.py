"""How long a run is, how much of it is done, and the learning rate there.

A run is counted in whole units: updates, or with ``train.budget`` seconds of its own clock. Learning rate, phases and
share of masks are functions of the units done and the units in all, so one loop serves both.
"""

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

from dokkai.progress import clock
from dokkai.settings import TrainSettings
from dokkai.training import bert_adam


def learning_rate(done: float, total: float, settings: TrainSettings) -> float:
    """The rate of the update that begins when ``done`` of ``total`` units are over: updates, or seconds of a budget.

    A straight rise to the peak, then by ``train.schedule``: a straight fall to 0 after the last unit; or the peak, and
    over the last ``cooldown_share`` a fall by one minus the square root of the share of it that is over (Hägele et al.
    2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", section 3: better than a straight
    one); or the peak to the end. The first update has one unit's worth of the rise, so that none is lost. ``bert-adam``
    has the course of 2018.
    """
    if settings.optimizer == "bert-adam":
        return bert_adam.learning_rate(done, total, settings)
    peak = settings.highest_rate
    warmup = round(settings.warmup_share * total)
    if done < warmup:
        return peak * min(done + 1, warmup) / warmup  # a second may be in its midst
    if settings.schedule == "linear":
        return peak * (total - done) / max(1, total - warmup)
    cooldown = round(settings.cooldown_share * total)
    if settings.schedule == "constant" or done <= total - cooldown:
        return peak
    return peak * (1 - math.sqrt(1 - (total - done) / cooldown))


@dataclass(frozen=True, slots=True)
class RunLength:
    """``total`` updates, or seconds if ``is_time``."""

    total: int
    is_time: bool

    def done(self, step: int, seconds: float) -> float:
        """The units that are over after ``step`` updates and so many seconds."""
        return min(seconds, self.total) if self.is_time else step

    def share(self, step: int, seconds: float) -> float:
        """The share of the run that is over; 1: it ends."""
        return self.done(step, seconds) / self.total

    def place(self, step: int, seconds: float) -> str:
        """In words."""
        if self.is_time:
            return f"step {step}, {self.share(step, seconds):.0%} of {clock(self.total)}"
        return f"step {step} of {self.total}"

    def is_due(self, every: int, parts: int, step: int, before: float, after: float) -> bool:
        """Whether something is to be done behind ``step`` updates: each ``every``, or if that is 0 ``parts`` times.

        ``before`` and ``after`` are the shares of the run at the beginning and at the end of the last update.
        """
        if self.is_time and not every:
            return int(after * parts) > int(before * parts)
        return step % (every or max(1, self.total // parts)) == 0


class Clock:
    """Seconds of a run over all its starts. Evaluations do not count: looking more often must not change a run."""

    def __init__(self, seconds: float) -> None:
        self._start = time.monotonic() - seconds

    def read(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._start

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """The clock stands still meanwhile."""
        begin = time.monotonic()
        yield
        self._start += time.monotonic() - begin
