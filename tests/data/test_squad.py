"""Reading SQuAD files: what is kept, what is refused and how it is said."""

import json
import lzma
import re

import pytest

from dokkai.data.squad import Answer, Question, read_squad
from dokkai.errors import UserError

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
