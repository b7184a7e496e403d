"""Holding out: a share of the examples, at random, and nothing on both sides."""

from types import SimpleNamespace

import pytest

from dokkai.data.columns import Sentence
from dokkai.data.heldout import content_of, hold_out
from dokkai.data.rows import Row
from dokkai.data.squad import Question


def rows(*texts):
    return [Row(text, None, "x", str(number), f"line {number + 2}") for number, text in enumerate(texts)]


@pytest.mark.parametrize(("num_examples", "share", "num_held"), [(200, 0.1, 20), (7, 0.1, 1), (2, 0.9, 1)])
def test_a_share_is_held_out(num_examples, share, num_held):
    examples = rows(*map(str, range(num_examples)))
    train, dev = hold_out(examples, share)
    assert len(dev) == num_held
    assert sorted(train + dev, key=lambda row: int(row.id)) == examples
    assert train == sorted(train, key=lambda row: int(row.id)) and dev == sorted(dev, key=lambda row: int(row.id))
    assert hold_out(examples, share) == (train, dev)


def test_it_is_not_the_end_of_the_file():
    _, dev = hold_out(rows(*map(str, range(200))), 0.1)
    assert min(int(row.id) for row in dev) < 28 and len([row for row in dev if int(row.id) > 180]) < 10


def test_the_same_text_stays_on_one_side():
    train, dev = hold_out(rows(*[str(number % 20) for number in range(100)]), 0.1)
    assert len(dev) == 10
    assert not {row.text for row in train} & {row.text for row in dev}


def test_few_different_texts_leave_something_to_measure_on():
    train, dev = hold_out(rows(*"aaaabbbbbccccc"), 0.1)
    assert [row.text for row in dev] == ["a"] * 4 and len(train) == 10


def test_questions_about_a_context_stay_together():
    examples = [Question(f"{n}", f"{n}?", f"context {n // 5}", ()) for n in range(50)]
    train, dev = hold_out(examples, 0.1)
    assert len(dev) == 5
    assert not {question.context for question in train} & {question.context for question in dev}


def test_questions_about_one_context_are_parted():
    train, dev = hold_out([Question(f"{n}", f"{n}?", "one", ()) for n in range(50)], 0.1)
    assert (len(train), len(dev)) == (45, 5)


def sentences(*sizes):
    return [Sentence((f"{d}-{n}",), None, f"{d}-{n}", "line 1", d) for d, size in enumerate(sizes) for n in range(size)]


def test_sentences_of_a_document_stay_together():
    train, dev = hold_out(sentences(*[3] * 20), 0.1)
    assert len(dev) == 6
    assert not {sentence.document for sentence in train} & {sentence.document for sentence in dev}


def test_documents_are_parted_where_they_are_too_long():
    assert len(hold_out(sentences(40, 1, 40, 40), 0.1)[1]) == 12


def test_examples_that_are_all_the_same_are_not_parted():
    assert hold_out(rows("a", "a", "a"), 0.1)[1] == []
    assert hold_out(rows("a"), 0.5)[1] == []


def test_content():
    first, second = Row("a", "b", "x", "0", "line 2"), Row("a", "b", "y", "1", "line 3")
    assert content_of(first) == content_of(second) != content_of(Row("a", "c", "x", "0", "line 2"))
    assert content_of(SimpleNamespace(words=["a"])) == content_of(SimpleNamespace(words=("a",)))
    assert content_of(Sentence(("a", "b"), None, "0", "line 1")) != content_of(
        Sentence(("a", "c"), None, "0", "line 1")
    )
