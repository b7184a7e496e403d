"""Question answering: answers to token positions, windows, scores."""

import math
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_questions import CONTEXT, ask, best_views_of_the_release, create, logits_of, merge, slice_of
from tiny_tasks import overfit, predict, tiny_model

from dokkai.data.squad import Answer, Question, read_squad
from dokkai.errors import UserError
from dokkai.tokenization import load_tokenizer, train_tokenizer

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


def test_answers_in_no_window_are_counted(tokenizer, capsys):
    """As in the release they teach [CLS]; here it is said how many."""
    questions = [ask(CONTEXT, "queen may lay many eggs"), ask(CONTEXT, "bee"), ask()]
    task = create(tokenizer, max_length=16, stride=5, max_question_length=4, no_answer=True)
    windows = task.encode(questions, training=True)
    assert not any(window.start or window.end for window in windows if window.example == 0)
    assert any(window.start for window in windows if window.example == 1)
    note = "1 of 2 answers lie in no window whole; trained on as if there were none"
    assert note in capsys.readouterr().err
    task.encode(questions, training=False)
    create(tokenizer, no_answer=True).encode(questions, training=True)
    assert "no window" not in capsys.readouterr().err


def test_the_loss_is_half_that_of_the_start_and_half_that_of_the_end(tokenizer):
    task = create(tokenizer)
    windows = task.encode([ask(CONTEXT, "queen"), ask(CONTEXT, "eggs")], training=True)
    batch = task.collate(windows, len(windows[0].input_ids))
    logits = torch.randn(2, len(windows[0].input_ids), 2, generator=torch.Generator().manual_seed(3)).double()
    expected = 0.0
    for row, window in enumerate(windows):
        for place, column in ((window.start, 0), (window.end, 1)):
            expected += (torch.logsumexp(logits[row, :, column], 0) - logits[row, place, column]).item() / 2
    assert windows[0].start > 0 and task.counts(batch) == {"span": 2}
    assert float(task.losses({"span": logits}, batch)["span"]) == pytest.approx(expected, rel=1e-5)


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


# ---- several questions, records, errors


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
