"""What frozen layers give, kept on disk: the same run, only faster."""

import json
import shutil

import pytest
import torch

from command_line import EXAMPLES, dokkai, fails, make_home, works
from dokkai import load
from dokkai.model.checkpoint import load_tensors
from dokkai.model.encoder import Embeddings
from dokkai.training.finetune import finetune as run_finetune
from dokkai.training.frozen_states import FrozenStates
from killing import unfinish


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


def finetune(home, out, *more):
    words = ["finetune", "my-classes", "--from", home / "encoder", "--train", EXAMPLES / "topics-train.csv"]
    words += ["--dev", EXAMPLES / "topics-dev.csv", "--out", out, "task.max_length=32", "train.steps=8"]
    return [*words, "train.batch_size=8", "train.precision=fp32", "train.learning_rate=1e-2", *more]


def test_a_run_is_the_same_and_computes_once(home, tmp_path, monkeypatch):
    """Weights and metrics; another run, of another seed, finds the states there, and computes no layer below."""
    settings = ["train.frozen_layers=1", "train.evaluate_every=4", "train.seed=3"]
    works(*finetune(home, tmp_path / "plain", *settings))
    done = dokkai(*finetune(home, tmp_path / "kept", *settings, "--cache", tmp_path / "states"))
    assert done.code == 0 and done.err.count(f"inputs go to {tmp_path / 'states'}") == 2
    plain, kept = (load_tensors(tmp_path / name / "model.safetensors") for name in ("plain", "kept"))
    assert plain.keys() == kept.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(kept[name], tensor, rtol=1e-3, atol=1e-5)
    records = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("plain", "kept")]
    assert records[0]["metrics"] == pytest.approx(records[1]["metrics"], abs=1e-5)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "states").rglob("*.npy")}
    assert len(files) == 2

    monkeypatch.setattr(Embeddings, "forward", None)  # from here on no layer below is computed
    done = dokkai(*finetune(home, tmp_path / "other", *settings[:2], "--cache", tmp_path / "states"))
    assert done.code == 0 and done.err.count(f"inputs come from {tmp_path / 'states'}") == 2
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "states").rglob("*.npy")} == files


def test_in_the_end_the_model_reads_for_itself(home, tmp_path):
    """What comes back predicts for texts that were in no file, as the saved model does."""
    rows, settings = EXAMPLES / "topics-train.csv", ["task.max_length=32", "train.steps=2", "train.frozen_layers=1"]
    made = run_finetune("my-classes", home / "encoder", rows, tmp_path / "run", None, settings, cache=tmp_path / "kept")
    text = [made.task.parse({"text": "A sentence that stands nowhere else."}, 0)]
    assert made.predict(text) == load(tmp_path / "run").predict(text)


def test_seeds_share_it(home, tmp_path):
    words = finetune(home, tmp_path / "run", "train.frozen_layers=2", "--seeds", 2, "--cache", tmp_path / "states")
    done = dokkai(*words)
    assert done.code == 0
    assert (done.err.count("inputs go to"), done.err.count("inputs come from")) == (2, 2)
    assert len(json.loads((tmp_path / "run" / "seeds.json").read_text())["runs"]) == 2


def test_a_stopped_run_goes_on_with_it(home, tmp_path):
    words = finetune(home, tmp_path / "run", "train.frozen_layers=1", "train.save_every=4", "train.keep=last")
    words += ["--cache", tmp_path / "states"]
    works(*words)
    whole = (tmp_path / "run" / "model.safetensors").read_bytes()
    unfinish(tmp_path / "run", 8)
    shutil.rmtree(tmp_path / "states")  # gone with a disk, say
    works(*words)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == whole


def test_an_unknown_sequence_is_not_made_up():
    with pytest.raises(KeyError):
        FrozenStates(1, [])(torch.ones(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long), None)


def test_mistakes(home, tmp_path):
    line = fails(*finetune(home, tmp_path / "run", "--cache", tmp_path / "states"))
    assert line == "--cache keeps what frozen layers give; set train.frozen_layers to their number, or leave it out"
    settings = ["train.frozen_layers=1", "train.compile=on"]
    line = fails(*finetune(home, tmp_path / "run", *settings, "--cache", tmp_path / "states"))
    assert line == "a compiled model reads no states from --cache; leave out one of it and train.compile=on"
    assert not (tmp_path / "states").exists() and not (tmp_path / "run").exists()
