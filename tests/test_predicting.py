"""What ``predict`` reads: a table with all its columns, and the layouts of questions, as in training."""

import io
import json
import os
from types import SimpleNamespace

import pytest

from dokkai.errors import UserError
from dokkai.predicting import _examples, _holds_a_word_a_line, _records, _rows, predict_lines
from dokkai.settings import (
    ClassificationSettings,
    MultipleChoiceSettings,
    QuestionAnsweringSettings,
    TokenClassificationSettings,
    load_settings,
)
from dokkai.tasks import create_task
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


def test_rows_of_any_length(tmp_path):
    """As long as they have what is needed; the others are left out, and counted, if the training did so."""
    content = "text\tmore\tlast\na\nb\tx\tand\tmore\n\tc\n"
    found = read(tmp_path, "a.tsv", content, text="more", ragged=True, skip_short=True)
    assert [(place, values.get("more"), values.get("last")) for _, place, values in found] == [
        ("line 3", "x", "and"),
        ("line 4", "c", None),
    ]
    with pytest.raises(UserError, match=r"a\.tsv line 2: 1 field where the header has 3"):
        read(tmp_path, "a.tsv", content, text="more", ragged=True)


def test_columns_that_nobody_asks_for_may_be_called_alike(tmp_path):
    assert read(tmp_path, "a.csv", "x,text,x\n1,a,2\n") == [(0, "line 2", {"text": "a"})]
    with pytest.raises(UserError, match=r"a\.csv line 1: 2 columns are called 'text'"):
        read(tmp_path, "a.csv", "text,text\na,b\n")


def records(tmp_path, name, content, settings):
    (tmp_path / name).write_text(content, encoding="utf-8")
    return [record.values for _, record in _records(str(tmp_path / name), settings)]


def test_a_name_that_tells_nothing(tmp_path):
    """It is read as a training would with ``task.format``, if it does not begin with a record."""
    settings = ClassificationSettings(format="tsv")
    assert records(tmp_path, "reviews", "text\tlabel\na\tb\n", settings) == [{"text": "a", "label": "b"}]
    assert records(tmp_path, "reviews", '{"text": "a"}\n', settings) == [{"text": "a"}]
    with pytest.raises(UserError, match="reviews line 1: not JSON"):
        records(tmp_path, "reviews", "text\tlabel\na\tb\n", ClassificationSettings())


QUESTION = {"question": "Who?", "context": "Ada came.", "id": "7"}
ARTICLES = {"data": [{"paragraphs": [{"context": "Ada came.", "qas": [{"question": "Who?", "id": "7"}]}]}]}


@pytest.mark.parametrize("name", ["a.json", "a"])
@pytest.mark.parametrize("indent", [None, 2])
def test_questions_in_squads_layout(tmp_path, name, indent):
    settings = QuestionAnsweringSettings(context="passage")
    (found,) = records(tmp_path, name, json.dumps(ARTICLES, indent=indent), settings)
    assert found == {"question": "Who?", "passage": "Ada came.", "id": "7", "title": ""}


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a"])
def test_questions_as_records(tmp_path, name):
    """Answers need not be in order."""
    lines = [QUESTION | {"answers": [{"text": "Bo", "answer_start": 1}]}, QUESTION]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    assert records(tmp_path, name, content, QuestionAnsweringSettings()) == lines
    if name == "a.json":
        assert records(tmp_path, name, json.dumps(lines), QuestionAnsweringSettings()) == lines


def test_a_mistake_in_squads_layout(tmp_path):
    with pytest.raises(UserError, match=r"a\.json: not in SQuAD's layout: 'question' is missing in data\[0\]"):
        records(tmp_path, "a.json", json.dumps(ARTICLES).replace("question", "ask"), QuestionAnsweringSettings())


def test_lines_of_several_questions_from_standard_input(monkeypatch):
    article = {"article": "A.", "questions": ["x?", "y?"], "options": [["a", "b"], ["c", "d"]], "id": "m1"}
    alone = {"article": "B.", "question": "z?", "options": ["e", "f"]}
    lines = "".join(json.dumps(line) + "\n" for line in (article, alone, alone | {"id": 5}))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(lines.encode())))
    found = list(_records("-", load_settings("race").task))
    assert [(number, record.place, record.values.get("id")) for number, record in found] == [
        (0, "line 1", "m1-0"),
        (0, "line 1", "m1-1"),
        (1, "line 2", None),
        (2, "line 3", 5),
    ]
    assert found[1][1].values["options"] == ["c", "d"]


@pytest.mark.parametrize("name", ["dream", "race", "mctest"])
def test_tables_for_a_model_of_another_layout(tmp_path, name):
    s = load_settings(name).task
    assert isinstance(s, MultipleChoiceSettings)
    row = {s.context: "A bee.", s.question: "Who?", s.choices[0]: ["x", "y"]}
    for file, content in (("a.json", json.dumps([row])), ("b.json", json.dumps(row)), ("a.jsonl", json.dumps(row))):
        (found,) = records(tmp_path, file, content, s)
        assert found.items() >= row.items()


@pytest.mark.parametrize("document_context", [True, False])
def test_a_document_is_read_whole(tmp_path, tokenizer, monkeypatch, capsys, document_context):
    """As by ``evaluate``: the text around a sentence does not end where a block of examples does."""
    settings = TokenClassificationSettings(labels=["O", "B-X"], document_context=document_context)
    task, blocks = create_task(settings, tokenizer), []

    def predict(block):
        blocks.append(len(block))
        return [{"ids": item.input_ids.tolist()} for item in task.encode(block, training=False)]

    monkeypatch.setattr("dokkai.predicting._BLOCK", 2)
    monkeypatch.setattr("dokkai.predicting.load", lambda *_: SimpleNamespace(task=task, predict=predict))
    file = tmp_path / "a.conll"
    mark = "-DOCSTART- O\n\n"
    file.write_text(f"{mark}a O\n\nbee O\n\nsat O\n\n{mark}an O\n\noak O\n\n", encoding="utf-8")
    predict_lines("run", str(file))
    found = [json.loads(line)["ids"] for line in capsys.readouterr().out.splitlines()]
    assert found == [item.input_ids.tolist() for item in task.encode(task.read(file), training=False)]
    assert blocks == ([3, 2] if document_context else [2, 2, 1])


@pytest.mark.parametrize("column", ["tokens", "words"])
def test_lists_of_words(tmp_path, tokenizer, column):
    """In the columns in which the training looks for them."""
    (tmp_path / "a.json").write_text(json.dumps([{column: ["EU", 5], "tags": ["O", "O"]}]), encoding="utf-8")
    task = create_task(TokenClassificationSettings(labels=["O", "B-X"]), tokenizer)
    (found,) = _examples(task, str(tmp_path / "a.json"))
    assert (found.words, found.tags) == (["EU", "5"], None)


def test_rows_of_words(tmp_path, tokenizer):
    """CSV with a word in each row, if the training was on such; else its rows are texts."""
    task = create_task(TokenClassificationSettings(labels=["O", "B-X"], id="n"), tokenizer)
    (tmp_path / "a.csv").write_text("n,words\n1,EU\n,rejects\n2,Yes\n", encoding="utf-8")
    found = list(_examples(task, str(tmp_path / "a.csv")))
    assert [(item.words, item.id) for item in found] == [(["EU", "rejects"], "1"), (["Yes"], "2")]
    (tmp_path / "a.csv").write_text('n,"text"\n1,EU rejects\n', encoding="utf-8")
    assert [(item.text, item.id) for item in _examples(task, str(tmp_path / "a.csv"))] == [("EU rejects", "1")]


@pytest.mark.parametrize(
    ("header", "settings"),
    [
        ("n,text", {"words": "text"}),
        ("n,word", {"words": "word"}),
        ("n,word,text", {"words": "word"}),
        ("n, tokens,text", {}),
        ("n,tokens;text", {}),
    ],
)
def test_rows_of_words_beside_a_text(tmp_path, tokenizer, header, settings):
    """Columns that the training read are words, whatever they or others are called."""
    task = create_task(TokenClassificationSettings(labels=["O", "B-X"], id="n", **settings), tokenizer)
    mark = ";" if ";" in header else ","
    rows = [["1", "EU", "EU rejects"], ["", "rejects", "EU rejects"], ["2", "Yes", "Yes"]]
    lines = [header.replace(",", mark), *(mark.join(row[: header.count(",") + header.count(";") + 1]) for row in rows)]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert [item.words for item in _examples(task, str(tmp_path / "a.csv"))] == [["EU", "rejects"], ["Yes"]]


@pytest.mark.parametrize(
    ("name", "form", "content"),
    [
        ("w.dat", "csv", "n,words\n1,EU\n,rejects\n2,Yes\n"),
        ("w.tsv", "csv", "n,words\n1,EU\n,rejects\n2,Yes\n"),
        ("w.csv", "tsv", "EU\nrejects\n\nYes\n"),
        ("w.dat", "jsonl", '{"words": ["EU", "rejects"], "n": 1}\n{"words": ["Yes"], "n": 2}\n'),
        ("w.dat", "json", '[{"words": ["EU", "rejects"], "n": 1}, {"words": ["Yes"], "n": 2}]'),
    ],
)
def test_words_under_another_ending(tmp_path, tokenizer, name, form, content):
    """``task.format`` says what the training read, and predicting listens to it."""
    task = create_task(TokenClassificationSettings(labels=["O", "B-X"], id="n", format=form), tokenizer)
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert [item.words for item in _examples(task, str(tmp_path / name))] == [["EU", "rejects"], ["Yes"]]


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
