"""Classification of one text or a pair (paper, section 4.1).

B batch · L sequence length · Y labels
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from dokkai.data.rows import Row, read_rows
from dokkai.errors import UserError, did_you_mean
from dokkai.evaluation.metrics import classification_scores
from dokkai.settings import ClassificationSettings
from dokkai.tasks.base import Batch, Guessing, entropy, line_place
from dokkai.tasks.texts import TextFeatures, collate_texts, encode_texts, parse_texts
from dokkai.tokenization import Tokenizer

_NO_LABEL = -100


class Classification:
    """One label per example."""

    kind = "classification"
    heads: tuple[str, ...] = ("classification",)
    problem_type: str | None = "single_label_classification"

    def __init__(self, settings: ClassificationSettings, tokenizer: Tokenizer, labels: tuple[str, ...]) -> None:
        self.settings, self.labels = settings, labels or tuple(settings.labels or ())
        self.primary_metric: str = settings.metric
        self._tokenizer = tokenizer
        self._numbers = {label: number for number, label in enumerate(self.labels)}

    def read(self, path: Path) -> Sequence[Row]:
        """Labelled rows of a table or of JSON lines; UserError for a label the model does not know."""
        s = self.settings
        rows = read_rows(path, s.text, s.pair, s.label, s.id, s.header, s.format, s.ragged, s.skip_short)
        for row in rows:
            if self.labels and row.label is not None and row.label not in self._numbers:
                raise UserError(
                    f"{path} {row.place}: unknown label '{row.label}'{did_you_mean(row.label, self.labels)}"
                )
        return rows

    def find_labels(self, examples: Sequence[Row], path: str | Path) -> tuple[str, ...]:
        """Those of the settings, or all in the examples, sorted; UserError if they are too few."""
        labels = self.labels or tuple(sorted({str(row.label) for row in examples}))
        if len(labels) < 2:
            raise UserError(f"{path}: only one label ('{labels[0]}') in it; a classification needs two")
        if self.primary_metric == "f1_binary" and len(labels) != 2:
            raise UserError(f"{path}: {len(labels)} labels in it, and task.metric=f1_binary is for two; take f1_macro")
        return labels

    def parse(self, record: Mapping[str, Any], index: int, place: str | None = None) -> Row:
        """``{"text": ..., "pair": ..., "id": ...}``, with the column names of the settings."""
        place = place or line_place(index)
        text, pair, name = parse_texts(record, index, place, self.settings)
        return Row(text, pair, None, name, place)

    def encode(self, examples: Sequence[Row], training: bool) -> list[TextFeatures]:
        """One feature per row, cut to ``max_length`` tokens. UserError if there are no labels to train on."""
        if training and any(row.label is None for row in examples):
            raise UserError("rows without labels to train on; each needs one")
        labels = [np.array(_NO_LABEL if row.label is None else self._numbers[row.label]) for row in examples]
        return encode_texts(examples, labels, self.settings, self._tokenizer)

    def collate(self, features: Sequence[TextFeatures], length: int) -> Batch:
        """Adds ``labels`` ``(B,)``."""
        return collate_texts(features, length, self._tokenizer)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Labelled rows."""
        return {"classification": int((batch["labels"] != _NO_LABEL).sum())}

    def losses(self, logits: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, summed over the rows."""
        logits_BY = logits["classification"].float()
        return {"classification": F.cross_entropy(logits_BY, batch["labels"], reduction="sum", ignore_index=_NO_LABEL)}

    def decode(self, logits: Mapping[str, Tensor], batch: Batch, features: Sequence[TextFeatures]) -> list[list[float]]:
        """Probabilities of the labels, per feature, under the temperature of the settings."""
        logits_BY = logits["classification"].float() / self.settings.temperature
        probabilities: list[list[float]] = logits_BY.softmax(-1).tolist()
        return probabilities

    def merge(
        self, examples: Sequence[Row], features: Sequence[TextFeatures], outputs: Sequence[list[float]]
    ) -> list[dict[str, Any]]:
        """``id``, ``text``, ``pair`` if any, the likeliest ``label``, its ``probability``, and ``probabilities``."""
        predictions = []
        for row, output in zip(examples, outputs, strict=True):
            best = int(np.argmax(output))
            predictions.append(
                {
                    "id": row.id,
                    "text": row.text,
                    **({} if row.pair is None else {"pair": row.pair}),
                    "label": self.labels[best],
                    "probability": output[best],
                    "probabilities": dict(zip(self.labels, output, strict=True)),
                }
            )
        return predictions

    def score(self, examples: Sequence[Row], predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``accuracy``, ``f1_macro``, ``f1_micro``, ``f1_binary`` (of the second of two labels), ``matthews``."""
        if any(row.label is None for row in examples):
            raise UserError("the examples have no labels, so there is nothing to compare with")
        return classification_scores(
            [str(row.label) for row in examples], [item["label"] for item in predictions], self.labels
        )

    def guessing(self, examples: Sequence[Row]) -> Guessing:
        """One label for everything; with equally many of each a loss of ln(number of labels)."""
        counts = Counter(row.label for row in examples).values()
        return Guessing(entropy(count / len(examples) for count in counts), "label")

    def with_temperature(self, temperature: float) -> Self:
        """The same task with another ``temperature``."""
        settings = self.settings.model_copy(update={"temperature": temperature})
        return type(self)(settings, self._tokenizer, self.labels)
