"""Any number of labels for one text or a pair.

B batch · L sequence length · Y labels
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from dokkai.data.label_sets import LabelledText, read_label_sets
from dokkai.errors import UserError, did_you_mean
from dokkai.evaluation.metrics import multi_label_scores
from dokkai.settings import MultiLabelSettings
from dokkai.tasks.base import Batch, Guessing, entropy, line_place
from dokkai.tasks.texts import TextFeatures, collate_texts, encode_texts, parse_texts
from dokkai.tokenization import Tokenizer

_NO_LABEL = -1.0


class MultiLabel:
    """A yes or no for every label."""

    kind = "multi-label"
    heads: tuple[str, ...] = ("classification",)
    problem_type: str | None = "multi_label_classification"

    def __init__(self, settings: MultiLabelSettings, tokenizer: Tokenizer, labels: tuple[str, ...]) -> None:
        self.settings, self.labels = settings, labels or tuple(settings.labels or settings.label_columns or ())
        self.primary_metric: str = settings.metric
        self._tokenizer = tokenizer

    def read(self, path: Path) -> Sequence[LabelledText]:
        """Rows with their labels; UserError for one that the model does not know."""
        rows = read_label_sets(path, self.settings)
        for row in rows:
            for label in row.labels or ():
                if self.labels and label not in self.labels:
                    raise UserError(f"{path} {row.place}: unknown label '{label}'{did_you_mean(label, self.labels)}")
        return rows

    def find_labels(self, examples: Sequence[LabelledText], path: str | Path) -> tuple[str, ...]:
        """Those of the settings, or all in the examples, sorted; UserError if there is none."""
        labels = self.labels or tuple(sorted({label for row in examples for label in row.labels or ()}))
        if not labels:
            raise UserError(f"{path}: no text in it has a label (column '{self.settings.label}')")
        return labels

    def parse(self, record: Mapping[str, Any], index: int, place: str | None = None) -> LabelledText:
        """``{"text": ..., "pair": ..., "id": ...}``, with the column names of the settings."""
        place = place or line_place(index)
        text, pair, name = parse_texts(record, index, place, self.settings)
        return LabelledText(text, pair, None, name, place)

    def encode(self, examples: Sequence[LabelledText], training: bool) -> list[TextFeatures]:
        """One feature per row, cut to ``max_length`` tokens. UserError if there are no labels to train on."""
        if training and any(row.labels is None for row in examples):
            raise UserError("rows without labels to train on; each needs them, or an empty field for none")
        unknown = [_NO_LABEL] * len(self.labels)
        labels = [
            np.array(unknown if row.labels is None else [name in row.labels for name in self.labels], dtype=np.float32)
            for row in examples
        ]
        return encode_texts(examples, labels, self.settings, self._tokenizer)

    def collate(self, features: Sequence[TextFeatures], length: int) -> Batch:
        """Adds ``labels`` ``(B, Y)``: 1 and 0, -1 where they are not known."""
        return collate_texts(features, length, self._tokenizer)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Labelled rows times labels."""
        return {"multi_label": int((batch["labels"] != _NO_LABEL).sum())}

    def losses(self, logits: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Binary cross-entropy, summed over rows and labels."""
        logits_BY, labels_BY = logits["classification"].float(), batch["labels"]
        is_known_BY = (labels_BY != _NO_LABEL).float()
        loss = F.binary_cross_entropy_with_logits(logits_BY, labels_BY.clamp(min=0), is_known_BY, reduction="sum")
        return {"multi_label": loss}

    def decode(self, logits: Mapping[str, Tensor], batch: Batch, features: Sequence[TextFeatures]) -> list[list[float]]:
        """Probabilities of the labels, per feature, under the temperature of the settings."""
        logits_BY = logits["classification"].float() / self.settings.temperature
        probabilities: list[list[float]] = logits_BY.sigmoid().tolist()
        return probabilities

    def merge(
        self, examples: Sequence[LabelledText], features: Sequence[TextFeatures], outputs: Sequence[list[float]]
    ) -> list[dict[str, Any]]:
        """``id``, ``text``, ``pair`` if any, ``labels`` (above the threshold) and ``probabilities`` of all by name.

        The threshold is one of the probabilities before the temperature, so that labels do not depend on it.
        """
        least = 1 / (1 + (1 / self.settings.threshold - 1) ** (1 / self.settings.temperature))
        predictions = []
        for row, output in zip(examples, outputs, strict=True):
            probabilities = dict(zip(self.labels, output, strict=True))
            chosen = [label for label, value in probabilities.items() if value > least]
            known = {"id": row.id, "text": row.text} | ({} if row.pair is None else {"pair": row.pair})
            predictions.append({**known, "labels": chosen, "probabilities": probabilities})
        return predictions

    def score(self, examples: Sequence[LabelledText], predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``f1_micro``, ``f1_macro``, ``accuracy`` (all labels of a text are right)."""
        if any(row.labels is None for row in examples):
            raise UserError("the examples have no labels, so there is nothing to compare with")
        return multi_label_scores(
            [row.labels or () for row in examples], [p["labels"] for p in predictions], self.labels
        )

    def guessing(self, examples: Sequence[LabelledText]) -> Guessing:
        """The same labels for everything, each as likely as it is frequent."""
        shares = [sum(label in (row.labels or ()) for row in examples) / len(examples) for label in self.labels]
        return Guessing(float(np.mean([entropy((share, 1 - share)) for share in shares])), "labels")

    def with_temperature(self, temperature: float) -> Self:
        """The same task with another ``temperature``."""
        settings = self.settings.model_copy(update={"temperature": temperature})
        return type(self)(settings, self._tokenizer, self.labels)
