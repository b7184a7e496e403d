"""Passages are whole paragraphs where they can be, and lose nothing but white space."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dokkai.reading.passages import cut_into_passages, stripped


def passages(text):
    return [text[start:end] for start, end in cut_into_passages(text)]


def test_short_paragraphs_are_joined_and_long_ones_stay():
    heading, long, short = "A heading", ("A sentence of a paragraph. " * 30).strip(), ("Short. " * 30).strip()
    assert passages(f"{heading}\n\n{long}\n \n{short}\n\n{short}\n\n{long}") == [
        f"{heading}\n\n{long}",
        f"{short}\n\n{short}",
        long,
    ]


def test_a_small_text_stays_whole():
    part = ("A sentence of a paragraph. " * 26).strip()
    assert passages(f" {part}\n\n{part}\n") == [f"{part}\n\n{part}"] and 1000 < 2 * len(part) + 2 < 1500
    assert passages(f"{part}\n\n{part}\n\n{part}") == [part, part, part]


def test_a_long_paragraph_is_cut_behind_sentences():
    text = "Here is a sentence that somebody wrote down. " * 200
    found = passages(text)
    assert len(found) > 5
    assert all(part.startswith("Here is") and part.endswith("down.") and len(part) <= 1500 for part in found)
    lines = "a line without a stop that goes on\n" * 200
    assert all(part.startswith("a line") and part.endswith("goes on") for part in passages(lines))


def test_japanese_passages_are_shorter():
    found = passages("灯台は岬の上に立つ。" * 200)
    assert all(part.endswith("。") and len(part) <= 600 for part in found) and len(found) == 5


@pytest.mark.parametrize("speech", ["「灯台は岬の上に立つ。」", "“灯台在海角上。”", "（灯台は岬の上に立つ。）"])
def test_brackets_stay_with_what_they_close(speech):
    found = passages(speech * 200)
    assert len(found) > 3 and all(part.startswith(speech) and part.endswith(speech) for part in found)


def test_a_text_without_any_place_to_cut():
    assert [len(part) for part in passages("x" * 3500)] == [1000, 1000, 1500]
    assert passages(" \n\n ") == [] == passages("")


@given(st.text(alphabet="ab .\n\t。東", max_size=4000))
def test_nothing_is_lost(text):
    spans = cut_into_passages(text)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert "".join("".join(text[a:b].split()) for a, b in spans) == "".join(text.split())
    assert all(text[a:b] == text[a:b].strip() for a, b in spans)


def test_white_space_at_the_ends_is_no_answer():
    assert stripped("a \n Dora\n", 1, 9) == (4, 8)
    assert stripped(" \n ", 0, 3) == (0, 0)
