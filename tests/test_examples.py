"""The example data in examples/ is well formed."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SPLITS = ("train", "dev")


def load(split):
    with (EXAMPLES / f"{split}.json").open(encoding="utf-8") as f:
        return json.load(f)


def paragraphs(split):
    return [p for article in load(split)["data"] for p in article["paragraphs"]]


def questions(split):
    return [q for p in paragraphs(split) for q in p["qas"]]


def topic_rows(split):
    with (EXAMPLES / f"topics-{split}.csv").open(encoding="utf-8", newline="") as f:
        reader = csv.DictReader(f)
        rows = list(reader)
    assert reader.fieldnames == ["text", "label"]
    return rows


def test_counts():
    assert sum(len(paragraphs(s)) for s in SPLITS) >= 40
    assert sum(len(questions(s)) for s in SPLITS) >= 200
    assert len(paragraphs("dev")) >= 10
    assert len(questions("dev")) >= 55
    for split in SPLITS:
        assert load(split)["version"] == "v2.0"
        impossible = sum(q["is_impossible"] for q in questions(split))
        assert 0.1 < impossible / len(questions(split)) < 0.3


def test_answers_lie_where_they_say():
    for split in SPLITS:
        for paragraph in paragraphs(split):
            context = paragraph["context"]
            for q in paragraph["qas"]:
                assert bool(q["answers"]) != q["is_impossible"], q["id"]
                for answer in q["answers"]:
                    text, start = answer["text"], answer["answer_start"]
                    end = start + len(text)
                    assert text and text == text.strip(), q["id"]
                    assert len(text.split()) <= 8, q["id"]
                    assert context[start:end] == text, q["id"]
                    # An answer begins and ends at a word boundary.
                    assert not re.match(r"\w", context[start - 1 : start]), q["id"]
                    assert not re.match(r"\w", context[end : end + 1]), q["id"]


def test_train_and_dev_share_nothing():
    contexts, titles, ids, texts = {}, {}, {}, {}
    for split in SPLITS:
        contexts[split] = {p["context"] for p in paragraphs(split)}
        titles[split] = {article["title"] for article in load(split)["data"]}
        ids[split] = {q["id"] for q in questions(split)}
        texts[split] = {q["question"].lower() for q in questions(split)}
        # Nothing is repeated within a split either.
        assert len(contexts[split]) == len(titles[split]) == len(paragraphs(split))
        assert len(ids[split]) == len(texts[split]) == len(questions(split))
    for found in (contexts, titles, ids, texts):
        assert not found["train"] & found["dev"]


def test_passages_hold_every_context():
    text = (EXAMPLES / "passages.txt").read_text(encoding="utf-8")
    documents = text.rstrip("\n").split("\n\n")
    assert documents == [p["context"] for s in SPLITS for p in paragraphs(s)]


def test_single_passages():
    for split, name in (("train", "volcano.txt"), ("dev", "lighthouse.txt")):
        text = (EXAMPLES / name).read_text(encoding="utf-8").strip()
        assert text in {p["context"] for p in paragraphs(split)}


def test_topics():
    rows = {split: topic_rows(split) for split in SPLITS}
    labels = {split: {r["label"] for r in rows[split]} for split in SPLITS}
    texts = {split: {r["text"] for r in rows[split]} for split in SPLITS}
    assert len(rows["train"]) >= 200
    assert len(rows["dev"]) >= 50
    assert labels["train"] == labels["dev"]
    assert len(labels["train"]) == 6
    assert not texts["train"] & texts["dev"]
    for split in SPLITS:
        assert len(texts[split]) == len(rows[split])
        assert all(r["text"].strip() for r in rows[split])


def test_readme_counts():
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for split in SPLITS:
        impossible = sum(q["is_impossible"] for q in questions(split))
        assert (
            f"{len(paragraphs(split))} passages, {len(questions(split))} questions ({impossible} without an answer)"
        ) in readme
        assert f"{len(topic_rows(split))} rows" in readme


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (
            "Ada Moss wrote the manual in 1912.\nWho wrote the manual?\n",
            '$ dokkai ask "Who wrote the manual?" demo/yours.txt',
        ),
        ("", 'Another time: dokkai ask "a question?" FILE_OR_FOLDER...'),
    ],
)
def test_the_demo(typed, expected, tmp_path):
    """What `make demo` runs after it has set up: three questions about an example, and one that is typed."""
    (tmp_path / "examples").mkdir()
    for name in ("demo.sh", "lighthouse.txt"):
        shutil.copy(EXAMPLES / name, tmp_path / "examples")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["bash", tmp_path / "examples" / "demo.sh"]
    done = subprocess.run(command, input=typed, capture_output=True, text=True, env=os.environ | {"PATH": path})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nJohn Smeaton\n" in done.stdout and "The text does not hold an answer" in done.stdout
    assert expected in done.stdout and "Traceback" not in done.stdout + done.stderr
    assert ("Ada Moss" in done.stdout.partition(expected)[2]) == bool(typed)
