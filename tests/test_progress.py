"""What a progress says: counts with their rate, or the share of a time alone."""

from types import SimpleNamespace

import pytest

from dokkai import progress
from dokkai.progress import Progress


@pytest.mark.parametrize(
    ("unit", "lines"),
    [
        ("steps", ["training: 100/200 steps · 1/s · 1:40 left · loss 3", "training: 200 steps in 1:10 (2.1/s)"]),
        ("%", ["training: 50% · 1:40 left · loss 3", "training: 100% in 1:10"]),
    ],
)
def test_lines_of_a_log(monkeypatch, capsys, unit, lines):
    """From 50 on, where an earlier start ended; the rate is that of this one."""
    now = SimpleNamespace(value=3.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now.value))
    with Progress("training", 200, unit) as shown:
        shown.start_at(50)
        now.value += 50
        shown.advance(50, "loss 3")
        now.value += 20
        shown.advance(100)  # not shown: half a minute is not over
    assert capsys.readouterr().err.splitlines() == lines
