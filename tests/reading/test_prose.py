"""What the model is shown of a passage has the places of the text; answers begin and end where words do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dokkai.reading.prose import as_prose, may_answer

WRAPPED = (
    "This line is long enough to have been broken off here, at\n"
    "Dover, where a sentence goes on that began above it, in\nLove."
)
NARROW = "It was built\nby John Smeaton\nof Austhorpe in\nhis best years."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Breakfast: €14.50\nDog: €12\nParking: €9\n", "Breakfast: €14.50;Dog: €12;Parking: €9;"),
        ("Prices\n\nA dog costs €12.", "Prices;\nA dog costs €12."),
        ("Is it open?\nYes.\n“So it is.”\nPrices:\nDog,\ncat", "Is it open?\nYes.\n“So it is.”\nPrices:\nDog,\ncat"),
        (WRAPPED, WRAPPED),
        (NARROW, NARROW),
        ("料金表\n犬 12\nDog", "料金表\n犬 12\nDog"),
        ("개: 12유로\n고양이: 9유로", "개: 12유로;고양이: 9유로"),
        ("»Ja.«\nB\nقال؟\nC", "»Ja.«\nB;قال؟\nC"),
        ("", ""),
    ],
)
def test_rows_are_kept_apart(text, shown):
    assert as_prose(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("## Who?\n- **Ada** and `Bob`[^1]", "   Who?\n    Ada   and  Bob     "),
        ("*Ada* wrote [a note](http://x.de/a_b) on 2 * 3 * 4.", " Ada  wrote [a note]                  on 2 * 3 * 4."),
        ("~~100~~ **80 €**, snake_case_name, a#1 (see b)", "  100     80 €  , snake_case_name, a#1 (see b)"),
        ("***x*** a 5* hotel[^note-1]", "   x    a 5* hotel         "),
        ('[a](b/Foo_(bar)) [us](mailto:a@b.c) [c](u "t")', "[a]" + " " * 13 + " [us](mailto:a@b.c) [c]" + " " * 7),
    ],
)
def test_the_marks_of_markdown_are_not_shown(text, shown):
    assert as_prose(text, is_markdown=True) == shown
    assert "*" not in text or "*" in as_prose(text)


def test_items_of_markdown_are_kept_apart_as_those_of_text():
    long = "- a room with a view of the lake, breakfast and a dog 120 euros"
    text = f"- eggs 3\n- butter 125 g\n{long}\n- **Dogs:** 12\n* cats"
    ends = [place for place, character in enumerate(as_prose(text)) if character == ";"]
    assert len(ends) == 4
    assert [place for place, character in enumerate(as_prose(text, is_markdown=True)) if character == ";"] == ends


@given(st.text(alphabet="aB9 .,;\n*`#[](^)-あ", max_size=60), st.booleans())
def test_each_character_keeps_its_place(text, is_markdown):
    shown = as_prose(text, is_markdown)
    assert len(shown) == len(text)
    for before, after in zip(text, shown, strict=True):
        assert after == before or (before == "\n" and after == ";") or (is_markdown and after == " ")


def span(text, part):
    start = text.index(part)
    return text, start, start + len(part)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("It is EUR 3,480 a month.", "3,480"),
        ("by Ann's aunt", "Ann"),
        ("of 1759-60", "1759"),
        ("東京は日本の首都です。", "日本の首都"),
        ("人口は1,200人", "1,200人"),
        ("1. Ann,\n2. Bob", "Ann,\n2. Bob"),
        ("북경은 크다", "북경"),
        ("Dog,12,York", "12"),
        ("as Smith,2004 said", "Smith"),
        ("January 5,1990", "1990"),
        ("see e.g.2004", "2004"),
    ],
)
def test_what_may_answer(text, part):
    assert may_answer(*span(text, part))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("It is EUR 3,480 a month.", "480"),
        ("It is EUR 3,480 a month.", "EUR 3"),
        ("It is EUR 3.480,50 a month.", "3.480"),
        ("hello there", "llo"),
        ("hello there", "hell"),
        ("£5,000.\n\n5. Liability", "£5,000.\n\n5"),
        ("It is. And", "."),
        ("1'000 francs", "000"),
        ("nai\u0308ve", "nai"),
        ("人口は1,200人", "200人"),
    ],
)
def test_what_may_not(text, part):
    assert not may_answer(*span(text, part))
