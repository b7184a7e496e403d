"""What a task is: examples to features to batches, logits to losses, logits to predictions to metrics.

    examples --encode--> features --collate--> batch
    batch --model--> logits --losses--> sums to minimize, divided by counts over the whole update
                     logits --decode--> one output per feature --merge--> one prediction per example
    predictions --score--> metrics

B batch · L sequence length · M masked positions
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dokkai.data.checks import check_examples

Batch = dict[str, Tensor]


def line_place(index: int) -> str:
    """Where record ``index`` stands, if each has a line of its own and nothing else is known."""
    return f"line {index + 1}"


class ModelInput(Protocol):
    """One model input, not padded: an ``Encoding``, or the features of a task."""

    @property
    def input_ids(self) -> np.ndarray | list[int]:
        """``(n,)``."""
        ...

    @property
    def token_type_ids(self) -> np.ndarray | list[int]:
        """``(n,)``."""
        ...


class Features(ModelInput, Protocol):
    """A model input made from an example. Tasks add what they need to train on it and to decode it."""

    @property
    def example(self) -> int:
        """The index of the example it was made from."""
        ...


class Task(Protocol):
    """One kind of task. Losses belong here; heads return logits; what a prediction looks like is decided here."""

    kind: str
    heads: tuple[str, ...]
    """The heads of the model, by their names in ``model.heads``."""
    labels: tuple[str, ...]
    """Names of the classes, in the order of the logits; empty where there are none."""
    problem_type: str | None
    """What ``transformers`` calls the loss of a head that classifies sequences; None for other heads."""
    primary_metric: str
    """The key of ``score`` that says which of two models is better (higher is)."""
    settings: Any

    def read(self, path: Path) -> Sequence[Any]:
        """Examples from a file (or, for pre-training, a prepared directory)."""
        ...

    def find_labels(self, examples: Sequence[Any], path: str | Path) -> tuple[str, ...]:
        """The ``labels`` to train with: of the settings, or of the examples (from ``path``); UserError if too few."""
        ...

    def parse(self, record: Mapping[str, Any], index: int, place: str | None = None) -> Any:
        """An unlabelled example from one record, for ``predict``.

        ``index`` is the id of one that has none; ``place`` is where it stands, for errors (unset: line ``index`` + 1).
        """
        ...

    def encode(self, examples: Sequence[Any], training: bool) -> Sequence[Any]:
        """Features of the examples, in order; an example may give several."""
        ...

    def collate(self, features: Sequence[Any], length: int) -> Batch:
        """Pad features to ``(B, length)`` and stack them, labels included where they are known."""
        ...

    def counts(self, batch: Batch) -> dict[str, int]:
        """How many targets each loss of ``losses`` sums over."""
        ...

    def losses(self, logits: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Scalar sums by name; the loop divides each by its count over the whole update and adds them up."""
        ...

    def decode(self, logits: Mapping[str, Tensor], batch: Batch, features: Sequence[Any]) -> list[Any]:
        """One output per feature."""
        ...

    def merge(self, examples: Sequence[Any], features: Sequence[Any], outputs: Sequence[Any]) -> list[dict[str, Any]]:
        """One prediction per example, ready for JSON."""
        ...

    def score(self, examples: Sequence[Any], predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Metrics; UserError if the examples carry no labels."""
        ...


@dataclass(frozen=True, slots=True)
class Guessing:
    """What the best guess comes to that does not look at the text.

    ``loss`` is its mean over the targets of ``losses``. ``key`` is where predictions have what it gives to every
    example alike; None: they do not show it, and the loss alone tells.
    """

    loss: float
    key: str | None


def remarks_on(task: Task, train: Sequence[Any], dev: Sequence[Any]) -> list[str]:
    """What there is to say of the examples of a task, a line each (``check_examples``)."""
    named = (f"task.{name}" for name in ("labels", "label_columns") if getattr(task.settings, name, None))
    labels = () if task.problem_type == "regression" else task.labels  # of numbers the one label is no class
    return check_examples(train, dev, labels, next(named, None))


def guessing_of(task: Task, examples: Sequence[Any]) -> Guessing | None:
    """What guessing comes to on labelled examples; None for a kind of task that has no method ``guessing``."""
    found: Guessing | None = task.guessing(examples) if hasattr(task, "guessing") else None
    return found


def entropy(shares: Iterable[float]) -> float:
    """In nats, of shares that add up to 1: the loss of who knows them and nothing else."""
    return sum(share * math.log(1 / share) for share in shares if share)


def rows(feature: Any) -> tuple[ModelInput, ...]:
    """The sequences that a feature fills rows of a batch with: the choices of a question, both texts; else itself."""
    found: tuple[ModelInput, ...] = getattr(feature, "rows", (feature,))
    return found


def num_rows(features: Sequence[Any]) -> np.ndarray:
    """How many rows of a batch each feature fills, ``(n,)``."""
    return np.array([len(rows(item)) for item in features], dtype=np.int64)


def pad(features: Sequence[ModelInput], length: int, pad_id: int) -> Batch:
    """``input_ids``, ``token_type_ids`` and ``attention_mask``, each ``(B, length)`` int64."""
    input_ids = np.full((len(features), length), pad_id, dtype=np.int64)
    token_type_ids = np.zeros((len(features), length), dtype=np.int64)
    attention_mask = np.zeros((len(features), length), dtype=np.int64)
    for row, item in enumerate(features):
        size = len(item.input_ids)
        input_ids[row, :size] = item.input_ids
        token_type_ids[row, :size] = item.token_type_ids
        attention_mask[row, :size] = 1
    return {
        "input_ids": torch.from_numpy(input_ids),
        "token_type_ids": torch.from_numpy(token_type_ids),
        "attention_mask": torch.from_numpy(attention_mask),
    }
