"""Multiple choice: tables, the layouts of published data sets, and every mistake."""

import json
import re

import datasets
import pytest

from dokkai.data.choice_layouts import read_layout
from dokkai.data.choices import ChoiceQuestion, read_choices, shown_label
from dokkai.errors import UserError
from dokkai.settings import MultipleChoiceSettings


def read(path, content, **settings):
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_choices(path, MultipleChoiceSettings(**{"question": "question"} | settings))


def test_columns_of_a_table(tmp_path):
    content = "q,a,b,c,right\nWho?,x,y,z,2\nWhat?,u,v,w,0\n"
    found = read(tmp_path / "q.csv", content, question="q", choices=["a", "b", "c"], label="right")
    assert found == [
        ChoiceQuestion(None, "Who?", ("x", "y", "z"), 2, "0", "line 2"),
        ChoiceQuestion(None, "What?", ("u", "v", "w"), 0, "1", "line 3"),
    ]


def test_lists_of_any_length(tmp_path):
    lines = [
        {"text": "A.", "question": "Who?", "choices": ["x", "y"], "label": "B", "id": 7},
        {"text": "B.", "question": "What?", "choices": ["x", "y", "z"], "label": "A", "id": 8},
    ]
    path = tmp_path / "q.jsonl"
    found = read(path, "\n".join(map(json.dumps, lines)), context="text", label_is="letter", id="id")
    assert found[0] == ChoiceQuestion("A.", "Who?", ("x", "y"), 1, "7", "line 1")
    assert [len(item.choices) for item in found] == [2, 3]


def test_lists_in_cells(tmp_path):
    found = read(tmp_path / "q.csv", "question,choices,label\nWho?,\"['x', 'y, z']\",1\n")
    assert found == [ChoiceQuestion(None, "Who?", ("x", "y, z"), 1, "0", "line 2")]


NAMED = {
    "as on the hub": {"text": ["x", "y"], "label": ["1", "2"]},
    "as objects": [{"label": "1", "text": "x"}, {"label": "2", "text": "y"}],
}


@pytest.mark.parametrize("choices", NAMED.values(), ids=NAMED)
def test_choices_with_names(choices, tmp_path):
    content = [{"question": "Who?", "choices": choices, "label": "2"}]
    settings = {"label_is": "name"}
    (found,) = read(tmp_path / "q.json", content, **settings)
    assert found == ChoiceQuestion(None, "Who?", ("x", "y"), 1, "0", "entry 1", ("1", "2"))
    assert shown_label(found, 0, MultipleChoiceSettings(question="question", **settings)) == "1"
    numbered = [{"question": "Who?", "choices": {"text": ["x", "y"], "label": [1, 2]}, "label": 2}]
    assert read(tmp_path / "q.json", numbered, **settings) == [found]
    (found,) = read(tmp_path / "q.json", content, label_is="number-from-1")
    assert (found.choices, found.label) == (("x", "y"), 1)
    content[0]["label"] = "0"
    with pytest.raises(UserError, match=r"entry 1: the label \(column 'label'\) is '0', not one of 1, 2; see task.lab"):
        read(tmp_path / "q.json", content, **settings)


MISNAMED = {
    "no names": (["x", "y"], "no names of the choices, such as {'text': [...], 'label': [...]}; see task.label_is"),
    "a name twice": ({"text": ["x", "y"], "label": ["A", "A"]}, "column 'choices' is no list of two choices or more"),
    "too few names": ({"text": ["x", "y"], "label": ["A"]}, "column 'choices' is no list of two choices or more"),
    "null for a name": (
        {"text": ["x", "y"], "label": ["A", None]},
        "column 'choices' is no list of two choices or more",
    ),
    "no text": ([{"text": None, "label": "A"}, {"text": "y", "label": "B"}], "column 'choices' is no list of two"),
}


@pytest.mark.parametrize(("choices", "message"), MISNAMED.values(), ids=MISNAMED)
def test_choices_that_are_not_named(choices, message, tmp_path):
    with pytest.raises(UserError, match=re.escape(f"q.json entry 1: {message}")):
        read(tmp_path / "q.json", [{"question": "Who?", "choices": choices, "label": "A"}], label_is="name")


def test_labels_as_the_files_write_them():
    question = ChoiceQuestion(None, "Who?", ("x", "y"), 1, "0", "line 1")
    for label_is, shown in (("number", 1), ("number-from-1", 2), ("letter", "B"), ("text", "y")):
        assert shown_label(question, 1, MultipleChoiceSettings(question="q", label_is=label_is)) == shown


@pytest.mark.parametrize(
    ("label_is", "right"), [("number-from-1", "2"), ("letter", "b"), ("letter", "B"), ("text", "y")]
)
def test_what_says_which_is_right(label_is, right, tmp_path):
    content = f"question,a,b,label\nWho?,x,y,{right}\n"
    (found,) = read(tmp_path / "q.csv", content, choices=["a", "b"], label_is=label_is)
    assert found.label == 1


def test_a_letter_of_which_two_are_made(tmp_path):
    with pytest.raises(UserError, match=r"'ß', not a letter from A to B"):
        read(tmp_path / "q.csv", "question,a,b,label\nWho?,x,y,ß\n", choices=["a", "b"], label_is="letter")


def test_counted_from_1_there_is_no_0(tmp_path):
    with pytest.raises(
        UserError, match=r"the label \(column 'label'\) is '0', not a number from 1 to 2; see task.label_is"
    ):
        read(tmp_path / "q.csv", "question,a,b,label\nWho?,x,y,0\n", choices=["a", "b"], label_is="number-from-1")


DREAM = [
    [
        ["M: How long?", "W: Ten years."],
        [{"question": "Who?", "choice": ["a man", "a woman"], "answer": "a woman"}],
        "4-1",
    ],
    [["W: Hi."], [{"question": q, "choice": ["x", "y"], "answer": "x"} for q in ("A?", "B?")], "4-2"],
]
DREAM_SETTINGS = {
    "layout": "dream",
    "context": "dialogue",
    "choices": ["choice"],
    "label": "answer",
    "label_is": "text",
    "id": "id",
}


def test_dream(tmp_path):
    found = read(tmp_path / "dev.json", DREAM, **DREAM_SETTINGS)
    assert found[0] == ChoiceQuestion(
        "M: How long?\nW: Ten years.", "Who?", ("a man", "a woman"), 1, "4-1-0", "entry 1"
    )
    assert [(item.id, item.question, item.place) for item in found[1:]] == [
        ("4-2-0", "A?", "entry 2"),
        ("4-2-1", "B?", "entry 2"),
    ]
    with pytest.raises(UserError, match=r"dev\.json entry 2: not in DREAM's layout; \[turns"):
        read(tmp_path / "dev.json", [DREAM[0], {"dialogue": "x"}], **DREAM_SETTINGS)
    with pytest.raises(UserError, match=r"dev\.json: not JSON \(line 1"):
        read(tmp_path / "dev.json", "[[", **DREAM_SETTINGS)
    with pytest.raises(UserError, match=r"dev\.json: no questions in it"):
        read(tmp_path / "dev.json", [], **DREAM_SETTINGS)


RACE = {
    "article": "A bee.",
    "questions": ["Who?", "What?"],
    "options": [["x", "y", "z", "w"], ["u", "v", "s", "t"]],
    "answers": ["B", "D"],
    "id": "high1.txt",
}
RACE_SETTINGS = {
    "layout": "race",
    "context": "article",
    "choices": ["options"],
    "label": "answer",
    "label_is": "letter",
    "id": "id",
}


def test_race_is_a_folder_of_files(tmp_path):
    (tmp_path / "high").mkdir()
    (tmp_path / "high" / "1.txt").write_text(json.dumps(RACE))
    (tmp_path / "high" / "2.txt").write_text(json.dumps(RACE | {"id": "high2.txt"}))
    found = read(tmp_path, None, **RACE_SETTINGS)
    assert found[1] == ChoiceQuestion("A bee.", "What?", ("u", "v", "s", "t"), 3, "high1.txt-1", "file high/1.txt")
    assert [item.id for item in found] == ["high1.txt-0", "high1.txt-1", "high2.txt-0", "high2.txt-1"]
    (tmp_path / "high" / "2.txt").write_text(json.dumps(RACE | {"answers": ["A", "E"]}))
    with pytest.raises(UserError, match=r"file high/2\.txt: the label \(column 'answer'\) is 'E', not a letter from A"):
        read(tmp_path, None, **RACE_SETTINGS)
    (tmp_path / "high" / "2.txt").write_text("{}")
    with pytest.raises(UserError, match=r"file high/2\.txt: not in RACE's layout"):
        read(tmp_path, None, **RACE_SETTINGS)


def test_race_in_one_file(tmp_path):
    flat = {"example_id": "m7", "article": "A.", "question": "Who?", "options": ["x", "y"], "answer": "A"}
    found = read(tmp_path / "race.jsonl", json.dumps(RACE) + "\n" + json.dumps(flat), **RACE_SETTINGS)
    assert [item.label for item in found] == [1, 3, 0]
    assert found[2].id == "m7-0"
    with pytest.raises(UserError, match=r"race\.jsonl line 1: not in RACE's layout; article, questions"):
        read(tmp_path / "race.jsonl", {"article": "x"}, **RACE_SETTINGS)
    with pytest.raises(UserError, match=r"race\.jsonl line 1: not in RACE's layout"):
        read(tmp_path / "race.jsonl", RACE | {"answers": ["A"]}, **RACE_SETTINGS)


def test_race_as_the_hub_has_it(tmp_path):
    """A record for each question; those of an article share its name, and get the ids that the files give them."""
    rows = [
        {"example_id": "high1.txt", "article": "A.", "question": q, "options": ["x", "y"], "answer": a}
        for q, a in (("Who?", "B"), ("What?", "A"))
    ]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "race")
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "race.parquet")
    for path in (tmp_path / "race", tmp_path / "race.parquet"):
        assert read(path, None, **RACE_SETTINGS) == [
            ChoiceQuestion("A.", "Who?", ("x", "y"), 1, "high1.txt-0", "row 1"),
            ChoiceQuestion("A.", "What?", ("x", "y"), 0, "high1.txt-1", "row 2"),
        ]


def test_dream_as_the_hub_has_it(tmp_path):
    rows = [
        {
            "dialogue_id": "4-1",
            "id": n,
            "dialogue": ["M: a", "W: b"],
            "question": q,
            "choice": ["x", "y"],
            "answer": "y",
        }
        for n, q in enumerate(["Who?", "What?"])
    ]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "dream")
    found = read(tmp_path / "dream", None, **DREAM_SETTINGS)
    assert found[1] == ChoiceQuestion("M: a\nW: b", "What?", ("x", "y"), 1, "4-1-1", "row 2")
    assert [item.id for item in found] == ["4-1-0", "4-1-1"]


def test_mctest_as_records(tmp_path):
    row = {"story": "A bee.", "question": "Who?", "choices": ["x", "y"], "answer": "B"}
    datasets.Dataset.from_list([row]).save_to_disk(tmp_path / "mctest")
    assert read(tmp_path / "mctest", None, **MCTEST_SETTINGS) == [
        ChoiceQuestion("A bee.", "Who?", ("x", "y"), 1, "0", "row 1")
    ]


def test_records_whose_id_is_null(tmp_path):
    """They have none, as those without the key."""
    more = {"question": "Who?", "id": None}
    dream = more | {"dialogue": ["M: a"], "choice": ["x", "y"], "answer": "y"}
    race = more | {"article": "A.", "options": ["x", "y"], "answer": "A"}
    mctest = more | {"story": "A.", "choices": ["x", "y"], "answer": "A"}
    for settings, rows, ids in (
        (DREAM_SETTINGS, [dream, dream], ["0", "1"]),
        (DREAM_SETTINGS, [dream | {"dialogue_id": "4-1"}], ["4-1-0"]),
        (RACE_SETTINGS, [race, race], ["0", "1"]),
        (RACE_SETTINGS, [race | {"example_id": "m7"}], ["m7-0"]),
        (MCTEST_SETTINGS, [mctest, mctest], ["0", "1"]),
    ):
        content = "".join(json.dumps(row) + "\n" for row in rows)
        assert [item.id for item in read(tmp_path / "a.jsonl", content, **settings)] == ids


@pytest.mark.parametrize("layout", ["dream", "race", "mctest"])
def test_a_layout_from_the_hub_without_a_network(layout):
    with pytest.raises(UserError, match="owner/name: no such file, and the Hugging Face hub cannot be reached for"):
        read_layout("owner/name", layout)


def test_records_of_another_data_set(tmp_path):
    datasets.Dataset.from_list([{"text": "a", "label": "b"}]).save_to_disk(tmp_path / "other")
    for settings, message in (
        (DREAM_SETTINGS, r"other row 1: not in DREAM's layout"),
        (RACE_SETTINGS, r"other row 1: not in RACE's layout"),
        (MCTEST_SETTINGS, r"other row 1: no column 'choices'; there is: id, text, label"),
    ):
        with pytest.raises(UserError, match=message):
            read(tmp_path / "other", None, **settings)


MCTEST_SETTINGS = {"layout": "mctest", "context": "story", "label": "answer", "label_is": "letter", "id": "id"}


def test_mctest_has_its_answers_beside(tmp_path):
    questions = [f"{kind}: Who{n}?\ta{n}\tb{n}\tc{n}\td{n}" for n, kind in enumerate(["one", "multiple"] * 2)]
    (tmp_path / "mc.ans").write_text("A\tB\tC\tD\n")
    found = read(
        tmp_path / "mc.tsv",
        "mc.0\tAuthor: 1\tA bee.\\newlineIt flew.\t" + "\t".join(questions) + "\n",
        **MCTEST_SETTINGS,
    )
    assert found[1] == ChoiceQuestion("A bee.\nIt flew.", "Who1?", ("a1", "b1", "c1", "d1"), 1, "mc.0-1", "line 1")
    assert [item.label for item in found] == [0, 1, 2, 3]
    with pytest.raises(UserError, match=r"mc\.tsv line 1: 3 fields and 4 answers; a story with 4 questions"):
        read(tmp_path / "mc.tsv", "mc.0\tAuthor: 1\tA bee.\n", **MCTEST_SETTINGS)
    (tmp_path / "mc.ans").unlink()
    with pytest.raises(UserError, match=r"mc\.ans"):
        read(tmp_path / "mc.tsv", None, **MCTEST_SETTINGS)
    with pytest.raises(
        UserError, match=r"mc\.tsv line 1: 3 fields; a story with 4 questions of 4 choices has 23 fields$"
    ):
        read_layout(tmp_path / "mc.tsv", "mctest", is_labelled=False)


@pytest.mark.parametrize(
    ("record", "settings", "message"),
    [
        (
            {"label": 2},
            {},
            r"line 1: the label \(column 'label'\) is '2', not a number from 0 to 1; see task\.label_is",
        ),
        ({"label": "C"}, {"label_is": "letter"}, "is 'C', not a letter from A to B"),
        ({"label": "z"}, {"label_is": "text"}, "is 'z', not the text of a choice"),
        ({"choices": ["x"], "label": 0}, {}, "column 'choices' is no list of two choices or more"),
        ({"label": 0}, {"choices": ["ends"]}, "no column 'ends'; there is: question, choices, label"),
        ({"label": 0}, {"context": "text"}, "no column 'text'; there is: question, choices, label"),
    ],
)
def test_mistakes(tmp_path, record, settings, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path / "q.jsonl", {"question": "Who?", "choices": ["x", "y"]} | record, **settings)


def test_something_must_be_asked():
    with pytest.raises(ValueError, match=r"task\.context and task\.question are both unset"):
        MultipleChoiceSettings()
