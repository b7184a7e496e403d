"""models/cloze.py: answers lie where they should, the asking sentence is not in the passage, nothing is asked twice."""

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

from dokkai.data.text import read_documents

ROOT = Path(__file__).parent.parent


def load_script():
    spec = importlib.util.spec_from_file_location("cloze", ROOT / "models" / "cloze.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PARAGRAPHS = [
    "Ada Lovelace wrote the first program for the Analytical Engine in London, and the notes became famous "
    "long after her early death, when historians of computing read the old letters again and again in archives "
    "and libraries around the whole country with growing wonder.",
    "The Analytical Engine was designed by Charles Babbage in London, who never finished the great machine of brass "
    "and iron, although the notes of Ada Lovelace and the drawings of the engineer show how the program would have "
    "been read from cards of stiff paper by rods.",
]


def test_answers_stand_in_the_passage_and_not_in_the_question():
    cloze = load_script()
    found = [item for seed in range(20) for item in cloze.make_questions(PARAGRAPHS, random.Random(seed))]
    assert len(found) > 20
    for item in found:
        assert item["question"].endswith("?")
        assert item["context"] in PARAGRAPHS
        for text, start in zip(item["answers"]["text"], item["answers"]["answer_start"], strict=True):
            assert item["context"][start : start + len(text)] == text
    assert any("Ada Lovelace" in item["answers"]["text"] for item in found), "a name is taken whole"


def test_some_passages_do_not_hold_the_answer():
    cloze = load_script()
    documents = list(read_documents([ROOT / "examples" / "passages.txt"]))
    merged = [paragraph for document in documents for paragraph in document]
    found = list(cloze.make_questions(merged, random.Random(0)))
    absent = [item for item in found if not item["answers"]["text"]]
    assert found and 0.1 < len(absent) / len(found) < 0.6


def test_a_text_that_is_not_there_gets_one_line(tmp_path):
    command = [
        sys.executable,
        ROOT / "models" / "cloze.py",
        tmp_path / "missing.txt",
        "--out",
        tmp_path / "cloze.jsonl",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 2 and not (tmp_path / "cloze.jsonl").exists()
    assert done.stderr.startswith("cloze.py: ") and done.stderr.count("\n") == 1
