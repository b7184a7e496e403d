"""Classification of one text or a pair (paper, section 4.1).

B batch · L sequence length · Y labels
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dokkai.data.rows import Row, read_rows
from dokkai.errors import UserError, did_you_mean
from dokkai.evaluation.metrics import classification_scores
from dokkai.progress import say
from dokkai.settings import ClassificationSettings
from dokkai.tasks.base import Batch, pad
from dokkai.tokenization import Tokenizer

_NO_LABEL = -100


@dataclass(frozen=True, slots=True)
class ClassificationFeatures:
    """One text or pair; ``label`` is its class number, or -100 if it is not known."""

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    example: int
    label: int


class Classification:
    """One label per example."""

    kind = "classification"
    heads: tuple[str, ...] = ("classification",)
    primary_metric = "accuracy"

    def __init__(self, settings: ClassificationSettings, tokenizer: Tokenizer, labels: tuple[str, ...]) -> None:
        self.settings, self.labels = settings, labels
        self._tokenizer = tokenizer
        self._numbers = {label: number for number, label in enumerate(labels)}

    def read(self, path: Path) -> Sequence[Row]:
        """Labelled rows of a table or of JSON lines; UserError for a label the model does not know."""
        s = self.settings
        rows = read_rows(path, text=s.text, pair=s.pair, label=s.label, id=s.id, header=s.header)
        for row in rows:
            if self.labels and row.label is not None and row.label not in self._numbers:
                raise UserError(
                    f"{path} line {row.line}: unknown label '{row.label}'{did_you_mean(row.label, self.labels)}"
                )
        return rows

    def parse(self, record: Mapping[str, Any], index: int) -> Row:
        """``{"text": ..., "pair": ..., "id": ...}``, with the column names of the settings."""
        s = self.settings
        for column in (s.text, s.pair):
            if column is not None and not isinstance(record.get(column), str):
                raise UserError(f"line {index + 1}: no text under '{column}'; found: {', '.join(record) or 'nothing'}")
        name = record.get(s.id or "id", str(index))
        return Row(record[s.text], record[s.pair] if s.pair else None, None, str(name), index + 1)

    def encode(self, examples: Sequence[Row], training: bool) -> list[ClassificationFeatures]:
        """One feature per row, cut to ``max_length`` tokens. UserError if there are no labels to train on."""
        if training and any(row.label is None for row in examples):
            raise UserError("rows without labels to train on; each needs one")
        firsts = self._tokenizer.tokens_batch([row.text for row in examples])
        seconds = self._tokenizer.tokens_batch([row.pair or "" for row in examples]) if self.settings.pair else None
        features, num_cut = [], 0
        for number, row in enumerate(examples):
            second = seconds[number] if seconds is not None else None
            encoding = self._tokenizer.assemble(firsts[number], second, self.settings.max_length)
            num_cut += encoding.num_truncated > 0
            label = _NO_LABEL if row.label is None else self._numbers[row.label]
            ids, types = np.array(encoding.input_ids), np.array(encoding.token_type_ids)
            features.append(ClassificationFeatures(ids, types, number, label))
        if num_cut:
            say(f"{num_cut} of {len(examples)} examples are cut to {self.settings.max_length} tokens")
        return features

    def collate(self, features: Sequence[ClassificationFeatures], length: int) -> Batch:
        """Adds ``labels`` ``(B,)``."""
        batch = pad(features, length, self._tokenizer.pad_id)
        batch["labels"] = torch.tensor([item.label for item in features])
        return batch

    def counts(self, batch: Batch) -> dict[str, int]:
        """Labelled rows."""
        return {"classification": int((batch["labels"] != _NO_LABEL).sum())}

    def losses(self, logits: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, summed over the rows."""
        logits_BY = logits["classification"].float()
        return {"classification": F.cross_entropy(logits_BY, batch["labels"], reduction="sum", ignore_index=_NO_LABEL)}

    def decode(
        self, logits: Mapping[str, Tensor], batch: Batch, features: Sequence[ClassificationFeatures]
    ) -> list[list[float]]:
        """Probabilities of the labels, per feature."""
        probabilities: list[list[float]] = logits["classification"].float().softmax(-1).tolist()
        return probabilities

    def merge(
        self, examples: Sequence[Row], features: Sequence[ClassificationFeatures], outputs: Sequence[list[float]]
    ) -> list[dict[str, Any]]:
        """``id``, the likeliest ``label``, its ``probability``, and ``probabilities`` of all labels by name."""
        predictions = []
        for row, output in zip(examples, outputs, strict=True):
            best = int(np.argmax(output))
            predictions.append(
                {
                    "id": row.id,
                    "label": self.labels[best],
                    "probability": output[best],
                    "probabilities": dict(zip(self.labels, output, strict=True)),
                }
            )
        return predictions

    def score(self, examples: Sequence[Row], predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``accuracy``, ``f1_macro``, ``f1_binary`` (of the second of two labels), ``matthews``."""
        if any(row.label is None for row in examples):
            raise UserError("the examples have no labels, so there is nothing to compare with")
        return classification_scores(
            [str(row.label) for row in examples], [item["label"] for item in predictions], self.labels
        )
