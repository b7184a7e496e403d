"""One text or a pair of texts as model input: what classification, several labels and regression share.

B batch · L sequence length · Y labels
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from dokkai.data.tables import text_of
from dokkai.errors import UserError
from dokkai.progress import say
from dokkai.settings import TextSettings
from dokkai.tasks.base import Batch, pad
from dokkai.tokenization import Tokenizer


class Texts(Protocol):
    """An example with one text or two."""

    @property
    def text(self) -> str:
        """The first text."""
        ...

    @property
    def pair(self) -> str | None:
        """The second text."""
        ...


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """One text or pair; ``label`` is what the loss compares with: one number, or one for each label ``(Y,)``."""

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    example: int
    label: np.ndarray


def parse_texts(
    record: Mapping[str, Any], index: int, place: str, settings: TextSettings
) -> tuple[str, str | None, str]:
    """Text, second text and id of one record, under the column names of the settings."""
    for column in (settings.text, settings.pair):
        if column is not None and column not in record:
            raise UserError(f"{place}: no text under '{column}'; found: {', '.join(record) or 'nothing'}")
    values, name = dict(record), record.get(settings.id or "id", str(index))
    pair = text_of(values, settings.pair, place) if settings.pair else None
    return text_of(values, settings.text, place), pair, str(name)


def encode_texts(
    examples: Sequence[Texts], labels: Sequence[np.ndarray], settings: TextSettings, tokenizer: Tokenizer
) -> list[TextFeatures]:
    """One feature per example, cut to ``max_length`` tokens; how many are cut is said."""
    firsts = tokenizer.tokens_batch([item.text for item in examples])
    seconds = tokenizer.tokens_batch([item.pair or "" for item in examples]) if settings.pair else None
    features, num_cut = [], 0
    for number, label in enumerate(labels):
        second = seconds[number] if seconds is not None else None
        encoding = tokenizer.assemble(firsts[number], second, settings.max_length)
        num_cut += encoding.num_truncated > 0
        ids, types = np.array(encoding.input_ids), np.array(encoding.token_type_ids)
        features.append(TextFeatures(ids, types, number, label))
    if num_cut:
        say(f"{num_cut} of {len(examples)} examples are cut to {settings.max_length} tokens")
    return features


def collate_texts(features: Sequence[TextFeatures], length: int, tokenizer: Tokenizer) -> Batch:
    """Padded, with ``labels`` ``(B,)`` or ``(B, Y)``."""
    batch = pad(features, length, tokenizer.pad_id)
    batch["labels"] = torch.from_numpy(np.stack([item.label for item in features]))
    return batch
