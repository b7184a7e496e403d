"""The passage that has the rare words of a question comes first, in any script."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dokkai.reading.ranking import Ranking, query_terms, share_without_spaces, terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The lighthouse's LIGHT, 1698!", ["the", "lighthouse", "s", "light", "1698"]),
        ("Café NAÏVE Straße", ["cafe", "naive", "strasse"]),
        ("東京都へ", ["東京", "京都", "都へ"]),
        ("AIは2020年", ["ai", "は", "2020", "年"]),
        ("ﾃﾞｰﾀ がっこう", ["デー", "ータ", "がっ", "っこ", "こう"]),
        ("북경은", ["북경", "경은"]),
        (" .,-_ ", []),
    ],
)
def test_terms(text, expected):
    assert terms(text) == expected


def test_the_share_without_spaces():
    assert share_without_spaces("plain words") == 0 == share_without_spaces("")
    assert share_without_spaces("灯台は光る。") == 1
    assert share_without_spaces("灯台ab") == 0.5


def test_rare_words_count():
    texts = [
        "the light of the sun",
        "the keeper of the light",
        "the the the the",
        "日本の首都は東京です",
        "京都は古い都",
    ]
    ranking = Ranking(texts)
    assert ranking.scores(terms("Who was the keeper?")).argmax() == 1
    assert ranking.scores(terms("首都はどこ")).argmax() == 3
    assert ranking.scores(terms("sun")).tolist()[1:] == [0, 0, 0, 0]
    twice = ranking.scores(terms("sun sun"))
    np.testing.assert_allclose(twice, 2 * ranking.scores(terms("sun")))


def test_words_that_ask_find_no_text_that_asks():
    assert query_terms("How long does the cake keep?") == ["long", "cake", "keep"]
    assert query_terms("Who are The Who?") == ["who", "are", "the", "who"], "where there are no others"
    assert query_terms("Who won Don's raffle, and who didn't?") == ["won", "don", "raffle"]
    assert query_terms("How much vitamin D?") == ["much", "vitamin", "d"]
    assert query_terms("首都はどこ") == terms("首都はどこ")
    texts = ["How long does delivery take, and how does it come?", "The cake keeps for four days, if it is kept long."]
    assert Ranking(texts).scores(query_terms("How long does the cake keep?")).argmax() == 1


def test_words_are_found_by_their_stems():
    ranking = Ranking(["Bob picks it up.", "the pumps", "das Haus"])
    for question, place in (("Who picked it up?", 0), ("Which pump?", 1), ("Haus", 2)):
        assert ranking.scores(query_terms(question)).argmax() == place
    assert not ranking.scores(["bridge"]).any()


def test_bm25_by_hand():
    """k1 1.5, b 0.75, and the idf of Lucene, which is never negative."""
    texts = ["a b", "a a a a", "c"]
    lengths, counts = np.array([2, 4, 1]), np.array([1, 4, 0])
    idf = np.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    expected = idf * counts / (counts + 1.5 * (1 - 0.75 + 0.75 * lengths / lengths.mean()))
    np.testing.assert_allclose(Ranking(texts).scores(["a"]), expected, rtol=1e-5)


@pytest.mark.parametrize("texts", [["..."], ["...", "-"], []])
def test_texts_without_a_term(texts):
    assert Ranking(texts).scores(["a"]).tolist() == [0.0] * len(texts)


@given(st.lists(st.text(max_size=30), max_size=5), st.text(max_size=20))
def test_any_text(texts, question):
    scores = Ranking(texts).scores(terms(question))
    assert scores.shape == (len(texts),) and (scores >= 0).all()
