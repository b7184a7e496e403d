"""At the end of a fine-tuning the null threshold is found on the dev set, and kept with the model."""

import json

import pytest

from command_line import EXAMPLES, dokkai, make_home, works
from dokkai import load
from dokkai.data.squad import read_squad
from dokkai.evaluation.metrics import best_null_threshold
from dokkai.tasks import QuestionAnswering

SHORT = ["train.steps=2", "train.batch_size=4", "task.max_length=64", "task.stride=16"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


@pytest.fixture
def planted(monkeypatch):
    """Best texts that are right, but refused by their null odds, as a model that is too careful would."""
    merge = QuestionAnswering.merge

    def careful(self, examples, features, outputs):
        found = merge(self, examples, features, outputs)
        for number, (example, item) in enumerate(zip(examples, found, strict=True)):
            text = example.answers[0].text if example.answers else "nothing"
            odds = number / 100 if example.answers else 5.0 + number
            best = {"answer": text, "start": 0, "end": len(text), "start_logit": -odds, "end_logit": 0.0}
            null = {"answer": "", "start": 0, "end": 0, "start_logit": 0.0, "end_logit": 0.0, "probability": 0.5}
            item |= {"nbest": [best | {"probability": 0.5}, null], "null_odds": odds}
        return self.decide(found)

    monkeypatch.setattr(QuestionAnswering, "merge", careful)


def tune(home, out, *more):
    files = ["--train", EXAMPLES / "train.json", "--dev", home / "dev.json", "--limit", 8, "--out", out]
    return dokkai("finetune", "squad2", "--from", home / "encoder", *files, *SHORT, *more)


def test_the_threshold_is_found_and_kept(home, planted, tmp_path):
    done = tune(home, tmp_path / "run")
    assert done.code == 0
    task = json.loads((tmp_path / "run" / "task.json").read_text(encoding="utf-8"))["task"]
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    found = record["null_threshold"]
    num_answered = sum(bool(item.answers) for item in read_squad(home / "dev.json"))
    assert 0 < task["null_threshold"] == found["value"] < 5 and num_answered > 2
    assert found["f1_after"] == record["metrics"]["f1"] == 100 > found["f1_before"] == record["best"]["value"]
    assert f"null threshold {found['value']:.3f}: F1 on the dev set {found['f1_before']:.2f} before, 100.00" in done.err
    scores = json.loads(works("evaluate", tmp_path / "run", home / "dev.json", "--json"))
    assert scores["f1"] == scores["best_f1"] == 100
    always = json.loads(works("evaluate", tmp_path / "run", home / "dev.json", "--json", "--always-answer"))
    assert always["NoAns_f1"] == 0 and always["HasAns_f1"] == 100
    opened = load(tmp_path / "run", "cpu")
    examples = opened.task.read(home / "dev.json")
    predictions = opened.predict(examples)
    answers = {item.id: [answer.text for answer in item.answers] for item in examples}
    texts = {item["id"]: item["nbest"][0]["answer"] for item in predictions}
    odds = {item["id"]: item["null_odds"] for item in predictions}
    assert best_null_threshold(answers, texts, odds)["best_f1_thresh"] == found["value"]


def test_it_can_be_left_out(home, planted, tmp_path):
    done = tune(home, tmp_path / "run", "train.tune_threshold=false")
    assert done.code == 0 and "null threshold" not in done.err
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert "null_threshold" not in record and record["metrics"]["f1"] == record["best"]["value"]


def test_a_threshold_that_helps_nothing_stays(home, tmp_path, monkeypatch):
    def nothing(self, examples, features, outputs):
        best = {"answer": "zzz", "start": 0, "end": 3, "start_logit": 0.0, "end_logit": 0.0, "probability": 0.5}
        null = best | {"answer": "", "end": 0, "start_logit": -1.0}
        found = [{"id": item.id, "question": "?", "nbest": [best, null], "null_odds": -1.0} for item in examples]
        return self.decide(found)

    monkeypatch.setattr(QuestionAnswering, "merge", nothing)
    done = tune(home, tmp_path / "run")
    assert done.code == 0
    assert "no null threshold is better than refusing every question" in done.err and "stays 0" in done.err
    assert load(tmp_path / "run", "cpu").task.settings.null_threshold == 0
