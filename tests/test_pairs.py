"""models/pairs.py: pairs of all three sorts, and scores that say how alike they are."""

import csv
import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import pytest

from dokkai.data.sentences import split_sentences
from dokkai.data.text import read_documents
from dokkai.pipeline import load

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "models" / "pairs.py"
TEXT = ROOT / "examples" / "passages.txt"


@pytest.fixture(scope="module")
def pairs():
    spec = importlib.util.spec_from_file_location("pairs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def document():
    lines = [line for lines in read_documents([TEXT]) for line in lines]
    return [sentence for line in lines for sentence in split_sentences(line)]


def test_what_is_changed_is_made_of_the_document(pairs, document):
    known = {word for sentence in document for word in sentence.split()}
    found = [pairs.change(sentence, document, random.Random(n)) for n, sentence in enumerate(document)]
    assert all(set(text.split()) <= known and text for text in found)
    assert sum(text != sentence for text, sentence in zip(found, document, strict=True)) > 0.9 * len(document)


def test_short_sentences_can_be_changed(pairs):
    for n in range(200):
        assert pairs.change("one two", ["a", "one two"], random.Random(n))


def test_the_nearest_shares_most_words(pairs):
    document = ["The river is long.", "The river is very long.", "Nobody knows why."]
    assert pairs.nearest(document[0], document, random.Random(0)) == document[1]


def test_scores_say_how_alike_two_texts_are(pairs):
    sides = [
        ("The old bridge over the river was built of stone.", "The old bridge over the river was built of stone."),
        ("The old bridge over the river was built of stone.", "The bridge over the old river was built of wood."),
        ("The old bridge over the river was built of stone.", "Bees fly out to collect nectar and pollen."),
    ] * 3  # letters that stand in fewer than three texts do not count
    scores = pairs.scores_of(sides, load("encoder-en", "cpu"))
    assert scores[0] == pytest.approx(5, abs=1e-3)
    assert scores[0] > scores[1] > scores[2] >= 0 and scores[2] < 1


def test_the_command_writes_the_same_table_again(pairs, tmp_path):
    tables = [tmp_path / "one.csv", tmp_path / "two.csv"]
    for table in tables:
        command = [sys.executable, SCRIPT, TEXT, "--from", "encoder-en", "--out", table, "--number", "60"]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
    assert tables[0].read_bytes() == tables[1].read_bytes()
    rows = list(csv.DictReader(tables[0].open(encoding="utf-8")))
    assert len(rows) == 60 and set(rows[0]) == {"sentence1", "sentence2", "score"}
    scores = [float(row["score"]) for row in rows]
    assert min(scores) < 1 < 3 < max(scores) <= 5.001


def test_a_text_is_looked_at_alone():
    done = subprocess.run([sys.executable, str(SCRIPT), str(TEXT), "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "words", [("{short}", "--from", "encoder-en"), ("{short}", "--check"), ("{text}", "--from", "{missing}")]
)
def test_bad_input_gets_one_line(tmp_path, words):
    (tmp_path / "short.txt").write_text("One sentence of some words.\n\nAnother one of some words.\n")
    names = {"short": tmp_path / "short.txt", "text": TEXT, "missing": tmp_path / "missing"}
    command = [sys.executable, SCRIPT, *(word.format(**names) for word in words), "--out", tmp_path / "pairs.csv"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("pairs.py: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "pairs.csv").exists()
