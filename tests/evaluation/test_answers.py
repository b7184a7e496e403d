"""Scores of answers against numbers worked out by hand and against what the official SQuAD script printed."""

import json
import random
import subprocess
import sys

import pytest

from dokkai.errors import UserError
from dokkai.evaluation.metrics import best_null_threshold, squad_scores

# id: (correct texts, prediction, exact, f1), each worked out by hand with the official rules
BY_HAND = {
    "equal": (["Nara"], "Nara", 1, 1),
    "case, article, punctuation": (["The old, grey temple."], "old grey temple", 1, 1),
    "white space": (["two\n  words"], " two words ", 1, 1),
    "best of several": (["in 710", "710"], "710", 1, 1),
    "one word of three": (["big red barn"], "red", 0, 0.5),  # precision 1, recall 1/3
    "repeated words": (["duck duck goose"], "duck duck duck", 0, 2 / 3),  # duck is shared twice, not three times
    "nothing shared": (["north"], "south", 0, 0),
    "hyphen joins": (["well-known"], "wellknown", 1, 1),
    "hyphen does not part": (["well-known"], "well known", 0, 0),
    "articles only within words": (["an atheist"], "atheist", 1, 1),
    "article after apostrophe": (["a's"], "as", 1, 1),  # punctuation goes first: the article is no word any more
    "only ASCII punctuation": (["「Nara」"], "Nara", 0, 0),
    "empty prediction": (["Nara"], "", 0, 0),
    "nothing left of the prediction": (["Nara"], "the !", 0, 0),
    "nothing left of one answer": (["The", "Nara"], "", 0, 0),  # "The" does not count as an answer
    "nothing left of any answer": (["The"], "...", 1, 1),
    "unanswerable, nothing said": ([], "", 1, 1),
    "unanswerable, article said": ([], "a", 1, 1),
    "unanswerable, something said": ([], "Nara", 0, 0),
}


def columns(*names):
    answers = {name: BY_HAND[name][0] for name in names}
    return answers, {name: BY_HAND[name][1] for name in names}


@pytest.mark.parametrize("name", BY_HAND)
def test_one_question_by_hand(name):
    answers, predictions = columns(name)
    scores = squad_scores(answers, predictions)
    assert scores["exact"] == 100 * BY_HAND[name][2]
    assert scores["f1"] == pytest.approx(100 * BY_HAND[name][3], abs=1e-12)


def test_averages_and_kinds():
    answers, predictions = columns(*BY_HAND)
    assert squad_scores(answers, predictions) == pytest.approx(
        {
            "exact": 100 * 10 / 19,
            "f1": 100 * (11 + 1 / 6) / 19,
            "total": 19,
            "HasAns_exact": 100 * 8 / 16,
            "HasAns_f1": 100 * (9 + 1 / 6) / 16,
            "HasAns_total": 16,
            "NoAns_exact": 100 * 2 / 3,
            "NoAns_f1": 100 * 2 / 3,
            "NoAns_total": 3,
        },
        abs=1e-12,
    )


def test_a_kind_without_questions_has_no_keys():
    assert set(squad_scores({"q": ["x"]}, {"q": "x"})) == {
        *("exact", "f1", "total"),
        *("HasAns_exact", "HasAns_f1", "HasAns_total"),
    }
    assert "HasAns_total" not in squad_scores({"q": []}, {"q": "x"})


def test_threshold_turns_unsure_answers_into_none():
    answers = {"right": ["x"], "wrong": ["x"], "none": [], "edge": []}
    predictions = {"right": "x", "wrong": "y", "none": "y", "edge": "y"}
    probs = {"right": 0.9, "wrong": 0.1, "none": 0.9, "edge": 0.5}
    assert squad_scores(answers, predictions, probs)["exact"] == 25  # at the threshold 1 nothing changes
    scores = squad_scores(answers, predictions, probs, threshold=0.5)
    assert (scores["HasAns_exact"], scores["NoAns_exact"]) == (0, 50)  # above the threshold, not at it
    assert squad_scores(answers, predictions, probs, threshold=-1)["exact"] == 50  # answers nothing


def test_best_threshold_by_hand():
    answers = {"a": ["x"], "b": [], "c": ["x y"], "d": []}
    predictions = {"a": "x", "b": "z", "c": "x", "d": ""}
    probs = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}
    # Right answers so far: nothing answered 2; a 3; b 2; c exact 2, F1 2 + 2/3; d (nothing said) unchanged.
    best = best_null_threshold(answers, predictions, probs)
    assert best == {"best_exact": 75, "best_exact_thresh": 0.1, "best_f1": 75, "best_f1_thresh": 0.1}
    probs["b"] = 0.9  # now c comes before b
    best = best_null_threshold(answers, predictions, probs)
    assert best["best_f1"] == pytest.approx(100 * (3 + 2 / 3) / 4)
    assert (best["best_exact_thresh"], best["best_f1_thresh"]) == (0.1, 0.3)
    for name in ("exact", "f1"):  # without ties the threshold reaches the score it promises
        reached = squad_scores(answers, predictions, probs, threshold=best[f"best_{name}_thresh"])[name]
        assert reached == pytest.approx(best[f"best_{name}"])


def test_a_threshold_that_refuses_less_for_little():
    """Right answers so far: 1; a 2; b 3; c (wrong) 3; d (should be refused) 2; e 3, once more."""
    answers = {"a": ["x"], "b": ["x"], "c": ["x"], "d": [], "e": ["x"]}
    predictions = {"a": "x", "b": "x", "c": "y", "d": "z", "e": "x"}
    odds = {"a": -2.0, "b": -1.0, "c": 0.0, "d": 1.0, "e": 2.0}
    expected = {0: -1.0, 0.1: 2.0, 20: 2.0}
    for slack, threshold in expected.items():
        best = best_null_threshold(answers, predictions, odds, slack=slack)
        assert (best["best_f1"], best["best_f1_thresh"]) == (60, threshold)
    predictions["e"] = "y"
    for slack, threshold in {0: -1.0, 0.1: 0.0, 19.9: 0.0, 20: 2.0}.items():
        assert best_null_threshold(answers, predictions, odds, slack=slack)["best_f1_thresh"] == threshold


def test_best_threshold_may_be_to_answer_nothing():
    best = best_null_threshold({"a": [], "b": ["x"]}, {"a": "y", "b": "y"}, {"a": 0.1, "b": 0.2, "other file": 0.0})
    assert best == {"best_exact": 50, "best_exact_thresh": 0.0, "best_f1": 50, "best_f1_thresh": 0.0}


def test_best_threshold_beside_every_threshold():
    """On random questions without ties: no threshold gives more than the best one."""
    generator = random.Random(5)
    for _ in range(30):
        ids = [f"q{number}" for number in range(25)]
        answers = {name: generator.choice([[], ["x y"], ["x", "z"]]) for name in ids}
        predictions = {name: generator.choice(["x", "x y", "z", ""]) for name in ids}
        odds = {name: generator.uniform(-9, 9) for name in ids}
        best = best_null_threshold(answers, predictions, odds)
        tried = [squad_scores(answers, predictions, odds, value) for value in (-10.0, *odds.values())]
        for name in ("exact", "f1"):
            assert best[f"best_{name}"] == pytest.approx(max(scores[name] for scores in tried))


def test_missing_predictions_are_counted():
    with pytest.raises(UserError, match="2 of 3 questions have no prediction, first: id q2; each needs one"):
        squad_scores({"q1": ["x"], "q2": [], "q3": []}, {"q1": "x", "other": "y"})
    with pytest.raises(UserError, match="1 of 1 questions have no no-answer probability, first: id q1"):
        squad_scores({"q1": ["x"]}, {"q1": "x"}, {})
    with pytest.raises(UserError, match="no questions to score"):
        squad_scores({}, {})


@pytest.mark.data
@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_official_scores(data, version):
    golden = json.loads((data / "golden" / "squad-scores.json").read_text(encoding="utf-8"))[version]
    questions = [
        entry for article in golden["data"]["data"] for paragraph in article["paragraphs"] for entry in paragraph["qas"]
    ]
    answers = {entry["id"]: [answer["text"] for answer in entry["answers"]] for entry in questions}
    probs = golden.get("no_answer_probability")
    scores = squad_scores(answers, golden["predictions"], probs, golden.get("no_answer_threshold", 1.0))
    if probs is not None:
        scores |= best_null_threshold(answers, golden["predictions"], probs)
    assert scores == pytest.approx(golden["official"], rel=0, abs=1e-9)


# prediction and answers: exact, F1 over characters, by the rules in the patch of JGLUE
BY_CHARACTER = {
    "equal": (["奈良市"], "奈良市", 1, 1),
    "full stop at the end": (["奈良市。"], "奈良市", 1, 1),
    "full stop within": (["奈良。市"], "奈良市", 0, 6 / 7),
    "case": (["NHK放送"], "nhk放送", 1, 1),
    "white space": (["New  York"], " new york", 1, 1),
    "an article is no article": (["the 駅"], "駅", 0, 2 / 6),
    "brackets stay": (["「奈良」"], "奈良", 0, 2 * 2 / 6),
    "a particle too much": (["1998年"], "1998年に", 0, 10 / 11),
    "best of several": (["東京", "東京都"], "東京都", 1, 1),
    "nothing shared": (["奈良"], "京都", 0, 0),
    "nothing said": (["奈良"], "", 0, 0),
}


@pytest.mark.parametrize("name", BY_CHARACTER)
def test_characters_by_hand(name):
    answers, prediction, exact, f1 = BY_CHARACTER[name]
    scores = squad_scores({"q": answers}, {"q": prediction}, scoring="characters")
    assert scores["exact"] == 100 * exact
    assert scores["f1"] == pytest.approx(100 * f1)


def test_words_of_japanese_are_whole_answers():
    answers, predictions = {"q": ["1998年"]}, {"q": "1998年に"}
    assert (
        squad_scores(answers, predictions)["f1"] == 0 < squad_scores(answers, predictions, scoring="characters")["f1"]
    )
    found = best_null_threshold(answers, predictions, {"q": 0.5}, "characters")
    assert found["best_f1"] == pytest.approx(1000 / 11)


def test_import_is_light():
    heavy = {"torch", "sklearn", "scipy", "seqeval", "numpy"}
    check = f"import sys, dokkai.evaluation.metrics; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
