"""Runs that learn nothing are noticed, named, and begin anew with a lower rate; others are left alone."""

import json
import math
import os
import signal

import pytest
import torch

from command_line import make_home
from dokkai.data.rows import Row
from dokkai.errors import Interrupted
from dokkai.model.encoder import Embeddings
from dokkai.settings import ClassificationSettings
from dokkai.tasks import Classification
from dokkai.tasks.base import Guessing
from dokkai.training import several
from dokkai.training.dev_set import DevSet
from dokkai.training.finetune import finetune
from dokkai.training.run_directory import RunDirectory
from dokkai.training.stuck import Stuck, StuckWatch
from killing import killed_at_call, weights

SETTINGS = [
    "task.max_length=16",
    "train.batch_size=8",
    "train.steps=10",
    "train.evaluate_every=2",
    "train.log_every=1",
    "train.save_every=1",
    "train.precision=fp32",
    "train.learning_rate=1e-3",
]


def guess_at(labels):
    """What guessing comes to on texts with these labels."""
    rows = [Row("text", None, label, str(i), f"line {i}") for i, label in enumerate(labels)]
    return Classification(ClassificationSettings(), None, ()).guessing(rows)


class Watched:
    """A watch, and a run that tells it losses and predictions."""

    def __init__(self, labels, may_restart=True, guessing=None):
        self.predictions = []
        guessing = guessing or guess_at(labels)
        self.key = guessing.key
        self.watch = StuckWatch(guessing, lambda: self.predictions, may_restart)

    def evaluate(self, step, share, loss, predicted, is_last=False):
        self.predictions = [{self.key: label} for label in predicted]
        for _ in range(4):
            self.watch.count({"classification": torch.tensor(loss)})
        self.watch.judge(step, share, is_last)


def test_guessing_for_long_is_stuck():
    watched = Watched("ab" * 10)
    watched.evaluate(10, 0.1, 0.69, "aaa")
    watched.evaluate(20, 0.2, 0.70, "bbb")  # another one, but one
    with pytest.raises(Stuck) as caught:
        watched.evaluate(30, 0.3, 0.68, "aaa")
    line = (
        "step 30: stuck: every prediction on the dev set is 'a', and the loss (0.680) is no better than that of "
        "guessing (0.693)"
    )
    assert str(caught.value) == line
    assert caught.value.facts == {"step": 30, "label": "a", "loss": 0.68, "guessing": round(math.log(2), 4)}


def test_early_in_the_run_nothing_is_said():
    watched = Watched("ab" * 10)
    for step in range(1, 10):
        watched.evaluate(step, 0.03 * step, 0.7, "aaa")


@pytest.mark.parametrize(("loss", "predicted"), [(0.69, "aab"), (0.60, "aaa")])
def test_what_has_learned_something_goes_on(loss, predicted):
    watched = Watched("ab" * 10)
    for step in range(1, 11):
        watched.evaluate(step, step / 10, loss, predicted, is_last=step == 10)


def test_frequent_class_is_no_sign():
    """Nine of ten are 'a': whoever answers so has a loss far below ln(2), and is stuck only at the entropy, 0.325."""
    labels = "aaaaaaaaab" * 4
    learning = Watched(labels)
    for step in range(1, 11):
        learning.evaluate(step, step / 10, 0.325 - 0.02 * step, "aaaa", is_last=step == 10)
    guessing = Watched(labels)
    with pytest.raises(Stuck, match=r"that of guessing .0\.325."):
        for step in range(1, 11):
            guessing.evaluate(step, step / 10, 0.33, "aaaa")


def test_where_the_loss_alone_tells():
    """Among choices any prediction is chance: four of each question, and a loss of ln(4)."""
    watched = Watched("", guessing=Guessing(math.log(4), None))
    watched.evaluate(10, 0.1, 1.39, "abc")
    watched.evaluate(20, 0.2, 1.40, "abc")
    with pytest.raises(Stuck) as caught:
        watched.evaluate(30, 0.3, 1.38, "abc")
    assert str(caught.value) == "step 30: stuck: the loss (1.380) is no better than that of guessing (1.386)"
    assert caught.value.facts == {"step": 30, "loss": 1.38, "guessing": 1.3863}


def test_choices_that_are_learned_slowly_go_on():
    """The losses of MCTest as it was learned at last (docs/experiments.md): at first within 5 % of ln(4)."""
    watched = Watched("", guessing=Guessing(math.log(4), None))
    for step, loss in enumerate([1.353, 1.353, 1.333, 1.333, 1.312, 1.298, 1.326], start=1):
        watched.evaluate(step, step / 7, loss, "abc", is_last=step == 7)


@pytest.mark.parametrize(("last", "is_stuck"), [([], True), (["b"], False)])
def test_the_same_labels_for_every_text(last, is_stuck):
    watched = Watched("", guessing=Guessing(0.5, "labels"))
    for step in (1, 2):
        watched.evaluate(step, 0.2 * step, 0.5, [[], []])
    if not is_stuck:
        watched.evaluate(3, 0.6, 0.5, [[], last])
        return
    with pytest.raises(Stuck, match=r"every prediction on the dev set is '\(none\)', and the loss .0\.500."):
        watched.evaluate(3, 0.6, 0.5, [[], last])


def test_on_the_way_down_to_guessing_is_not_stuck_yet():
    """Rare labels: the loss begins at ln(2), far above their entropy, and nothing is predicted for long."""
    watched = Watched("", guessing=Guessing(0.14, "labels"))
    losses = [0.69, 0.50, 0.40, 0.30, 0.22, 0.17]
    for step, loss in enumerate([*losses, 0.14, 0.14], start=1):
        watched.evaluate(step, 0.3 + 0.05 * step, loss, [[], []])
    with pytest.raises(Stuck, match="step 9"):
        watched.evaluate(9, 0.75, 0.14, [[], []])


@pytest.mark.parametrize(
    "losses",
    [
        [0.69, 0.50],
        [0.69],  # nothing is known of where it comes from
        [0.69 * 0.955**number for number in range(30)],  # each evaluation less than 5 % below the one before
        [0.69, 0.12, 0.0965, 0.0955, 0.0945, 0.094],  # below guessing, by little, before any label is predicted
    ],
)
def test_rare_labels_that_are_learned_slowly_go_on_to_the_end(losses):
    watched = Watched("", guessing=Guessing(0.098, "labels"))
    for step, loss in enumerate(losses, start=1):
        watched.evaluate(step, step / len(losses), loss, [[], []], is_last=step == len(losses))


def test_choices_on_their_way_down_go_on():
    watched = Watched("", guessing=Guessing(math.log(4), None))
    for step, loss in enumerate([1.46, 1.45, 1.44, 1.43, 1.42, 1.41], start=1):
        watched.evaluate(step, step / 6, loss, "abc", is_last=step == 6)


def test_what_helps_choices_is_said(capsys):
    watched = Watched("", may_restart=False, guessing=Guessing(math.log(4), None))
    watched.evaluate(1, 1.0, 1.386, "abc", is_last=True)
    assert "leave out dropout (model.hidden_dropout_prob=0)" in capsys.readouterr().err


def test_a_fall_back_counts_from_there():
    watched = Watched("ab" * 10)
    watched.evaluate(1, 0.4, 0.70, "aaa")
    watched.evaluate(2, 0.5, 0.50, "aab")
    watched.evaluate(3, 0.6, 0.70, "aaa")
    watched.evaluate(4, 0.7, 0.70, "aaa")
    with pytest.raises(Stuck):
        watched.evaluate(5, 0.8, 0.70, "aaa")


def test_one_evaluation_at_the_end_is_enough():
    with pytest.raises(Stuck):
        Watched("ab" * 10).evaluate(40, 1.0, 0.70, "aaa", is_last=True)


def test_a_checkpoint_remembers():
    first = Watched("ab" * 10)
    first.evaluate(1, 0.2, 0.70, "aaa")
    first.evaluate(2, 0.3, 0.70, "aaa")
    first.watch.count({"classification": torch.tensor(0.5)})
    second = Watched("ab" * 10)
    second.watch.restore(json.loads(json.dumps(first.watch.state())))
    with pytest.raises(Stuck, match=r"loss .0\.660."):  # (0.5 + 4 * 0.7) / 5
        second.evaluate(3, 0.4, 0.70, "aaa")


def test_without_restarts_it_is_said_once(capsys):
    watched = Watched("ab" * 10, may_restart=False)
    for step in range(1, 11):
        watched.evaluate(step, step / 10, 0.7, "aaa")
    err = capsys.readouterr().err
    assert err.count("stuck") == 1
    assert "step 3: stuck" in err
    assert "no restart is left (train.restarts): lower train.learning_rate, or look at the labels" in err


def test_what_was_said_at_the_end_is_known():
    """Also behind a checkpoint, and not if the run has learned something since."""
    first = Watched("ab" * 10, may_restart=False)
    for step in (1, 2):
        first.evaluate(step, 0.2 * step, 0.7, "aaa")
    assert first.watch.stuck is None
    first.evaluate(3, 0.6, 0.7, "aaa")
    first.evaluate(4, 0.7, 0.71, "aaa")
    assert first.watch.stuck == {"step": 3, "label": "a", "loss": 0.7, "guessing": 0.6931}
    second = Watched("ab" * 10, may_restart=False)
    second.watch.restore(json.loads(json.dumps(first.watch.state())))
    assert second.watch.stuck == first.watch.stuck
    second.evaluate(5, 0.8, 0.5, "aab")
    assert second.watch.stuck is None


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


@pytest.fixture(scope="module")
def hopeless(tmp_path_factory):
    """Texts that are all alike, half of them with either label."""
    path = tmp_path_factory.mktemp("hopeless") / "rows.csv"
    path.write_text("text,label\n" + "the same,yes\nthe same,no\n" * 8, encoding="utf-8")
    return path


def train(home, file, out, *more, cache=None):
    return finetune("my-classes", home / "encoder", file, out, file, [*SETTINGS, *more], device="cpu", cache=cache)


def record(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def unbroken(home, hopeless, tmp_path_factory):
    out = tmp_path_factory.mktemp("stuck") / "run"
    train(home, hopeless, out)
    return out


def test_begins_anew_twice_with_half_the_rate(unbroken, home, hopeless, tmp_path, capsys):
    restarts = record(unbroken)["restarts"]
    assert [item["learning_rate"] for item in restarts] == [1e-3, 5e-4]
    assert all(item["step"] == 6 and item["label"] in ("yes", "no") for item in restarts)
    lines = [json.loads(line) for line in (unbroken / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line["step"] for line in lines if "learning_rate" in line]
    assert steps == list(range(1, 11))  # of the last attempt, from the start
    assert max(line.get("learning_rate", 0.0) for line in lines) == pytest.approx(2.5e-4)
    assert record(unbroken)["stuck"] == {
        "step": 6,
        "label": record(unbroken)["stuck"]["label"],
        "loss": pytest.approx(0.69, abs=0.1),
        "guessing": 0.6931,
        "learning_rate": 2.5e-4,
    }
    page = (unbroken / "report.html").read_text(encoding="utf-8")
    assert page.count("Begun anew with half the rate.") == 2 and page.count("No restart was left.") == 1
    train(home, hopeless, tmp_path / "run", "train.restarts=1")
    err = capsys.readouterr().err
    assert err.count("; beginning anew with train.learning_rate=0.0005 (restart 1 of 1)") == 1
    assert err.count("no restart is left") == 1


@pytest.mark.parametrize(
    ("name", "number"),
    [("restart", 1), ("restart", 2), ("start_at", 2), ("evaluated", 2), ("evaluated", 5), ("finish", 1)],
)
def test_killed_on_the_way(name, number, unbroken, home, hopeless, tmp_path):
    out = tmp_path / "run"
    killed_at_call(number, RunDirectory, name, lambda: train(home, hopeless, out))
    train(home, hopeless, out)
    assert record(out)["restarts"] == record(unbroken)["restarts"]
    assert record(out)["stuck"] == record(unbroken)["stuck"]
    assert weights(out) == weights(unbroken)


def test_stopped_where_it_is_found_stuck(unbroken, home, hopeless, tmp_path, monkeypatch):
    """It ends there in the place of beginning anew, and the same command does that."""
    evaluate, evaluated = DevSet.evaluate, []

    def stop_at_the_third(self):
        evaluated.append(self)
        if len(evaluated) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(self)

    monkeypatch.setattr(DevSet, "evaluate", stop_at_the_third)
    out = tmp_path / "run"
    with pytest.raises(Interrupted, match="stopped; step 6: stuck: every prediction on the dev set is"):
        train(home, hopeless, out)
    train(home, hopeless, out)
    assert record(out)["restarts"] == record(unbroken)["restarts"] and weights(out) == weights(unbroken)


def test_a_run_that_was_begun_without_a_watch_is_not_judged(home, hopeless, tmp_path):
    """As those of kinds that were not watched before: of what it learned till then nothing is known."""
    out = tmp_path / "run"
    killed_at_call(3, RunDirectory, "evaluated", lambda: train(home, hopeless, out))
    for file in out.glob("checkpoints/*/state.json"):
        state = json.loads(file.read_text(encoding="utf-8"))
        del state["watch"]
        file.write_text(json.dumps(state), encoding="utf-8")
    train(home, hopeless, out)
    assert record(out)["state"] == "finished" and not record(out).get("restarts") and not record(out).get("stuck")


def test_begins_anew_with_what_frozen_layers_gave(home, hopeless, tmp_path, monkeypatch):
    settings, cache = ["train.frozen_layers=1", "train.restarts=1"], tmp_path / "states"
    train(home, hopeless, tmp_path / "first", *settings, cache=cache)
    monkeypatch.setattr(Embeddings, "forward", None)  # from here on no layer below is computed
    train(home, hopeless, tmp_path / "second", *settings, "train.seed=1", cache=cache)
    assert len(record(tmp_path / "second")["restarts"]) == 1


def test_restarts_stand_in_the_table_of_seeds(home, hopeless, tmp_path):
    points = several.seeds("my-classes", [], 1)
    found = several.run_several("seeds", points, tmp_path / "out", lambda more, out: train(home, hopeless, out, *more))
    assert found["runs"][0]["restarts"] == 2
    assert found["runs"][0]["stuck"] == record(tmp_path / "out" / "seed-0")["stuck"]
    head, line = several.show_table(found).splitlines()
    assert head.split()[-1] == "restarts" and line.split()[-3:] == ["2,", "stuck", "best"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Each seed" in page and "deviation" not in page, "of one there is none"


@pytest.mark.parametrize(
    ("kind", "rows", "guessing", "label"),
    [
        ("multiple-choice", "text,choice0,choice1,label\n" + "x,a,a,0\nx,a,a,1\n" * 8, 0.6931, None),
        ("multi-label", "text,labels\n" + "x,rare\nx,\nx,\nx,\n" * 4, 0.5623, "(none)"),
    ],
    ids=["choices", "several-labels"],
)
def test_other_kinds_are_watched(kind, rows, guessing, label, home, tmp_path):
    """Questions whose choices are alike, and texts that are: neither can be learned."""
    file, recipe = tmp_path / "rows.csv", tmp_path / "recipe.toml"
    file.write_text(rows, encoding="utf-8")
    choices = 'question = "text"\nchoices = ["choice0", "choice1"]\n' if label is None else ""
    recipe.write_text(f'description = "a test"\n[task]\nkind = "{kind}"\n{choices}', encoding="utf-8")
    still = ["model.hidden_dropout_prob=0", "model.attention_probs_dropout_prob=0"]  # nothing else tells choices apart
    settings = [*SETTINGS, *still, "train.restarts=1"]
    finetune(str(recipe), home / "encoder", file, tmp_path / "run", file, settings, device="cpu")
    for facts in (*record(tmp_path / "run")["restarts"], record(tmp_path / "run")["stuck"]):
        assert facts["guessing"] == guessing and facts.get("label") == label
    assert len(record(tmp_path / "run")["restarts"]) == 1
