"""The best answers over all passages: their places, their order, their confidence, and that there is none."""

import math
import warnings

import pytest
import torch
from planted import reader, with_settings

from dokkai.errors import UserError
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.pipeline import Answer, Pipeline
from dokkai.reading.answers import FOLLOW_UP, Collection, ask
from dokkai.reading.documents import Document
from dokkai.settings import QuestionAnsweringSettings
from dokkai.tasks import create_task

LONG = " It is a long paragraph, so that it stays alone." * 18
TOWER = Document("tower.txt", f"A keeper.\n\nAnn built the tower in 1698. Then it fell.{LONG}\n\nBob mended it.{LONG}")
BRIDGE = Document("bridge.pdf", f"Cid built the bridge.{LONG}\n\nDora paid.{LONG}", pages=[(0, 1), (300, 7)])
BOTH = Collection([TOWER, BRIDGE])


def test_an_answer_and_its_place():
    (found,) = ask(reader(Ann=5.0, Cid=2.0), "Who built the tower?", BOTH)
    assert isinstance(found, Answer)
    start = TOWER.text.index("Ann")
    assert (found.answer, found.file, found.line, found.page) == ("Ann", "tower.txt", 3, None)
    assert (found.start, found.end) == (start, start + 3)
    assert found.sentence_text == "Ann built the tower in 1698." == TOWER.text[slice(*found.sentence)]
    assert found.score == 5 and found.rank_score > 0
    record = found.to_dict()
    assert list(record) == [
        *["question", "answer", "file", "line", "page", "start", "end", "sentence", "sentence_start"],
        *["confidence", "rank_score"],
    ]
    assert record["sentence"] == found.sentence_text and record["sentence_start"] == start


def test_confidence_is_the_share_beside_all_others_and_none():
    first, second = ask(reader(Ann=2.0, fell=1.0), "?", [TOWER], n_best=2)
    total = math.exp(2) + math.exp(1) + 1
    assert first.confidence == pytest.approx(math.exp(2) / total)
    assert second.confidence == pytest.approx(math.exp(1) / total)
    cold = with_settings(reader(Ann=2.0, fell=1.0), temperature=0.5, null_threshold=3.0)
    (first,) = ask(cold, "?", [TOWER])
    assert first.confidence == pytest.approx(math.exp(4) / (math.exp(4) + math.exp(2) + math.exp(-6)))


def test_whether_there_is_an_answer_and_which_may_be_told_apart():
    settings = {"temperature": 0.5, "null_temperature": 4.0, "null_threshold": -1.0}
    first, second = ask(with_settings(reader(Ann=2.0, fell=1.0), **settings), "?", [TOWER], n_best=2)
    there_is_one = 1 / (1 + math.exp((1 - 2) / 4))
    assert first.confidence == pytest.approx(there_is_one * math.exp(4) / (math.exp(4) + math.exp(2)))
    assert first.confidence + second.confidence == pytest.approx(there_is_one)


def test_passages_are_compared_by_the_temperature_of_whether_there_is_an_answer():
    """A point of BM25 is a unit of log-odds of that; where no answer is no choice there is the one temperature."""
    question, sure = "Who built the bridge?", reader(Ann=3.0, Cid=2.0)
    assert ask(with_settings(sure, temperature=0.5), question, BOTH)[0].answer == "Ann"
    assert ask(with_settings(sure, temperature=0.5, null_temperature=9.0), question, BOTH)[0].answer == "Cid"
    always = {"temperature": 0.5, "null_temperature": 9.0, "no_answer": False}
    assert ask(with_settings(sure, **always), question, BOTH)[0].answer == "Ann"
    alike = reader(Ann=3.0, Cid=3.0)
    found = ask(with_settings(alike, temperature=0.5, null_temperature=9.0), question, BOTH, n_best=2)
    assert found[0].score - found[1].score == pytest.approx(9.0 * (found[0].rank_score - found[1].rank_score))


def test_what_all_scores_of_a_passage_share_says_nothing():
    assert ask(reader(Ann=2.0, null=0.0), "?", BOTH) == ask(reader(Ann=2.0, null=7.0), "?", BOTH)


@pytest.mark.parametrize(
    ("margin", "threshold", "answers"), [(-1.0, 0.0, False), (-1.0, 2.0, True), (1.0, -2.0, False)]
)
def test_no_answer(margin, threshold, answers):
    planted = with_settings(reader(Ann=margin, fell=margin - 1), null_threshold=threshold)
    first, *others = ask(planted, "Who?", [TOWER], n_best=3)
    if answers:
        assert [first.answer, *(item.answer for item in others)] == ["Ann", "fell"]
        assert first.confidence > 1 - first.confidence - others[0].confidence
        return
    assert (first.answer, first.file, first.line, first.page, first.sentence_text) == ("", "", None, None, "")
    assert [item.answer for item in others] == ["Ann", "fell"]
    assert sum(item.confidence for item in (first, *others)) == pytest.approx(1)
    assert first.confidence > others[0].confidence
    assert first.to_dict()["file"] is None
    assert len(ask(planted, "Who?", [TOWER], n_best=2)) == 2
    always = ask(planted, "Who?", [TOWER], n_best=3, always_answer=True)
    assert [item.answer for item in always] == ["Ann", "fell"]
    assert always == others, "as sure of them as before"
    assert sum(item.confidence for item in (first, *always)) == pytest.approx(1)
    assert ask(planted, "Who?", [TOWER], always_answer=True) == others[:1]
    with pytest.raises(UserError, match="n_best=0: at least one"):
        ask(planted, "Who?", [TOWER], n_best=0)


def test_a_model_that_always_answers():
    (found,) = ask(reader(Ann=-9.0, no_answer=False), "Who?", [TOWER])
    assert (found.answer, found.confidence) == ("Ann", 1.0)


def test_nothing_to_find():
    (found,) = ask(reader(), "Who?", [TOWER])
    assert (found.answer, found.confidence) == ("", 1.0)


def test_a_document_without_a_word():
    """Nothing to weigh, under the threshold of --always-answer too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = ask(reader(), "Who?", [Document("a.txt", "\u200b")], always_answer=True)
    assert (found.answer, found.confidence) == ("", 1.0)


def test_overlapping_answers_and_the_same_text_are_shown_once():
    found = ask(reader(**{"built": 4.0, "Ann": 3.0, "Ann built": 2.0, "It is": 1.0}), "?", BOTH, n_best=9)
    assert [item.answer for item in found] == ["built", "Ann", "It is"]


def test_passages_that_fit_better_count():
    """Of two answers alike to the reader the one from the passage with the question's words; not if it is far worse."""
    question = "Who built the bridge?"
    assert ask(reader(Ann=2.0, Cid=2.0), question, BOTH)[0].answer == "Cid"
    assert ask(reader(Ann=9.0, Cid=2.0), question, BOTH)[0].answer == "Ann"


def test_a_passage_is_found_by_the_name_of_its_file():
    texts = {"notes/roof_quote.txt": "They want 900.", "garage.txt": "They want 300.", "St. Ives.md": "They want 200."}
    several = Collection([Document(name, text) for name, text in texts.items()])
    for word, file in (("roof", "notes/roof_quote.txt"), ("garage", "garage.txt"), ("Ives", "St. Ives.md")):
        assert several.best(f"What do they want for the {word}?")[0].document.name == file
    piped = Collection([Document("standard input", "They want 900."), Document("rates.txt", "They want 300.")])
    assert [found.rank_score for found in piped.best("What is the standard?")] == [0, 0], "that is no name of a file"
    first, *_ = several.best("What do they want for notes?")
    assert first.rank_score == several.best("What do they want?")[0].rank_score, "a folder says nothing"
    (alone,) = Collection([Document("roof.txt", "They want 900.")]).best("What is it for the roof?")
    assert alone.rank_score == 0, "of one file all passages have the same name"


def test_only_the_best_passages_are_read():
    planted = reader(Ann=1.0)
    ask(planted, "Who built the bridge?", BOTH, num_passages=1)
    ((question, texts),) = planted.calls
    assert question == "Who built the bridge?" and len(texts) == 1 and texts[0].startswith("Cid")


def test_the_question_before_helps_to_find_the_passage():
    assert "bridge" not in BOTH.best("And when?")[0].text
    assert BOTH.best("And when?", earlier="Who built the bridge?")[0].text.startswith("Cid")
    assert BOTH.best("And the tower?", earlier="Who paid for the bridge?")[0].document is TOWER


@pytest.mark.parametrize(("margin", "follows"), [(FOLLOW_UP - 0.1, False), (FOLLOW_UP + 0.1, True)])
def test_a_question_without_an_answer_is_read_behind_the_last_one(margin, follows, capsys):
    planted = reader(Ann=-1.0, behind="1698 ", more=1 + margin)
    found = ask(planted, "and who?", [TOWER], answered="1698")
    assert [question for question, _ in planted.calls] == ["and who?", "1698 and who?"]
    assert found[0].question == "and who?"
    if follows:
        assert found[0].answer == "Ann" and found[0].score == pytest.approx(margin - FOLLOW_UP)
        assert found[0].confidence == pytest.approx(1 / (1 + math.exp(FOLLOW_UP - margin)))
        assert capsys.readouterr().err == "read as: 1698 and who?\n"
    else:
        assert found == ask(planted, "and who?", [TOWER]) and not found[0].answer
        assert ask(planted, "and who?", [TOWER], answered="1698", always_answer=True)[0].score == -1
        assert capsys.readouterr().err == ""


def test_an_answer_on_two_lines_is_read_and_said_on_one(capsys):
    planted = reader(Ann=-1.0, behind="John Smeaton ", more=9.0)
    assert ask(planted, "and who?", [TOWER], answered="John\n  Smeaton")[0].answer == "Ann"
    assert capsys.readouterr().err == "read as: John Smeaton and who?\n"


@pytest.mark.parametrize(("margin", "read_as"), [(FOLLOW_UP - 0.1, ""), (FOLLOW_UP + 0.1, "read as: 1698 and who?\n")])
def test_a_short_question_is_read_behind_the_last_answer_too(margin, read_as, capsys):
    """It may have an answer alone by chance; the better of both goes before."""
    planted = reader(Ann=1.0, behind="1698 ", more=margin)
    (found,) = ask(planted, "and who?", [TOWER], answered="1698")
    assert found.answer == "Ann" and found.score == pytest.approx(max(1, 1 + margin - FOLLOW_UP))
    assert capsys.readouterr().err == read_as


def test_a_question_is_read_as_it_is_first():
    """Behind the last answer only if it has none or leans on it, and never cut for it."""
    for question in ("Who built the tower?", "and who was it that built it?"):
        planted = reader(Ann=1.0, behind="1698 ", more=9.0)
        assert ask(planted, question, [TOWER], answered="1698")[0].score == 1 and len(planted.calls) == 1
    planted = with_settings(reader(Ann=1.0, behind="1698 ", more=9.0), no_answer=False)
    assert ask(planted, "and who?", [TOWER], answered="1698")[0].score == 1 and len(planted.calls) == 1
    planted = with_settings(reader(Ann=-1.0, behind="1698 ", more=9.0), max_question_length=3)
    assert ask(planted, "who was it?", [TOWER], answered="1698")[0].answer == "" and len(planted.calls) == 1
    assert ask(planted, "and who?", [TOWER], answered="1698")[0].answer == "Ann"


def test_a_question_with_a_name_that_no_passage_has_is_read_as_it_is():
    """ "When did Krakatoa erupt?" asks for something else than the last answer."""
    planted = reader(Ann=-1.0, behind="1698 ", more=9.0)
    assert ask(planted, "and who mended Krakatoa?", [TOWER], answered="1698")[0].answer == ""
    assert ask(planted, "and who is Bob?", [TOWER], answered="1698")[0].answer == "Ann"


def test_pages():
    (found,) = ask(reader(Dora=5.0), "Who paid?", BOTH)
    assert (found.page, found.line) == (7, 3)


def test_mistakes(tokenizer):
    with pytest.raises(UserError, match="the question is empty"):
        ask(reader(), " ", BOTH)


def test_all_passages_are_read_together(tokenizer):
    """By a true model: one forward pass for forty, and answers that it gives one by one too."""
    settings = QuestionAnsweringSettings(max_length=64, stride=16, no_answer=True)
    task = create_task(settings, tokenizer)
    config = shape_config("L1-H64", vocab_size=tokenizer.vocab_size, max_position_embeddings=64, initializer_range=0.3)
    model = Pipeline(Model(config, task.heads, seed=5), tokenizer, task, torch.device("cpu"), "fp32")
    documents = [Document(f"{number}.txt", f"Text {number}. Somebody built a tower.") for number in range(40)]
    calls = []
    model.model.register_forward_hook(lambda *_: calls.append(1))
    found = ask(model, "Who built a tower?", documents, n_best=40, num_passages=40, always_answer=True)
    assert len(calls) == 1
    texts = {document.name: document.text for document in documents}
    for item in found:
        (alone,) = model.read("Who built a tower?", [texts[item.file]])
        assert item.answer in {entry["answer"] for entry in alone["nbest"]}
