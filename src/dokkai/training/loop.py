"""The one loop: every task is trained by it, from the first step or from the last checkpoint."""

import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dokkai.errors import Interrupted, UserError
from dokkai.model.device import autocast, has_compiler
from dokkai.pipeline import Pipeline
from dokkai.progress import Progress, say
from dokkai.settings import TrainSettings
from dokkai.tasks import Task
from dokkai.tasks.base import Batch
from dokkai.training.bert_adam import clip_gradients
from dokkai.training.checkpoints import load_checkpoint, save_checkpoint
from dokkai.training.optimizer import create_optimizers, learning_rate, set_learning_rate
from dokkai.training.run_directory import RunDirectory

_COMPILE_STEPS = 2000  # shorter runs on a CPU end before the half minute of compiling is won back


class Batches(Protocol):
    """The updates of a run by number, each a list of micro-batches; a function of the seed alone."""

    def __len__(self) -> int: ...

    def __getitem__(self, step: int) -> list[Batch]: ...


def train(
    pipeline: Pipeline,
    task: Task,
    batches: Batches,
    settings: TrainSettings,
    run: RunDirectory,
    evaluate: Callable[[], dict[str, float]] | None,
) -> dict[str, float]:
    """Train ``pipeline.model`` over all updates; goes on from the last checkpoint in the run directory.

    An update is the gradient of the sum over losses of (sum over all micro-batches / count over all micro-batches), so
    that accumulated and whole batches are equal. Returns the last evaluation. Raises Interrupted after SIGINT or
    SIGTERM, with a checkpoint written.
    """
    model, device, steps = pipeline.model, pipeline.device, len(batches)
    optimizers = create_optimizers(model, settings)
    run.take()
    state = load_checkpoint(run.path, model, optimizers) or {"step": 0, "tokens": 0, "seconds": 0.0}
    first = int(state["step"])
    if first:
        say(f"going on from step {first} of {steps}")
    run.start_at(first)
    forward = _compiled(model, task, settings, steps, device)
    evaluate_every = settings.evaluate_every or max(1, steps // 10)
    log_every = settings.log_every or max(1, steps // 500)
    metrics: dict[str, float] = run.metrics
    meter = _Meter(state)
    saved = time.monotonic()
    with Progress("training", steps, "steps") as progress, _signals() as stop:
        progress.start_at(first)
        for step, micro_batches in _load(batches, first, settings.workers, device):
            torch.manual_seed(settings.seed * 1_000_003 + step)  # dropout depends on the step, not on what came before
            set_learning_rate(optimizers, learning_rate(step, steps, settings))
            model.train()
            try:
                losses = _accumulate(forward, task, micro_batches, device, pipeline.precision)
            except torch.OutOfMemoryError as error:
                raise UserError(
                    f"out of memory on {device}; set train.micro_batch_tokens below {settings.micro_batch_tokens}: "
                    "the same run goes on, with the same examples"
                ) from error
            norm = clip_gradients(model.parameters(), settings.clip_norm)
            for optimizer in optimizers:
                optimizer.step()
            model.zero_grad(set_to_none=True)
            meter.count(micro_batches, losses, norm)
            done = step + 1
            if done % log_every == 0 or done == steps:
                run.log(done, meter.read(done) | {"learning_rate": learning_rate(step, steps, settings)})
            progress.advance(1, meter.note)
            is_last = done == steps
            if evaluate and (done % evaluate_every == 0 or is_last):
                metrics = evaluate()
                progress.clear()
                say(f"step {done}: " + " · ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
                run.evaluated(done, metrics)
            is_due = time.monotonic() - saved > 60 * settings.save_minutes
            is_due |= settings.save_every > 0 and done % settings.save_every == 0
            is_stopping = stop()  # asked once: a signal during the saving ends the run after the next step
            if is_due or is_last or is_stopping:
                meter.check(done)
                pipeline.save(run.path)
                save_checkpoint(run.path, done, model, optimizers, meter.state(), settings.keep_checkpoints)
                saved = time.monotonic()
            if is_stopping and not is_last:
                raise Interrupted(f"stopped at step {done} of {steps}; the same command goes on from there")
    return metrics


class _Meter:
    """Losses, tokens and time since the last line of ``metrics.jsonl``, and since the run began."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._tokens, self._seconds = int(state["tokens"]), float(state["seconds"])
        self._start = self._last = time.monotonic()
        self._recent_tokens = self._updates = 0
        self._losses: dict[str, Tensor] = {}
        self._norm: Tensor | float = 0.0
        self.note = ""

    def count(self, micro_batches: Sequence[Batch], losses: Mapping[str, Tensor], norm: Tensor) -> None:
        """Add one update; nothing is moved from the device here."""
        self._recent_tokens += sum(batch["input_ids"].numel() for batch in micro_batches)
        self._updates += 1
        self._norm = norm
        for name, value in losses.items():
            self._losses[name] = self._losses.get(name, torch.zeros_like(value)) + value

    def check(self, step: int) -> None:
        """UserError if loss or gradient are not numbers any more: such weights must not replace a good checkpoint."""
        if not math.isfinite(sum(map(float, [*self._losses.values(), self._norm]))):
            raise UserError(
                f"the loss is not finite at step {step}; the last checkpoint is kept: lower train.learning_rate "
                "and start again in another directory"
            )

    def read(self, step: int) -> dict[str, float]:
        """Means since the last reading; UserError if the loss is not a number any more."""
        self.check(step)
        now = time.monotonic()
        means = {f"loss/{name}": float(value) / self._updates for name, value in self._losses.items()}
        self._tokens += self._recent_tokens
        rate = self._recent_tokens / max(1e-9, now - self._last)
        values = means | {
            "loss": sum(means.values()),
            "gradient_norm": float(self._norm),
            "tokens": float(self._tokens),
            "seconds": round(self._seconds + now - self._start, 3),
            "tokens_per_second": round(rate, 1),
        }
        self.note = f"loss {values['loss']:.3f} · {rate:,.0f} tokens/s"
        self._last, self._recent_tokens, self._updates, self._losses = now, 0, 0, {}
        return values

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        tokens = self._tokens + self._recent_tokens
        return {"tokens": tokens, "seconds": self._seconds + time.monotonic() - self._start}


def _accumulate(
    forward: Callable[[Batch], dict[str, Tensor]],
    task: Task,
    micro_batches: Sequence[Batch],
    device: torch.device,
    precision: str,
) -> dict[str, Tensor]:
    """Add up the gradients of one update; returns its mean losses by name."""
    totals: dict[str, int] = {}
    for batch in micro_batches:
        for name, count in task.counts(batch).items():
            totals[name] = totals.get(name, 0) + count
    means: dict[str, Tensor] = {}
    for batch in micro_batches:
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
        with autocast(device, precision):
            losses = task.losses(forward(moved), moved)
        parts = {name: loss / max(1, totals[name]) for name, loss in losses.items()}
        torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
        for name, part in parts.items():
            means[name] = means.get(name, torch.zeros_like(part)) + part.detach()
    return means


def _compiled(
    model: torch.nn.Module, task: Task, settings: TrainSettings, steps: int, device: torch.device
) -> Callable[[Batch], dict[str, Tensor]]:
    """The model itself, or compiled where it pays: batches of one shape, and enough of them."""
    pays = task.kind == "pretraining" and (device.type == "cuda" or steps >= _COMPILE_STEPS)
    wanted = settings.compile == "on" or (settings.compile == "auto" and pays)
    if wanted and not has_compiler(device):
        say("torch.compile needs a C++ compiler and Python's headers (see `dokkai doctor`); going on without")
        wanted = False
    return torch.compile(model, dynamic=False) if wanted else model


class _Steps(Dataset[list[Batch]]):
    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __getitem__(self, step: int) -> list[Batch]:
        return self._batches[step]


def _load(batches: Batches, first: int, workers: int, device: torch.device) -> Iterator[tuple[int, list[Batch]]]:
    """Steps from ``first`` on, prepared ahead by worker processes, or by one thread."""
    steps = range(first, len(batches))
    if workers:
        loader = DataLoader(
            _Steps(batches),
            batch_size=None,
            sampler=steps,
            num_workers=workers,
            pin_memory=device.type == "cuda",
            multiprocessing_context="spawn",
            worker_init_fn=_ignore_interrupts,
        )
        yield from zip(steps, loader, strict=True)
        return
    with ThreadPoolExecutor(max_workers=1) as thread:
        ahead = [(step, thread.submit(batches.__getitem__, step)) for step in steps[:2]]
        for step in steps:
            number, future = ahead.pop(0)
            if step + 2 < len(batches):
                ahead.append((step + 2, thread.submit(batches.__getitem__, step + 2)))
            yield number, future.result()


def _ignore_interrupts(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops its workers


class _signals:  # noqa: N801 (used as a function)
    """While it is open, SIGINT and SIGTERM are remembered instead of killing; a second SIGINT kills."""

    def __init__(self) -> None:
        self._asked = False

    def __enter__(self) -> Callable[[], bool]:
        self._old: dict[int, Any] = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._remember)
        except ValueError:
            self._old = {}  # not the main thread: no handlers here
        return lambda: self._asked

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        start = "\n" if sys.stderr.isatty() else ""  # a live line may stand there
        with contextlib.suppress(OSError):  # not by print: the signal may have come in the middle of one
            os.write(2, f"{start}stopping after this step, saving first\n".encode())
