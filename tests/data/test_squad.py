"""Reading SQuAD files: what is kept, what is refused and how it is said."""

import json
import lzma
import re
from pathlib import Path

import datasets
import pytest

from dokkai.data.squad import Answer, Question, read_squad
from dokkai.errors import UserError
from dokkai.settings import QuestionAnsweringSettings

CONTEXT = "奈良 was the capital 𝒳 from 710 to 794."


def entry(id="q1", start=22, text="710", **more):
    return {"id": id, "question": "Since when?", "answers": [{"text": text, "answer_start": start}], **more}


def squad(*entries):
    return {"version": "x", "data": [{"title": "Nara", "paragraphs": [{"context": CONTEXT, "qas": list(entries)}]}]}


def write(directory, content):
    path = directory / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_questions_answers_and_labels(tmp_path):
    start = CONTEXT.index("710")  # in code points: the letter before it takes two UTF-16 units and four bytes
    unanswerable = {"id": "q2", "question": "Who?", "answers": [], "is_impossible": True, "plausible_answers": [{}]}
    questions = read_squad(write(tmp_path, squad(entry(start=start), unanswerable, {"id": 3, "question": "Why?"})))
    assert questions == [
        Question("q1", "Since when?", CONTEXT, (Answer("710", start),), "Nara"),
        Question("q2", "Who?", CONTEXT, (), "Nara"),
        Question("3", "Why?", CONTEXT, (), "Nara", is_labelled=False),
    ]
    assert [question.is_impossible for question in questions] == [False, True, False]
    assert questions[0].context is questions[1].context is questions[2].context


def test_impossible_needs_no_answers_key(tmp_path):
    marked = {"id": "q", "question": "Who?", "is_impossible": True}
    (question,) = read_squad(write(tmp_path, squad(marked)))
    assert question.is_labelled
    assert question.is_impossible


def test_several_answers_and_no_title(tmp_path):
    answers = [{"text": "710", "answer_start": CONTEXT.index("710")}, {"text": "奈良", "answer_start": 0}]
    content = {"data": [{"paragraphs": [{"context": CONTEXT, "qas": [entry() | {"answers": answers}]}]}]}
    (question,) = read_squad(write(tmp_path, content))
    assert [answer.text for answer in question.answers] == ["710", "奈良"]
    assert question.title == ""


def test_records_called_data(tmp_path):
    record = {"question": "Who?", "context": "Ada came.", "answers": {"text": ["Ada"], "answer_start": [0]}}
    (question,) = read_squad(write(tmp_path, {"version": "x", "data": [record]}))
    assert (question.question, question.context, question.answers) == ("Who?", "Ada came.", (Answer("Ada", 0),))


def test_one_record_alone(tmp_path):
    record = {"question": "Who?", "context": "Ada came.", "answer": "Ada"}
    (question,) = read_squad(write(tmp_path, record))
    assert (question.question, question.answers) == ("Who?", (Answer("Ada", 0),))


def test_columns_as_pandas_writes_them(tmp_path):
    columns = {"question": ["Who?", "When?"], "context": ["Ada came.", "Today."], "answer": ["Ada", "Today"]}
    content = {name: {str(row): value for row, value in enumerate(values)} for name, values in columns.items()}
    assert [question.answers for question in read_squad(write(tmp_path, content))] == [
        (Answer("Ada", 0),),
        (Answer("Today", 0),),
    ]


def test_compressed_with_byte_order_mark(tmp_path):
    path = tmp_path / "file.json.xz"
    path.write_bytes(lzma.compress(json.dumps(squad(entry(start=CONTEXT.index("710")))).encode("utf-8-sig")))
    assert len(read_squad(path)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{\n'data': []}", "file.json: not JSON (line 2: Expecting property name"),
        (5, "file.json: not in SQuAD's layout: the file is not an object with 'data'"),
        ({"questions": []}, "'data' is missing in the file"),
        ({"data": {}}, "'data' in the file is not a list"),
        ({"data": [[]]}, "data[0] is not an object with 'paragraphs'"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, "'context' is missing in data[0].paragraphs[0]"),
        (squad(entry(), {"id": "q2"}), "'question' is missing in data[0].paragraphs[0].qas[1]"),
        (squad(entry() | {"answers": None}), "'answers' in data[0].paragraphs[0].qas[0] is not a list"),
        (squad(entry(id=True)), "'id' in data[0].paragraphs[0].qas[0] is not a text or a whole number"),
        (squad(entry(start="22")), "'answer_start' in data[0].paragraphs[0].qas[0].answers[0] is not a whole number"),
        ([], "file.json: no questions in it"),
        (squad(), "file.json: no questions in it"),
    ],
)
def test_other_layouts(tmp_path, content, message):
    with pytest.raises(UserError, match=re.escape(message)):
        read_squad(write(tmp_path, content))


def test_repeated_ids(tmp_path):
    start = CONTEXT.index("710")
    twice = squad(entry("a", start), entry("b", start), entry("c", start), entry("b", start), entry("b", start))
    with pytest.raises(UserError, match="1 id occurs more than once, first: id b; ids must differ"):
        read_squad(write(tmp_path, twice))


def test_answers_that_lie_elsewhere(tmp_path):
    start = CONTEXT.index("710")
    content = squad(entry("good", start), entry("r123", start + 1), entry("end", len(CONTEXT)), entry("minus", -1))
    message = f"3 answers do not lie where they say, first: id r123: expected '710' at {start + 1}, found '10 '"
    with pytest.raises(UserError, match=re.escape(message)):
        read_squad(write(tmp_path, content))
    with pytest.raises(UserError, match="1 answer does not lie where it says, first: id q1"):
        read_squad(write(tmp_path, squad(entry(start=-1, text="."))))  # Python would count -1 from the end


def test_a_long_answer_is_shortened_in_the_message(tmp_path):
    with pytest.raises(UserError, match=re.escape(f"expected '{'x' * 40}...' at 0")):
        read_squad(write(tmp_path, squad(entry(start=0, text="x" * 41))))


def test_empty_answers(tmp_path):
    with pytest.raises(UserError, match='1 answer is an empty text, first: id q1; write "answers": \\[\\]'):
        read_squad(write(tmp_path, squad(entry(text="", start=-1))))


def test_contradicting_marks(tmp_path):
    marked = entry(start=CONTEXT.index("710"), is_impossible=True)
    with pytest.raises(UserError, match="1 question is marked is_impossible but with answers, first: id q1"):
        read_squad(write(tmp_path, squad(marked)))


# ---- tables


def table(tmp_path, content, name="a.csv", **settings):
    (tmp_path / name).write_text(content, encoding="utf-8")
    return read_squad(tmp_path / name, QuestionAnsweringSettings(**settings))


def test_the_table_of_the_guide(tmp_path):
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "finetune.md").read_text(encoding="utf-8")
    (content,) = re.findall("^```text\n(question,context,answer.+?)^```", guide, flags=re.DOTALL | re.MULTILINE)
    found = table(tmp_path, content, no_answer=True)
    assert [[(answer.text, answer.start) for answer in item.answers] for item in found] == [
        [("John Smeaton", 0)],
        [("1759", 23)],
        [],
    ]


def test_a_table_says_no_places(tmp_path):
    """The answer is looked for; spaces round it do not count, and its text may have a comma or a line of its own."""
    content = 'question,context,answer\nWhen?,"In 710,\nit began.", 710 \nWhat?,"In 710,\nit began.",it\n'
    context = "In 710,\nit began."
    found = table(tmp_path, content)
    assert found == [
        Question("0", "When?", context, (Answer("710", 3),)),
        Question("1", "What?", context, (Answer("it", 8),)),
    ]
    assert found[0].context is found[1].context


@pytest.mark.parametrize("start", ["7", " 7 ", "7.0"])
def test_a_table_says_which_place_is_meant(tmp_path, start):
    content = f"id,question,context,answer,answer_start\nq,Which?,an ox, ox,{start}\nr,What?,an ox,an,\n"
    (first, second) = table(tmp_path, content.replace("an ox, ox", '"ox and ox"," ox"'))
    assert (first.id, first.answers, second.answers) == ("q", (Answer("ox", 7),), (Answer("an", 0),))


def test_spaces_that_belong_to_an_answer(tmp_path):
    found = table(tmp_path, "question,context,answer,answer_start\nWhich?,ox and ox, ox,6\n")
    assert found[0].answers == (Answer(" ox", 6),)


def test_line_ends_within_a_field_are_counted(tmp_path):
    """Python's ``csv`` leaves them as they are."""
    content = 'question,context,answer,answer_start\r\nWho ran?,"One.\r\nA cat sat, a cat ran.",cat,19\r\n'
    assert table(tmp_path, content)[0].context == "One.\r\nA cat sat, a cat ran."


def test_columns_by_other_names(tmp_path):
    names = {"question": "ask", "context": "text", "answer": "reply", "answer_start": "at", "id": "n"}
    content = "n\task\ttext\treply\tat\n5\tWho?\tBo or Bo\tBo\t6\n"
    expected = [Question("5", "Who?", "Bo or Bo", (Answer("Bo", 6),))]
    assert table(tmp_path, content, "a.tsv", **names) == expected
    assert table(tmp_path, content, "a.txt", format="tsv", **names) == expected
    numbers = {"question": "1", "context": "2", "answer": "3", "answer_start": "4", "id": "0", "header": False}
    assert table(tmp_path, content.partition("\n")[2], "a.tsv", **numbers) == expected
    squad_file = write(tmp_path, squad(entry(start=CONTEXT.index("710"))))
    assert read_squad(squad_file, QuestionAnsweringSettings(**names)) == read_squad(squad_file)


def test_a_named_column_comes_before_answers(tmp_path):
    line = {"question": "Who?", "context": "Ada and Bo", "answers": [{"text": "Ada", "answer_start": 0}], "gold": "Bo"}
    (found,) = table(tmp_path, json.dumps(line), "a.jsonl", answer="gold")
    assert found.answers == (Answer("Bo", 8),)
    for usual in ("answer", "answers"):
        (found,) = table(tmp_path, json.dumps(line | {"answer": "Bo"}), "a.jsonl", answer=usual)
        assert found.answers == (Answer("Ada", 0),)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_column_of_places_that_is_not_there(tmp_path, name):
    """A mistyped one was ignored; records that leave it out where it is not needed are right."""
    rows = [{"question": "Who?", "context": "Ada and Bo", "answer": "Bo", "start": "8"}] * 2
    content = "".join(json.dumps(row) + "\n" for row in rows)
    if name == "a.csv":
        content = "question,context,answer,start\n" + "Who?,Ada and Bo,Bo,8\n" * 2
    with pytest.raises(UserError, match=rf"^task\.answer_start: \S*{name}: no column 'strat'; .*did you mean 'start'"):
        table(tmp_path, content, name, answer_start="strat")
    assert len(table(tmp_path, content, name, answer_start="start")) == 2
    lines = [rows[0], {key: rows[0][key] for key in ("question", "context", "answer")}]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    assert len(table(tmp_path, content, "b.jsonl", answer_start="start")) == 2


@pytest.mark.parametrize("mark", ["True", "true", "1", " 1.0"])
def test_marks_in_a_table(tmp_path, mark):
    content = f"id,question,context,answer,is_impossible\n7,Who?,Ada,Ada,{mark}\n"
    with pytest.raises(UserError, match="1 question is marked is_impossible but with answers, first: id 7"):
        table(tmp_path, content)
    assert table(tmp_path, content.replace(mark, "False"))[0].answers
    assert table(tmp_path, content.replace("Ada,Ada", "Ada,"), no_answer=True)[0].is_impossible


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_one_answer_in_a_record(tmp_path, name):
    """Also in JSON lines, and null is none."""
    lines = [{"question": "Who?", "context": "Ada and Bo", "answer": answer} for answer in ("Bo", None)]
    found = table(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), name, no_answer=True)
    assert [question.answers for question in found] == [(Answer("Bo", 8),), ()]
    assert found[1].is_impossible


def test_one_answer_in_parquet(tmp_path):
    columns = {"question": ["Who?", "Who?"], "context": ["Bo, Bo", "Bo"], "answer": ["Bo", None]}
    datasets.Dataset.from_dict(columns | {"answer_start": [4.0, None]}).to_parquet(tmp_path / "a.parquet")
    first, second = read_squad(tmp_path / "a.parquet")
    assert (first.answers, second.is_impossible) == ((Answer("Bo", 4),), True)
    datasets.Dataset.from_dict(columns | {"answer_start": [4.0, None]}).save_to_disk(tmp_path / "saved")
    assert read_squad(tmp_path / "saved") == [first, second]


HEADER = "question,context,answer"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            f"{HEADER}\nWho?,Bo came.,Bo\nWho?,Bo and Bo,Bo\n",
            "a.csv line 3: the answer 'Bo' occurs 2 times in the context; say which one is meant in a column "
            "'answer_start': the number of characters before it",
        ),
        (f"{HEADER}\nWho?,aaa,aa\n", "a.csv line 2: the answer 'aa' occurs 2 times"),
        (
            f"{HEADER}\nWho?,Ada,Bo\nWho?,Ada,Ada\nWho?,Ada,ada\nWho?,Ada,\n",
            "a.csv line 2: the answer 'Bo' does not occur in the context; write it as it stands there "
            "(2 more rows have a fault)",
        ),
        (
            f"{HEADER}\nWho?,Ada, \n",
            "a.csv line 2: column 'answer' is empty; write the answer, or set task.no_answer=true if there is none",
        ),
        (
            f"{HEADER},answer_start\nWho?,Ada came,came,3\n",
            "a.csv line 2: expected 'came' at 3, found ' cam'; count 'answer_start' in characters, from 0",
        ),
        (
            f"{HEADER},answer_start\nWho?,Ada,Ada,-1\n",
            "a.csv line 2: column 'answer_start' is '-1'; write the number of",
        ),
        (f"{HEADER},answer_start\nWho?,Ada,Ada,x\n", "a.csv line 2: column 'answer_start' is 'x'; write the number of"),
        ("question,context\nWho?,Ada\n", "a.csv: no column 'answer'; there is: question, context"),
        ("ask,context,answer\nWho?,Ada,Ada\n", "a.csv: no column 'question'; there is: ask, context, answer"),
        (f"{HEADER}\nWho?,Ada,Bo\nWho?,Ada,\n", "write it as it stands there (1 more row has a fault)"),
        (f"{HEADER}\n", "a.csv: no rows in it"),
        (f"id,{HEADER}\n1,Who?,Ada,Ada\n1,Who?,Ada,Ada\n", "a.csv: 1 id occurs more than once, first: id 1"),
    ],
)
def test_mistakes_in_a_table(tmp_path, content, message):
    with pytest.raises(UserError, match=re.escape(message)):
        table(tmp_path, content)


def test_an_id_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"a\.csv: no column 'n'; there is: question, context, answer$"):
        table(tmp_path, f"{HEADER}\nWho?,Ada,Ada\n", id="n")


@pytest.mark.parametrize("broken", ['{"question": ', "Who?"])
def test_a_broken_line_is_named(tmp_path, broken):
    line = json.dumps({"question": "Who?", "context": "Ada", "answer": "Ada"})
    with pytest.raises(UserError, match=r"a\.json line 3: not JSON \(Expecting value\); one JSON object per line is"):
        table(tmp_path, f"{line}\n{line}\n{broken}\n", "a.json")
    with pytest.raises(UserError, match=r"a\.json: not JSON \(line 3: .*\); a SQuAD file is needed$"):
        table(tmp_path, '{\n"data":\n]', "a.json")


def test_files_of_other_kinds(tmp_path):
    with pytest.raises(UserError, match=r"a\.xlsx: a spreadsheet is not read; save its table as CSV"):
        table(tmp_path, "PK", "a.xlsx")
    with pytest.raises(UserError, match=r"a\.txt: not JSON .* is needed, or a table, with task\.format=csv, tsv, "):
        table(tmp_path, f"{HEADER}\nWho?,Ada,Ada\n", "a.txt")


def test_columns_called_title_in_squads_layout(tmp_path):
    """Names that the settings map win over the title of an article."""
    path = write(tmp_path, squad(entry(start=CONTEXT.index("710"))))
    (expected,) = read_squad(path)
    for column in ("context", "question", "id"):
        (found,) = read_squad(path, QuestionAnsweringSettings(**{column: "title"}))
        assert (found.id, found.question, found.context) == (expected.id, expected.question, expected.context)


def test_an_answer_that_is_no_text(tmp_path):
    line = {"question": "Who?", "context": "Ada", "answer": ["Ada"]}
    with pytest.raises(UserError, match=r"a\.jsonl line 1: column 'answer' holds no text; write one answer there"):
        table(tmp_path, json.dumps(line), "a.jsonl")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "num_questions", "num_impossible"),
    [
        ("squad/dev-v1.1.json.xz", 3281, 0),
        ("squad/dev-v2.0.json.xz", 8632, 3192),
        ("jaquad/dev.json.xz", 3939, 0),
    ],
)
def test_development_data(data, name, num_questions, num_impossible):
    questions = read_squad(data / name)
    assert len(questions) == num_questions
    assert sum(question.is_impossible for question in questions) == num_impossible
