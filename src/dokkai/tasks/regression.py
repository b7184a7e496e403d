"""Regression: a number for one text or a pair, such as how alike they are (STS-B in the paper, section 4.1).

B batch · L sequence length
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dokkai.data.rows import Row, read_rows
from dokkai.errors import UserError
from dokkai.evaluation.metrics import regression_scores
from dokkai.settings import RegressionSettings
from dokkai.tasks.base import Batch, line_place
from dokkai.tasks.texts import TextFeatures, collate_texts, encode_texts, parse_texts
from dokkai.tokenization import Tokenizer


class Regression:
    """One number per example, as it stands in the file: it is not scaled. ``labels`` holds its name."""

    kind = "regression"
    heads: tuple[str, ...] = ("classification",)
    problem_type: str | None = "regression"

    def __init__(self, settings: RegressionSettings, tokenizer: Tokenizer, labels: tuple[str, ...] = ()) -> None:
        self.settings, self.labels = settings, labels or (settings.label,)
        self.primary_metric: str = settings.metric
        self._tokenizer = tokenizer

    def read(self, path: Path) -> Sequence[Row]:
        """Rows of a table or of JSON lines; UserError for a label that is no number."""
        s = self.settings
        rows = read_rows(path, s.text, s.pair, s.label, s.id, s.header, s.format, s.ragged, s.skip_short)
        for row in rows:
            if not _is_number(row.label):
                raise UserError(f"{path} {row.place}: '{row.label}' (column '{s.label}') is no number; write it as 1.5")
        return rows

    def find_labels(self, examples: Sequence[Row], path: str | Path) -> tuple[str, ...]:
        """The name of the number."""
        return self.labels

    def parse(self, record: Mapping[str, Any], index: int, place: str | None = None) -> Row:
        """``{"text": ..., "pair": ..., "id": ...}``, with the column names of the settings."""
        place = place or line_place(index)
        text, pair, name = parse_texts(record, index, place, self.settings)
        return Row(text, pair, None, name, place)

    def encode(self, examples: Sequence[Row], training: bool) -> list[TextFeatures]:
        """One feature per row, cut to ``max_length`` tokens. UserError if there are no numbers to train on."""
        if training and any(row.label is None for row in examples):
            raise UserError("rows without numbers to train on; each needs one")
        labels = [np.array(row.label or "nan", dtype=np.float32) for row in examples]
        return encode_texts(examples, labels, self.settings, self._tokenizer)

    def collate(self, features: Sequence[TextFeatures], length: int) -> Batch:
        """Adds ``labels`` ``(B,)``, NaN where they are not known."""
        return collate_texts(features, length, self._tokenizer)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Rows with a number."""
        return {"regression": int((~batch["labels"].isnan()).sum())}

    def losses(self, logits: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Squared error, summed over the rows."""
        error_B = logits["classification"].float().squeeze(-1) - batch["labels"]
        return {"regression": torch.where(batch["labels"].isnan(), 0.0, error_B).square().sum()}

    def decode(self, logits: Mapping[str, Tensor], batch: Batch, features: Sequence[TextFeatures]) -> list[float]:
        """The number of each feature."""
        values: list[float] = logits["classification"].float().squeeze(-1).tolist()
        return values

    def merge(
        self, examples: Sequence[Row], features: Sequence[TextFeatures], outputs: Sequence[float]
    ) -> list[dict[str, Any]]:
        """``id``, ``text``, ``pair`` if any, and ``value``."""
        return [
            {"id": row.id, "text": row.text, **({} if row.pair is None else {"pair": row.pair}), "value": value}
            for row, value in zip(examples, outputs, strict=True)
        ]

    def score(self, examples: Sequence[Row], predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``pearson``, ``spearman``, ``mean_squared_error``."""
        if any(row.label is None for row in examples):
            raise UserError("the examples have no numbers, so there is nothing to compare with")
        return regression_scores([float(row.label or "nan") for row in examples], [p["value"] for p in predictions])


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False
