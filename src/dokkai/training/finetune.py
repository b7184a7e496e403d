"""Fine-tuning: a pre-trained encoder and one more layer, on any task (paper, section 3.2)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dokkai.data.heldout import hold_out
from dokkai.data.order import group_by_length, split_by_tokens
from dokkai.errors import UserError
from dokkai.files import checksum
from dokkai.hub import resolve
from dokkai.model.checkpoint import LoadReport, load_config, load_model
from dokkai.model.device import choose_device, choose_precision
from dokkai.model.heads import Model
from dokkai.model.initialization import start_positions_as_waves
from dokkai.pipeline import CPU_BATCH_TOKENS, PADDING, Pipeline, check_length, check_origin, load
from dokkai.progress import say, say_once
from dokkai.settings import PretrainingSettings, Settings, TrainSettings, load_settings
from dokkai.tasks import Similarity, Task, create_task
from dokkai.tasks.base import Batch, guessing_of, num_rows, remarks_on
from dokkai.tasks.guessing import guess_recipe
from dokkai.tokenization import load_tokenizer
from dokkai.training.dev_set import DevSet
from dokkai.training.freezing import freeze
from dokkai.training.frozen_states import check_cache, keep_frozen_states
from dokkai.training.loop import train
from dokkai.training.run_directory import RunDirectory
from dokkai.training.stuck import Stuck, StuckWatch

_RATES = ((1024, 2e-5), (768, 5e-5), (512, 1e-4), (0, 3e-4))
"""Learning rates from a hidden size on: the paper's, and below them the larger ones of the small models of 2020."""
_NARROW, _HEAD_RATE = 512, 10.0
"""Below this hidden size a new layer that judges texts learns so much faster (docs/decisions/0017)."""
_ALL = 1 << 62  # more tokens than any update has


def finetune(
    recipe: str | Mapping[str, Any] | None,
    start: str | Path,
    train_path: str | Path,
    out: str | Path,
    dev_path: str | Path | None = None,
    overrides: Sequence[str] = (),
    random_weights: bool = False,
    limit: int | None = None,
    device: str | None = None,
    cache: str | Path | None = None,
) -> Pipeline:
    """Train a task on a file of examples, starting from the model ``start`` (as for ``load``).

    ``recipe`` is one as for ``load_settings``; None guesses the task from the examples, and says what it guessed.

    ``random_weights`` keeps shape and vocabulary of ``start`` but forgets what it learned: the baseline that shows
    what pre-training is worth. ``limit`` takes the first examples only. Without ``dev_path`` the settings may hold out
    a share of the examples in its place (``train.dev_share``). The same call continues a stopped run.

    ``cache`` is a folder for what frozen layers (``train.frozen_layers``) make of all examples: it is computed once,
    for every epoch and every later run from the same weights.
    """
    settings = load_settings(guess(train_path, start, overrides) if recipe is None else recipe, overrides)
    settings.refuse_probe()
    if cache is not None:
        check_cache(settings.train)
    if isinstance(settings.task, PretrainingSettings):
        raise UserError(f"recipe '{recipe}' is for pre-training; use `dokkai pretrain`")
    for name in ("shape", "model_type"):
        if name in settings.model.model_fields_set:
            raise UserError(f"model.{name} cannot be set here: it is that of the model under --from; leave it away")
    if settings.model.sinusoidal_positions and not random_weights:
        raise UserError("model.sinusoidal_positions is for random weights; the model under --from has its positions")
    origin, out = resolve(start), Path(out)
    tokenizer = load_tokenizer(origin)
    check_origin(origin, tokenizer)
    task = create_task(settings.task, tokenizer)
    settings = settings.model_copy(update={"train": _with_rates(settings.train, task, origin)})
    everything = task.read(Path(train_path))
    task = create_task(settings.task, tokenizer, task.find_labels(everything, train_path))
    examples = everything[:limit]
    model, report = _create_model(origin, task, settings, random_weights)
    check_length(task, model)
    dev = task.read(Path(dev_path)) if dev_path else []
    if dev_path is None and settings.train.dev_share:
        examples, dev = hold_out(examples, settings.train.dev_share)
        say_once(
            f"without --dev a share of {train_path} is held out to measure on (train.dev_share): {len(dev):,} examples"
            + ("" if dev else "; all of them read the same")
        )
    chosen = choose_device(device)
    pipeline = Pipeline(model, tokenizer, task, chosen, choose_precision(settings.train.precision, chosen))
    sources: dict[str, Any] = {"from": str(Path(start)), "random_weights": random_weights, "train": str(train_path)}
    sources |= {"num_examples": len(examples), "dev": str(dev_path) if dev_path else None}
    sources |= {"train_checksum": checksum_of(train_path), "dev_checksum": checksum_of(dev_path)}
    run = RunDirectory(out, "finetune", settings.model_dump(), sources)
    if run.is_finished:
        say(f"{out}: this run is finished already")
        return load(out, device)
    features, dev_features = task.encode(examples, training=True), task.encode(dev, training=False) if dev else []
    batches = FeatureBatches(task, features, settings.train, chosen)
    say(f"from {Path(start)}: " + ("random weights" if random_weights else str(report) or "all weights"))
    length = f"{batches.steps:,} steps" if batches.steps else f"for {settings.train.budget}"
    for line in remarks_on(task, examples, dev):
        say_once(line)
    say(f"fine-tuning on {len(examples):,} examples ({batches.num_features:,} sequences), {length}")
    below = None
    if cache is not None and settings.train.frozen_layers is not None:
        below = keep_frozen_states(pipeline, settings.train.frozen_layers, (features, dev_features), Path(cache))
    with run:
        model.read_below = below
        dev_set = DevSet(pipeline, dev, dev_features) if dev else None
        before = _before(dev_set.evaluate) if dev_set and not task.heads else {}
        run.take()
        while True:
            try:
                metrics = _attempt(pipeline, batches, settings.train, run, dev_set, examples)
                break
            except Stuck as found:
                run.restart(**found.facts, learning_rate=_rate(settings.train, run))
                which = f"restart {len(run.restarts)} of {settings.train.restarts}"
                say(f"{found}; beginning anew with train.learning_rate={_rate(settings.train, run):g} ({which})")
                pipeline.model, _ = _create_model(origin, task, settings, random_weights)
                pipeline.model.to(chosen)
                pipeline.model.read_below = below
        facts = dev_set.close(run.path, settings.train, metrics) if dev_set else {}
        pipeline.model.read_below = None
        metrics |= before | facts.pop("metrics", {})
        source = str(dev_path or f"{len(dev):,} examples held out of {train_path}")
        run.finish(dev_set.outcomes(source) if dev_set else None, metrics=metrics, **facts)
    return pipeline


def guess(train_path: str | Path, start: str | Path, overrides: Sequence[str]) -> dict[str, Any]:
    """A recipe from the examples, with a learning rate for an encoder of the size of ``start``."""
    return guess_recipe(train_path, overrides, usual_rate(resolve(start)))


def _with_rates(train: TrainSettings, task: Task, origin: Path) -> TrainSettings:
    """The settings of the training, with those rates that go by the encoder where they are not set."""
    has_one_rate = train.optimizer == "bert-adam" or "classification" not in task.heads
    usual = {"learning_rate": usual_rate(origin), "head_rate": 1.0 if has_one_rate else usual_head_rate(origin)}
    return train.model_copy(update={name: value for name, value in usual.items() if getattr(train, name) is None})


def usual_rate(origin: Path) -> float:
    """The learning rate for the encoder in a directory, where the recipe has none: narrow ones take higher ones."""
    return rate_for_width(load_config(origin).hidden_size)


def rate_for_width(width: int) -> float:
    """The same for an encoder of this hidden size."""
    return next(rate for least, rate in _RATES if width >= least)


def usual_head_rate(origin: Path) -> float:
    """How many times as fast a new layer that judges texts learns, on the encoder in a directory."""
    return _HEAD_RATE if load_config(origin).hidden_size < _NARROW else 1.0


def _attempt(
    pipeline: Pipeline,
    batches: "FeatureBatches",
    settings: TrainSettings,
    run: RunDirectory,
    dev_set: DevSet | None,
    examples: Sequence[Any],
) -> dict[str, float]:
    """Train from the start, or from the last checkpoint; raises Stuck while there are restarts left."""
    task = pipeline.task
    assert task is not None
    settings_now = settings.model_copy(update={"learning_rate": _rate(settings, run)})
    guessing = guessing_of(task, examples) if dev_set else None
    watch = None
    if dev_set and guessing:
        watch = StuckWatch(guessing, lambda: dev_set.predictions, len(run.restarts) < settings.restarts)
    metrics = train(pipeline, task, batches, settings_now, run, dev_set.evaluate if dev_set else None, watch)
    if watch and watch.stuck:
        run.note(stuck=watch.stuck | {"learning_rate": _rate(settings, run)})
    return metrics


def _rate(settings: TrainSettings, run: RunDirectory) -> float:
    """The peak rate of this attempt: every restart halves it."""
    return settings.highest_rate * 0.5 ** len(run.restarts)


def _create_model(origin: Path, task: Task, settings: Settings, random_weights: bool) -> tuple[Model, LoadReport]:
    """The model before its first step: the weights of ``origin``, or random ones of that shape."""
    num_labels, seed = len(task.labels) or 2, settings.train.seed
    model, report = load_model(origin, task.heads, num_labels, seed, task.labels, **settings.model.changes())
    if random_weights:
        model = Model(model.config, task.heads, num_labels, seed)
        if settings.model.sinusoidal_positions:
            start_positions_as_waves(model.encoder)
    freeze(model, settings.train.frozen_layers)
    return model, report


def _before(evaluate: Callable[[], dict[str, float]]) -> dict[str, float]:
    """The metrics of the model as it came, under ``before/``: a task without a head can be done untrained."""
    metrics = evaluate()
    say("before training: " + " · ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    return {f"before/{name}": value for name, value in metrics.items()}


def checksum_of(path: str | Path | None) -> int | None:
    """Of the file as it lies there; a pipe can be read only once."""
    return checksum(Path(path)) if path is not None and Path(path).is_file() else None


class FeatureBatches:
    """The updates of a fine-tuning by number: features of near-equal length, padded little.

    They are cut into micro-batches, but not those of ``Similarity``: there each pair is told apart from all others of
    its update, and these must not depend on what fits into memory.
    """

    def __init__(
        self, task: Task, features: Sequence[Any], settings: TrainSettings, device: torch.device | None = None
    ) -> None:
        self._task, self._features, self._settings = task, features, settings
        is_cpu = device is not None and device.type == "cpu"  # smaller parts of a batch: less padding, and they fit
        self._micro_batch_tokens = min(settings.micro_batch_tokens, CPU_BATCH_TOKENS if is_cpu else _ALL)
        if isinstance(task, Similarity):
            if settings.batch_size < 2:
                raise UserError(
                    "train.batch_size is 1, but a pair is told apart from the others of its update; set 2 or more"
                )
            self._micro_batch_tokens = _ALL
        self._lengths = np.array([len(item.input_ids) for item in features])
        self._rows = num_rows(features)
        self._padded = -(-self._lengths // PADDING) * PADDING
        self._per_epoch = -(-len(features) // settings.batch_size)
        steps = settings.steps or max(1, round(settings.epochs * self._per_epoch))
        self.steps = None if settings.budget else steps
        self._order: dict[int, list[np.ndarray]] = {}
        self.num_features = len(features)

    def __len__(self) -> int:
        if self.steps is None:
            raise TypeError("a run that ends by the clock has no number of steps")
        return self.steps

    def __getitem__(self, step: int) -> list[Batch]:
        """The micro-batches of update ``step`` of so many."""
        if not 0 <= step < len(self):
            raise IndexError(step)
        return self.at(step)

    def at(self, step: int, share: float = 0.0) -> list[Batch]:
        """The micro-batches of update ``step``, whatever ``share`` of the run is over."""
        epoch, place = divmod(step, self._per_epoch)
        if epoch not in self._order:
            batches = group_by_length(self._lengths, self._settings.batch_size, self._settings.seed, epoch)
            self._order = {epoch: batches}
        parts = split_by_tokens(self._padded, self._order[epoch][place], self._micro_batch_tokens, self._rows)
        longest = max(getattr(self._task.settings, "max_length", 0), 1)
        return [self.collate(part, min(int(self._padded[part].max()), longest)) for part in parts]

    def collate(self, part: np.ndarray, length: int) -> Batch:
        """The micro-batch of the features with these numbers."""
        return self._task.collate([self._features[i] for i in part], length)
