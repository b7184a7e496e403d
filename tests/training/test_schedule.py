"""The course of the rate over updates and over time, and how far a run is."""

import math
from types import SimpleNamespace

import pytest

from dokkai.settings import TrainSettings
from dokkai.training import schedule
from dokkai.training.schedule import Clock, RunLength, learning_rate


def rates(total, **settings):
    made = TrainSettings(**{"learning_rate": 1.0, "warmup_share": 0.2} | settings)
    return [learning_rate(step, total, made) for step in range(total)]


def before_there_was_a_choice(step, steps, settings):
    """The straight course of earlier versions, as it stood there."""
    warmup = round(settings.warmup_share * steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    return settings.learning_rate * (steps - step) / max(1, steps - warmup)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 7, 100, 1601])
def test_the_straight_course_has_not_changed_by_a_bit(steps, share):
    settings = TrainSettings(learning_rate=3.3e-4, warmup_share=share)
    for step in range(steps):
        assert learning_rate(step, steps, settings) == before_there_was_a_choice(step, steps, settings)


def test_trapezoid_by_hand():
    """Up over two, flat, and down over the last four by 1 - sqrt."""
    fall = [1 - math.sqrt(n / 4) for n in range(4)]
    wanted = [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, *fall]
    assert rates(10, schedule="trapezoid", cooldown_share=0.4) == pytest.approx(wanted)
    assert rates(10, schedule="trapezoid", cooldown_share=0.0) == rates(10, schedule="constant")
    assert rates(10, schedule="constant") == [0.5] + [1.0] * 9


@pytest.mark.parametrize("kind", ["linear", "trapezoid", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 1000])
def test_no_update_is_lost_in_any_course(kind, steps):
    found = rates(steps, schedule=kind)
    assert all(0 < rate <= 1 for rate in found)
    peak = found.index(max(found))
    assert found[peak:] == sorted(found[peak:], reverse=True)
    assert found[-1] < 0.01 or kind == "constant" or steps < 1000


@pytest.mark.parametrize("kind", ["linear", "trapezoid"])
def test_a_course_over_time_goes_by_the_share(kind):
    """Seconds between whole ones too; never above the peak; 0 when the time is up."""
    settings = TrainSettings(learning_rate=1.0, warmup_share=0.1, schedule=kind, cooldown_share=0.5)
    found = [learning_rate(0.3 * n, 60.0, settings) for n in range(201)]
    assert found[0] == pytest.approx(1 / 6) and found[-1] == 0
    assert max(found) == 1.0
    wanted = 28.5 / 54 if kind == "linear" else 1 - math.sqrt(1.5 / 30)
    assert learning_rate(31.5, 60, settings) == pytest.approx(wanted)


def test_a_run_of_so_many_updates():
    length = RunLength(25, is_time=False)
    assert [length.share(step, 1e9) for step in (0, 5, 25)] == [0, 0.2, 1]
    assert length.place(5, 1e9) == "step 5 of 25"
    due = [step for step in range(1, 26) if length.is_due(0, 10, step, (step - 1) / 25, step / 25)]
    assert due == list(range(2, 26, 2))  # every tenth of the steps, rounded down
    assert [step for step in range(1, 26) if length.is_due(7, 10, step, 0, 1)] == [7, 14, 21]


def test_a_run_of_so_many_seconds():
    length = RunLength(5400, is_time=True)
    assert [length.share(7, seconds) for seconds in (0.0, 1350.0, 5400.0, 9999.0)] == [0, 0.25, 1, 1]
    assert length.place(7, 1350.0) == "step 7, 25% of 1:30:00"
    shares = [0.0, 0.05, 0.1, 0.19, 0.45, 0.46, 1.0]
    due = [length.is_due(0, 10, step, *shares[step - 1 : step + 1]) for step in range(1, 7)]
    assert due == [False, True, False, True, False, True]  # once for each tenth that was reached, however many at once
    assert [length.is_due(2, 10, step, 0.0, 0.0) for step in (1, 2)] == [False, True]


def test_the_clock_goes_on_from_what_was_saved_and_can_stand_still(monkeypatch):
    now = SimpleNamespace(value=1000.0)
    monkeypatch.setattr(schedule, "time", SimpleNamespace(monotonic=lambda: now.value))
    clock = Clock(30.0)
    assert clock.read() == 30
    now.value += 5
    with clock.stopped():
        now.value += 100
    now.value += 2
    assert clock.read() == 37
