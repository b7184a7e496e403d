"""What ``predict`` reads of a table: all its columns, laid out as in training."""

import os

import pytest

from dokkai.errors import UserError
from dokkai.predicting import _holds_a_word_a_line, _rows
from dokkai.settings import ClassificationSettings
from dokkai.tasks.texts import parse_texts


def read(tmp_path, name, content, **settings):
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    return [
        (number, record.place, record.values) for number, record in _rows(str(file), ClassificationSettings(**settings))
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_tabs_under_another_ending(tmp_path, name):
    """STS-B's files are called .csv and hold tabs; the recipe says so, and predicting listens to it too."""
    found = read(tmp_path, name, "id\tsentence\n7\ta, b\n", text="sentence", format="tsv")
    assert found == [(0, "line 2", {"id": "7", "sentence": "a, b"})]


def test_columns_by_number(tmp_path):
    assert read(tmp_path, "a.csv", "x,y\n", text="1", label="0", header=False) == [(0, "line 1", {"0": "x", "1": "y"})]


def test_an_ending_that_is_no_text_table_is_believed(tmp_path):
    found = read(tmp_path, "a.json", '[{"text": "x"}, {"text": "y"}]', format="csv")
    assert [place for _, place, _ in found] == ["entry 1", "entry 2"]


def test_a_pipe_is_not_looked_into(tmp_path):
    """What was read to tell what it holds would be lost."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.conll").write_text("EU B-ORG\n", encoding="utf-8")
    found = [_holds_a_word_a_line(str(path)) for path in (tmp_path / "pipe", tmp_path / "a.conll", "-")]
    assert found == [False, True, False]


@pytest.mark.parametrize(("value", "text"), [("5", "5"), (5, "5"), (1.5, "1.5"), (True, "true")])
def test_numbers_are_texts(value, text):
    """As where a table of them is trained on."""
    settings = ClassificationSettings(text="text", labels=["a", "b"])
    assert parse_texts({"text": value}, 0, "line 1", settings) == (text, None, "0")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "line 1: no text under 'text'; found: nothing"),
        ({"text": None}, "line 1: column 'text' is null; a text or a number is needed"),
        ({"text": ["a"]}, "line 1: column 'text' is a list; a text or a number is needed"),
    ],
)
def test_what_is_no_text(record, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        parse_texts(record, 0, "line 1", ClassificationSettings(text="text", labels=["a", "b"]))
