"""Multiple choice: which of several texts fits (paper, section 4.4).

Each choice is a sequence of its own behind what is asked, and the softmax goes over the choices of a question.

B batch · C choices · N sequences of a batch, the choices of all its questions · L sequence length
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dokkai.data.choices import ChoiceQuestion, parse_question, read_choices, shown_label
from dokkai.errors import UserError
from dokkai.progress import say
from dokkai.settings import MultipleChoiceSettings
from dokkai.tasks.base import Batch, Guessing, line_place, pad
from dokkai.tokenization import Encoding, Tokenizer

_NO_LABEL = -100


@dataclass(frozen=True, slots=True)
class ChoiceFeatures:
    """One question with a sequence for each of its choices; ``label`` is the right one, -100 if unknown."""

    choices: tuple[Encoding, ...]
    example: int
    label: int

    @property
    def input_ids(self) -> list[int]:
        """Of the longest choice, ``(n,)``: what the others are padded to."""
        return max((choice.input_ids for choice in self.choices), key=len)

    @property
    def token_type_ids(self) -> list[int]:
        """Of the longest choice, ``(n,)``."""
        return max((choice.token_type_ids for choice in self.choices), key=len)

    @property
    def rows(self) -> tuple[Encoding, ...]:
        """What fills the rows of a batch."""
        return self.choices


class MultipleChoice:
    """One of several choices, as many as the question has."""

    kind = "multiple-choice"
    heads: tuple[str, ...] = ("multiple_choice",)
    problem_type: str | None = None
    labels: tuple[str, ...] = ()

    def __init__(self, settings: MultipleChoiceSettings, tokenizer: Tokenizer) -> None:
        self.settings = settings
        self.primary_metric: str = settings.metric
        self._tokenizer = tokenizer

    def read(self, path: Path) -> Sequence[ChoiceQuestion]:
        """Questions of a file; UserError for a label that is none of the choices."""
        return read_choices(path, self.settings)

    def find_labels(self, examples: Sequence[ChoiceQuestion], path: str | Path) -> tuple[str, ...]:
        """None: choices have no names."""
        return ()

    def parse(self, record: Mapping[str, Any], index: int, place: str | None = None) -> ChoiceQuestion:
        """Context, question, choices and id under the column names of the settings."""
        s, place = self.settings, place or line_place(index)
        name = str(record.get(s.id or "id", index))
        chosen = s.model_copy(update={"id": None})
        return parse_question(record, chosen, name, place, place, is_labelled=False)

    def encode(self, examples: Sequence[ChoiceQuestion], training: bool) -> list[ChoiceFeatures]:
        """One feature per question. UserError if the right choices are not known, to train on.

        ``[CLS] context [SEP] question choice [SEP]``; without a context, or a question, ``[CLS] what there is [SEP]
        choice [SEP]``. How many choices are cut is said.
        """
        if training and any(item.label is None for item in examples):
            raise UserError("questions without the right choice to train on; each needs one")
        firsts = list(dict.fromkeys(map(_asked, examples)))  # a text with ten questions is cut up once
        tokens = dict(zip(firsts, self._tokenizer.tokens_batch(firsts), strict=True))
        seconds = iter(self._tokenizer.tokens_batch([text for item in examples for text in _answers(item)]))
        features, num_cut = [], 0
        for number, item in enumerate(examples):
            first = tokens[_asked(item)]
            choices = tuple(
                self._tokenizer.assemble(first, next(seconds), self.settings.max_length) for _ in item.choices
            )
            num_cut += any(choice.num_truncated > 0 for choice in choices)
            features.append(ChoiceFeatures(choices, number, _NO_LABEL if item.label is None else item.label))
        if num_cut:
            say(f"{num_cut} of {len(examples)} questions are cut to {self.settings.max_length} tokens with a choice")
        return features

    def collate(self, features: Sequence[ChoiceFeatures], length: int) -> Batch:
        """``(N, length)``, with ``labels`` ``(B,)`` and ``choice_rows`` ``(B, C)``: rows of choices, -1 for none."""
        batch = pad([choice for item in features for choice in item.choices], length, self._tokenizer.pad_id)
        rows_BC = np.full((len(features), max(len(item.choices) for item in features)), -1, dtype=np.int64)
        start = 0
        for number, item in enumerate(features):
            rows_BC[number, : len(item.choices)] = np.arange(start, start + len(item.choices))
            start += len(item.choices)
        batch["choice_rows"] = torch.from_numpy(rows_BC)
        batch["labels"] = torch.tensor([item.label for item in features])
        return batch

    def counts(self, batch: Batch) -> dict[str, int]:
        """Questions whose right choice is known."""
        return {"multiple_choice": int((batch["labels"] != _NO_LABEL).sum())}

    def losses(self, logits: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy over the choices, summed over the questions."""
        logits_BC = _by_question(logits, batch)
        return {"multiple_choice": F.cross_entropy(logits_BC, batch["labels"], reduction="sum", ignore_index=_NO_LABEL)}

    def decode(
        self, logits: Mapping[str, Tensor], batch: Batch, features: Sequence[ChoiceFeatures]
    ) -> list[list[float]]:
        """Probabilities of its choices, per question, under the temperature of the settings."""
        probabilities = (_by_question(logits, batch) / self.settings.temperature).softmax(-1).tolist()
        return [row[: len(item.choices)] for row, item in zip(probabilities, features, strict=True)]

    def merge(
        self,
        examples: Sequence[ChoiceQuestion],
        features: Sequence[ChoiceFeatures],
        outputs: Sequence[list[float]],
    ) -> list[dict[str, Any]]:
        """``id``, ``context`` and ``question`` if any, the likeliest ``label`` as the files write it, its text
        (``choice``) and ``probability``, and the ``probabilities`` of all choices in their order.
        """
        predictions = []
        for item, output in zip(examples, outputs, strict=True):
            best = int(np.argmax(output))
            predictions.append(
                {
                    "id": item.id,
                    **({} if item.context is None else {"context": item.context}),
                    **({} if item.question is None else {"question": item.question}),
                    "label": shown_label(item, best, self.settings),
                    "choice": item.choices[best],
                    "probability": output[best],
                    "probabilities": output,
                }
            )
        return predictions

    def score(self, examples: Sequence[ChoiceQuestion], predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``accuracy``."""
        if any(item.label is None for item in examples):
            raise UserError("the right choices are not known, so there is nothing to compare with")
        guesses = [int(np.argmax(prediction["probabilities"])) for prediction in predictions]
        return {
            "accuracy": float(np.mean([item.label == guess for item, guess in zip(examples, guesses, strict=True)]))
        }

    def guessing(self, examples: Sequence[ChoiceQuestion]) -> Guessing:
        """All choices of a question alike, ln(number of choices). Which one is predicted then is chance."""
        return Guessing(float(np.mean([np.log(len(item.choices)) for item in examples])), None)

    def with_temperature(self, temperature: float) -> Self:
        """The same task with another ``temperature``."""
        return type(self)(self.settings.model_copy(update={"temperature": temperature}), self._tokenizer)


def _asked(item: ChoiceQuestion) -> str:
    return item.question or "" if item.context is None else item.context


def _answers(item: ChoiceQuestion) -> list[str]:
    if item.context is None or item.question is None:
        return list(item.choices)
    return [f"{item.question} {choice}" for choice in item.choices]


def _by_question(logits: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """``(N,)`` to ``(B, C)``, where a question has fewer choices with logits of minus infinity."""
    rows_BC = batch["choice_rows"]
    return logits["multiple_choice"].float()[rows_BC.clamp(min=0)].masked_fill(rows_BC < 0, float("-inf"))
