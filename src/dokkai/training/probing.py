"""Feature-based use (paper, section 5.3): the encoder stays as it is; what it gives is cached, and a small model learns
from it.

Labels of texts: logistic regression on one vector per text. Tags of words: a bidirectional LSTM on the states of all
pieces, trained by the one loop.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dokkai.data.order import split_by_tokens
from dokkai.errors import UserError
from dokkai.files import write_text
from dokkai.model.checkpoint import WEIGHTS, save_tensors
from dokkai.model.device import autocast
from dokkai.model.heads import Model
from dokkai.model.tagger import LayerChoice, Tagger, choose_layers
from dokkai.pipeline import CPU_BATCH_TOKENS, PADDING, Pipeline, check_length, load
from dokkai.progress import say, say_once
from dokkai.reporting.outcomes import describe
from dokkai.settings import (
    ClassificationSettings,
    ProbeSettings,
    Settings,
    TokenClassificationSettings,
    TrainSettings,
    load_settings,
)
from dokkai.tasks import Task, create_task
from dokkai.tasks.base import Batch, remarks_on
from dokkai.training.cached_states import CachedStates, cache_states
from dokkai.training.finetune import FeatureBatches, checksum_of
from dokkai.training.loop import train
from dokkai.training.run_directory import RunDirectory

PREDICTIONS = "predictions.jsonl"
_LBFGS_STEPS = 2000


def probe(
    recipe: str,
    start: str | Path,
    train_path: str | Path,
    dev_path: str | Path,
    out: str | Path,
    overrides: Sequence[str] = (),
    cache: str | Path | None = None,
    random_weights: bool = False,
    device: str | None = None,
) -> dict[str, float]:
    """Train a small model on features of the encoder ``start`` (as for ``load``), and score it on ``dev_path``.

    ``out`` becomes a run directory with ``predictions.jsonl``; the same call continues a stopped run. Features are kept
    in ``cache``, the folder ``features`` beside ``out`` if unset, and found there by the next call. ``random_weights``
    is the baseline: an encoder of the same shape that has learned nothing. Returns the metrics of the task.
    """
    settings, out = load_settings(recipe, overrides), Path(out)
    _check(settings, recipe)
    pipeline = replace(load(start, device, settings.train.precision), task=None)
    if random_weights:
        pipeline = replace(pipeline, model=Model(pipeline.model.config, seed=settings.train.seed))
    task = create_task(settings.task, pipeline.tokenizer)
    examples = task.read(Path(train_path))
    task = create_task(settings.task, pipeline.tokenizer, task.find_labels(examples, train_path))
    check_length(task, pipeline.model)
    dev = task.read(Path(dev_path))
    choice = choose_layers(settings.probe.layers, pipeline.model.config.num_hidden_layers)
    is_tagging = isinstance(settings.task, TokenClassificationSettings)
    if choice.way == "weighted" and not is_tagging:
        raise UserError(
            f"probe.layers={settings.probe.layers} learns its weights with a tagger; take sum or concat here"
        )
    sources: dict[str, Any] = {
        "from": str(Path(start)),
        "random_weights": random_weights,
        "train": str(train_path),
        "num_examples": len(examples),
        "dev": str(dev_path),
    }
    sources |= {"train_checksum": checksum_of(train_path), "dev_checksum": checksum_of(dev_path)}
    run = RunDirectory(out, "probe", settings.model_dump() | {"probe": settings.probe.model_dump()}, sources)
    if run.is_finished:
        say(f"{out}: this run is finished already")
        return run.metrics
    for line in remarks_on(task, examples, dev):
        say_once(line)
    sets = [task.encode(examples, training=True), task.encode(dev, training=False)]
    if not is_tagging and len(found := {example.label for example in examples}) < 2:  # the settings may name more
        raise UserError(f"{train_path}: only one label ('{found.pop()}') in it; a classification needs two")
    folder = Path(cache) if cache else out.absolute().parent / "features"
    pooling, dtype = ("none", settings.probe.dtype) if is_tagging else (settings.probe.pooling, "float32")
    states = [cache_states(pipeline, features, choice.layers, folder, pooling, dtype) for features in sets]
    with run:
        if is_tagging:
            outputs = _train_tagger(pipeline, task, choice, settings, sets, states, run, dev)
        else:
            outputs = _fit(choice, settings.probe, sets, states, len(task.labels))
            run.start_at(0)
        predictions = task.merge(dev, sets[1], outputs)
        metrics = task.score(dev, predictions)
        write_text(out / PREDICTIONS, "".join(f"{json.dumps(item, ensure_ascii=False)}\n" for item in predictions))
        run.finish(describe(task, dev, predictions, str(dev_path)), metrics=metrics)
    return metrics


def _check(settings: Settings, recipe: str) -> None:
    if not isinstance(settings.task, ClassificationSettings | TokenClassificationSettings):
        raise UserError(
            f"recipe '{recipe}' is for {settings.task.kind}; probing is for classification and token-classification"
        )
    if settings.train.optimizer != "adamw":
        raise UserError(f"train.optimizer={settings.train.optimizer} is for encoders; leave it out when probing")
    if settings.train.frozen_layers is not None:
        raise UserError("train.frozen_layers is for fine-tuning; when probing, the whole encoder stays as it is")


def _fit(
    choice: LayerChoice,
    settings: ProbeSettings,
    sets: Sequence[Sequence[Any]],
    states: Sequence[CachedStates],
    num_labels: int,
) -> list[list[float]]:
    """Logistic regression on the vectors of the first set; the probabilities of all labels for the second."""
    from sklearn.linear_model import LogisticRegression  # here, because the import takes seconds
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, unseen = (part.all() for part in states)  # (texts, layers, width)
    x, unseen = (part.sum(1) if choice.way == "sum" else part.reshape(len(part), -1) for part in (x, unseen))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / settings.penalty, max_iter=_LBFGS_STEPS))
    model.fit(x, [int(item.label) for item in sets[0]])
    probabilities = np.zeros((len(unseen), num_labels))
    probabilities[:, model.classes_] = model.predict_proba(unseen)  # a label of the settings may be in no example
    found: list[list[float]] = probabilities.tolist()
    return found


class _Trained:
    """The tagger in the place of a pipeline: what the loop trains and saves."""

    def __init__(self, model: Tagger, device: torch.device, precision: str) -> None:
        self.model, self.device, self.precision = model.to(device), device, precision

    def save(self, directory: Path) -> None:
        """Write its weights."""
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
        save_tensors(state, directory / WEIGHTS)


class _CachedBatches(FeatureBatches):
    """Updates whose batches carry ``states`` beside the rest."""

    def __init__(
        self, task: Task, features: Sequence[Any], states: CachedStates, settings: TrainSettings, device: torch.device
    ) -> None:
        super().__init__(task, features, settings, device)
        self._states = states

    def collate(self, part: np.ndarray, length: int) -> Batch:
        """A micro-batch of the features with these numbers."""
        return super().collate(part, length) | {"states": self._states.pad(part.tolist(), length)}


def _train_tagger(
    pipeline: Pipeline,
    task: Task,
    choice: LayerChoice,
    settings: Settings,
    sets: Sequence[Sequence[Any]],
    states: Sequence[CachedStates],
    run: RunDirectory,
    dev: Sequence[Any],
) -> list[Any]:
    """Train on the first set; one output per feature of the second."""
    p, device = settings.probe, pipeline.device
    width = pipeline.model.config.hidden_size
    seed = settings.train.seed
    model = Tagger(choice, width, len(task.labels), p.lstm_size, p.lstm_layers, p.dropout, seed)
    model.mix.standardize(*states[0].moments())
    trained = _Trained(model, device, pipeline.precision)
    batches = _CachedBatches(task, sets[0], states[0], settings.train, device)

    def outputs() -> list[Any]:
        return _read(trained, task, sets[1], states[1])

    def evaluate() -> dict[str, float]:
        return task.score(dev, task.merge(dev, sets[1], outputs()))

    say(f"training a tagger on {len(sets[0]):,} sequences, {settings.probe.layers}")
    train(trained, task, batches, settings.train, run, evaluate)
    weights = model.mix.weights
    if weights is not None:
        shares = weights.detach().softmax(0).tolist()
        say("weights: " + " · ".join(f"layer {n} {share:.3f}" for n, share in zip(choice.layers, shares, strict=True)))
    return outputs()


def _read(trained: _Trained, task: Task, features: Sequence[Any], states: CachedStates) -> list[Any]:
    outputs: list[Any] = [None] * len(features)
    trained.model.eval()
    padded = -(-np.array([len(item.input_ids) for item in features]) // PADDING) * PADDING
    for part in split_by_tokens(padded, np.arange(len(features)), CPU_BATCH_TOKENS):
        chosen, length = [features[i] for i in part], int(padded[part].max())
        batch = task.collate(chosen, length) | {"states": states.pad(part.tolist(), length)}
        with torch.inference_mode(), autocast(trained.device, trained.precision):
            logits = trained.model({name: tensor.to(trained.device) for name, tensor in batch.items()})
        moved = {name: tensor.cpu() for name, tensor in logits.items()}
        for index, output in zip(part, task.decode(moved, batch, chosen), strict=True):
            outputs[index] = output
    return outputs
