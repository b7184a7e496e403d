"""From logits to answers: the best spans of a window, the n best answers of a question, and whether it has one.

The search is that of the release (``write_predictions`` in ``run_squad.py``), with three differences. A text is cut
out of the context by the offsets of its tokens, not guessed back from normalized words. Padding is no rival. And a
question whose best starts and ends make no span at all still gets its best span, where the release stops with an error
or says "empty".

L sequence length
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dokkai.settings import QuestionAnsweringSettings

_NO_RIVAL = float(np.finfo(np.float32).max)  # in place of infinity, which JSON does not know


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible answer: code points ``[start, end)`` of the context, none for "no answer", and its two logits."""

    start: int
    end: int
    start_logit: float
    end_logit: float

    @property
    def score(self) -> float:
        """What candidates are compared by."""
        return self.start_logit + self.end_logit


@dataclass(frozen=True, slots=True)
class Reading:
    """What one window says of its question: its best candidates, best first, their texts all different.

    ``null`` is the score of [CLS], which stands for "no answer". ``spare`` is the best span of the whole window; it is
    only looked for where there are no candidates, and None where the window has no token of its own.
    """

    candidates: list[Candidate]
    null: Candidate
    spare: Candidate | None


class Passage(Protocol):
    """What the search needs to know of a window."""

    @property
    def text(self) -> str:
        """The whole context."""
        ...

    @property
    def context(self) -> tuple[int, int]:
        """The first position of context tokens and the last, plus one."""
        ...

    @property
    def offsets(self) -> np.ndarray:
        """``(n, 2)`` code points in the context."""
        ...

    @property
    def is_best_view(self) -> np.ndarray:
        """``(n,)`` whether no other window shows more around the token."""
        ...


def read_window(
    start_L: np.ndarray, end_L: np.ndarray, window: Passage, settings: QuestionAnsweringSettings
) -> Reading:
    """The candidates of one window from its logits ``(n,)``, without padding; among equals the earlier token is first.

    They are spans of context tokens, not too long, from one of the ``n_best_size`` best starts of the whole input to
    one of its best ends, seen best in this window at their start.
    """
    start_L, end_L = start_L.astype(np.float64), end_L.astype(np.float64)  # sums as in Python: ties are the release's
    starts = np.argsort(-start_L, kind="stable")[: settings.n_best_size]
    ends = np.argsort(-end_L, kind="stable")[: settings.n_best_size]
    candidates = _spans(start_L, end_L, starts, ends, window, settings, settings.n_best_size)
    context = np.arange(*window.context)
    spare = [] if candidates else _spans(start_L, end_L, context, context, window, settings, 1)
    null = Candidate(0, 0, float(start_L[0]), float(end_L[0]))
    return Reading(candidates, null, spare[0] if spare else None)


def _spans(
    start_L: np.ndarray,
    end_L: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    window: Passage,
    settings: QuestionAnsweringSettings,
    most: int,
) -> list[Candidate]:
    """The best spans from these starts to these ends, best first, at most ``most`` different texts.

    More are not needed: before a further one of this window could count, the list of its question would be full.
    """
    first, last = window.context
    starts = starts[window.is_best_view[starts]]  # tokens of the context, all of them
    ends = ends[(ends >= first) & (ends < last)]
    size = ends[None, :] - starts[:, None] + 1
    rows, columns = np.nonzero((size >= 1) & (size <= settings.max_answer_length))
    starts, ends = starts[rows], ends[columns]
    order = np.argsort(-(start_L[starts] + end_L[ends]), kind="stable")
    starts, ends = starts[order], ends[order]
    found: dict[str, Candidate] = {}
    places = zip(window.offsets[starts, 0].tolist(), window.offsets[ends, 1].tolist(), strict=True)
    for (begin, end), start, stop in zip(places, starts.tolist(), ends.tolist(), strict=True):
        text = window.text[begin:end]
        if text and text not in found:
            found[text] = Candidate(begin, end, float(start_L[start]), float(end_L[stop]))
            if len(found) == most:
                break
    return list(found.values())


def merge_readings(
    context: str, readings: Sequence[Reading], settings: QuestionAnsweringSettings
) -> tuple[list[dict[str, Any]], float]:
    """The n best answers of a question, best first, from its windows in order; and the null odds.

    An answer has ``answer``, ``start``, ``end``, ``probability`` (the softmax over the list) and its two logits. Under
    ``no_answer`` the list holds "no answer" (``answer`` ""), behind its end if need be; it always holds the best text.
    The null odds are the lowest null score of all windows minus the score of the best text, or a huge number where the
    context has no text.
    """
    null = min((reading.null for reading in readings), key=lambda item: item.score)
    spans = [item for reading in readings for item in reading.candidates]
    if not spans:
        spans = [reading.spare for reading in readings if reading.spare is not None]
        spans = sorted(spans, key=lambda item: -item.score)[:1]
    ranked = sorted([*spans, null] if settings.no_answer else spans, key=lambda item: -item.score)
    answers: dict[str, Candidate] = {}
    for item in ranked:  # texts that occur twice count once
        if len(answers) == settings.n_best_size:
            break
        answers.setdefault(context[item.start : item.end], item)
    best = next((item for item in ranked if item is not null), None)
    if settings.no_answer:
        answers.setdefault("", null)
    if best is not None:  # with n_best_size 1 "no answer" may have taken the only place
        answers.setdefault(context[best.start : best.end], best)
    scores = np.array([item.score for item in answers.values()])
    exponents = np.exp(scores - scores.max(initial=-np.inf))
    nbest = [
        {
            "answer": text,
            "start": item.start,
            "end": item.end,
            "probability": float(exponent / exponents.sum()),
            "start_logit": item.start_logit,
            "end_logit": item.end_logit,
        }
        for (text, item), exponent in zip(answers.items(), exponents, strict=True)
    ]
    return nbest, _NO_RIVAL if best is None else null.score - best.start_logit - best.end_logit


def choose(nbest: Sequence[dict[str, Any]], null_odds: float, settings: QuestionAnsweringSettings) -> dict[str, Any]:
    """``answer``, ``start``, ``end`` and ``probability`` of the best text of the list.

    Or of no answer ("", 0, 0), under ``no_answer`` if ``null_odds`` is above ``null_threshold``, and where there is no
    text at all. ``probability`` is that of ``weigh``.
    """
    refuses = settings.no_answer and null_odds > settings.null_threshold
    chosen = next((item for item in nbest if bool(item["answer"]) != refuses), None)
    if chosen is None:
        return {"answer": "", "start": 0, "end": 0, "probability": 1.0}
    probabilities, null_prob = weigh(margins(nbest, settings), settings)
    probability = null_prob if refuses else probabilities[0]
    return {key: chosen[key] for key in ("answer", "start", "end")} | {"probability": probability}


def margins(nbest: Sequence[dict[str, Any]], settings: QuestionAnsweringSettings) -> list[float]:
    """The scores of the texts of an n-best list, in its order; under ``no_answer`` minus the score of no answer.

    So they can be compared between contexts: what is common to all scores of a context falls out.
    """
    scores = {item["answer"]: item["start_logit"] + item["end_logit"] for item in nbest}
    null = scores.pop("", 0.0)
    return [score - null if settings.no_answer else score for score in scores.values()]


def weigh(margins: Sequence[float], settings: QuestionAnsweringSettings) -> tuple[list[float], float]:
    """The probability of each text, and of no answer; together they are 1. ``weigh_rows`` for one question."""
    if not margins:
        return [], 1.0 if settings.no_answer else 0.0
    answers_MK, null_M = weigh_rows(np.array([margins], dtype=np.float64), settings)
    return answers_MK[0].tolist(), float(null_M[0])


def weigh_rows(margins_MK: np.ndarray, settings: QuestionAnsweringSettings) -> tuple[np.ndarray, np.ndarray]:
    """Of M questions the probabilities of their texts ``(M, K)``, and of no answer ``(M,)``.

    A row holds the margins of a question, the highest first, and -inf where there are no more. A softmax over them and
    ``-null_threshold``, which stands for no answer (under ``no_answer``), so that it wins exactly where it is chosen;
    all are divided by the ``temperature`` first. With a ``null_temperature`` whether there is an answer goes by the
    highest margin alone, divided by that, and which it is by a softmax over the margins.
    """
    null = -settings.null_threshold if settings.no_answer else -np.inf
    apart = settings.null_temperature if settings.no_answer else None
    rival_M1 = np.full((len(margins_MK), 1), null if apart is None else -np.inf)
    scores_MK = np.hstack([rival_M1, margins_MK]) / settings.temperature
    exponents_MK = np.exp(scores_MK - scores_MK.max(1, keepdims=True))
    shares_MK = exponents_MK / exponents_MK.sum(1, keepdims=True)
    null_M, answers_MK = shares_MK[:, 0], shares_MK[:, 1:]
    if apart is not None:
        null_M = (1 + np.tanh((null - margins_MK[:, 0]) / (2 * apart))) / 2  # the logistic function, without overflow
        answers_MK = answers_MK * (1 - null_M)[:, None]
    return answers_MK, null_M
