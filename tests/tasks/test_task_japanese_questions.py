"""Questions about text without spaces: places, windows, scores by characters, and a tiny overfit."""

import json

import pytest
from tiny_questions import logits_of, merge
from tiny_tasks import overfit, predict, tiny_model

from dokkai.settings import QuestionAnsweringSettings
from dokkai.tasks import QuestionAnswering
from dokkai.tokenization import train_tokenizer

CONTEXTS = [
    "梅雨 [SEP] 梅雨（つゆ、ばいう）は、北海道と小笠原諸島を除く日本で、5月から7月にかけて雨や曇りが多い現象である。",
    "琵琶湖 [SEP] 琵琶湖は滋賀県にある日本最大の湖で、面積は約669平方キロメートル、深さは最大で104メートルである。",
]
QUESTIONS = [
    (0, "梅雨はいつ？", "5月から7月"),
    (0, "梅雨がないのはどこ？", "北海道と小笠原諸島"),
    (0, "何が多い？", "雨や曇り"),
    (0, "読みは？", "つゆ"),
    (1, "琵琶湖はどこにある？", "滋賀県"),
    (1, "深さは？", "104メートル"),
    (1, "何が最大？", "湖"),
    (1, "面積は？", "約669平方キロメートル"),
]


@pytest.fixture(scope="module")
def characters():
    """A vocabulary of single characters: kana go into pieces, as ideographs are words of their own."""
    return train_tokenizer([*CONTEXTS, *(question for _, question, _ in QUESTIONS)], size=200)


@pytest.fixture
def file(tmp_path):
    paragraphs = [
        {
            "context": context,
            "qas": [
                {"id": f"q{i}", "question": text, "answers": [{"text": answer, "answer_start": context.index(answer)}]}
                for i, (place, text, answer) in enumerate(QUESTIONS)
                if place == number
            ],
        }
        for number, context in enumerate(CONTEXTS)
    ]
    path = tmp_path / "valid-v1.1.json"
    content = {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def create(tokenizer, **settings):
    return QuestionAnswering(QuestionAnsweringSettings(scoring="characters", **settings), tokenizer)


@pytest.mark.parametrize(("max_length", "stride"), [(96, 32), (40, 10)])
def test_answers_are_cut_out_of_the_text(characters, file, max_length, stride):
    """In whole texts and in windows: the positions of an answer give back its text."""
    task = create(characters, max_length=max_length, stride=stride, max_question_length=14)
    questions = task.read(file)
    windows = task.encode(questions, training=True)
    assert (len(windows) > 2 * len(questions)) is (max_length == 40)
    planted, seen = [], set()
    for row, window in enumerate(windows):
        if window.start > 0 and window.is_best_view[window.start] and window.example not in seen:
            planted.append((row, window.start, window.end, 9.0, 9.0))
            seen.add(window.example)
    assert len(seen) == len(questions)
    found = merge(task, questions, windows, logits_of(windows, planted))
    assert [item["answer"] for item in found] == [answer for _, _, answer in QUESTIONS]
    scores = task.score(questions, found)
    assert (scores["exact"], scores["f1"]) == (100, 100)


def test_scores_by_characters(characters, file):
    task = create(characters)
    questions = task.read(file)
    answers = ["5月から7月。", "北海道", *(answer for _, _, answer in QUESTIONS[2:])]
    found = [{"id": item.id, "answer": text, "null_odds": 0.0} for item, text in zip(questions, answers, strict=True)]
    scores = task.score(questions, found)
    assert scores["exact"] == pytest.approx(100 * 7 / 8)
    assert scores["f1"] == pytest.approx(100 * (7 + 2 * 3 / (3 + 9)) / 8)
    words = QuestionAnswering(QuestionAnsweringSettings(), characters).score(questions, found)
    assert words["f1"] == words["exact"] == pytest.approx(100 * 6 / 8)  # the full stop, and no part of an answer
    assert create(characters, metric="exact").primary_metric == "exact"


def test_tiny_overfit(characters, file):
    task = create(characters, max_length=96, stride=32)
    questions = task.read(file)
    windows = task.encode(questions, training=True)
    batch = task.collate(windows, max(len(item.input_ids) for item in windows))
    model = tiny_model(task, characters.vocab_size, std=0.1)
    overfit(model, task, batch, steps=150, rate=3e-3)
    scores = task.score(questions, predict(task, model, questions))
    assert (scores["exact"], scores["f1"]) == (100, 100)
