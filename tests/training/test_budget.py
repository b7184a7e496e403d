"""Runs that end by the clock: rate, phases and end come out right at any speed, over a kill too."""

import json
import os
import signal
from types import SimpleNamespace

import pytest
import torch

from dokkai.data.shards import Corpus
from dokkai.errors import Interrupted
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.pipeline import Pipeline
from dokkai.settings import PretrainingSettings, TrainSettings
from dokkai.tasks.pretraining import Pretraining, PretrainingBatches
from dokkai.training import loop, run_directory, schedule
from dokkai.training.finetune import finetune
from dokkai.training.pretrain import pretrain
from dokkai.training.schedule import learning_rate

SMALL = [
    "model.shape=L1-H64",
    "model.max_position_embeddings=64",
    "task.lengths=[16, 32]",
    "task.length_shares=[0.5, 0.5]",
    "task.batch_tokens=64",
    "task.heldout_sequences=4",
    "train.budget=1m",
    "train.learning_rate=1e-3",
    "train.warmup_share=0.1",
    "train.log_every=1",
    "train.evaluate_every=0",
    "train.precision=fp32",
]
SETTINGS = TrainSettings(budget="1m", learning_rate=1e-3, warmup_share=0.1)


class KilledError(Exception):
    """What stands for a power cut."""


@pytest.fixture
def machine(monkeypatch):
    """A clock that only work moves: ``seconds(update)`` for each update of this start, 500 for an evaluation."""
    state = SimpleNamespace(now=7.0, update=0, seconds=lambda update: 1.0, dies_at=None)
    clip, evaluate = loop.clip_gradients, Pipeline.evaluate

    def work(*arguments):
        if state.update == state.dies_at:
            raise KilledError
        state.now += state.seconds(state.update)
        state.update += 1
        return clip(*arguments)

    def look(*arguments):
        state.now += 500
        return evaluate(*arguments)

    monkeypatch.setattr(schedule, "time", SimpleNamespace(monotonic=lambda: state.now))
    monkeypatch.setattr(loop, "clip_gradients", work)
    monkeypatch.setattr(Pipeline, "evaluate", look)
    monkeypatch.setattr(run_directory, "draw_curves", lambda path: None)  # ten pictures would take most of the time
    return state


def records(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if "loss" in line], [line for line in lines if "loss" not in line]


def test_a_minute_of_updates_of_a_second(machine, prepared, tmp_path):
    """Its ten evaluations take no time of the clock."""
    pretrain("demo-pretrain", prepared, tmp_path / "run", SMALL, device="cpu")
    lines, evaluations = records(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert [line["seconds"] for line in lines] == [float(second) for second in range(1, 61)]
    assert [line["learning_rate"] for line in lines] == [learning_rate(n, 60, SETTINGS) for n in range(60)]
    assert lines[-1]["learning_rate"] < 1e-3 / 50
    assert [(line["step"], line["seconds"]) for line in evaluations] == [(n, n) for n in range(6, 61, 6)]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "finished"


@pytest.mark.parametrize("workers", [0, 1])
def test_phases_go_by_the_clock(machine, prepared, tmp_path, monkeypatch, workers):
    """A machine that is four times as fast in the second half; and what is shown there, in the order of the epoch."""
    machine.seconds = lambda update: 1.0 if update < 30 else 0.25
    shapes = []
    accumulate = loop._accumulate
    monkeypatch.setattr(
        loop, "_accumulate", lambda *a: (shapes.append(tuple(a[2][0]["input_ids"].shape)), accumulate(*a))[1]
    )
    pretrain("demo-pretrain", prepared, tmp_path / "run", [*SMALL, f"train.workers={workers}"], device="cpu")
    lines, _ = records(tmp_path / "run")
    assert len(shapes) == len(lines) == 30 + 120
    assert lines[-1]["seconds"] == 60
    border = shapes.index((2, 32))
    assert shapes == [(4, 16)] * border + [(2, 32)] * (150 - border)
    assert 30 <= border <= 33  # asked for a few updates ahead


def test_no_more_workers_than_cores(machine, prepared, tmp_path, monkeypatch):
    """A recipe with workers for a large machine neither slows a small one nor makes PyTorch warn of it."""
    asked = []

    class Loader:
        def __init__(self, updates, sampler, num_workers, **settings):
            asked.append(num_workers)
            self.updates, self.places = updates, sampler

        def __iter__(self):
            return (self.updates[place] for place in self.places)

    monkeypatch.setattr(loop, "DataLoader", Loader)
    for number, cores in enumerate([2, 8]):
        monkeypatch.setattr("joblib.cpu_count", lambda cores=cores: cores)
        small = [*SMALL, "train.budget=1s", "train.workers=4"]
        pretrain("demo-pretrain", prepared, tmp_path / f"run{number}", small, device="cpu")
    assert asked == [2, 4]


def test_a_machine_that_dies_goes_on_from_its_saved_seconds(machine, prepared, tmp_path, capsys):
    command = ["demo-pretrain", prepared, tmp_path / "run", [*SMALL, "train.save_every=5"]]
    machine.dies_at = 23
    with pytest.raises(KilledError):
        pretrain(*command, device="cpu")
    machine.now, machine.update, machine.dies_at = 12345.0, 0, None
    machine.seconds = lambda update: 2.0  # and comes back half as fast
    pretrain(*command, device="cpu")
    assert "going on from step 20, 33% of 1:00" in capsys.readouterr().err
    lines, _ = records(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(1, 41))
    seconds = [float(second) for second in [*range(1, 21), *range(22, 61, 2)]]
    assert [line["seconds"] for line in lines] == seconds
    begins = [0.0, *seconds[:-1]]
    assert [line["learning_rate"] for line in lines] == [learning_rate(second, 60, SETTINGS) for second in begins]


def test_a_run_that_dies_after_its_last_update_ends_with_its_evaluation(machine, prepared, tmp_path, monkeypatch):
    """The time for saving does not lead past the end unseen: what is saved is what the end was decided by."""
    save = loop.save_checkpoint

    def slow(*arguments):
        save(*arguments)
        if arguments[1] == 55:
            machine.now += 30
            raise KilledError

    command = ["demo-pretrain", prepared, tmp_path / "run", [*SMALL, "train.save_every=55"]]
    monkeypatch.setattr(loop, "save_checkpoint", slow)
    with pytest.raises(KilledError):
        pretrain(*command, device="cpu")
    monkeypatch.setattr(loop, "save_checkpoint", save)
    pretrain(*command, device="cpu")
    lines, evaluations = records(tmp_path / "run")
    assert [line["step"] for line in lines[-5:]] == [56, 57, 58, 59, 60]
    assert evaluations[-1]["step"] == 60


def test_stopped_in_the_midst(machine, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_signals", lambda: SignalAfter(machine, 15))
    with pytest.raises(Interrupted, match=r"stopped at step 15, 25% of 1:00; the same command goes on from there"):
        pretrain("demo-pretrain", prepared, tmp_path / "run", SMALL, device="cpu")


def test_stopped_after_the_last_update(machine, prepared, tmp_path, monkeypatch):
    """So that of several runs the next does not begin; what is left is done when it is opened again."""
    signals = loop._signals
    monkeypatch.setattr(loop, "_signals", lambda: SignalAfter(machine, 60))
    with pytest.raises(Interrupted, match="stopped at step 60, 100%"):
        pretrain("demo-pretrain", prepared, tmp_path / "run", SMALL, device="cpu")
    monkeypatch.setattr(loop, "_signals", signals)
    pretrain("demo-pretrain", prepared, tmp_path / "run", SMALL, device="cpu")
    pretrain("demo-pretrain", prepared, tmp_path / "whole", SMALL, device="cpu")
    assert records(tmp_path / "run")[1][-1]["step"] == 60
    finished, whole = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("run", "whole"))
    assert finished["state"] == "finished" and finished["metrics"] == whole["metrics"]


def test_stopped_while_the_last_checkpoint_is_saved(machine, prepared, tmp_path, monkeypatch):
    save = loop.save_checkpoint
    monkeypatch.setattr(loop, "save_checkpoint", lambda *words: os.kill(os.getpid(), signal.SIGTERM) or save(*words))
    with pytest.raises(Interrupted, match="stopped at step 60, 100%"):
        pretrain("demo-pretrain", prepared, tmp_path / "run", SMALL, device="cpu")


class SignalAfter:
    def __init__(self, machine, updates):
        self._machine, self._updates = machine, updates

    def __enter__(self):
        return lambda: self._machine.update >= self._updates

    def __exit__(self, *_):
        pass


def test_none_of_an_epoch_is_left_out_or_comes_twice(tokenizer, prepared):
    """In each phase, from wherever the clock lets it begin, to the end of the epoch under way."""
    settings = PretrainingSettings(lengths=[16, 32], length_shares=[0.5, 0.5], next_sentence=False)
    task = Pretraining(settings, tokenizer)
    corpus = Corpus.open(prepared)
    batches = PretrainingBatches(task, corpus, None, 3, 999, seed=5)
    sizes = [len(task.instances(corpus, length)) for length in settings.lengths]
    drawn = {0: [], 1: []}
    for phase, instances in enumerate(batches._phases):
        draw = instances.draw
        instances.draw = lambda *a, draw=draw, phase=phase: drawn[phase].append(draw(*a)[0]) or draw(*a)
    steps = sizes[1]  # three epochs of the second
    for step in range(steps):
        batches.at(step, 0.0 if step < 11 else 0.7)
    assert len(drawn[0]) == 33 == len(set(drawn[0]))
    rest = sizes[1] - 33  # of the first epoch
    assert len(set(drawn[1][:rest])) == rest
    assert sorted(drawn[1][rest : rest + sizes[1]]) == list(range(sizes[1]))
    with pytest.raises(TypeError, match="no number of steps"):
        len(batches)


def test_fine_tuning_by_the_clock(machine, tokenizer, tmp_path):
    config = shape_config("L1-H64", vocab_size=tokenizer.vocab_size, max_position_embeddings=32)
    Pipeline(Model(config), tokenizer, None, torch.device("cpu")).save(tmp_path / "base")
    table = tmp_path / "t.csv"
    table.write_text("text,label\n" + "a,no\nb,yes\n" * 3)
    words = ["task.max_length=16", "train.budget=10s", "train.batch_size=4", "train.log_every=1"]
    finetune("my-classes", tmp_path / "base", table, tmp_path / "run", overrides=words, device="cpu")
    lines, _ = records(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(1, 11))
