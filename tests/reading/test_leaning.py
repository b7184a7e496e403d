"""Which questions say nothing without the one before."""

import pytest

from dokkai.reading.leaning import leans

LEANING = ["and when?", "Since when?", "Why?", "How old was she?", "Where did she live?", "When was it built?", "Who?"]
ALONE = [
    *["When did Parícutin rise?", "Who wrote Emma?", "In which language?", "Wann?", "いつ?"],
    "What was the name of his ship?",  # long enough to have an answer of its own
]


@pytest.mark.parametrize("question", LEANING)
def test_it_leans(question):
    assert leans(question)


@pytest.mark.parametrize("question", ALONE)
def test_it_does_not(question):
    assert not leans(question)
