"""Pre-training: guess the masked words, and whether B follows A (paper, section 3.1).

B batch · L sequence length · V vocabulary · M masked positions
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dokkai.data import masking
from dokkai.data.instances import FullSequences, Instances, SentencePairs
from dokkai.data.order import generator, permutation
from dokkai.data.paper_instances import PaperPairs
from dokkai.data.shards import Corpus
from dokkai.errors import UserError
from dokkai.settings import PretrainingSettings
from dokkai.tasks.base import Batch, line_place, pad
from dokkai.tokenization import Tokenizer

_NO_LABEL = -100  # fills the list of masked positions up to its fixed length; carries no weight
_NO_WORDS = ("[unused", "[no token ")  # places that are free, and ids that a vocabulary file leaves out
_HELDOUT_SEED = 20181011  # held-out masks are the same in every run, whatever its seed
_HELDOUT_SHARE = 0.15
_LISTS = 4  # a run whose share of masked tokens changes has so many lengths of their list, one after the other
_HELDOUT = {  # and of the paper's kind, so that runs with other settings can be compared
    "masked_share": _HELDOUT_SHARE,
    "masked_share_least": None,
    "whole_word": False,
    "short_share": 0.1,
    "random_next_share": 0.5,
}


@dataclass(frozen=True, slots=True)
class MaskedSequence:
    """An instance after masking: the features of pre-training."""

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    positions: np.ndarray
    """``(m,)`` chosen positions."""
    originals: np.ndarray
    """``(m,)`` what stood there."""
    is_random_next: bool
    example: int = 0


class Pretraining:
    """Masked LM, with next-sentence prediction or without."""

    kind = "pretraining"
    primary_metric = "masked_lm_accuracy"
    labels: tuple[str, ...] = ()
    problem_type: str | None = None

    def __init__(self, settings: PretrainingSettings, tokenizer: Tokenizer) -> None:
        self.settings = settings
        self.heads: tuple[str, ...] = ("masked_lm", "next_sentence") if settings.next_sentence else ("masked_lm",)
        self._pad_id = tokenizer.pad_id
        self._fingerprint = tokenizer.fingerprint
        special = np.zeros(tokenizer.vocab_size, dtype=bool)
        special[sorted(tokenizer.special_ids)] = True
        unused = np.array([tokenizer.token(i).startswith(_NO_WORDS) for i in range(tokenizer.vocab_size)])
        self.vocabulary = masking.Vocabulary(
            cls_id=tokenizer.cls_id,
            sep_id=tokenizer.sep_id,
            mask_id=tokenizer.mask_id,
            pad_id=tokenizer.pad_id,
            regular_ids=np.flatnonzero(~special & ~unused),
            is_continuation=np.asarray(tokenizer.is_continuation),
        )
        self._released_vocabulary = replace(self.vocabulary, regular_ids=np.arange(tokenizer.vocab_size))
        self._most = dict(zip(settings.lengths, settings.max_predictions or (), strict=False))

    def read(self, path: Path) -> Sequence[MaskedSequence]:
        """The held-out slice of a prepared directory, masked once and for all."""
        return self.heldout(Corpus.open(path, "heldout", self._fingerprint))

    def find_labels(self, examples: Sequence[Any], path: str | Path) -> tuple[str, ...]:
        """None: the classes are words."""
        return ()

    def parse(self, record: Mapping[str, Any], index: int, place: str | None = None) -> MaskedSequence:
        """Not for this task: UserError."""
        where = place or line_place(index)
        raise UserError(
            f"{where}: a pre-trained model predicts masked words: use `dokkai fill-mask`, or fine-tune it first"
        )

    def instances(self, corpus: Corpus, length: int) -> Instances:
        """The corpus as numbered instances of at most ``length`` tokens."""
        settings = self.settings
        if settings.static_duplicates:
            shares = settings.short_share, settings.random_next_share
            return PaperPairs(corpus, self.vocabulary, length, *shares, settings.static_duplicates)
        return self._drawn_anew(corpus, length, self.settings)

    def _drawn_anew(self, corpus: Corpus, length: int, settings: PretrainingSettings) -> Instances:
        if settings.next_sentence:
            return SentencePairs(corpus, self.vocabulary, length, settings.short_share, settings.random_next_share)
        return FullSequences(corpus, self.vocabulary, length)

    def batch_sizes(self, otherwise: int) -> list[int]:
        """Sequences per update in each phase: ``otherwise``, unless ``batch_tokens`` is set."""
        tokens, lengths = self.settings.batch_tokens, self.settings.lengths
        if tokens is None:
            return [otherwise] * len(lengths)
        each = tokens if isinstance(tokens, list) else [tokens] * len(lengths)
        return [number // length for number, length in zip(each, lengths, strict=True)]

    def masked_share(self, share: float) -> float:
        """The share of the tokens to predict when ``share`` of the run is over."""
        start, end = self.settings.masked_share, self.settings.masked_share_end
        return start if end is None else start + (end - start) * share

    def masked(
        self,
        instances: Instances,
        index: int,
        length: int,
        rng: np.random.Generator,
        settings: PretrainingSettings | None = None,
        share: float = 0.0,
    ) -> MaskedSequence:
        """Draw instance ``index`` and its masks from ``rng``, when ``share`` of the run is over.

        ``settings`` stand in for those of the task, for a share of masks that stays.
        """
        item = instances.instance(index, rng)
        most = self._most.get(length) if settings is None else None
        masked_share = settings.masked_share if settings else self.masked_share(share)
        whole_word = (settings or self.settings).whole_word
        most = most or masking.max_predictions(length, masked_share)
        least = (settings or self.settings).masked_share_least
        if least is not None:
            masked_share = rng.uniform(least, masked_share)
        as_released = isinstance(instances, PaperPairs)
        vocabulary = self._released_vocabulary if as_released else self.vocabulary
        ids, positions, originals = masking.mask(
            item.input_ids, vocabulary, masked_share, most, whole_word, rng, as_released
        )
        return MaskedSequence(ids, item.token_type_ids, positions, originals, item.is_random_next)

    def heldout(self, corpus: Corpus) -> list[MaskedSequence]:
        """At most ``heldout_sequences`` masked sequences of one length, the same in every run."""
        length = self.settings.heldout_length or self.settings.lengths[0]
        settings = self.settings.model_copy(update=_HELDOUT)
        instances = self._drawn_anew(corpus, length, settings)
        size = min(len(instances), self.settings.heldout_sequences)
        chosen = permutation(len(instances), _HELDOUT_SEED, 0, 0)[:size]
        return [
            self.masked(instances, index, length, generator(_HELDOUT_SEED, "heldout", index), settings)
            for index in map(int, chosen)
        ]

    def encode(self, examples: Sequence[MaskedSequence], training: bool) -> Sequence[MaskedSequence]:
        """They are features already."""
        return examples

    def collate(self, features: Sequence[MaskedSequence], length: int, share: float | None = None) -> Batch:
        """Adds ``masked_positions`` and ``masked_labels`` ``(M,)``, M fixed by B and length, and ``is_random_next``.

        With ``masked_share_end`` M follows ``share``, what is over of the run (None: held-out sequences), in four
        steps. What fills up the list costs as much as a word to predict, and with 8,192 entries the head is near half
        of the work of L2-H128: from 30 % down to 15 %, one length would waste 25 % of it, four waste 8 %. Each one more
        is one more shape to compile.
        """
        batch = pad(features, length, self._pad_id)
        if not self.settings.next_sentence and bool(batch["attention_mask"].all()):
            del batch["attention_mask"]  # full sequences: attention without a mask is faster
        most = masking.max_predictions(length, self._longest_share(share))
        positions = np.zeros((len(features), most), dtype=np.int64)
        labels = np.full((len(features), most), _NO_LABEL, dtype=np.int64)
        for row, item in enumerate(features):
            positions[row, : len(item.positions)] = row * length + item.positions
            labels[row, : len(item.originals)] = item.originals
        batch["masked_positions"] = torch.from_numpy(positions.reshape(-1))
        batch["masked_labels"] = torch.from_numpy(labels.reshape(-1))
        if self.settings.next_sentence:
            batch["is_random_next"] = torch.tensor([int(item.is_random_next) for item in features])
        return batch

    def _longest_share(self, share: float | None) -> float:
        """The highest share of masked tokens that a list must have room for."""
        if share is None or self.settings.masked_share_end is None:
            return max(self.settings.masked_share, _HELDOUT_SHARE)
        begin = int(share * _LISTS) / _LISTS
        return max(self.masked_share(begin), self.masked_share(begin + 1 / _LISTS))

    def counts(self, batch: Batch) -> dict[str, int]:
        """Masked tokens, and pairs."""
        counts = {"masked_lm": int((batch["masked_labels"] != _NO_LABEL).sum())}
        if self.settings.next_sentence:
            counts["next_sentence"] = len(batch["is_random_next"])
        return counts

    def losses(self, logits: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropies, summed; the total of the paper is the sum of both means."""
        logits_MV = logits["masked_lm"].float()
        labels = batch["masked_labels"]
        losses = {"masked_lm": F.cross_entropy(logits_MV, labels, ignore_index=_NO_LABEL, reduction="sum")}
        if self.settings.next_sentence:
            logits_B2 = logits["next_sentence"].float()
            losses["next_sentence"] = F.cross_entropy(logits_B2, batch["is_random_next"], reduction="sum")
        return losses

    def decode(
        self, logits: Mapping[str, Tensor], batch: Batch, features: Sequence[MaskedSequence]
    ) -> list[dict[str, Any]]:
        """Per sequence: summed loss, hits and number of masked words; whether the pair was judged rightly."""
        logits_MV, labels = logits["masked_lm"].float(), batch["masked_labels"]
        loss = F.cross_entropy(logits_MV, labels, ignore_index=_NO_LABEL, reduction="none").view(len(features), -1)
        hits = (logits_MV.argmax(-1) == labels).view(len(features), -1)
        outputs = [
            {"loss": float(loss[row].sum()), "hits": int(hits[row].sum()), "masked": len(item.positions)}
            for row, item in enumerate(features)
        ]
        if self.settings.next_sentence:
            right = (logits["next_sentence"].argmax(-1) == batch["is_random_next"]).tolist()
            outputs = [output | {"pair": bool(hit)} for output, hit in zip(outputs, right, strict=True)]
        return outputs

    def merge(
        self, examples: Sequence[Any], features: Sequence[MaskedSequence], outputs: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """One output per sequence is one prediction."""
        return list(outputs)

    def score(self, examples: Sequence[Any], predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``masked_lm_loss`` (nats per masked token), ``masked_lm_accuracy``, ``next_sentence_accuracy``."""
        masked = sum(item["masked"] for item in predictions)
        scores = {
            "masked_lm_loss": sum(item["loss"] for item in predictions) / masked,
            "masked_lm_accuracy": sum(item["hits"] for item in predictions) / masked,
        }
        if self.settings.next_sentence:
            scores["next_sentence_accuracy"] = sum(item["pair"] for item in predictions) / len(predictions)
        return scores


class PretrainingBatches:
    """The updates of a run, each a list of micro-batches: a function of the seed, the step and the share of the run.

    ``steps`` is None where a clock ends the run. Then nobody knows beforehand at which step a phase begins, and its
    sequences are counted from step 0 of the run: it takes up its order in the midst of it, but none of an epoch is left
    out or comes twice, and a run that goes on needs no more than its step.
    """

    def __init__(
        self, task: Pretraining, corpus: Corpus, steps: int | None, batch_size: int, micro_batch_tokens: int, seed: int
    ) -> None:
        self.steps = steps
        self._task, self._seed = task, seed
        self._micro_batch_tokens = micro_batch_tokens
        self._lengths = task.settings.lengths
        self._batch_sizes = task.batch_sizes(batch_size)
        self._phases = [task.instances(corpus, length) for length in self._lengths]
        ends = [float(end) for end in np.cumsum(task.settings.length_shares)][:-1]  # the sum may be 0.9999999
        self._first_steps = [0, *(round(end * steps) if steps else 0 for end in ends)]
        self._ends = [first / steps for first in self._first_steps[1:]] if steps else ends  # between whole steps

    def __len__(self) -> int:
        if self.steps is None:
            raise TypeError("a run that ends by the clock has no number of steps")
        return self.steps

    def __getitem__(self, step: int) -> list[Batch]:
        """The micro-batches of update ``step`` of so many."""
        if not 0 <= step < len(self):
            raise IndexError(step)
        return self.at(step, step / len(self))

    def at(self, step: int, share: float) -> list[Batch]:
        """The micro-batches of update ``step``, when ``share`` of the run is over: ``batch_size`` sequences in all, or
        ``batch_tokens`` tokens.
        """
        phase = sum(share >= end for end in self._ends)
        length, instances = self._lengths[phase], self._phases[phase]
        features, batch_size = [], self._batch_sizes[phase]
        for row in range(batch_size):
            number = (step - self._first_steps[phase]) * batch_size + row
            index, rng = instances.draw(number, self._seed, phase)
            features.append(self._task.masked(instances, index, length, rng, share=share))
        rows = max(1, self._micro_batch_tokens // length)
        parts = [features[start : start + rows] for start in range(0, len(features), rows)]
        return [self._task.collate(part, length, share) for part in parts]
