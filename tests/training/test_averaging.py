"""The mean of the weights: its formula, its place in a checkpoint, and a run that is killed while it is kept."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from dokkai.data.shards import Corpus
from dokkai.errors import UserError
from dokkai.model.weights import load_tensors
from dokkai.pipeline import load
from dokkai.settings import load_settings
from dokkai.training import loop, run_directory
from dokkai.training.averaging import WeightAverage
from dokkai.training.pretrain import pretrain

SMALL = [
    "model.shape=L1-H64",
    "model.max_position_embeddings=32",
    "task.lengths=[32]",
    "task.heldout_sequences=4",
    "train.steps=60",
    "train.batch_size=2",
    "train.schedule=constant",
    "train.average=0.1",
    "train.evaluate_every=30",
    "train.save_every=12",
    "train.precision=fp32",
]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """They would take most of the time."""
    monkeypatch.setattr(run_directory, "draw_curves", lambda path: None)


def means(age, values):
    """Of a model with one weight that takes these values in turn."""
    model = nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, age)
    found = []
    for done, value in enumerate(values, 1):
        nn.init.constant_(model.weight, value)
        average.update(done)
        found.append(average.tensors["weight"].item())
    return found


def test_half_is_the_plain_mean():
    values = np.random.default_rng(0).normal(size=100)
    assert means(0.5, values) == pytest.approx(list(np.cumsum(values) / np.arange(1, 101)), abs=1e-5)


@pytest.mark.parametrize("age", [0.01, 0.05, 0.2, 0.5])
def test_mean_age_is_a_share_of_the_run(age):
    """With the number of the update as the weight, the mean is (1 - age) of it; with every fourth update too."""
    found = means(age, range(1, 4001))
    for done in (1000, 4000):
        assert found[done - 1] == pytest.approx((1 - age) * done, abs=2.1)  # half of a stride of four
    assert found[0] == 1  # what was there before the first update has no part in it
    assert found[3996:3999] == [found[3995]] * 3  # one in four


def test_the_model_has_its_own_weights_again():
    model = nn.Linear(3, 2)
    average = WeightAverage(model, 0.1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for tensor in average.tensors.values():
        tensor.fill_(7)
    with pytest.raises(KeyError), average.in_model():
        assert all((value == 7).all() for value in model.state_dict().values())
        raise KeyError
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    average.move_into_model()
    assert all((value == 7).all() for value in model.state_dict().values())


class PowerCutError(Exception):
    """In the midst of an update."""


def test_killed_and_gone_on_to_the_same_bytes(prepared, tmp_path, monkeypatch):
    """Mean, last weights and metrics; the finished model is the mean, the checkpoint has both."""

    def run(name):
        return pretrain("demo-pretrain", prepared, tmp_path / name, SMALL, device="cpu")

    whole = run("whole")
    clip, calls = loop.clip_gradients, []

    def break_down(*arguments):
        calls.append(1)
        if len(calls) in (30, 50):
            raise PowerCutError
        return clip(*arguments)

    monkeypatch.setattr(loop, "clip_gradients", break_down)
    for _ in range(2):
        with pytest.raises(PowerCutError):
            run("broken")
    run("broken")
    for place in ("model.safetensors", "checkpoints/step-00000060/optimizer.safetensors"):
        assert (tmp_path / "whole" / place).read_bytes() == (tmp_path / "broken" / place).read_bytes()
    records = [json.loads((tmp_path / name / "run.json").read_text())["metrics"] for name in ("whole", "broken")]
    assert records[0] == records[1]
    assert {"masked_lm_loss", "last/masked_lm_loss"} <= records[0].keys()
    assert records[0]["masked_lm_loss"] != records[0]["last/masked_lm_loss"]

    folder = tmp_path / "whole" / "checkpoints" / "step-00000060"
    last, kept = load_tensors(folder / "model.safetensors"), load_tensors(folder / "optimizer.safetensors")
    finished = load_tensors(tmp_path / "whole" / "model.safetensors")
    name, ours = "bert.embeddings.word_embeddings.weight", "encoder.embeddings.word.weight"
    assert torch.equal(finished[name], kept[f"{ours}.average"]) and not torch.equal(finished[name], last[name])
    assert torch.equal(whole.model.encoder.embeddings.word.weight, finished[name])
    reader = load(tmp_path / "whole", "cpu", "fp32")
    again = reader.evaluate(reader.task.heldout(Corpus.open(prepared, "heldout")))
    assert again == {name: value for name, value in records[0].items() if not name.startswith("last/")}


def test_killed_behind_the_last_checkpoint(prepared, tmp_path, monkeypatch):
    """The mean becomes the model by the next start."""
    words = [*SMALL, "train.steps=8", "train.evaluate_every=8"]
    move = WeightAverage.move_into_model

    def cut(self):
        raise PowerCutError

    pretrain("demo-pretrain", prepared, tmp_path / "whole", words, device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(WeightAverage, "move_into_model", lambda self: cut(self) if self.ends else move(self))
        patch.setattr(WeightAverage, "ends", False, raising=False)
        save = loop.save_checkpoint
        patch.setattr(loop, "save_checkpoint", lambda *a: (save(*a), setattr(WeightAverage, "ends", True)))
        with pytest.raises(PowerCutError):
            pretrain("demo-pretrain", prepared, tmp_path / "broken", words, device="cpu")
    pretrain("demo-pretrain", prepared, tmp_path / "broken", words, device="cpu")
    names = ("whole", "broken")
    assert len({(tmp_path / name / "model.safetensors").read_bytes() for name in names}) == 1
    assert json.loads((tmp_path / "broken" / "run.json").read_text())["state"] == "finished"


def test_an_age_that_cannot_be():
    for value in ("0", "0.6"):
        with pytest.raises(UserError, match=rf"train.average = {value}: input should be "):
            load_settings("mini-en", [f"train.average={value}"])
