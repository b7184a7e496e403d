"""A tag for each word, such as the names in a text (paper, section 5.3).

The first piece of a word stands for it. Sentences longer than a sequence are read in windows, each word where most is
seen around it.

B batch · L sequence length · W words read in a sequence · Y labels
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dokkai.data.columns import WORDS, Sentence, read_sentences
from dokkai.errors import UserError, did_you_mean
from dokkai.evaluation.metrics import are_entity_tags, find_entities, tag_scores
from dokkai.progress import say
from dokkai.settings import TokenClassificationSettings
from dokkai.tasks.base import Batch, line_place, pad
from dokkai.tasks.sentence_windows import Pieces, Window, sentence_windows
from dokkai.tokenization import Tokenizer

_NO_LABEL = -100
_OUTSIDE = "O"


@dataclass(frozen=True, slots=True)
class TaggedText:
    """The words of one text and their tags; ``spans`` are their places in ``text``, in code points.

    ``document`` is the number of its document: texts that follow one another in the same one are neighbours.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    tags: tuple[str, ...] | None
    id: str
    place: str
    document: int

    @property
    def words(self) -> list[str]:
        """The words, in order."""
        return [self.text[start:end] for start, end in self.spans]


@dataclass(frozen=True, slots=True)
class TagFeatures:
    """One sequence, and which words of the example are read in it.

    ``words`` ``(W,)`` are their numbers, ``positions`` ``(W,)`` the places of their first pieces, ``labels`` ``(W,)``
    the numbers of their tags, -100 if unknown.
    """

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    example: int
    words: np.ndarray
    positions: np.ndarray
    labels: np.ndarray


class TokenClassification:
    """One tag per word; entities where the tags are such as B-PER and I-PER."""

    kind = "token-classification"
    heads: tuple[str, ...] = ("token_classification",)
    problem_type: str | None = None

    def __init__(self, settings: TokenClassificationSettings, tokenizer: Tokenizer, labels: tuple[str, ...]) -> None:
        self.settings, self.labels = settings, labels or tuple(settings.labels or ())
        self.primary_metric: str = settings.metric
        self._tokenizer = tokenizer
        self._numbers = {label: number for number, label in enumerate(self.labels)}

    def read(self, path: Path) -> Sequence[TaggedText]:
        """Sentences of a file, their words with one space between; UserError for a tag the model does not know."""
        s = self.settings
        sentences = read_sentences(path, s.words, s.tags, s.id, format=s.format)
        for sentence in sentences:
            for number, tag in enumerate(sentence.tags or ()):
                if self.labels and tag not in self._numbers:
                    where = f"{path} {sentence.place_of(number)}"
                    raise UserError(f"{where}: unknown tag '{tag}'{did_you_mean(tag, self.labels)}")
        return [tagged_text(sentence) for sentence in sentences]

    def find_labels(self, examples: Sequence[TaggedText], path: str | Path) -> tuple[str, ...]:
        """Those of the settings, or all in the examples, sorted, O first; UserError if they are too few."""
        found = {tag for item in examples for tag in item.tags or ()}
        labels = self.labels or tuple(sorted(found, key=lambda tag: (tag != _OUTSIDE, tag)))
        if len(labels) < 2:
            raise UserError(f"{path}: only one tag ('{labels[0]}') in it; a classification needs two")
        if self.primary_metric == "f1" and not are_entity_tags(labels):
            raise UserError(
                f"{path}: tags such as '{labels[0]}' mark no entities (B-..., I-..., O); set task.metric=accuracy"
            )
        return labels

    def parse(self, record: Mapping[str, Any], index: int, place: str | None = None) -> TaggedText:
        """``{"tokens": [...]}``, or ``words``, or ``{"text": ...}``, in which words are what the tokenizer says."""
        place = place or line_place(index)
        name = str(record.get(self.settings.id or "id", index))
        column = self.settings.words or ""
        if not column or column.lstrip("-").isdigit():  # a number: trained on files with a word a line
            column = next((usual for usual in WORDS if usual in record), WORDS[0])
        words = record.get(column)
        if isinstance(words, list) and words and all(type(word) in (str, int) and word != "" for word in words):
            return replace(tagged_text(Sentence(tuple(map(str, words)), None, name, place)), document=index)
        text = record.get("text")
        if not isinstance(text, str):
            raise UserError(
                f"{place}: no text under 'text', and no list of words under '{column}'; "
                f"found: {', '.join(record) or 'nothing'}"
            )
        return TaggedText(text, tuple(self._tokenizer.words(text)), None, name, place, index)

    def encode(self, examples: Sequence[TaggedText], training: bool) -> list[TagFeatures]:
        """All sequences of all sentences, in order; how many sentences need several is said.

        To train on with ``shared_windows`` those of whole documents; ``example`` is then the number of the document.
        UserError if there are no tags to train on.
        """
        if training and any(item.tags is None for item in examples):
            raise UserError("sentences without tags to train on; each word needs one")
        s = self.settings
        is_shared = training and s.document_context and s.shared_windows
        if is_shared:
            examples = _join(examples)
        documents = [item.document for item in examples] if s.document_context and not is_shared else None
        features, num_long = [], 0
        pieces = self._pieces(examples)
        for number, windows in enumerate(sentence_windows(pieces, documents, s.max_length - 2, s.stride)):
            num_long += len(windows) > 1
            tags = examples[number].tags
            known = None if tags is None else np.array([self._numbers[tag] for tag in tags], dtype=np.int64)
            features += [self._features(window, number, known) for window in windows]
        if num_long and not is_shared:
            say(f"{num_long} of {len(examples)} sentences are longer than {s.max_length} tokens: read in windows")
        return features

    def _features(self, window: Window, number: int, labels: np.ndarray | None) -> TagFeatures:
        ids = np.array([self._tokenizer.cls_id, *window.ids, self._tokenizer.sep_id], dtype=np.int32)
        chosen = np.full(len(window.words), _NO_LABEL) if labels is None else labels[window.words]
        return TagFeatures(ids, np.zeros(len(ids), dtype=np.int8), number, window.words, window.starts + 1, chosen)

    def _pieces(self, examples: Sequence[TaggedText]) -> list[Pieces]:
        """Each word cut up alone, as the tags were made for it; a word that leaves nothing is unknown."""
        words = list(dict.fromkeys(word for item in examples for word in item.words))
        ids = self._tokenizer.token_ids_batch(words)
        table = {word: found or [self._tokenizer.unk_id] for word, found in zip(words, ids, strict=True)}
        return [Pieces([table[word] for word in item.words]) for item in examples]

    def collate(self, features: Sequence[TagFeatures], length: int) -> Batch:
        """Adds ``labels`` ``(B, L)``: -100 but at the first pieces of words."""
        batch = pad(features, length, self._tokenizer.pad_id)
        labels_BL = np.full((len(features), length), _NO_LABEL, dtype=np.int64)
        for row, item in enumerate(features):
            labels_BL[row, item.positions] = item.labels
        batch["labels"] = torch.from_numpy(labels_BL)
        return batch

    def counts(self, batch: Batch) -> dict[str, int]:
        """Tagged words."""
        return {"token_classification": int((batch["labels"] != _NO_LABEL).sum())}

    def losses(self, logits: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, summed over the words."""
        logits_BLY = logits["token_classification"].float()
        loss = F.cross_entropy(
            logits_BLY.flatten(0, 1), batch["labels"].flatten(), reduction="sum", ignore_index=_NO_LABEL
        )
        return {"token_classification": loss}

    def decode(
        self, logits: Mapping[str, Tensor], batch: Batch, features: Sequence[TagFeatures]
    ) -> list[list[tuple[int, int, float]]]:
        """Per sequence the number of each word read in it, that of its likeliest tag, and its probability."""
        values_BL, tags_BL = logits["token_classification"].float().softmax(-1).max(-1)
        values, tags = values_BL.numpy(), tags_BL.numpy()
        return [
            list(
                zip(
                    item.words.tolist(),
                    tags[row, item.positions].tolist(),
                    values[row, item.positions].tolist(),
                    strict=True,
                )
            )
            for row, item in enumerate(features)
        ]

    def merge(
        self,
        examples: Sequence[TaggedText],
        features: Sequence[TagFeatures],
        outputs: Sequence[list[tuple[int, int, float]]],
    ) -> list[dict[str, Any]]:
        """``id``, ``text``, ``tokens``, ``tags`` and ``probabilities`` of the words in order, where the tags mark them
        ``entities``: ``type``, ``text``, ``start`` and ``end`` in the text, ``words`` (the first, the last plus one).

        The text of a list of words is these with a space between.
        """
        words: list[list[tuple[int, int, float]]] = [[] for _ in examples]
        for feature, output in zip(features, outputs, strict=True):
            words[feature.example] += output
        predictions = []
        for item, found in zip(examples, words, strict=True):
            found.sort()
            tags = [self.labels[tag] for _, tag, _ in found]
            predictions.append(
                {
                    "id": item.id,
                    "text": item.text,
                    "tokens": item.words,
                    "tags": tags,
                    "probabilities": [value for _, _, value in found],
                    "entities": self._entities(item, tags),
                }
            )
        return predictions

    def _entities(self, item: TaggedText, tags: list[str]) -> list[dict[str, Any]]:
        if not are_entity_tags(self.labels):
            return []
        entities = []
        for name, first, last in find_entities(tags):
            start, end = item.spans[first][0], item.spans[last - 1][1]
            place = {"start": start, "end": end, "words": [first, last]}
            entities.append({"type": name, "text": item.text[start:end], **place})
        return entities

    def score(self, examples: Sequence[TaggedText], predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``accuracy`` of words; of entities ``f1``, ``precision``, ``recall``, and the F1 of each type."""
        if any(item.tags is None for item in examples):
            raise UserError("the sentences have no tags, so there is nothing to compare with")
        return tag_scores([item.tags or () for item in examples], [item["tags"] for item in predictions])


def _join(examples: Sequence[TaggedText]) -> list[TaggedText]:
    """Each document as one text."""
    found: list[TaggedText] = []
    for _, group in groupby(examples, key=lambda item: item.document):
        words: list[str] = []
        tags: list[str] = []
        for item in group:
            words += item.words
            tags += item.tags or ()
        found.append(tagged_text(Sentence(tuple(words), tuple(tags), "", "", len(found))))
    return found


def tagged_text(sentence: Sentence) -> TaggedText:
    """The words of a sentence with one space between."""
    ends = np.cumsum([len(word) + 1 for word in sentence.words]).tolist()
    spans = tuple((end - 1 - len(word), end - 1) for word, end in zip(sentence.words, ends, strict=True))
    return TaggedText(" ".join(sentence.words), spans, sentence.tags, sentence.id, sentence.place, sentence.document)
