"""Question answering: the span of a text that answers a question, or that there is none (paper, sections 4.2, 4.3).

Long texts are read in overlapping windows; answers are cut out of the original text by the offsets of their tokens.

B batch · L sequence length
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dokkai.data.squad import Question, read_squad
from dokkai.errors import UserError
from dokkai.evaluation.metrics import squad_scores
from dokkai.progress import Progress
from dokkai.settings import QuestionAnsweringSettings
from dokkai.tasks.base import Batch, pad
from dokkai.tokenization import Encoding, Tokenizer

_NO_LABEL = -100
_NO_RIVAL = float(np.finfo(np.float32).max)  # in place of infinity, which JSON does not know
_BLOCK = 1000  # questions tokenized at a time


@dataclass(frozen=True, slots=True)
class Window:
    """A question with one window of its context: the features of question answering.

    ``context`` is the first and the last position of context tokens, plus one. ``offsets`` ``(n, 2)`` are code points
    in the context. ``is_best_view`` ``(n,)`` says for each token whether no other window shows more around it.
    ``start`` and ``end`` are the positions of the answer, both 0 ([CLS]) if the window holds none, -100 if unknown.
    """

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    example: int
    context: tuple[int, int]
    offsets: np.ndarray
    is_best_view: np.ndarray
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible answer: code points ``[start, end)`` of the context, and the sum of its two logits."""

    start: int
    end: int
    score: float


class QuestionAnswering:
    """SQuAD 1.1, and with ``no_answer`` SQuAD 2.0."""

    kind = "question-answering"
    heads: tuple[str, ...] = ("span",)
    labels: tuple[str, ...] = ()
    primary_metric = "f1"

    def __init__(self, settings: QuestionAnsweringSettings, tokenizer: Tokenizer) -> None:
        self.settings = settings
        self._tokenizer = tokenizer

    def read(self, path: Path) -> Sequence[Question]:
        """Questions of a SQuAD file."""
        return read_squad(path)

    def parse(self, record: Mapping[str, Any], index: int) -> Question:
        """``{"question": ..., "context": ..., "id": ...}``."""
        for key in ("question", "context"):
            if not isinstance(record.get(key), str):
                raise UserError(f"line {index + 1}: no text under '{key}'; found: {', '.join(record) or 'nothing'}")
        return Question(str(record.get("id", index)), record["question"], record["context"], (), is_labelled=False)

    def encode(self, examples: Sequence[Question], training: bool) -> list[Window]:
        """All windows of all questions, in order. UserError if the questions cannot be trained on."""
        if training and not self.settings.no_answer and any(item.is_impossible for item in examples):
            number = sum(item.is_impossible for item in examples)
            raise UserError(f"{number} questions have no answer; train with task.no_answer=true (SQuAD 2.0)")
        if training and any(not item.is_labelled for item in examples):
            raise UserError("questions without answers to train on; each needs the key 'answers'")
        features: list[Window] = []
        with Progress("tokenizing questions", len(examples), "questions") as progress:
            for begin in range(0, len(examples), _BLOCK):
                block = examples[begin : begin + _BLOCK]
                for number, windows in enumerate(self._windows(block)):
                    features += _features(block[number], begin + number, windows, self.settings.stride)
                progress.advance(len(block))
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

    def decode(
        self, logits: Mapping[str, Tensor], batch: Batch, features: Sequence[Window]
    ) -> list[tuple[list[Candidate], float]]:
        """Per window: its best candidates, best first, and the score of [CLS], which stands for "no answer"."""
        start_BL, end_BL = (part.cpu().numpy() for part in logits["span"].float().unbind(-1))
        outputs = []
        for row, item in enumerate(features):
            null_score = float(start_BL[row, 0] + end_BL[row, 0])
            outputs.append((self._candidates(start_BL[row], end_BL[row], item), null_score))
        return outputs

    def _candidates(self, start_L: np.ndarray, end_L: np.ndarray, window: Window) -> list[Candidate]:
        """The release's search: best starts times best ends, in the best view, not too long."""
        first, last = window.context
        most = self.settings.n_best_size
        starts = first + np.argsort(-start_L[first:last], kind="stable")[:most]
        ends = first + np.argsort(-end_L[first:last], kind="stable")[:most]
        size = ends[None, :] - starts[:, None] + 1
        fits = (size >= 1) & (size <= self.settings.max_answer_length) & window.is_best_view[starts][:, None]
        rows, columns = np.nonzero(fits)
        scores = start_L[starts[rows]] + end_L[ends[columns]]
        best = np.argsort(-scores, kind="stable")[:most]
        return [
            Candidate(
                int(window.offsets[starts[rows[i]], 0]), int(window.offsets[ends[columns[i]], 1]), float(scores[i])
            )
            for i in best
        ]

    def merge(
        self,
        examples: Sequence[Question],
        features: Sequence[Window],
        outputs: Sequence[tuple[list[Candidate], float]],
    ) -> list[dict[str, Any]]:
        """Per question ``id``, ``answer`` ("" for none), ``start``, ``end``, ``probability``, ``null_odds``, ``nbest``.

        ``start`` and ``end`` are code points in the context. ``probability`` is the softmax over the n-best list (with
        "no answer" in it under ``no_answer``). ``null_odds`` is the score of no answer minus that of the best answer
        (a huge number where the context is empty).
        """
        candidates: dict[int, list[Candidate]] = defaultdict(list)
        null_scores: dict[int, float] = {}
        for item, (found, null_score) in zip(features, outputs, strict=True):
            candidates[item.example] += found
            null_scores[item.example] = min(null_score, null_scores.get(item.example, null_score))
        return [
            self._predict(question, candidates[number], null_scores[number]) for number, question in enumerate(examples)
        ]

    def _predict(self, question: Question, candidates: list[Candidate], null_score: float) -> dict[str, Any]:
        best: dict[str, Candidate] = {}
        for item in sorted(candidates, key=lambda item: -item.score):  # texts that occur twice count once
            best.setdefault(question.context[item.start : item.end], item)
        ranked = list(best.items())[: self.settings.n_best_size]
        null_odds = null_score - ranked[0][1].score if ranked else _NO_RIVAL
        if self.settings.no_answer:
            ranked = sorted([*ranked, ("", Candidate(0, 0, null_score))], key=lambda item: -item[1].score)
        scores = np.array([item.score for _, item in ranked] or [0.0])
        probabilities = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        nbest = [
            {"answer": text, "start": item.start, "end": item.end, "probability": float(probability)}
            for (text, item), probability in zip(ranked, probabilities, strict=False)
        ]
        refuses = not best or (self.settings.no_answer and null_odds > self.settings.null_threshold)
        chosen = next((item for item in nbest if bool(item["answer"]) != refuses), None)
        if chosen is None:
            chosen = {"answer": "", "start": 0, "end": 0, "probability": float(probabilities[0])}
        return {"id": question.id, **chosen, "null_odds": null_odds, "nbest": nbest}

    def score(self, examples: Sequence[Question], predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """``exact`` and ``f1`` in percent as the official script gives them, and both by kind of question."""
        if any(not item.is_labelled for item in examples):
            raise UserError("the questions have no answers, so there is nothing to compare with")
        answers = {item.id: [answer.text for answer in item.answers] for item in examples}
        return squad_scores(answers, {item["id"]: item["answer"] for item in predictions})


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
