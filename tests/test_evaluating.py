"""Evaluating a file: the files of the release, the null threshold, and what the official script printed."""

import json
import shutil

import pytest

from command_line import EXAMPLES, dokkai, fails, make_home, tree, works
from dokkai.data.squad import read_squad
from dokkai.evaluation.metrics import best_null_threshold, squad_scores
from dokkai.pipeline import Pipeline, load


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


@pytest.fixture
def reader(home, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(home / "reader", tmp_path / "reader")
    return tmp_path / "reader"


def squad_file(path, **questions):
    """A file of questions from ``id=[answers]``; the context is all answers."""
    context = " ".join(text for texts in questions.values() for text in texts)
    qas = [
        {"id": name, "question": "Who?", "answers": [{"text": t, "answer_start": context.index(t)} for t in texts]}
        for name, texts in questions.items()
    ]
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}), encoding="utf-8")
    return path


def plant(monkeypatch, texts, null_odds):
    """Let every model predict these best texts and null odds by id."""

    def predict(self, examples):
        found = []
        for item in examples:
            logits = {"probability": 0.5, "start_logit": 0.0, "end_logit": 0.0}
            entries = [{"answer": text, "start": 0, "end": len(text)} | logits for text in {texts[item.id], ""}]
            found.append({"id": item.id, "null_odds": null_odds[item.id], "nbest": entries})
        return self.task.decide(found)

    monkeypatch.setattr(Pipeline, "predict", predict)


def set_task(run, **changes):
    content = json.loads((run / "task.json").read_text(encoding="utf-8"))
    content["task"] |= changes
    (run / "task.json").write_text(json.dumps(content), encoding="utf-8")


def read(folder):
    return {path.name: json.loads(path.read_text(encoding="ascii")) for path in folder.iterdir()}


def test_the_files_of_the_release(home, tmp_path):
    """Read as the official scripts read them: ``{id: text}`` and ``{id: number}``."""
    words = ["evaluate", home / "reader", home / "dev.json", "--json"]
    printed = json.loads(works(*words, "--squad-files", tmp_path / "out", "--predictions", tmp_path / "all.json"))
    files = read(tmp_path / "out")
    assert set(files) == {"predictions.json", "nbest_predictions.json", "null_odds.json"}
    texts, odds = files["predictions.json"], files["null_odds.json"]
    questions = {item.id: item for item in read_squad(home / "dev.json")}
    assert list(texts) == list(odds) == list(files["nbest_predictions.json"]) == list(questions)
    assert all(isinstance(text, str) for text in texts.values())
    assert all(isinstance(value, float) for value in odds.values())
    answers = {name: [answer.text for answer in item.answers] for name, item in questions.items()}
    assert [] in answers.values()
    assert printed == squad_scores(answers, texts) | best_null_threshold(answers, texts, odds)
    for found in json.loads((tmp_path / "all.json").read_text(encoding="utf-8")):
        entries = files["nbest_predictions.json"][found["id"]]
        context = questions[found["id"]].context
        assert texts[found["id"]] == found["answer"] == context[found["start"] : found["end"]]
        assert texts[found["id"]] == ("" if odds[found["id"]] > 0 else next(e["text"] for e in entries if e["text"]))
        for entry, ours in zip(entries, found["nbest"], strict=True):
            assert entry["text"] == context[ours["start"] : ours["end"]]
            assert list(entry) == ["text", "probability", "start_logit", "end_logit"]
        assert sum(entry["probability"] for entry in entries) == pytest.approx(1)
        null = next(entry for entry in entries if entry["text"] == "")
        best = next(entry for entry in entries if entry["text"])
        difference = sum(null[key] - best[key] for key in ("start_logit", "end_logit"))
        assert odds[found["id"]] == found["null_odds"] == pytest.approx(difference)


def test_version_1_has_no_null_odds(reader, tmp_path):
    """And a context without a word is answered with nothing, where the release says "empty"."""
    set_task(reader, no_answer=False)
    file = squad_file(tmp_path / "dev.json", one=["bees"])
    content = json.loads(file.read_text(encoding="utf-8"))
    blank = {"context": " ", "qas": [{"id": "two", "question": "Who?", "answers": []}]}
    content["data"][0]["paragraphs"].append(blank)
    file.write_text(json.dumps(content), encoding="utf-8")
    printed = json.loads(works("evaluate", reader, file, "--squad-files", tmp_path / "out", "--json"))
    assert not any(name.startswith("best") for name in printed)
    files = read(tmp_path / "out")
    assert set(files) == {"predictions.json", "nbest_predictions.json"}
    assert files["predictions.json"]["one"] in "bees"
    assert [bool(text) for text in files["predictions.json"].values()] == [True, False]
    nothing = {"text": "", "probability": 1.0, "start_logit": 0.0, "end_logit": 0.0}
    assert files["nbest_predictions.json"]["two"] == [nothing]


def test_the_threshold_is_kept_with_the_model(reader, tmp_path, monkeypatch):
    """Searched over the best texts: the best threshold may lie above the one the model had."""
    file = squad_file(tmp_path / "dev.json", a=["bees"], b=["queen"], c=[], d=["eggs"], e=[])
    odds = {"a": -3.0, "b": 1.5, "c": 2.5, "d": 9.0, "e": -9.0}
    plant(monkeypatch, {"a": "bees", "b": "queen", "c": "bees", "d": "eggs", "e": ""}, odds)
    before = tree(reader)
    printed = json.loads(works("evaluate", reader, file, "--json"))
    assert (printed["f1"], printed["best_f1"], printed["best_f1_thresh"]) == (60, 60, -3)  # b is refused already
    assert tree(reader) == before
    done = dokkai("evaluate", reader, file, "--json", "--set-threshold", "--squad-files", tmp_path / "out")
    assert f"{reader}: the null threshold is now 1.5" in done.err
    printed = json.loads(done.out)
    assert (printed["f1"], printed["best_f1"], printed["best_f1_thresh"]) == (80, 80, 1.5)
    texts = {"a": "bees", "b": "queen", "c": "", "d": "", "e": ""}
    assert read(tmp_path / "out")["predictions.json"] == texts
    assert {name for name in before if tree(reader)[name] != before[name]} == {str(reader / "task.json")}
    assert load(reader, "cpu").task.settings.null_threshold == 1.5
    assert json.loads(works("evaluate", reader, file, "--json")) == printed
    assert json.loads(works("evaluate", reader, file, "--json", "--set-threshold")) == printed


def test_mistakes(home, reader, tmp_path, monkeypatch):
    before = tree(reader)
    topics = EXAMPLES / "topics-dev.csv"
    for option in (["--set-threshold"], ["--squad-files", tmp_path / "out"], ["--always-answer"]):
        assert "are for question answering" in fails("evaluate", home / "sorter", topics, *option)
    answered = squad_file(tmp_path / "answered.json", a=["bees"])
    message = "a null threshold needs a model with task.no_answer and a file with unanswerable questions"
    assert message in fails("evaluate", reader, answered, "--set-threshold")
    both = squad_file(tmp_path / "both.json", a=["bees"], b=[])
    plant(monkeypatch, {"a": "queen", "b": "bees"}, {"a": 0.0, "b": 1.0})
    line = fails("evaluate", reader, both, "--set-threshold", "--squad-files", tmp_path / "out")
    assert line == "no null threshold is better than refusing every question; train the model longer"
    assert tree(reader) == before
    set_task(reader, no_answer=False)
    assert message in fails("evaluate", reader, both, "--set-threshold")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    line = fails("evaluate", reader, both, "--squad-files", tmp_path / "file")
    assert line == f"{tmp_path / 'file'} is a file; give the name of a directory"


@pytest.mark.data
@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_the_numbers_of_the_official_script(data, reader, tmp_path, monkeypatch, version):
    """For the official script's own input, which has the form of our files, the verb prints what the script printed."""
    golden = json.loads((data / "golden" / "squad-scores.json").read_text(encoding="utf-8"))[version]
    texts, official = golden["predictions"], golden["official"]
    odds = golden.get("no_answer_probability", dict.fromkeys(texts, -1.0))
    threshold = golden.get("no_answer_threshold", 0.0)
    (tmp_path / "dev.json").write_text(json.dumps(golden["data"]), encoding="utf-8")
    plant(monkeypatch, texts, odds)
    set_task(reader, no_answer=version == "2.0", null_threshold=threshold)
    words = ["evaluate", reader, tmp_path / "dev.json", "--json", "--squad-files", tmp_path / "out"]
    printed = json.loads(works(*words))
    assert {name: printed[name] for name in official if "best" not in name} == pytest.approx(
        {name: value for name, value in official.items() if "best" not in name}, rel=0, abs=1e-9
    )
    files = read(tmp_path / "out")
    refused = {name: "" if odds[name] > threshold else text for name, text in texts.items()}
    assert files["predictions.json"] == refused
    if version == "2.0":
        assert files["null_odds.json"] == odds
        printed = json.loads(works(*words, "--set-threshold"))
        best = {name: value for name, value in official.items() if "best" in name}
        assert {name: printed[name] for name in best} == pytest.approx(best, rel=0, abs=1e-9)
        kept = json.loads((reader / "task.json").read_text(encoding="utf-8"))["task"]["null_threshold"]
        assert kept == official["best_f1_thresh"]


def test_calibrate_keeps_the_temperature_in_the_model(home, tmp_path):
    run, file = tmp_path / "sorter", EXAMPLES / "topics-dev.csv"
    shutil.copytree(home / "sorter", run)
    before = json.loads(works("evaluate", run, file, "--json", "--predictions", tmp_path / "before.json"))
    done = dokkai("evaluate", run, file, "--json", "--calibrate", "--predictions", tmp_path / "after.json")
    assert done.code == 0 and json.loads(done.out) == before  # no label changes
    temperature = json.loads((run / "task.json").read_text(encoding="utf-8"))["task"]["temperature"]
    assert temperature != 1
    assert f"{run}: temperature {temperature:.3f} fitted to 110 examples: log loss " in done.err
    old, new = (json.loads((tmp_path / name).read_text(encoding="utf-8")) for name in ("before.json", "after.json"))
    assert [item["label"] for item in old] == [item["label"] for item in new]
    line = json.loads(works("predict", run, stdin=json.dumps({"text": new[0]["text"], "id": "0"}) + "\n"))
    assert line["probability"] == pytest.approx(new[0]["probability"], abs=1e-4)
    assert line["probability"] != pytest.approx(old[0]["probability"], abs=1e-4)
    assert line.keys() == {"id", "text", "label", "probability", "probabilities"}


def test_calibrate_is_refused_where_it_makes_no_sense(reader, home):
    file = EXAMPLES / "dev.json"
    line = f"--calibrate is for models that give probabilities; {home / 'encoder'} is for pretraining"
    assert line in fails("evaluate", home / "encoder", home / "data", "--calibrate")
    for option in ("--calibrate", "--set-threshold"):
        line = "--always-answer knows no threshold; leave out --set-threshold and --calibrate"
        assert line in fails("evaluate", reader, file, "--always-answer", option)
    assert "--calibrate writes to the model, and this is no directory of yours" in fails(
        "evaluate", "no/such-model", file, "--calibrate"
    )
