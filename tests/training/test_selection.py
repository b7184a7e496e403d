"""The weights that stay are those of the best evaluation, whatever happens on the way; and a run may end early."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

from command_line import EXAMPLES, make_home
from dokkai import load
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.pipeline import Pipeline
from dokkai.settings import TrainSettings
from dokkai.tasks import Classification
from dokkai.training import loop
from dokkai.training.finetune import finetune
from dokkai.training.run_directory import RunDirectory
from dokkai.training.selection import Selection
from killing import finish, kill_when, killed_at_call, num_lines, start, weights

SETTINGS = [
    "task.max_length=32",
    "train.batch_size=8",
    "train.steps=10",
    "train.evaluate_every=2",
    "train.log_every=1",
    "train.save_every=3",
    "train.precision=fp32",
    "train.learning_rate=1e-3",
    "train.head_rate=1",  # this rate and this seed, so that the best evaluation is not the last one
    "train.seed=2",
    "train.restarts=0",
    "train.calibrate=false",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


@pytest.fixture(autouse=True, scope="module")
def _scores():
    """An accuracy that goes up and down: digits of the probabilities, so that other weights have another one."""

    def score(self, examples, predictions):
        return {"accuracy": math.fmod(1e4 * sum(item["probability"] for item in predictions), 1.0)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classification, "score", score)
        yield


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    """Forty of the development rows."""
    path = tmp_path_factory.mktemp("dev") / "dev.csv"
    path.write_text("".join((EXAMPLES / "topics-dev.csv").open(encoding="utf-8").readlines()[:41]), encoding="utf-8")
    return path


def sort(home, dev, out, *more):
    """Fine-tune on topics, in this process."""
    return finetune(
        "my-classes", home / "encoder", EXAMPLES / "topics-train.csv", out, dev, [*SETTINGS, *more], limit=60
    )


@pytest.mark.parametrize(("keep", "more"), [("last", 0), ("best", 1)])
def test_the_dev_file_is_read_again_only_for_other_weights(home, dev, tmp_path, monkeypatch, keep, more):
    """At the end, if those that stay are not those of the last evaluation; a dev file can take minutes to read."""
    read, predict = [], Pipeline.predict
    monkeypatch.setattr(Pipeline, "predict", lambda self, *words: read.append(1) or predict(self, *words))
    sort(home, dev, tmp_path / "run", f"train.keep={keep}", "train.calibrate=true")
    found = record(tmp_path / "run")
    assert found["best"]["step"] < 10 and len(read) == 5 + more


def record(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


def evaluations(run, metric="accuracy"):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {line["step"]: line[f"heldout/{metric}"] for line in lines if f"heldout/{metric}" in line}


@pytest.fixture(scope="module")
def unbroken(home, dev, tmp_path_factory):
    out = tmp_path_factory.mktemp("selection") / "run"
    sort(home, dev, out)
    return out


def test_the_best_evaluation_stays(unbroken, home, dev, tmp_path):
    found = evaluations(unbroken)
    assert list(found) == [2, 4, 6, 8, 10]
    best = max(found.values())
    step = min(step for step, value in found.items() if value == best)
    assert step != 10  # else this test shows nothing; choose another seed
    assert record(unbroken)["best"] == {"step": step, "metric": "accuracy", "value": best}
    assert record(unbroken)["metrics"]["accuracy"] == best
    opened = load(unbroken, "cpu", "fp32")
    assert opened.evaluate(opened.task.read(dev))["accuracy"] == best
    last = sort(home, dev, tmp_path / "last", "train.keep=last")
    assert record(tmp_path / "last")["metrics"]["accuracy"] == found[10]
    assert last.evaluate(last.task.read(dev))["accuracy"] == found[10]
    assert weights(tmp_path / "last") != weights(unbroken)


@pytest.mark.parametrize("number", range(1, 6))
def test_killed_behind_each_evaluation(number, unbroken, home, dev, tmp_path):
    """Its best weights may be newer than the last checkpoint; what comes of the run is the same to the bit."""
    out = tmp_path / "run"
    killed_at_call(number, RunDirectory, "evaluated", lambda: sort(home, dev, out))
    sort(home, dev, out)
    assert weights(out) == weights(unbroken)
    assert evaluations(out) == evaluations(unbroken)
    assert record(out)["best"] == record(unbroken)["best"]


@pytest.mark.parametrize(("place", "name", "number"), [(loop, "save_checkpoint", 3), (RunDirectory, "finish", 1)])
def test_killed_at_other_moments(place, name, number, unbroken, home, dev, tmp_path):
    out = tmp_path / "run"
    killed_at_call(number, place, name, lambda: sort(home, dev, out))
    sort(home, dev, out)
    assert weights(out) == weights(unbroken)
    assert record(out)["best"] == record(unbroken)["best"]
    assert record(out)["metrics"] == record(unbroken)["metrics"]


def test_killed_for_good(home, dev, tmp_path):
    """By SIGKILL, in a process of its own (so with the true scores)."""
    whole, out = tmp_path / "whole", tmp_path / "run"
    files = ["--from", home / "encoder", "--train", EXAMPLES / "topics-train.csv", "--dev", dev, "--limit", 60]
    command = ["finetune", "my-classes", *files, "--device", "cpu", *SETTINGS, "--out"]
    finish(start(*command, whole))
    kill_when(start(*command, out), lambda: num_lines(out) >= 7)
    finish(start(*command, out))
    assert weights(out) == weights(whole)
    assert record(out)["best"] == record(whole)["best"]
    assert not [path.name for path in out.rglob(".*")]


def test_ends_early(unbroken, home, dev, tmp_path, capsys):
    found = evaluations(unbroken)
    values = list(found.values())
    over = next(i for i in range(1, 5) if values[i] <= max(values[:i]))
    out = tmp_path / "run"
    sort(home, dev, out, "train.patience=1")
    step = list(found)[over]
    assert list(evaluations(out)) == list(found)[: over + 1]
    assert record(out)["stopped_early"] == step
    assert record(out)["state"] == "finished"
    assert f"stopped at step {step}: no better accuracy in 1 evaluations (train.patience)" in capsys.readouterr().err


def test_early_end_holds_after_a_kill(home, dev, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "run"
    sort(home, dev, whole, "train.patience=1")
    killed_at_call(1, RunDirectory, "finish", lambda: sort(home, dev, out, "train.patience=1"))
    sort(home, dev, out, "train.patience=1")
    assert weights(out) == weights(whole)
    assert record(out)["stopped_early"] == record(whole)["stopped_early"]


def test_mean_of_weights_is_what_is_kept(home, dev, tmp_path):
    """With ``train.average`` what was evaluated, the mean, is what stays; not the weights it is the mean of."""
    pipeline = sort(home, dev, tmp_path / "run", "train.average=0.1")
    best = record(tmp_path / "run")["best"]
    assert pipeline.evaluate(pipeline.task.read(dev))["accuracy"] == best["value"]
    assert evaluations(tmp_path / "run")[best["step"]] == best["value"]


def test_without_dev_the_last_stay(home, tmp_path):
    sort(home, None, tmp_path / "run")
    assert "best" not in record(tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints" / "best.safetensors").exists()


@pytest.fixture
def small():
    return Model(shape_config("L1-H64", vocab_size=64, max_position_embeddings=16), ("classification",), seed=0)


def select(path, **settings):
    task = SimpleNamespace(primary_metric="f1", kind="classification")
    return Selection(path, task, TrainSettings(**settings))


def test_of_equals_the_earlier(small, tmp_path):
    selection = select(tmp_path)
    for step, value in ((1, 0.5), (2, 0.5), (3, math.nan), (4, 0.4)):
        selection.see(step, {"f1": value}, small)
        small.heads["classification"].get_parameter("classifier.bias").data.fill_(step)
    assert selection.step == 1
    selection.move_into(small)
    assert float(small.heads["classification"].get_parameter("classifier.bias").detach().sum()) == 0


def test_patience_counts_evaluations(small, tmp_path):
    selection = select(tmp_path, patience=2)
    over = []
    for step, value in enumerate([0.1, 0.2, 0.1, 0.3, 0.3, 0.2], start=1):
        selection.see(step, {"f1": value}, small)
        over.append(selection.is_over)
    assert over == [False, False, False, False, False, True]
    again = select(tmp_path, patience=2)
    again.restore(selection.state(), tmp_path)
    assert again.is_over and again.step == 4


def test_pretraining_keeps_the_last_unless_told(tmp_path, small):
    task = SimpleNamespace(primary_metric="f1", kind="pretraining")
    for keep, kept in (("auto", False), ("best", True)):
        selection = Selection(tmp_path, task, TrainSettings(keep=keep))
        selection.see(1, {"f1": 0.5}, small)
        assert (selection.path is not None) is kept


def test_weights_come_back_whole(small, tmp_path):
    selection = select(tmp_path)
    wanted = {name: value.clone() for name, value in small.state_dict().items()}
    selection.see(1, {"f1": 0.5}, small)
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    selection.move_into(small)
    assert all(torch.equal(value, wanted[name]) for name, value in small.state_dict().items())
