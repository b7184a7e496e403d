"""Question answering: answers to token positions and back, windows, the n best, no answer."""

import json
import math
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tasks import overfit, predict, tiny_model

from dokkai.data.squad import Answer, Question, read_squad
from dokkai.errors import UserError
from dokkai.settings import QuestionAnsweringSettings
from dokkai.tasks import QuestionAnswering
from dokkai.tasks.question_answering import Candidate
from dokkai.tokenization import load_tokenizer, train_tokenizer

CONTEXT = "A bee has a queen. The queen may lay many eggs, and a queen lives long."


def create(tokenizer, **changes):
    return QuestionAnswering(QuestionAnsweringSettings(**changes), tokenizer)


def ask(context=CONTEXT, *answers, text="Who lays the eggs?", **fields):
    return Question("q1", text, context, tuple(Answer(a, context.index(a)) for a in answers), **fields)


def slice_of(question, window):
    """What the positions of the answer point at."""
    return question.context[window.offsets[window.start][0] : window.offsets[window.end][1]]


def logits_of(windows, plants=(), length=None, default=0.0):
    """``(B, L, 2)``; ``plants`` are (window, start, end, start logit, end logit)."""
    length = length or max(len(window.input_ids) for window in windows)
    logits = torch.full((len(windows), length, 2), default)
    for row, start, end, start_logit, end_logit in plants:
        logits[row, start, 0], logits[row, end, 1] = start_logit, end_logit
    return {"span": logits}


def merge(task, questions, windows, logits):
    return task.merge(questions, windows, task.decode(logits, {}, windows))


# ---- answers


def test_answers_of_the_examples(tokenizer, examples):
    """Each answer is found whole, exactly, in at least one window; what has no answer points to [CLS]."""
    questions = read_squad(examples / "train.json")
    for settings_ in ({"max_length": 384}, {"max_length": 128, "stride": 48}):
        task = create(tokenizer, no_answer=True, **settings_)
        windows = task.encode(questions, training=True)
        found = set()
        for window in windows:
            question = questions[window.example]
            if window.start:
                assert slice_of(question, window) == question.answers[0].text
                assert window.context[0] <= window.start <= window.end < window.context[1]
                found.add(window.example)
            else:
                assert window.end == 0
        assert found == {number for number, question in enumerate(questions) if not question.is_impossible}


@pytest.mark.data
def test_answers_of_squad(data, tmp_path):
    """Of 2,000 training questions all answers are found, and nearly all are cut out exactly (when written: all)."""
    shutil.copy(data / "vocab" / "bert-base-uncased.vocab.txt", tmp_path / "vocab.txt")
    task = create(load_tokenizer(tmp_path))
    everything = read_squad(data / "squad" / "train-v1.1.json.xz")
    questions = everything[:: len(everything) // 2000][:2000]
    windows = task.encode(questions, training=True)
    exact, inside = set(), set()
    for window in windows:
        if window.start:
            question = questions[window.example]
            text = slice_of(question, window)
            assert question.answers[0].text.strip() in text
            inside.add(window.example)
            if text == question.answers[0].text:
                exact.add(window.example)
    assert len(questions) == len(inside) == 2000
    assert len(exact) >= 1990, f"of 2,000 answers {len(exact)} are cut out exactly"


def test_an_answer_inside_a_token_takes_the_token(tokenizer):
    context = "It was built in the 1990s by hand."
    question = ask(context, "1990")
    word = tokenizer.tokens(context)
    (window,) = create(tokenizer).encode([question], training=True)
    first = next(i for i, (start, _) in enumerate(word.offsets) if start == context.index("1990"))
    assert window.start == window.context[0] + first
    assert slice_of(question, window).startswith("1990")


def test_what_no_token_covers_does_not_hide_an_answer(tokenizer):
    """Normalization drops control marks; an answer that begins or ends with one is found all the same."""
    context = "The queen \u200bbee\u200e lays."
    question = Question("q1", "Who?", context, (Answer("\u200bbee\u200e", 10),))
    (window,) = create(tokenizer).encode([question], training=True)
    assert slice_of(question, window) == "bee"


def test_an_answer_that_a_window_cuts_is_none_there(tokenizer):
    context = f"Some bees live in hollow trees. {CONTEXT} Some bees live in a box."
    question = ask(context, "queen may lay many eggs")
    num_pieces = len(tokenizer.tokens("queen may lay many eggs").ids)
    task = create(tokenizer, max_length=16 + num_pieces, stride=1, max_question_length=1)
    windows = task.encode([question], training=True)
    holding = [window for window in windows if window.start]
    assert 0 < len(holding) < len(windows)
    for window in windows:
        begin = window.offsets[window.context[0]][0]
        end = window.offsets[window.context[1] - 1][1]
        is_inside = begin <= context.index("queen may") and context.index("eggs") + 4 <= end
        assert bool(window.start) == is_inside
        if is_inside:
            assert slice_of(question, window) == "queen may lay many eggs"


def test_white_space_round_an_answer(tokenizer):
    question = Question("q1", "Who?", CONTEXT, (Answer(" queen ", CONTEXT.index(" queen ")),))
    (window,) = create(tokenizer).encode([question], training=True)
    assert slice_of(question, window) == "queen"


def test_unanswerable_and_unknown(tokenizer):
    task = create(tokenizer, no_answer=True)
    impossible, unknown = task.encode([ask(), ask(is_labelled=False)], training=False)
    assert (impossible.start, impossible.end) == (0, 0)
    assert (unknown.start, unknown.end) == (-100, -100)
    batch = task.collate([impossible, unknown], 64)
    assert task.counts(batch) == {"span": 1}
    logits = logits_of([impossible, unknown], length=64)
    size = len(impossible.input_ids)
    assert float(task.losses(logits, batch)["span"]) == pytest.approx(
        math.log(size), rel=1e-5
    )  # padding does not count


# ---- windows


def best_views_of_the_release(num_tokens, room, stride):
    """For each window of the release's loop which of its tokens it shows best: ``_check_is_max_context``."""
    spans = []
    start = 0
    while start < num_tokens:
        length = min(num_tokens - start, room)
        spans.append((start, length))
        if start + length == num_tokens:
            break
        start += min(length, stride)
    out = []
    for number, (start, length) in enumerate(spans):
        flags = []
        for position in range(start, start + length):
            best_score, best_number = None, None
            for other, (begin, size) in enumerate(spans):
                end = begin + size - 1
                if begin <= position <= end:
                    score = min(position - begin, end - position) + 0.01 * size
                    if best_score is None or score > best_score:
                        best_score, best_number = score, other
            flags.append(best_number == number)
        out.append(flags)
    return out


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 20), st.integers(1, 40))
def test_best_views_are_those_of_the_release(tokenizer, num_words, room, stride):
    context = " ".join(["a"] * num_words)
    task = create(tokenizer, max_length=max(16, room + 4), stride=stride, max_question_length=1)
    windows = task.encode([Question("q", "a", context, (), is_labelled=False)], training=False)
    expected = best_views_of_the_release(num_words, max(16, room + 4) - 4, stride)
    assert [window.is_best_view[slice(*window.context)].tolist() for window in windows] == expected
    owned = [window.offsets[i][0] for window in windows for i in range(*window.context) if window.is_best_view[i]]
    assert sorted(owned) == [2 * i for i in range(num_words)]  # each token in one window


def test_tokens_of_one_character_have_views_of_their_own():
    """Hangul is cut into letters, with the offsets of their syllable."""
    tokenizer = train_tokenizer(["가나다 한국 a"], size=64, min_frequency=1000)
    task = create(tokenizer, max_length=17, stride=13, max_question_length=1)
    context = "한국 " * 20
    assert len(set(tokenizer.tokens(context).offsets)) == 40
    windows = task.encode([Question("q", "a", context, (), is_labelled=False)], training=False)
    num_tokens = len(tokenizer.tokens(context).ids)
    assert num_tokens == 20 * 6
    assert sum(int(window.is_best_view[slice(*window.context)].sum()) for window in windows) == num_tokens


# ---- decoding


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
    for seed in range(20):
        logits = torch.randn(1, len(windows[0].input_ids), 2, generator=torch.Generator().manual_seed(seed))
        scores = {
            (s, e): float(logits[0, s, 0] + logits[0, e, 1])
            for s in range(first, last)
            for e in range(s, min(s + 5, last))
        }
        start, end = max(scores, key=scores.__getitem__)
        ((candidates, null_score),) = task.decode({"span": logits}, {}, windows)
        assert len(candidates) == len(scores)
        expected = Candidate(
            int(windows[0].offsets[start][0]), int(windows[0].offsets[end][1]), pytest.approx(scores[start, end])
        )
        assert candidates[0] == expected
        assert [item.score for item in candidates] == sorted((item.score for item in candidates), reverse=True)
        assert null_score == pytest.approx(float(logits[0, 0].sum()))


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
    ((candidates, _),) = task.decode(logits, {}, windows)
    assert max(item.score for item in candidates) == 9.0


def test_a_span_counts_in_its_best_view_alone(tokenizer):
    question = ask(" ".join(["a"] * 30))
    task = create(tokenizer, max_length=16, stride=6, max_question_length=1, no_answer=False)
    windows = task.encode([question], training=False)
    position = max(i for i in range(*windows[1].context) if not windows[1].is_best_view[i])
    outputs = task.decode(logits_of(windows, [(1, position, position, 9.0, 9.0)]), {}, windows)
    assert max(item.score for item in outputs[1][0]) == 9.0  # as an end, but not as a start
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
    assert found["probability"] == probabilities[0]


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
    assert found["probability"] == null[0]["probability"] == max(item["probability"] for item in found["nbest"])
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
    windows = task.encode([question], training=False)
    outputs = [([Candidate(3, 3, 2.0), Candidate(5, 5, 1.0)], 1.0)] * len(windows)
    (found,) = task.merge([question], windows, outputs)
    assert found["answer"] == ""
    assert 0 <= found["probability"] <= 1


def test_many_questions_keep_their_windows_apart(tokenizer, examples):
    questions = read_squad(examples / "dev.json")[:12]
    task = create(tokenizer, max_length=96, stride=40, no_answer=True)
    windows = task.encode(questions, training=False)
    assert len(windows) > 2 * len(questions)
    plants = [(row, w.start, w.end, 9.0, 9.0) for row, w in enumerate(windows) if w.start and w.is_best_view[w.start]]
    plants += [(row, 0, 0, 8.0, 0.0) for row in range(len(windows))]
    found = merge(task, questions, windows, logits_of(windows, plants))
    assert [item["id"] for item in found] == [question.id for question in questions]
    assert task.score(questions, found)["exact"] == 100


def test_parse(tokenizer):
    task = create(tokenizer)
    question = task.parse({"question": "Who?", "context": "A bee."}, 4)
    assert question == Question("4", "Who?", "A bee.", (), is_labelled=False)
    assert task.parse({"question": "Who?", "context": "A bee.", "id": 17}, 4).id == "17"


def test_errors(tokenizer):
    task = create(tokenizer)
    with pytest.raises(UserError, match="line 3: no text under 'context'; found: question"):
        task.parse({"question": "Who?"}, 2)
    with pytest.raises(UserError, match="line 1: no text under 'question'; found: nothing"):
        task.parse({}, 0)
    with pytest.raises(UserError, match=r"1 questions have no answer; train with task\.no_answer=true \(SQuAD 2\.0\)"):
        task.encode([ask(), ask(CONTEXT, "queen")], training=True)
    with pytest.raises(UserError, match="questions without answers to train on; each needs the key 'answers'"):
        task.encode([ask(is_labelled=False)], training=True)
    with pytest.raises(UserError, match="the questions have no answers, so there is nothing to compare with"):
        task.score([ask(is_labelled=False)], [{"id": "q1", "answer": ""}])


def test_tiny_overfit(tokenizer, examples):
    everything = read_squad(examples / "train.json")
    contexts = list(dict.fromkeys(question.context for question in everything))[:2]
    chosen = [q for c in contexts for q in [q for q in everything if q.context == c and not q.is_impossible][:2]]
    chosen[3] = next(q for q in everything if q.context == contexts[1] and q.is_impossible)
    task = create(tokenizer, no_answer=True)
    features = task.encode(chosen, training=True)
    assert len(features) == 4
    batch = task.collate(features, max(len(item.input_ids) for item in features))
    model = tiny_model(task, tokenizer.vocab_size, std=0.1)
    overfit(model, task, batch, steps=150, rate=3e-3)
    scores = task.score(chosen, predict(task, model, chosen))
    assert scores["f1"] == scores["exact"] == scores["NoAns_exact"] == 100
