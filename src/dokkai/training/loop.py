"""The one loop: every task is trained by it, from the first step or from the last checkpoint."""

import contextlib
import math
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dokkai.errors import Diverged, Interrupted, UserError
from dokkai.model.device import autocast, has_compiler
from dokkai.progress import Progress, say
from dokkai.settings import TrainSettings
from dokkai.tasks import Task
from dokkai.tasks.base import Batch
from dokkai.training.averaging import WeightAverage
from dokkai.training.bert_adam import clip_gradients
from dokkai.training.checkpoints import load_checkpoint, save_checkpoint
from dokkai.training.lookups import keep_rows, make_matrices
from dokkai.training.memory import keep_freed_memory
from dokkai.training.optimizer import create_optimizers, set_learning_rate
from dokkai.training.run_directory import RunDirectory
from dokkai.training.schedule import Clock, RunLength, learning_rate
from dokkai.training.selection import Selection
from dokkai.training.stuck import Stuck, StuckWatch

_STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_COMPILE_STEPS, _COMPILE_SECONDS = 2000, 600  # shorter runs on a CPU end before half a minute's compiling is won back


class Trained(Protocol):
    """What is trained: a ``Pipeline``, or a small model on what an encoder gave."""

    @property
    def model(self) -> torch.nn.Module:
        """Batches to logits."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        ...

    @property
    def precision(self) -> str:
        """``bf16`` or ``fp32``."""
        ...

    def save(self, directory: Path) -> None:
        """Write what can be opened again, ``model.safetensors`` among it."""
        ...


class Batches(Protocol):
    """The updates of a run, each a list of micro-batches: a function of the seed, its number, its place in the run."""

    steps: int | None
    """None: a clock ends the run."""

    def at(self, step: int, share: float) -> list[Batch]:
        """Update ``step``, when ``share`` of the run is over."""
        ...


def train(
    pipeline: Trained,
    task: Task,
    batches: Batches,
    settings: TrainSettings,
    run: RunDirectory,
    evaluate: Callable[[], dict[str, float]] | None,
    watch: StuckWatch | None = None,
) -> dict[str, float]:
    """Train ``pipeline.model`` over all updates; goes on from the last checkpoint in the run directory.

    An update is the gradient of the sum over losses of (sum over all micro-batches / count over all micro-batches), so
    that accumulated and whole batches are equal. At the end the model has the weights of the best evaluation
    (``train.keep``), or the mean of ``train.average``, or the last ones; checkpoints, and the run directory till then,
    have the last ones. Returns the evaluation of what the model is. Raises Interrupted after a signal of ``_signals``,
    with a checkpoint written, and what ``watch`` raises.
    """
    keep_freed_memory()
    model, device = pipeline.model, pipeline.device
    length = RunLength(batches.steps or settings.budget_seconds, is_time=batches.steps is None)
    optimizers = create_optimizers(model, settings)
    average = WeightAverage(model, settings.average) if settings.average else None
    means = average.tensors if average else {}
    run.take()
    selection = Selection(run.path, task, settings)
    state = load_checkpoint(run.path, model, optimizers, means) or {"step": 0, "tokens": 0, "seconds": 0.0}
    if "selection" in state:
        selection.restore(state["selection"], state["folder"])
    first = int(state["step"])
    if watch and "watch" in state:
        watch.restore(state["watch"])
    elif first:
        watch = None  # the run was begun without one, which cannot tell now what it has learned
    if first:
        say(f"going on from {length.place(first, state['seconds'])}")
    run.start_at(first)
    forward = _compiled(model, task, settings, length, device)
    keep_rows(model, device)
    metrics: dict[str, float] = run.metrics
    meter = _Meter(state)
    seconds, share = meter.clock.read(), length.share(first, float(state["seconds"]))
    saved, done = time.monotonic(), first
    with Progress("training", length.total, "%" if length.is_time else "steps") as progress, _signals() as stop:
        progress.start_at(length.done(first, seconds))
        updates = _load(batches, length, meter.clock, first, settings.workers, device)
        for step, micro_batches in () if selection.is_over else updates:
            torch.manual_seed(settings.seed * 1_000_003 + step)  # dropout depends on the step, not on what came before
            rate = learning_rate(length.done(step, seconds), length.total, settings)
            set_learning_rate(optimizers, rate)
            model.train()
            try:
                losses = _accumulate(forward, task, micro_batches, device, pipeline.precision)
            except torch.OutOfMemoryError as error:
                raise UserError(f"out of memory on {device}; {_advice(task, settings)}") from error
            make_matrices(model)
            norm = clip_gradients(model.parameters(), settings.clip_norm)
            for optimizer in optimizers:
                optimizer.step()
            model.zero_grad(set_to_none=True)
            meter.count(micro_batches, losses, norm)
            if watch:
                watch.count(losses)
            done = step + 1
            if average:
                average.update(done)
            before, begin = share, length.done(step, seconds)
            seconds = meter.clock.read()  # once an update: what is saved is what the end was decided by
            share = length.share(done, seconds)
            is_last = share >= 1
            if is_last or length.is_due(settings.log_every, 500, done, before, share):
                run.log(done, meter.read(done) | {"learning_rate": rate})
            progress.advance(length.done(done, seconds) - begin, meter.note)
            if evaluate and (is_last or length.is_due(settings.evaluate_every, 10, done, before, share)):
                with meter.clock.stopped():
                    metrics = _evaluate(evaluate, average, selection, model, done)
                progress.clear()
                say(f"step {done}: " + " · ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
                run.evaluated(done, metrics, seconds)
                is_last |= selection.is_over
                if watch:
                    watch.judge(done, share, is_last)
            is_due = time.monotonic() - saved > 60 * settings.save_minutes
            is_due |= settings.save_every > 0 and done % settings.save_every == 0
            is_stopping = stop()  # asked once: a signal during the saving ends the run after the next step
            if is_due or is_last or is_stopping:
                meter.check(done)
                pipeline.save(run.path)
                memory = meter.state(seconds) | {"selection": selection.state()}
                memory |= {"watch": watch.state()} if watch else {}
                keep = settings.keep_checkpoints
                save_checkpoint(run.path, done, model, optimizers, memory, keep, means, selection.path)
                saved = time.monotonic()
            # after the last update too, and its saving: another run may come next (--seeds, --grid)
            if is_stopping or (is_last and stop()):
                raise Interrupted(f"stopped at {length.place(done, seconds)}; the same command goes on from there")
            if is_last:
                break  # where a clock ends the run, more updates are prepared already
    if selection.path:
        selection.move_into(model)
    elif average:
        average.move_into_model()
    if selection.path or average:
        pipeline.save(run.path)
    selection.tell(done)
    run.note(**selection.facts(done))
    return selection.metrics if selection.path else metrics


def _evaluate(
    evaluate: Callable[[], dict[str, float]],
    average: WeightAverage | None,
    selection: Selection,
    model: torch.nn.Module,
    step: int,
) -> dict[str, float]:
    """The metrics of what would be the model now; of the last weights too, under ``last/``, if that is a mean."""
    metrics = evaluate()
    if average is None:
        selection.see(step, metrics, model)
        return metrics
    with average.in_model():
        metrics = evaluate() | {f"last/{name}": value for name, value in metrics.items()}
        selection.see(step, metrics, model)
    return metrics


def _advice(task: Task, settings: TrainSettings) -> str:
    """What to do when memory is full."""
    if task.kind == "similarity":  # its updates are not cut
        return f"set train.batch_size below {settings.batch_size}, in a new run"
    most = settings.micro_batch_tokens
    return f"set train.micro_batch_tokens below {most}: the same run goes on, with the same examples"


class _Meter:
    """Losses, tokens and time since the last line of ``metrics.jsonl``, and since the run began."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._tokens, self.clock = int(state["tokens"]), Clock(float(state["seconds"]))
        self._last = self.clock.read()
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
        """Diverged if loss or gradient are not numbers any more: such weights must not replace a good checkpoint."""
        if not math.isfinite(sum(map(float, [*self._losses.values(), self._norm]))):
            raise Diverged(
                f"the loss is not finite at step {step}; the last checkpoint is kept: lower train.learning_rate "
                "and start again in another directory"
            )

    def read(self, step: int) -> dict[str, float]:
        """Means since the last reading; Diverged if the loss is not a number any more."""
        self.check(step)
        now = self.clock.read()
        means = {f"loss/{name}": float(value) / self._updates for name, value in self._losses.items()}
        self._tokens += self._recent_tokens
        rate = self._recent_tokens / max(1e-9, now - self._last)
        values = means | {
            "loss": sum(means.values()),
            "gradient_norm": float(self._norm),
            "tokens": float(self._tokens),
            "seconds": round(now, 3),
            "tokens_per_second": round(rate, 1),
        }
        self.note = f"loss {values['loss']:.3f} · {rate:,.0f} tokens/s"
        self._last, self._recent_tokens, self._updates, self._losses = now, 0, 0, {}
        return values

    def state(self, seconds: float) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"tokens": self._tokens + self._recent_tokens, "seconds": seconds}


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
        torch.autograd.backward(torch.stack(list(parts.values())).sum())
        for name, part in parts.items():
            means[name] = means.get(name, torch.zeros_like(part)) + part.detach()
    return means


def _compiled(
    model: torch.nn.Module, task: Task, settings: TrainSettings, length: RunLength, device: torch.device
) -> Callable[[Batch], dict[str, Tensor]]:
    """The model itself, or compiled where it pays: batches of one shape, and enough of them."""
    is_long = length.total >= (_COMPILE_SECONDS if length.is_time else _COMPILE_STEPS)
    pays = task.kind == "pretraining" and (device.type == "cuda" or is_long)
    wanted = settings.compile == "on" or (settings.compile == "auto" and pays)
    if wanted and not has_compiler(device):
        language = "C" if device.type == "cuda" else "C++"
        say(f"torch.compile needs a {language} compiler and Python's headers (see `dokkai doctor`); going on without")
        wanted = False
    return torch.compile(model, dynamic=False) if wanted else model


class _Updates(Dataset[list[Batch]]):
    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __getitem__(self, place: tuple[int, float]) -> list[Batch]:
        return self._batches.at(*place)


def _load(
    batches: Batches, length: RunLength, clock: Clock, first: int, workers: int, device: torch.device
) -> Iterator[tuple[int, list[Batch]]]:
    """Updates from ``first`` to the end of the run, prepared ahead by worker processes, or by one thread.

    With a budget the share of the run that decides what is in an update is that of the moment when it is asked for: two
    updates before it is needed, or two for each worker.
    """

    def places() -> Iterator[tuple[int, float]]:
        step = first
        while (share := length.share(step, clock.read())) < 1:
            yield step, share
            step += 1

    if workers:
        from joblib import cpu_count  # loaded here: most runs have no use for it

        loader = DataLoader(
            _Updates(batches),
            batch_size=None,
            sampler=places(),
            num_workers=min(workers, cpu_count()),
            pin_memory=device.type == "cuda",
            multiprocessing_context="spawn",
            worker_init_fn=_ignore_signals,
        )
        yield from enumerate(loader, first)
        return
    with ThreadPoolExecutor(max_workers=1) as thread:
        asked = (thread.submit(_prepare, batches, place, device) for place in places())
        ahead = deque(islice(asked, 2))
        step = first
        while ahead:
            future = ahead.popleft()
            ahead.extend(islice(asked, 1))
            yield step, future.result()
            step += 1


def _prepare(batches: Batches, place: tuple[int, float], device: torch.device) -> list[Batch]:
    """The micro-batches of an update, on CUDA in memory from which they travel while it computes."""
    found = batches.at(*place)
    if device.type != "cuda":
        return found
    return [{name: tensor.pin_memory() for name, tensor in batch.items()} for batch in found]


def _ignore_signals(worker: int) -> None:
    for number in _STOPPING:  # Ctrl-C, service managers and closed terminals reach the whole group of processes, but
        signal.signal(number, signal.SIG_IGN)  # the parent is to save first; then it stops its workers


class _signals:  # noqa: N801 (used as a function)
    """While it is open, SIGINT, SIGTERM and SIGHUP are remembered instead of killing; a second SIGINT kills.

    SIGHUP says that the terminal was closed, and may come twice then, from the system and from the shell; under
    ``nohup`` it stays ignored.
    """

    def __init__(self) -> None:
        self._asked = False

    def __enter__(self) -> Callable[[], bool]:
        self._old: dict[int, Any] = {}
        try:
            for number in _STOPPING:
                if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) is not signal.SIG_IGN:
                    self._old[number] = signal.signal(number, self._remember)
        except ValueError:
            self._old = {}  # not the main thread: no handlers here
        return lambda: self._asked

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        if self._asked and isinstance(error, Stuck | Diverged):  # behind which another attempt or run would begin
            raise Interrupted(f"stopped; {error}") from error

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True
        start = "\n" if sys.stderr.isatty() else ""  # a live line may stand there
        with contextlib.suppress(OSError):  # not by print: the signal may have come in the middle of one
            os.write(2, f"{start}stopping after this step, saving first\n".encode())
