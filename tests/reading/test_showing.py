"""What a person is shown of the answers that were found."""

import pytest
from planted import reader, with_settings

from dokkai.reading.answers import ask
from dokkai.reading.documents import Document
from dokkai.reading.showing import show_answers

TOWER = Document("tower.txt", "Ann built the tower. Bob paid for it.")
NONE = "The text does not hold an answer (confidence 73%)."


def shown(capsys, margins, n_best, **settings):
    found = ask(with_settings(reader(**margins), **settings), "Who?", [TOWER], n_best=max(2, n_best))
    show_answers(found, n_best)
    return capsys.readouterr().out.splitlines()


def test_of_a_longer_list_so_many_are_shown(capsys):
    margins = {"Ann": 3.0, "Bob": 2.0}
    assert [line for line in shown(capsys, margins, 1) if not line.startswith(" ")] == ["Ann"]
    assert [line for line in shown(capsys, margins, 2) if not line.startswith(" ")] == ["Ann", "Bob"]


def test_below_no_answer_stands_what_comes_closest(capsys):
    lines = shown(capsys, {"Ann": -1.0}, 1)
    assert lines[:3] == [NONE, "What comes closest:", "Ann"]
    assert lines[3:] == ["  [Ann] built the tower.", "  tower.txt, line 1 · confidence 27%"]


@pytest.mark.parametrize("n_best", [1, 2])
def test_but_not_what_is_surely_wrong_unless_it_is_asked_for(n_best, capsys):
    lines = shown(capsys, {"Ann": -9.0}, n_best)
    assert lines[0] == "The text does not hold an answer (confidence 100%)."
    assert len(lines) == (1 if n_best == 1 else 5)


def test_many_that_come_close_are_not_called_no_answer(capsys):
    """Each is less likely than none, and together they are likelier."""
    lines = shown(capsys, dict.fromkeys(("Ann", "Bob", "tower"), -1.0), 1)
    assert lines[:3] == [
        "No answer is likely enough (confidence that there is none: 48%).",
        "What comes closest:",
        "Ann",
    ]


def test_the_place_is_named_as_the_file_counts(capsys):
    for name, place in (("tower.txt", "line 2"), ("tower.DOCX", "paragraph 2")):
        document = Document(name, "A keeper.\nAnn built the tower.")
        show_answers(ask(reader(Ann=3.0), "Who?", [document]), 1)
        assert f"  {name}, {place} · confidence " in capsys.readouterr().out
