"""models/practice.py: texts with facts in braces become questions that a reader can learn from."""

import importlib.util
import json
import lzma
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dokkai.data.squad import read_squad
from dokkai.errors import UserError

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "models" / "practice.py"
QUESTIONS = ROOT / "examples" / "dev.json"
TEXT = """=== letter
Dear {name1:Mrs Delaney},
the coach leaves at {time1:8.45}, on {date1:Thursday 30 March 2023}. It costs {money1:£11.50}.

Room: {code1:B-12}
Lost? Ask {name1} or {name2:Mr Obi}, {phone1:01632 960 144}; {word1:a loose shield}.
? When does it leave? / What time does {name1} set off? => time1
? How much? => money1
? Who helps? => name2
? What is loose? => word1
? How many come? =>

=== notes
Notes

Met {name1:Dr Hall} and {name2:Ms Odell}
at {place1:the Mill}.
? Whom did we meet first? => name1
"""


@pytest.fixture(scope="module")
def practice():
    spec = importlib.util.spec_from_file_location("practice", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["practice"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["practice"]


@pytest.fixture
def texts(practice, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(TEXT, encoding="utf-8")
    return practice.read_texts(path)


def test_the_layout_of_the_texts(texts):
    assert [text.kind for text in texts] == ["letter", "notes"]
    assert texts[0].facts["date1"] == "Thursday 30 March 2023" and texts[0].facts["name1"] == "Mrs Delaney"
    assert texts[0].questions[0] == (["When does it leave?", "What time does {name1} set off?"], "time1")
    assert texts[0].questions[-1] == (["How many come?"], "")
    assert texts[1].content == "Notes\n\nMet {name1:Dr Hall} and {name2:Ms Odell}\nat {place1:the Mill}."


def test_facts_become_others_of_their_type(practice, texts):
    changer = practice.Changer(texts, random.Random(0))
    found = [changer.change(texts[0]) for _ in range(200)]
    for values in found:
        assert values["word1"] == "a loose shield"
        assert re.fullmatch(r"([1-9]|1[012])\.[0-5][05]", values["time1"])
        assert re.fullmatch(r"[A-Z][a-z]+day [12]\d [A-Z][a-z]+ (19[6-9]|20[0-2])\d", values["date1"])
        assert re.fullmatch(r"£\d\d\.\d\d", values["money1"])
        assert re.fullmatch(r"[A-Z]-\d\d", values["code1"])
        assert re.fullmatch(r"0\d{4} \d{3} \d{3}", values["phone1"])
        assert (values["name1"], values["name2"]) == ("Mrs Delaney", "Mr Obi"), "nobody else has these titles"
    assert len({values["date1"] for values in found}) > 150


def test_ordinals_and_hours_are_sound(practice, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("=== x\n{date1:the 15th} {date2:3rd May} {time1:8 o'clock} {time2:11 o’clock}\n? When? => date1\n")
    texts = practice.read_texts(path)
    changer = practice.Changer(texts, random.Random(0))
    found = [changer.change(texts[0]) for _ in range(300)]
    days = {values["date1"] for values in found}
    assert {"the 11th", "the 12th", "the 13th", "the 21st", "the 22nd", "the 23rd", "the 24th"} <= days
    assert days <= {f"the {day}th" for day in (*range(10, 21), *range(24, 29))} | {"the 21st", "the 22nd", "the 23rd"}
    assert {values["date2"].split()[0] for values in found} <= {"1st", "2nd", "3rd", *(f"{n}th" for n in range(4, 10))}
    for name, ending in (("time1", " o'clock"), ("time2", " o’clock")):
        assert {values[name] for values in found} == {f"{hour}{ending}" for hour in range(1, 13)}


def test_no_two_facts_of_a_type_become_the_same(practice, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("=== x\n{number1:two} {number2:six} {name1:Ann} {name2:Bob}\n? a => name1\n=== y\n{name1:Cid}\n")
    texts = practice.read_texts(path)
    changer = practice.Changer(texts, random.Random(0))
    for _ in range(100):
        values = changer.change(texts[0])
        assert len(set(values.values())) == 4


def test_every_answer_stands_where_it_says(practice, texts):
    paragraphs = list(practice.paragraphs(texts, 300, seed=0))
    again = list(practice.paragraphs(texts, 300, seed=0))
    assert paragraphs == again
    ids, num_less = set(), 0
    letters = [paragraph["context"] for paragraph in paragraphs if "Room:" in paragraph["context"]]
    assert 0.75 < sum(re.search(r"-\d\d;", text) is not None for text in letters) / len(letters) < 1
    around = [text for text in letters if text.endswith("Notes;") or text.startswith("Notes")]
    assert 0.1 < len(around) / len(letters) < 0.3, "half of another text beside it"
    gone = {"When does it leave?": "the coach", "How much?": "£", "Who helps?": "Ask ", "What is loose?": "Ask "}
    for paragraph in paragraphs:
        for item in paragraph["qas"]:
            assert item["id"] not in ids and "{" not in item["question"]
            ids.add(item["id"])
            assert item["is_impossible"] is (not item["answers"])
            for answer in item["answers"]:
                start = answer["answer_start"]
                assert answer["text"] == paragraph["context"][start : start + len(answer["text"])]
            if item["is_impossible"] and item["question"] != "How many come?":
                num_less += 1
                sentence = next((words for asked, words in gone.items() if asked == item["question"]), None)
                assert sentence is None or sentence not in paragraph["context"]
    assert len(ids) == 300 * 6
    assert 0.1 < num_less / len(ids) < 0.2, "one that stands twice is not taken out"


def test_markdown_is_shown_without_its_marks(practice, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("=== x\n# Plan\n\n- **When**: {date1:Friday}, `{code1:X-1}`\n? When? => date1\n? What? => code1\n")
    for paragraph in practice.paragraphs(practice.read_texts(path), 30, seed=1):
        (first, *_) = paragraph["qas"]
        if "**" not in paragraph["context"] and first["answers"]:
            assert first["answers"][0]["text"].endswith("day") and "`" not in paragraph["context"]
            break
    else:
        pytest.fail("none was shown as `dokkai ask` shows it")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Hello\n", "line 1: a file begins with '=== '"),
        ("=== a\nHello {name1:Ann}\n? Who => name2\n", r"line 1: \{name2\} has no value in this text"),
        ("=== a\nHello {name1:Ann}\n? Who is {org1}? => name1\n", r"line 1: \{org1\} has no value in this text"),
        ("=== a\nHello {cat1:Tib}\n? Who? => cat1\n", r"line 1: \{cat1\} is of none of the types name, org"),
        ("=== a\nHello {name1:Ann}\n? Who?\n", "line 3: a question is"),
        ("=== a\nHello {name1:Ann}\n? Who? => name1\nBye\n", "line 4: a text goes before its questions"),
        ("=== a\nHello {name1:Ann} {Name2:Bob}\n? Who? => name1\n", "line 1: a brace in this text"),
    ],
)
def test_mistakes_in_a_text(practice, tmp_path, text, message):
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        practice.read_texts(path)


def run(tmp_path, *words):
    command = [sys.executable, SCRIPT, QUESTIONS, "--out", tmp_path / "all.json.xz", *words]
    return subprocess.run([*map(str, command)], capture_output=True, text=True)


def test_the_file_holds_both_and_can_be_learned_from(practice, tmp_path):
    done = run(tmp_path, "--variants", "1")
    assert done.returncode == 0, done.stderr
    found, before = read_squad(tmp_path / "all.json.xz"), read_squad(QUESTIONS)
    ours = [(item.id, item.question, item.context, item.answers, item.is_impossible) for item in found[: len(before)]]
    assert ours == [(item.id, item.question, item.context, item.answers, item.is_impossible) for item in before]
    more = found[len(before) :]
    texts = [text for path in sorted(practice.TEXTS.glob("*.txt")) for text in practice.read_texts(path)]
    assert len(more) == sum(len(text.questions) for text in texts) > 1000
    assert 0.6 < sum(not item.is_impossible for item in more) / len(more) < 0.8
    with lzma.open(tmp_path / "all.json.xz") as file:
        assert json.load(file)["version"] == "2.0"


def test_the_texts_that_no_reader_learns_from(practice, tmp_path):
    unseen = ROOT / "benchmarks" / "unseen"
    command = [sys.executable, SCRIPT, "--texts", unseen, "--variants", "1", "--out", tmp_path / "unseen.json.xz"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    texts = [text for path in sorted(unseen.glob("*.txt")) for text in practice.read_texts(path)]
    assert len(read_squad(tmp_path / "unseen.json.xz")) == sum(len(text.questions) for text in texts) > 500
    learned = [text.content for path in practice.TEXTS.glob("*.txt") for text in practice.read_texts(path)]
    assert not {text.content for text in texts} & set(learned)


def test_questions_of_which_nothing_is_known(practice, tmp_path):
    path = tmp_path / "a.json"
    entry = {"title": "", "paragraphs": [{"context": "One.", "qas": [{"id": "7", "question": "Who?"}]}]}
    path.write_text(json.dumps({"data": [entry]}))
    with pytest.raises(UserError, match="question 7 has neither answers nor 'is_impossible'"):
        practice.squad_paragraphs(read_squad(path))


@pytest.mark.parametrize("words", [("--variants", "0"), ("--out", "all.json")])
def test_options_that_are_refused(tmp_path, words):
    done = run(tmp_path, *words)
    assert done.returncode == 2 and "must be 1 or more, and --out end in .json.xz" in done.stderr
    assert not (tmp_path / "all.json.xz").exists()


def test_a_folder_without_texts(tmp_path):
    done = run(tmp_path, "--texts", tmp_path)
    assert (done.returncode, done.stderr) == (2, f"practice.py: {tmp_path}: no .txt in it\n")
    assert not (tmp_path / "all.json.xz").exists()
