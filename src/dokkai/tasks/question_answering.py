"""Question answering: the span of a text that answers a question, or that there is none (paper, sections 4.2, 4.3).

Long texts are read in overlapping windows; answers are cut out of the original text by the offsets of their tokens
(``spans.py``).

B batch · L sequence length
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dokkai.data.squad import Question, read_squad
from dokkai.errors import UserError
from dokkai.evaluation.metrics import best_null_threshold, exact_matches, squad_scores
from dokkai.progress import Progress, say
from dokkai.settings import QuestionAnsweringSettings
from dokkai.tasks.base import Batch, line_place, pad
from dokkai.tasks.spans import Reading, choose, merge_readings, read_window
from dokkai.tokenization import Encoding, Tokenizer

_NO_LABEL = -100
_BLOCK = 1000  # questions tokenized at a time


@dataclass(frozen=True, slots=True)
class Window:
    """A question with one window of its context: the features of question answering.

    ``text`` is the whole context. ``context`` is the first and the last position of its tokens here, plus one.
    ``offsets`` ``(n, 2)`` are code points in the text. ``is_best_view`` ``(n,)`` says for each token of the context
    whether no other window shows more around it. ``start`` and ``end`` are the positions of the answer, both 0 ([CLS])
    if the window holds none, -100 if unknown.
    """

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    example: int
    text: str
    context: tuple[int, int]
    offsets: np.ndarray
    is_best_view: np.ndarray
    start: int
    end: int


class QuestionAnswering:
    """SQuAD 1.1, and with ``no_answer`` SQuAD 2.0."""

    kind = "question-answering"
    heads: tuple[str, ...] = ("span",)
    labels: tuple[str, ...] = ()
    problem_type: str | None = None

    def __init__(self, settings: QuestionAnsweringSettings, tokenizer: Tokenizer) -> None:
        self.settings = settings
        self.primary_metric: str = settings.metric
        self._tokenizer = tokenizer

    def read(self, path: Path) -> Sequence[Question]:
        """Questions of a SQuAD file, or of a table; UserError names the line."""
        return read_squad(path, self.settings)

    def find_labels(self, examples: Sequence[Question], path: str | Path) -> tuple[str, ...]:
        """None: answers are places."""
        return ()

    def parse(self, record: Mapping[str, Any], index: int, place: str | None = None) -> Question:
        """``{"question": ..., "context": ..., "id": ...}``, with the column names of the settings."""
        s = self.settings
        for key in (s.question, s.context):
            if not isinstance(record.get(key), str):
                where = place or line_place(index)
                raise UserError(f"{where}: no text under '{key}'; found: {', '.join(record) or 'nothing'}")
        name = str(record.get(s.id or "id", index))
        return Question(name, record[s.question], record[s.context], (), is_labelled=False)

    def encode(self, examples: Sequence[Question], training: bool) -> list[Window]:
        """All windows of all questions, in order. UserError if the questions cannot be trained on.

        For training it is said how many answers lie in no window whole: their questions teach "no answer" ([CLS]), as
        in the release.
        """
        if training and not self.settings.no_answer and any(item.is_impossible for item in examples):
            number = sum(item.is_impossible for item in examples)
            raise UserError(f"{number} questions have no answer; train with task.no_answer=true (SQuAD 2.0)")
        if training and any(not item.is_labelled for item in examples):
            one = self.settings.answer
            raise UserError(f"questions without answers to train on; each needs the key 'answers', or one in '{one}'")
        features: list[Window] = []
        with Progress("tokenizing questions", len(examples), "questions") as progress:
            for begin in range(0, len(examples), _BLOCK):
                block = examples[begin : begin + _BLOCK]
                for number, windows in enumerate(self._windows(block)):
                    features += _features(block[number], begin + number, windows, self.settings.stride)
                progress.advance(len(block))
        if training:
            held = {item.example for item in features if item.start > 0}
            answered = [number for number, item in enumerate(examples) if item.answers]
            if num_lost := sum(number not in held for number in answered):
                say(f"{num_lost} of {len(answered)} answers lie in no window whole; trained on as if there were none")
        return features

    def _windows(self, questions: Sequence[Question]) -> Iterable[list[Encoding]]:
        contexts = list(dict.fromkeys(item.context for item in questions))  # a text with ten questions is cut up once
        tokens = dict(zip(contexts, self._tokenizer.tokens_batch(contexts), strict=True))
        s = self.settings
        for item, asked in zip(questions, self._tokenizer.tokens_batch([q.question for q in questions]), strict=True):
            yield self._tokenizer.assemble_windows(
                asked, tokens[item.context], s.max_length, s.stride, s.max_question_length
            )

    def collate(self, features: Sequence[Window], length: int) -> Batch:
        """Adds ``starts`` and ``ends`` ``(B,)``."""
        batch = pad(features, length, self._tokenizer.pad_id)
        batch["starts"] = torch.tensor([item.start for item in features])
        batch["ends"] = torch.tensor([item.end for item in features])
        return batch

    def counts(self, batch: Batch) -> dict[str, int]:
        """Windows whose answer is known."""
        return {"span": int((batch["starts"] != _NO_LABEL).sum())}

    def losses(self, logits: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Half the cross-entropy of the start and half that of the end, summed over the windows.

        Padding is left out; in the release it competes too, with logits that mean nothing.
        """
        start_BL, end_BL = _masked(logits["span"], batch)
        loss = F.cross_entropy(start_BL, batch["starts"], reduction="sum", ignore_index=_NO_LABEL)
        loss = loss + F.cross_entropy(end_BL, batch["ends"], reduction="sum", ignore_index=_NO_LABEL)
        return {"span": loss / 2}

    def decode(self, logits: Mapping[str, Tensor], batch: Batch, features: Sequence[Window]) -> list[Reading]:
        """Per window: its best candidates, and the score of [CLS], which stands for "no answer"."""
        start_BL, end_BL = (part.cpu().numpy() for part in logits["span"].float().unbind(-1))
        return [
            read_window(start_L[: len(item.input_ids)], end_L[: len(item.input_ids)], item, self.settings)
            for start_L, end_L, item in zip(start_BL, end_BL, features, strict=True)
        ]

    def merge(
        self, examples: Sequence[Question], features: Sequence[Window], outputs: Sequence[Reading]
    ) -> list[dict[str, Any]]:
        """Per question ``id``, ``question``, ``answer`` ("" for none), ``start``, ``end``, ``probability``,
        ``null_odds``, ``nbest``.

        ``start`` and ``end`` are code points in the context. ``probability`` is that of the answer beside the others of
        the n-best list, under ``null_threshold`` and both temperatures; those in the list know neither, as in the
        release. ``null_odds`` is the score of no answer minus that of the best answer
        (a huge number where the context is empty).
        """
        readings: dict[int, list[Reading]] = defaultdict(list)
        for item, reading in zip(features, outputs, strict=True):
            readings[item.example].append(reading)
        predictions = []
        for number, question in enumerate(examples):
            nbest, null_odds = merge_readings(question.context, readings[number], self.settings)
            found = {"id": question.id, "question": question.question, "null_odds": null_odds, "nbest": nbest}
            predictions.append(self._decide(found))
        return predictions

    def decide(self, predictions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The predictions as they are under this task's ``null_threshold``."""
        return [self._decide(item) for item in predictions]

    def _decide(self, item: Mapping[str, Any]) -> dict[str, Any]:
        chosen = choose(item["nbest"], item["null_odds"], self.settings)
        known = {name: item[name] for name in ("id", "question") if name in item}
        return {**known, **chosen, "null_odds": item["null_odds"], "nbest": item["nbest"]}

    def score(self, examples: Sequence[Question], predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``exact`` and ``f1`` in percent as the official script gives them, and both by kind of question; with
        ``scoring`` "characters" by the rules of JSQuAD.

        Under ``no_answer``, and where there are unanswerable questions, also ``best_exact``, ``best_exact_thresh``,
        ``best_f1`` and ``best_f1_thresh``, as the script gives them for these predictions and their null odds.
        """
        answers = _answers(examples)
        texts = {item["id"]: item["answer"] for item in predictions}
        scores = squad_scores(answers, texts, scoring=self.settings.scoring)
        if self.settings.no_answer and not all(answers.values()):
            scores |= best_null_threshold(answers, texts, _null_odds(predictions), self.settings.scoring)
        return scores

    def has_threshold(self, examples: Sequence[Question]) -> bool:
        """Whether a null threshold can be found on these questions."""
        return self.settings.no_answer and not all(_answers(examples).values())

    def check_threshold(self, examples: Sequence[Question]) -> None:
        """UserError if none can be found."""
        if not self.has_threshold(examples):
            raise UserError("a null threshold needs a model with task.no_answer and a file with unanswerable questions")

    def best_threshold(self, examples: Sequence[Question], predictions: Sequence[dict[str, Any]]) -> float:
        """The ``null_threshold`` with the best F1, found as the official script does, but with the best text of every
        question: it may lie above the threshold that the predictions were made with. With ``null_slack`` it is the
        highest that costs no more.

        UserError if there is none: nothing is better than to refuse every question.
        """
        self.check_threshold(examples)
        answers = _answers(examples)
        texts = {p["id"]: next((n["answer"] for n in p["nbest"] if n["answer"]), "") for p in predictions}
        s = self.settings
        best = best_null_threshold(answers, texts, _null_odds(predictions), s.scoring, s.null_slack)
        if best["best_f1"] <= 100.0 * sum(not golds for golds in answers.values()) / len(answers):
            raise UserError("no null threshold is better than refusing every question; train the model longer")
        return best["best_f1_thresh"]

    def is_right(self, examples: Sequence[Question], predictions: Sequence[dict[str, Any]]) -> list[bool]:
        """Whether each prediction matches a correct answer exactly, or rightly refuses."""
        answers = _answers(examples)
        texts = {item["id"]: item["answer"] for item in predictions}
        exact = exact_matches(answers, texts, self.settings.scoring)
        return [exact[item.id] for item in examples]

    def with_threshold(self, threshold: float) -> Self:
        """The same task with another ``null_threshold``."""
        return type(self)(self.settings.model_copy(update={"null_threshold": threshold}), self._tokenizer)

    def with_temperature(self, temperature: float, null_temperature: float | None = None) -> Self:
        """The same task with another ``temperature`` and ``null_temperature``."""
        changes = {"temperature": temperature, "null_temperature": null_temperature}
        return type(self)(self.settings.model_copy(update=changes), self._tokenizer)


def _answers(examples: Sequence[Question]) -> dict[str, list[str]]:
    if any(not item.is_labelled for item in examples):
        raise UserError("the questions have no answers, so there is nothing to compare with")
    return {item.id: [answer.text for answer in item.answers] for item in examples}


def _null_odds(predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
    return {item["id"]: item["null_odds"] for item in predictions}


def _features(question: Question, number: int, windows: Sequence[Encoding], stride: int) -> list[Window]:
    spans = [_context(window) for window in windows]
    views = _best_views(windows, spans, stride)
    out = []
    for window, span, is_best_view in zip(windows, spans, views, strict=True):
        offsets = np.array(window.offsets, dtype=np.int32).reshape(-1, 2)
        start, end = _answer_positions(question, offsets, span)
        out.append(
            Window(
                np.array(window.input_ids, dtype=np.int32),
                np.array(window.token_type_ids, dtype=np.int8),
                number,
                question.context,
                span,
                offsets,
                is_best_view,
                start,
                end,
            )
        )
    return out


def _context(window: Encoding) -> tuple[int, int]:
    """Where the tokens of the context begin and end in a window; the [SEP] behind them is not one of them."""
    first = len(window) - 1 - sum(1 for sequence in window.sequence_ids if sequence == 1)
    return first, len(window) - 1


def _best_views(windows: Sequence[Encoding], spans: Sequence[tuple[int, int]], stride: int) -> list[np.ndarray]:
    """For each window, which tokens are seen best in it (release: ``_check_is_max_context``).

    A token in several windows belongs to the one with the most context on its poorer side, the first at a tie.
    """
    sizes = [last - first for first, last in spans]
    starts = [number * min(sizes[0], stride) for number in range(len(windows))]  # in tokens of the context
    best = np.full(starts[-1] + sizes[-1], -1.0)
    owner = np.zeros(len(best), dtype=np.int64)
    for number, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        place = np.arange(size)
        view = np.minimum(place, size - 1 - place) + 0.01 * size
        better = np.flatnonzero(view > best[start : start + size])
        best[start + better], owner[start + better] = view[better], number
    out = []
    for number, (window, (first, last)) in enumerate(zip(windows, spans, strict=True)):
        is_best = np.zeros(len(window), dtype=bool)
        is_best[first:last] = owner[starts[number] : starts[number] + sizes[number]] == number
        out.append(is_best)
    return out


def _answer_positions(question: Question, offsets: np.ndarray, span: tuple[int, int]) -> tuple[int, int]:
    """The tokens of the first answer if the window holds it whole, else (0, 0), which is [CLS]."""
    if not question.is_labelled:
        return _NO_LABEL, _NO_LABEL
    first, last = span
    for answer in question.answers[:1]:
        text = answer.text.strip()  # white space is no token
        begin = answer.start + answer.text.index(text)
        stop = begin + len(text)
        inside = first + np.flatnonzero((offsets[first:last, 1] > begin) & (offsets[first:last, 0] < stop))
        if len(inside):
            start, end = int(inside[0]), int(inside[-1])
            # A neighbour in the window shows that nothing is cut off: what no token covers (a control mark) is none.
            begins = offsets[start, 0] <= begin or start > first
            ends = offsets[end, 1] >= stop or end < last - 1
            if begins and ends:
                return start, end
    return 0, 0


def _masked(logits_BL2: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    hidden = batch["attention_mask"] == 0
    start_BL, end_BL = logits_BL2.float().unbind(-1)
    return start_BL.masked_fill(hidden, float("-inf")), end_BL.masked_fill(hidden, float("-inf"))
