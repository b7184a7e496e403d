"""Sides that live in processes of their own: started and warmed up once, then asked in turn while the others sleep."""

import json
import os
import resource
import subprocess
import sys
import time
from typing import TextIO

from measuring import environment


def answers() -> TextIO:
    """The way to the process that asks; what libraries print goes to standard error from now on."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


class Clock:
    """Counts rounds for the process that asks: a line with the seconds to run comes in, a line of JSON goes out."""

    def __init__(self, answers: TextIO, warm_ups: int = 2) -> None:
        self._answers, self._warm_ups = answers, warm_ups

    def tick(self) -> None:
        """One round (an update, a pass) is done; SystemExit when nobody asks any more."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if self._warm_ups:
            self._warm_ups -= 1
            if self._warm_ups == 0:
                self._answer({})
            return
        self._rounds += 1
        seconds = time.perf_counter() - self._start
        if seconds >= self._seconds:
            cpu = time.process_time() - self._cpu
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            self._answer({"rounds": self._rounds, "seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak})

    def _answer(self, values: dict) -> None:
        print(json.dumps(values), file=self._answers, flush=True)
        line = sys.stdin.readline()
        if not line.strip():
            raise SystemExit
        self._seconds, self._rounds = float(line), 0
        self._cpu, self._start = time.process_time(), time.perf_counter()


class Worker:
    """A side in its process; ``words`` is the script that runs it and its arguments."""

    def __init__(self, words: list, threads: int) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        start = time.perf_counter()
        self._process = subprocess.Popen([sys.executable, *map(str, words)], **pipes, env=environment(threads))
        self._read()
        self.start_seconds = time.perf_counter() - start

    def _read(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a side ended with {self._process.wait()}")
        return json.loads(line)

    def run(self, seconds: float) -> dict:
        """So many seconds of rounds, one at least."""
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return self._read()

    def stop(self) -> None:
        """End it, and wait for the end."""
        self._process.communicate("\n")
