"""The search for answers: the n best, no answer, and the release beside it."""

import json
import math
from dataclasses import replace

import pytest
import torch
from tiny_questions import CONTEXT, ask, best_views_of_the_release, create, logits_of, merge

from dokkai.data.squad import Answer, Question, write_answers
from dokkai.tokenization import train_tokenizer


def test_the_planted_span_is_found(tokenizer):
    question = ask(CONTEXT)
    task = create(tokenizer)
    windows = task.encode([question], training=False)
    first, last = windows[0].context
    for start in range(first, last):
        for end in (start, min(start + 3, last - 1)):
            (found,) = merge(task, [question], windows, logits_of(windows, [(0, start, end, 9.0, 9.0)]))
            expected = (int(windows[0].offsets[start][0]), int(windows[0].offsets[end][1]))
            assert (found["start"], found["end"]) == expected
            assert found["answer"] == CONTEXT[slice(*expected)]
            assert found["id"] == "q1"


def test_the_best_span_equals_an_exhaustive_search(tokenizer):
    question = ask(CONTEXT)
    task = create(tokenizer, n_best_size=1000, max_answer_length=5)
    windows = task.encode([question], training=False)
    first, last = windows[0].context
    offsets = windows[0].offsets.tolist()
    for seed in range(20):
        logits = torch.randn(1, len(windows[0].input_ids), 2, generator=torch.Generator().manual_seed(seed))
        start_L, end_L = logits[0].double().unbind(-1)
        scores: dict[str, float] = {}
        for s in range(first, last):
            for e in range(s, min(s + 5, last)):
                text = CONTEXT[offsets[s][0] : offsets[e][1]]
                scores[text] = max(float(start_L[s] + end_L[e]), scores.get(text, -1e9))
        ((candidates, null, spare),) = [
            (reading.candidates, reading.null, reading.spare) for reading in task.decode({"span": logits}, {}, windows)
        ]
        found = {CONTEXT[item.start : item.end]: item.score for item in candidates}
        assert found == scores and len(candidates) == len(scores)
        assert [item.score for item in candidates] == sorted(scores.values(), reverse=True)
        assert null.score == float(start_L[0] + end_L[0])
        assert spare is None


def test_what_is_no_span_is_not_found(tokenizer):
    """In the question, behind the context, backwards, or too long."""
    question = ask(CONTEXT)
    task = create(tokenizer, max_answer_length=4)
    windows = task.encode([question], training=False)
    first, last = windows[0].context
    logits = logits_of(
        windows,
        [
            (0, 1, 2, 50.0, 50.0),
            (0, last, last, 50.0, 50.0),
            (0, first + 12, first + 1, 20.0, 20.0),
            (0, first + 2, first + 3, 12.0, 12.0),
        ],
    )
    (found,) = merge(task, [question], windows, logits)
    assert (found["start"], found["end"]) == (windows[0].offsets[first + 2][0], windows[0].offsets[first + 3][1])
    logits = logits_of(windows, [(0, first, first + 4, 9.0, 9.0)])  # five tokens
    (reading,) = task.decode(logits, {}, windows)
    assert max(item.score for item in reading.candidates) == 9.0


def test_a_span_counts_in_its_best_view_alone(tokenizer):
    question = ask(" ".join(["a"] * 30))
    task = create(tokenizer, max_length=16, stride=6, max_question_length=1, no_answer=False)
    windows = task.encode([question], training=False)
    position = max(i for i in range(*windows[1].context) if not windows[1].is_best_view[i])
    outputs = task.decode(logits_of(windows, [(1, position, position, 9.0, 9.0)]), {}, windows)
    assert max(item.score for item in outputs[1].candidates) == 9.0  # as an end, but not as a start
    position = next(i for i in range(*windows[1].context) if windows[1].is_best_view[i])
    (found,) = merge(task, [question], windows, logits_of(windows, [(1, position, position, 9.0, 9.0)]))
    assert found["start"] == windows[1].offsets[position][0]


def test_n_best(tokenizer):
    """Texts count once, best first, probabilities add up to one."""
    question = ask(CONTEXT)
    task = create(tokenizer, n_best_size=5)
    windows = task.encode([question], training=False)
    places = [i for i in range(len(CONTEXT)) if CONTEXT.startswith("queen", i)]
    assert len(places) == 3
    offsets = windows[0].offsets.tolist()
    starts = [next(i for i, (s, _) in enumerate(offsets) if s == p and i >= windows[0].context[0]) for p in places]
    ends = [next(i for i, (_, e) in enumerate(offsets) if e == p + 5) for p in places]
    plants = [(0, s, e, 5.0 + n, 5.0 + n) for n, (s, e) in enumerate(zip(starts, ends, strict=True))]
    (found,) = merge(task, [question], windows, logits_of(windows, plants))
    texts = [item["answer"] for item in found["nbest"]]
    assert 3 <= len(texts) == len(set(texts)) <= 5
    assert texts[0] == found["answer"] == "queen"
    assert found["start"] == places[2]
    assert all(CONTEXT[item["start"] : item["end"]] == item["answer"] for item in found["nbest"])
    probabilities = [item["probability"] for item in found["nbest"]]
    assert sum(probabilities) == pytest.approx(1)
    assert probabilities == sorted(probabilities, reverse=True)
    assert found["probability"] == pytest.approx(probabilities[0])


def test_null_threshold(tokenizer):
    question = ask(CONTEXT)
    refusing, bold = create(tokenizer, no_answer=True), create(tokenizer, no_answer=True, null_threshold=3.0)
    windows = refusing.encode([question], training=False)
    first = windows[0].context[0]
    logits = logits_of(windows, [(0, 0, 0, 6.0, 6.0), (0, first, first, 5.0, 5.0)])
    (found,) = merge(refusing, [question], windows, logits)
    assert found["null_odds"] == pytest.approx(2.0)
    assert (found["answer"], found["start"], found["end"]) == ("", 0, 0)
    null = [item for item in found["nbest"] if item["answer"] == ""]
    assert len(null) == 1
    assert null[0]["probability"] == max(item["probability"] for item in found["nbest"])
    assert found["probability"] == pytest.approx(null[0]["probability"])
    assert sum(item["probability"] for item in found["nbest"]) == pytest.approx(1)
    (answered,) = merge(bold, [question], windows, logits)
    assert answered["answer"] == CONTEXT[slice(*windows[0].offsets[first])]
    assert answered["null_odds"] == found["null_odds"]
    (never,) = merge(create(tokenizer), [question], windows, logits)  # without no_answer there is always an answer
    assert never["answer"] == answered["answer"]
    assert "" not in [item["answer"] for item in never["nbest"]]


def test_the_null_score_is_the_lowest_of_all_windows(tokenizer):
    question = ask(" ".join(["a"] * 30))
    task = create(tokenizer, max_length=16, stride=6, max_question_length=1, no_answer=True)
    windows = task.encode([question], training=False)
    logits = logits_of(windows, [(row, 0, 0, 4.0 - row, 0.0) for row in range(len(windows))])
    (found,) = merge(task, [question], windows, logits)
    assert found["null_odds"] == pytest.approx(4.0 - (len(windows) - 1))


@pytest.mark.parametrize("no_answer", [False, True])
@pytest.mark.parametrize("context", ["", " \n", "\u200b"])
def test_an_empty_context(tokenizer, context, no_answer):
    question = Question("q1", "Who?", context, (), is_labelled=False)
    task = create(tokenizer, no_answer=no_answer)
    windows = task.encode([question], training=False)
    (found,) = merge(task, [question], windows, logits_of(windows))
    assert (found["answer"], found["start"], found["end"], found["probability"]) == ("", 0, 0, 1.0)
    assert len(found["nbest"]) == no_answer
    assert found["null_odds"] > 1e30
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("no_answer", [False, True])
def test_nothing_but_empty_candidates(tokenizer, no_answer):
    """Whatever a tokenizer yields, the n best may all be empty texts."""
    question = ask(CONTEXT)
    task = create(tokenizer, no_answer=no_answer)
    windows = [replace(item, offsets=0 * item.offsets) for item in task.encode([question], training=False)]
    (found,) = merge(task, [question], windows, logits_of(windows))
    assert (found["answer"], found["probability"], len(found["nbest"])) == ("", 1.0, no_answer)


# ---- all n best are invalid


def plant_nonsense(windows, length=None):
    """Logits whose best starts all lie behind the best ends, or outside the context: no pair is a span."""
    logits = logits_of(windows, length=length)["span"]
    for row, window in enumerate(windows):
        first, last = window.context
        logits[row, :first] += 5  # [CLS] and the question, as starts and ends
        logits[row, first + 8 : last, 0] += 2
        logits[row, first : first + 8, 1] += 2
    return {"span": logits}


@pytest.mark.parametrize("no_answer", [False, True])
def test_without_a_valid_pair_the_best_span_is_found(tokenizer, no_answer):
    """The release stops here with an error, or in SQuAD 1.1 says "empty"."""
    question = ask(" ".join(f"{word} bee" for word in "abcdefghij"))
    task = create(tokenizer, no_answer=no_answer, n_best_size=4, max_length=32, stride=9)
    windows = task.encode([question], training=False)
    assert len(windows) > 1
    logits = plant_nonsense(windows)
    assert not any(reading.candidates for reading in task.decode(logits, {}, windows))
    expected = predictions_of_the_release(question, windows, logits["span"], task, views(task, windows, tokenizer))
    assert expected is None if no_answer else expected["predictions"] == "empty"
    (found,) = merge(task, [question], windows, logits)
    best = max(
        float(logits["span"][row, s, 0] + logits["span"][row, e, 1])
        for row, window in enumerate(windows)
        for s in range(*window.context)
        for e in range(s, min(s + 30, window.context[1]))
        if window.is_best_view[s]
    )
    null = min(float(logits["span"][row, 0].sum()) for row in range(len(windows)))
    assert found["null_odds"] == null - best == 8
    texts = [item["answer"] for item in found["nbest"]]
    assert (
        len(texts) == 1 + no_answer and texts[-1] == question.context[found["nbest"][-1]["start"] :][: len(texts[-1])]
    )
    assert texts[-1] and found["answer"] == ("" if no_answer else texts[-1])
    assert sum(item["probability"] for item in found["nbest"]) == pytest.approx(1)
    (bold,) = create(tokenizer, no_answer=no_answer, null_threshold=9.0).decide([found])
    assert bold["answer"] == texts[-1]


def test_one_place_that_no_answer_takes(tokenizer):
    """With ``n_best_size`` 1 the list of the release holds "no answer" alone, on which it stops with an error."""
    question = ask(CONTEXT)
    task = create(tokenizer, no_answer=True, n_best_size=1)
    windows = task.encode([question], training=False)
    first = windows[0].context[0]
    logits = logits_of(windows, [(0, 0, 0, 6.0, 6.0)], default=-1.0)
    assert predictions_of_the_release(question, windows, logits["span"], task, views(task, windows, tokenizer)) is None
    (found,) = merge(task, [question], windows, logits)
    assert [item["answer"] for item in found["nbest"]] == ["", CONTEXT[slice(*windows[0].offsets[first])]]
    assert (found["answer"], found["null_odds"]) == ("", 14.0)


# ---- beside the release


def views(task, windows, tokenizer):
    """Where each window's tokens are seen best, by the release's own loop."""
    room = task.settings.max_length - windows[0].context[0] - 1
    flags = best_views_of_the_release(len(tokenizer.tokens(windows[0].text)), room, task.settings.stride)
    return [
        {window.context[0] + place for place, is_best in enumerate(row) if is_best}
        for window, row in zip(windows, flags, strict=True)
    ]


def predictions_of_the_release(question, windows, logits, task, best_views):
    """``write_predictions`` in plain loops, but texts are cut out; None where it would stop with an error."""
    s = task.settings
    pairs, null = [], (math.inf, 0.0, 0.0)
    for window, row, best_view in zip(windows, logits.tolist(), best_views, strict=True):
        row = row[: len(window.input_ids)]
        starts, ends = [point[0] for point in row], [point[1] for point in row]
        top_starts = sorted(range(len(row)), key=lambda i: starts[i], reverse=True)[: s.n_best_size]
        top_ends = sorted(range(len(row)), key=lambda i: ends[i], reverse=True)[: s.n_best_size]
        if starts[0] + ends[0] < null[0]:
            null = (starts[0] + ends[0], starts[0], ends[0])
        first, last = window.context
        for i in top_starts:
            for j in top_ends:
                is_span = first <= i < last and first <= j < last and i in best_view
                if is_span and i <= j and j - i + 1 <= s.max_answer_length:
                    text = question.context[window.offsets[i][0] : window.offsets[j][1]]
                    pairs.append((starts[i] + ends[j], text, starts[i], ends[j]))
    if s.no_answer:
        pairs.append((null[0], "", null[1], null[2]))
    nbest = []
    for pair in sorted(pairs, key=lambda pair: pair[0], reverse=True):
        if len(nbest) < s.n_best_size and pair[1] not in [other[1] for other in nbest]:
            nbest.append(pair)
    if s.no_answer and "" not in [pair[1] for pair in nbest]:
        nbest.append((null[0], "", null[1], null[2]))
    if not nbest:
        nbest.append((0.0, "empty", 0.0, 0.0))
    total = sum(math.exp(pair[0] - max(p[0] for p in nbest)) for pair in nbest)
    shares = [math.exp(pair[0] - max(p[0] for p in nbest)) / total for pair in nbest]
    made = {
        "nbest": [
            {"text": pair[1], "probability": share, "start_logit": pair[2], "end_logit": pair[3]}
            for pair, share in zip(nbest, shares, strict=True)
        ]
    }
    if not s.no_answer:
        return made | {"predictions": nbest[0][1]}
    best = next((pair for pair in nbest if pair[1]), None)
    if best is None:
        return None
    odds = null[0] - best[2] - best[3]
    return made | {"null_odds": odds, "predictions": "" if odds > s.null_threshold else best[1]}


WORDS = ["a", "bee", "has", "queen", "the", "eggs", "hollow trees"]


@pytest.mark.parametrize("no_answer", [False, True])
@pytest.mark.parametrize("n_best_size", [3, 20, 50])
def test_predictions_are_those_of_the_release(tokenizer, tmp_path, no_answer, n_best_size):
    """On random logits, with many ties where they are rounded; few words, so that many spans have the same text."""
    generator = torch.Generator().manual_seed(n_best_size)
    compared = refused = 0
    for number in range(30):
        words = torch.randint(len(WORDS), (2 + 3 * number,), generator=generator).tolist()
        question = ask(" ".join(WORDS[i] for i in words), text="Who has a queen?")
        lengths = {"max_length": 20 + 3 * (number % 9), "stride": 4 + number % 13, "max_answer_length": 1 + number % 8}
        task = create(tokenizer, no_answer=no_answer, n_best_size=n_best_size, null_threshold=0.25, **lengths)
        windows = task.encode([question], training=False)
        sizes = [len(window.input_ids) for window in windows]
        logits = 2 * torch.randn(len(windows), max(sizes) + 5, 2, generator=generator)
        logits[:, 0] += 3 * (number % 5)  # or no answer would never win
        if step := (0.0, 0.5, 2.0)[number % 3]:
            logits = torch.round(logits / step) * step
        expected = predictions_of_the_release(question, windows, logits, task, views(task, windows, tokenizer))
        found = merge(task, [question], windows, {"span": logits})
        assert all(question.context[item["start"] : item["end"]] == item["answer"] for item in found[0]["nbest"])
        if expected is None or expected["predictions"] == "empty":
            continue
        compared, refused = compared + 1, refused + (expected["predictions"] == "")
        write_answers(tmp_path, found, no_answer)
        written = {
            name: json.loads((tmp_path / f"{name}.json").read_text())[question.id]
            for name in ("predictions", "nbest_predictions", *(["null_odds"] if no_answer else []))
        }
        nbest = written.pop("nbest_predictions")
        assert written == {key: value for key, value in expected.items() if key != "nbest"}
        assert [list(item) for item in nbest] == [["text", "probability", "start_logit", "end_logit"]] * len(nbest)
        for ours, theirs in zip(nbest, expected["nbest"], strict=True):
            assert ours == theirs | {"probability": pytest.approx(theirs["probability"], rel=1e-12)}
    assert compared >= (18 if n_best_size == 3 else 30)
    if no_answer:
        assert 5 <= refused < compared - 5


def test_texts_without_white_space(tokenizer):
    """The release gives the whole sentence back, which is one word to it; offsets give the span."""
    context = "清水寺は京都市東山区にある寺院である。"
    characters = train_tokenizer([context], size=64, min_frequency=1)
    question = ask(context, text="どこ？")
    task = create(characters)
    windows = task.encode([question], training=False)
    offsets = windows[0].offsets[windows[0].context[0] :, 0].tolist()
    start, end = (windows[0].context[0] + offsets.index(context.index(mark)) for mark in "京市")
    (found,) = merge(task, [question], windows, logits_of(windows, [(0, start, end, 5.0, 5.0)]))
    assert found["answer"] == "京都市" == context[found["start"] : found["end"]]


def test_slack_raises_the_threshold_that_is_tuned(tokenizer):
    """One of 500 questions that should be refused is worth no more than 0.2 points of F1."""
    texts = [("x", ("x",)), *[("y", ("x",))] * 498, ("z", ())]
    questions = [
        Question(str(number), "What?", "x y z", tuple(Answer(text, 0) for text in right))
        for number, (_, right) in enumerate(texts)
    ]
    found = []
    for number, (text, _) in enumerate(texts):
        entry = {"answer": text, "start": 0, "end": 1, "start_logit": -float(number), "end_logit": 0.0}
        none = {"answer": "", "start": 0, "end": 0, "start_logit": 0.0, "end_logit": 0.0}
        found.append({"id": str(number), "null_odds": float(number) - 9, "nbest": [entry, none]})
    thresholds = {slack: create(tokenizer, no_answer=True, null_slack=slack) for slack in (0.0, 0.1, 0.2)}
    tuned = {slack: task.best_threshold(questions, task.decide(found)) for slack, task in thresholds.items()}
    assert tuned == {0.0: -9, 0.1: 489, 0.2: 490}


def test_another_threshold_needs_no_new_reading(tokenizer):
    questions = [ask(CONTEXT, text=text) for text in ("Who?", "What?", "Who lays the eggs?")]
    task = create(tokenizer, no_answer=True)
    windows = task.encode(questions, training=False)
    logits = {"span": torch.randn(3, 64, 2, generator=torch.Generator().manual_seed(1))}
    found = merge(task, questions, windows, logits)
    for threshold in (-100.0, *(item["null_odds"] for item in found), 100.0):
        other = task.with_threshold(threshold)
        assert other.settings.null_threshold == threshold
        assert other.decide(found) == merge(other, questions, windows, logits)
        assert other.decide(found) == merge(
            create(tokenizer, no_answer=True, null_threshold=threshold), questions, windows, logits
        )
