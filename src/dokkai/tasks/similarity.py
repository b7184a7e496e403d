"""Vectors of texts, tuned on pairs that mean alike: the other pairs of an update are what they must differ from.

Contrastive learning with in-batch negatives, on the cosine (Gao et al. 2021, "SimCSE", arXiv 2104.08821, section 4;
Reimers and Gurevych 2019, "Sentence-BERT", arXiv 1908.10084). There is no head: the vector of a text is pooled from the
last layer.

P pairs · B batch, 2P · L sequence length · D hidden size
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dokkai.data.rows import Row, read_rows
from dokkai.errors import UserError
from dokkai.evaluation.metrics import regression_scores
from dokkai.progress import say
from dokkai.settings import SimilaritySettings
from dokkai.tasks.base import Batch, line_place, pad
from dokkai.tasks.texts import parse_texts
from dokkai.tokenization import Encoding, Tokenizer


@dataclass(frozen=True, slots=True)
class PairFeatures:
    """Two texts, two rows of a batch; ``is_positive``: they are known to mean alike."""

    first: Encoding
    second: Encoding
    example: int
    is_positive: bool

    @property
    def input_ids(self) -> list[int]:
        """The longer one's: so long is a batch."""
        return max(self.first.input_ids, self.second.input_ids, key=len)

    @property
    def token_type_ids(self) -> list[int]:
        """As many zeros: each text stands alone."""
        return [0] * len(self.input_ids)

    @property
    def rows(self) -> tuple[Encoding, Encoding]:
        """What fills the rows of a batch."""
        return self.first, self.second


class Similarity:
    """How alike two texts are, by the cosine of their vectors."""

    kind = "similarity"
    heads: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    problem_type: str | None = None
    primary_metric = "spearman"

    def __init__(self, settings: SimilaritySettings, tokenizer: Tokenizer) -> None:
        self.settings = settings
        self._tokenizer = tokenizer

    def read(self, path: Path) -> Sequence[Row]:
        """Pairs of texts from a table or JSON lines; UserError for a score that is no number where one is needed."""
        s = self.settings
        rows = read_rows(path, s.text, s.pair, s.label, s.id, s.header, s.format, s.ragged)
        if not isinstance(s.positive, str):
            for row in rows:
                _number(row.label, f"{path} {row.place}")
        return rows

    def find_labels(self, examples: Sequence[Row], path: str | Path) -> tuple[str, ...]:
        """There are none."""
        return ()

    def parse(self, record: Mapping[str, Any], index: int, place: str | None = None) -> Row:
        """``{"text": ..., "pair": ..., "id": ...}``, with the column names of the settings."""
        place = place or line_place(index)
        text, pair, name = parse_texts(record, index, place, self.settings)
        return Row(text, pair, None, name, place)

    def encode(self, examples: Sequence[Row], training: bool) -> list[PairFeatures]:
        """One feature per pair, each text cut to ``max_length`` tokens; for training only pairs that are alike.

        UserError if there are fewer than two of these: one pair has nothing to differ from.
        """
        s = self.settings
        firsts = self._tokenizer.tokens_batch([row.text for row in examples])
        seconds = self._tokenizer.tokens_batch([row.pair or "" for row in examples])
        features, num_cut = [], 0
        for number, row in enumerate(examples):
            is_positive = s.label is None or self.is_positive(row)
            if training and not is_positive:
                continue
            first = self._tokenizer.assemble(firsts[number], None, s.max_length)
            second = self._tokenizer.assemble(seconds[number], None, s.max_length)
            num_cut += (first.num_truncated > 0) + (second.num_truncated > 0)
            features.append(PairFeatures(first, second, number, is_positive))
        if training and len(features) < 2:
            raise UserError(
                f"{len(features)} of {len(examples)} pairs are alike (task.positive={s.positive}); two or more are "
                "needed: set task.positive to the label, or the lowest score, of such pairs"
            )
        if training and len(features) < len(examples):
            say(f"{len(features)} of {len(examples)} pairs are alike; the others are not trained on")
        if num_cut:
            say(f"{num_cut} texts are cut to {s.max_length} tokens")
        return features

    def collate(self, features: Sequence[PairFeatures], length: int) -> Batch:
        """The first texts, then the second ones: ``(2P, length)``.

        Adds ``is_positive`` ``(P,)``, and ``is_other`` ``(P, P)``: whether two pairs have no text in common. Only such
        pairs are told apart; a text that occurs twice is not to differ from itself.
        """
        sides = [[item.first for item in features], [item.second for item in features]]
        batch = pad([*sides[0], *sides[1]], length, self._tokenizer.pad_id)
        batch["is_positive"] = torch.tensor([item.is_positive for item in features])
        numbers: dict[tuple[int, ...], int] = {}
        text_PS = np.array(
            [
                [numbers.setdefault(tuple(side.input_ids), len(numbers)) for side in pair]
                for pair in zip(*sides, strict=True)
            ]
        )
        is_same_PPSS = text_PS[:, None, :, None] == text_PS[None, :, None, :]
        batch["is_other"] = torch.from_numpy(~is_same_PPSS.any((-2, -1)))
        return batch

    def counts(self, batch: Batch) -> dict[str, int]:
        """Pairs that are alike."""
        return {"similarity": int(batch["is_positive"].sum())}

    def losses(self, logits: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Which of all second texts belongs to a first one, and the other way round: the mean of both cross-entropies,
        summed over the pairs.
        """
        first_PD, second_PD = self._vectors(logits, batch)
        scores_PP = first_PD @ second_PD.T / self.settings.temperature
        is_shown_PP = batch["is_other"] | torch.eye(len(first_PD), dtype=torch.bool, device=first_PD.device)
        scores_PP = scores_PP.masked_fill(~is_shown_PP, -torch.inf)
        both_PP = scores_PP.log_softmax(1) + scores_PP.log_softmax(0)
        return {"similarity": -(both_PP.diagonal() * batch["is_positive"]).sum() / 2}

    def decode(self, logits: Mapping[str, Tensor], batch: Batch, features: Sequence[PairFeatures]) -> list[float]:
        """The cosine of each pair."""
        first_PD, second_PD = self._vectors(logits, batch)
        cosines: list[float] = (first_PD * second_PD).sum(-1).tolist()
        return cosines

    def merge(
        self, examples: Sequence[Row], features: Sequence[PairFeatures], outputs: Sequence[float]
    ) -> list[dict[str, Any]]:
        """``id``, ``text``, ``pair`` and ``similarity``, the cosine."""
        return [
            {"id": row.id, "text": row.text, "pair": row.pair, "similarity": value}
            for row, value in zip(examples, outputs, strict=True)
        ]

    def score(self, examples: Sequence[Row], predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``spearman`` and ``pearson`` of cosine and score."""
        scores = regression_scores(self.scores_of(examples), [item["similarity"] for item in predictions])
        return {name: scores[name] for name in ("spearman", "pearson")}

    def scores_of(self, examples: Sequence[Row]) -> list[float]:
        """How alike they are; where ``positive`` is a label, 1 for it, else 0. UserError if they have no labels."""
        if any(row.label is None for row in examples):
            raise UserError("the examples have no labels, so there is nothing to compare with")
        is_named = isinstance(self.settings.positive, str)
        return [float(self.is_positive(row)) if is_named else _number(row.label, "") for row in examples]

    def is_positive(self, row: Row) -> bool:
        """Whether its label or score says that the texts are alike."""
        wanted = self.settings.positive
        if row.label is None or isinstance(wanted, str):
            return row.label is not None and row.label == wanted
        return wanted is None or _number(row.label, row.place) >= wanted

    def _vectors(self, logits: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """Of the first and the second texts, each ``(P, D)`` of length 1, in float32."""
        x_BD = pool(logits["states"].float(), batch["attention_mask"], self.settings.pooling)
        first_PD, second_PD = F.normalize(x_BD, dim=-1).chunk(2)
        return first_PD, second_PD


def pool(x_BLD: Tensor, attention_mask: Tensor, pooling: str) -> Tensor:
    """One vector for each text, ``(B, D)``: the mean or the maximum of its tokens, or its first, [CLS]."""
    mask_BL1 = attention_mask[:, :, None].bool()
    match pooling:
        case "mean":
            return x_BLD.masked_fill(~mask_BL1, 0).sum(1) / mask_BL1.sum(1)
        case "max":
            return x_BLD.masked_fill(~mask_BL1, -torch.inf).amax(1)
        case "cls":
            return x_BLD[:, 0]
        case _:
            raise ValueError(f"pooling is mean, max or cls, not '{pooling}'")


def _number(label: str | None, where: str) -> float:
    try:
        number = float(label or 0)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(
            f"{where}: the score '{label}' is no number; if it is a label, set task.positive to that of pairs that are "
            "alike"
        )
    return number
