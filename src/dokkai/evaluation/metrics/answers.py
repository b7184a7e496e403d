"""Exact match and F1 of answers: by words as the official script of SQuAD, by characters as JSQuAD."""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from dokkai.errors import UserError

_PUNCTUATION = str.maketrans("", "", string.punctuation)  # ASCII only, as in the official script
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")

Scoring = Literal["squad", "characters"]


def squad_scores(
    answers: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    no_answer_probs: Mapping[str, float] | None = None,
    threshold: float = 1.0,
    scoring: Scoring = "squad",
) -> dict[str, float]:
    """Score one predicted text per question as the official SQuAD 2.0 script (``evaluate-v2.0.py``) does, in percent.

    ``answers`` maps every question to its correct texts, of which the best match counts; none means unanswerable, and
    only the empty prediction is then right. A question whose no-answer probability is above ``threshold`` counts as
    answered with nothing. Keys: ``exact``, ``f1``, ``total``, and the same with ``HasAns_`` and ``NoAns_`` where there
    are questions of that kind. Predictions for other questions are ignored. Words are what white space separates, so
    in Japanese text F1 is close to exact match; ``scoring`` "characters" compares characters there by the rules of
    JSQuAD: lower case, without a full stop (。) at the end, white space as one space, articles and punctuation kept.
    UserError if a question has no prediction or no probability.
    """
    exact, f1 = _raw_scores(answers, predictions, scoring)
    if no_answer_probs is not None:
        _require(answers, no_answer_probs, "no-answer probability")
        for question_id, golds in answers.items():
            if no_answer_probs[question_id] > threshold:
                exact[question_id] = f1[question_id] = float(not golds)
    scores = _averages(exact, f1, answers)
    for prefix, has_answer in (("HasAns", True), ("NoAns", False)):
        kind = [question_id for question_id, golds in answers.items() if bool(golds) == has_answer]
        if kind:
            scores |= {f"{prefix}_{name}": value for name, value in _averages(exact, f1, kind).items()}
    return scores


def exact_matches(
    answers: Mapping[str, Sequence[str]], predictions: Mapping[str, str], scoring: Scoring = "squad"
) -> dict[str, bool]:
    """For each question whether its prediction is one of its correct texts, as for ``squad_scores``."""
    exact, _ = _raw_scores(answers, predictions, scoring)
    return {question_id: value == 1 for question_id, value in exact.items()}


def best_null_threshold(
    answers: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    no_answer_probs: Mapping[str, float],
    scoring: Scoring = "squad",
    slack: float = 0.0,
) -> dict[str, float]:
    """Find the no-answer thresholds with the best scores, as the official script's ``find_all_best_thresh`` does.

    Keys: ``best_exact`` and ``best_f1`` in percent, ``best_exact_thresh`` and ``best_f1_thresh`` in the unit of
    ``no_answer_probs``; a question is answered where its probability is at most the threshold. Kept from the script:
    0.0 stands for answering nothing at all, the lowest of equally good thresholds wins, and questions of equal
    probability join one by one in the order of ``no_answer_probs``, so that with ties the best score is an upper bound.
    With ``slack`` the thresholds are the highest whose scores are at most so many points below the best ones: they
    refuse the fewest questions.
    """
    exact, f1 = _raw_scores(answers, predictions, scoring)
    _require(answers, no_answer_probs, "no-answer probability")
    best: dict[str, float] = {}
    for name, scores in (("exact", exact), ("f1", f1)):
        score, best_threshold = _best_threshold(scores, answers, predictions, no_answer_probs, slack)
        best |= {f"best_{name}": score, f"best_{name}_thresh": best_threshold}
    return best


def _raw_scores(
    answers: Mapping[str, Sequence[str]], predictions: Mapping[str, str], scoring: Scoring
) -> tuple[dict[str, float], dict[str, float]]:
    """Exact match and F1 (0..1) of every question, before any threshold."""
    if not answers:
        raise UserError("no questions to score; give a file with labelled questions")
    _require(answers, predictions, "prediction")
    normal = _PARTS[scoring]
    exact: dict[str, float] = {}
    f1: dict[str, float] = {}
    for question_id, golds in answers.items():
        guess = normal(predictions[question_id])
        # As in the official script: answers of which nothing is left do not count, and none at all means "".
        targets = [parts for parts in map(normal, golds) if parts] or [[]]
        exact[question_id] = max(float(parts == guess) for parts in targets)
        f1[question_id] = max(_overlap_f1(parts, guess) for parts in targets)
    return exact, f1


def _normal_words(text: str) -> list[str]:
    """Lower case, punctuation, then articles removed: "The cat's a-b" -> ["cats", "ab"]."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _normal_characters(text: str) -> list[str]:
    """ "Ｎara 市。" -> ["ｎ", "a", "r", "a", " ", "市"]: what the patch of JGLUE compares."""
    return list(" ".join(text.lower().split()).rstrip("。"))


_PARTS: Mapping[Scoring, Callable[[str], list[str]]] = {"squad": _normal_words, "characters": _normal_characters}


def _overlap_f1(gold: list[str], guess: list[str]) -> float:
    if not gold or not guess:
        return float(gold == guess)
    num_shared = (Counter(gold) & Counter(guess)).total()
    if not num_shared:
        return 0.0
    precision, recall = num_shared / len(guess), num_shared / len(gold)
    return 2 * precision * recall / (precision + recall)


def _averages(exact: Mapping[str, float], f1: Mapping[str, float], question_ids: Iterable[str]) -> dict[str, float]:
    chosen = list(question_ids)
    return {
        "exact": 100.0 * sum(exact[question_id] for question_id in chosen) / len(chosen),
        "f1": 100.0 * sum(f1[question_id] for question_id in chosen) / len(chosen),
        "total": len(chosen),
    }


def _best_threshold(
    scores: Mapping[str, float],
    answers: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    no_answer_probs: Mapping[str, float],
    slack: float,
) -> tuple[float, float]:
    """The best score in percent and its threshold: answer nothing at first, then the surest question, then the next."""
    current = float(sum(not golds for golds in answers.values()))
    course = [(current, 0.0)]
    for question_id in sorted(no_answer_probs, key=lambda question_id: no_answer_probs[question_id]):
        if question_id not in answers:
            continue
        if answers[question_id]:
            current += scores[question_id]
        elif predictions[question_id]:
            current -= 1  # an unanswerable question, so far right, is now answered with a text
        course.append((current, no_answer_probs[question_id]))
    best, threshold = max(course, key=lambda pair: pair[0])  # the first of equals
    if slack:
        least = best - slack * len(answers) / 100.0
        threshold = next(threshold for score, threshold in reversed(course) if score >= least)
    return 100.0 * best / len(answers), threshold


def _require(answers: Mapping[str, Sequence[str]], given: Mapping[str, object], what: str) -> None:
    missing = [question_id for question_id in answers if question_id not in given]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(answers)} questions have no {what}, first: id {missing[0]}; each needs one"
        )
