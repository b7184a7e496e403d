"""Runs in processes of their own that are killed at a chosen moment, and runs in this one that end as if they were."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest


class Killed(BaseException):
    """What stands for a kill: nobody catches it."""


def start(*arguments, **options):
    """A ``dokkai`` process with one thread, and its output in pipes."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "dokkai.cli", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment, **options
    )


def finish(process, code=0):
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    return out, err


def wait_for(process, condition):
    """Poll closely, so that the kill falls right behind the moment; fails if the process ends before."""
    limit = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < limit
        time.sleep(0.002)


def kill_when(process, condition):
    wait_for(process, condition)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def num_lines(run):
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def weights(run):
    return (run / "model.safetensors").read_bytes()


def killed_at_call(number, place, name, command):
    """Run ``command`` in this process until ``place.name`` is called for the ``number``-th time, from 1."""
    original, calls = getattr(place, name), []

    def counted(*arguments, **options):
        calls.append(name)
        if len(calls) == number:
            raise Killed
        return original(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, counted)
        with pytest.raises(Killed):
            command()


def unfinish(run, step):
    """Leave a finished run as a kill would have left it before its checkpoint at ``step``, the last one."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps(record | {"state": "running"}), encoding="utf-8")
    shutil.rmtree(run / "checkpoints" / f"step-{step:08}")
    (run / "model.safetensors").unlink()
