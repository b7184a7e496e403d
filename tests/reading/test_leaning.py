"""Which questions say nothing without the one before, and which have a topic that the text has not."""

import pytest

from dokkai.reading.leaning import has_unknown_name, leans

LEANING = ["and when?", "Since when?", "Why?", "How old was she?", "Where did she live?", "When was it built?", "Who?"]
ALONE = [
    *["When did Parícutin rise?", "Who wrote Emma?", "In which language?", "Wann?", "いつ?"],
    "What was the name of his ship?",  # long enough to have an answer of its own
    *["?", "..."],
]


@pytest.mark.parametrize("question", LEANING)
def test_it_leans(question):
    assert leans(question)


@pytest.mark.parametrize("question", ALONE)
def test_it_does_not(question):
    assert not leans(question)


TEXTS = ["John Smeaton built the tower.", "It stands on the Eddystone rocks, off Plymouth, near Parícutin."]
NAMING = [
    "When did Krakatoa erupt?",
    "How high is the Eiffel Tower's top in Paris?",
    "and where is Krakatoa?",
    "and Krakatoa?",
    "Is it in the U.S.?",
    "Thanks. When did Krakatoa erupt?",
]
NOT_NAMING = [
    "and when?",
    "When did it erupt?",
    "Krakatoa?",
    "How old was he when I was born?",
    "When did SMEATON die?",
    "What was Smeaton's trade?",
    "When did Pari\u0301cutin rise?",
    "Thanks. When was it built?",
    "I see. And when?",
    "HOW OLD WAS HE?",
    "How High Is It?",
    "いつですか?",
    "いつ、Smeatonは?",
    "",
]


@pytest.mark.parametrize("question", NAMING)
def test_it_names_what_the_texts_have_not(question):
    assert has_unknown_name(question, TEXTS)


@pytest.mark.parametrize("question", NOT_NAMING)
def test_it_names_nothing_else(question):
    assert not has_unknown_name(question, TEXTS)
