"""States on disk: the same numbers, computed once, added to, whole or not there."""

import fcntl
import os
import pickle
import resource
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from dokkai.errors import UserError
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.pipeline import Pipeline
from dokkai.training import cached_states
from dokkai.training.cached_states import cache_states

TEXTS = ["A river.", "The lighthouse stands on a rock in the sea.", "x", "", "Who built it?", "word " * 30]


@pytest.fixture
def pipeline(tokenizer):
    config = shape_config("L2-H64", vocab_size=tokenizer.vocab_size, max_position_embeddings=64, initializer_range=0.3)
    return Pipeline(Model(config, seed=4), tokenizer, None, torch.device("cpu"))


@pytest.fixture
def inputs(pipeline):
    return [pipeline.tokenizer.encode(text, max_length=64) for text in TEXTS]


def files(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_same_numbers(pipeline, inputs, tmp_path, dtype):
    states = cache_states(pipeline, inputs, [2, 0], tmp_path, dtype=dtype)
    for number, x_LD in pipeline.states(inputs, [2, 0]):
        found = states[number]
        assert found.shape == (len(inputs[number]), 2, 64) and found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found.reshape(len(x_LD), -1), x_LD.astype(dtype))
    padded = states.pad([1, 2], 24)
    assert padded.shape == (2, 24, 2, 64)
    np.testing.assert_array_equal(padded[1, : len(inputs[2])], states[2])
    assert not padded[1, len(inputs[2]) :].any()


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_one_vector_per_text(pipeline, inputs, tmp_path, pooling):
    states = cache_states(pipeline, inputs, [1, 2], tmp_path, pooling, "float32")
    expected = pipeline.embed(TEXTS, layers=[1, 2], pooling=pooling)
    np.testing.assert_allclose(states.all().reshape(len(TEXTS), -1), expected, atol=1e-6)


def test_moments(pipeline, inputs, tmp_path, monkeypatch):
    """In blocks as at once."""
    monkeypatch.setattr(cached_states, "_BLOCK", 7)
    states = cache_states(pipeline, inputs, [0, 2], tmp_path, dtype="float32")
    everything = states.all().astype(np.float64)
    mean, deviation = states.moments()
    assert mean.shape == deviation.shape == (2, everything.shape[2])
    np.testing.assert_allclose(mean, everything.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(deviation, everything.std(0), rtol=1e-5)


def test_computed_once(pipeline, inputs, tmp_path, capsys, monkeypatch):
    cache_states(pipeline, inputs, [2], tmp_path)
    assert "features of 6 inputs go to" in capsys.readouterr().err
    before = files(tmp_path)
    assert set(before) == {"layer-02.npy"}
    cache_states(pipeline, inputs, [1, 2], tmp_path)  # the missing one is added
    both = files(tmp_path)
    assert set(both) == {"layer-01.npy", "layer-02.npy"} and both["layer-02.npy"] == before["layer-02.npy"]
    capsys.readouterr()
    monkeypatch.setattr(Pipeline, "states", None)  # nothing is computed any more
    cache_states(pipeline, inputs, [2, 1, 1], tmp_path)
    assert "features of 6 inputs come from" in capsys.readouterr().err
    assert files(tmp_path) == both


def test_what_they_depend_on(pipeline, inputs, tokenizer, tmp_path):
    """Other tokens, weights, pooling or numbers on disk are another folder; the same ones in another object, with
    other dropout, are not."""
    config = pipeline.model.config
    dropping = replace(config, hidden_dropout_prob=0.4, classifier_dropout=0.2, attention_probs_dropout_prob=0.3)
    same = Pipeline(Model(dropping, ("span",), seed=4), tokenizer, None, torch.device("cpu"))
    same.model.encoder.load_state_dict(pipeline.model.encoder.state_dict())
    other = Pipeline(Model(config, seed=5), tokenizer, None, torch.device("cpu"))
    cache_states(pipeline, inputs, [2], tmp_path)
    cache_states(same, inputs, [2], tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    cache_states(other, inputs, [2], tmp_path)
    cache_states(pipeline, inputs[:-1], [2], tmp_path)
    cache_states(pipeline, inputs[::-1], [2], tmp_path)
    cache_states(pipeline, inputs, [2], tmp_path, "mean")
    cache_states(pipeline, inputs, [2], tmp_path, dtype="float32")
    assert len(list(tmp_path.iterdir())) == 6


def test_a_failure_leaves_nothing(pipeline, inputs, tmp_path, monkeypatch):
    states = Pipeline.states

    def fail(self, items, layers):
        yield next(iter(states(self, items, layers)))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "states", fail)
        with pytest.raises(KeyboardInterrupt):
            cache_states(pipeline, inputs, [1, 2], tmp_path)
    assert files(tmp_path) == {}


def test_a_full_disk_is_one_line_and_leaves_nothing(pipeline, inputs, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        with pytest.raises(
            UserError, match=r"cannot write .*layer-02\.npy: File too large; what was there before is untouched"
        ):
            cache_states(pipeline, inputs, [2], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(tmp_path) == {}


def test_what_a_killed_process_left_is_removed(pipeline, inputs, tmp_path):
    cache_states(pipeline, inputs, [1], tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / ".layer-02.npy.123456.tmp").write_bytes(b"half of it")
    cache_states(pipeline, inputs, [2], tmp_path)
    assert sorted(files(tmp_path)) == ["layer-01.npy", "layer-02.npy"]


def test_other_processes_map_the_files(pipeline, inputs, tmp_path):
    """To those that prepare batches no states are sent: there may be more of them than fit into memory twice."""
    states = cache_states(pipeline, inputs, [1, 2], tmp_path)
    sent = pickle.dumps(states)
    assert len(sent) < 1000 < sum(map(len, inputs)) * 2 * 64
    again = pickle.loads(sent)
    np.testing.assert_array_equal(again.all(), states.all())


def test_one_process_computes_and_the_others_wait(pipeline, inputs, tmp_path, monkeypatch):
    """While another process is at the folder nothing is computed; what it has made by then is taken."""
    wanted = cache_states(pipeline, inputs, [2], tmp_path / "other")
    (made,) = (tmp_path / "other").rglob("*.npy")
    place = tmp_path / "states" / made.parent.name
    place.mkdir(parents=True)
    said, waits = [], threading.Event()

    def say(line):
        said.append(line)
        waits.set()

    monkeypatch.setattr(cached_states, "say", say)
    monkeypatch.setattr(Pipeline, "states", None)  # nothing is computed any more
    lock = os.open(place, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with ThreadPoolExecutor() as pool:
        found = pool.submit(cache_states, pipeline, inputs, [2], tmp_path / "states")
        assert waits.wait(60)
        shutil.copy(made, place / made.name)
        os.close(lock)
        np.testing.assert_array_equal(found.result()[1], wanted[1])
    assert said == [
        f"another process computes the features in {place}; waiting for it",
        f"features of {len(inputs)} inputs come from {place}",
    ]


def test_mistakes(pipeline, inputs, tmp_path):
    with torch.no_grad():
        pipeline.model.encoder.layers[1].output_norm.bias[3] = 1.5e5
    with pytest.raises(UserError, match=r"a feature is 1\d+, too large for float16; set probe.dtype=float32"):
        cache_states(pipeline, inputs, [2], tmp_path)
    cache_states(pipeline, inputs, [2], tmp_path, dtype="float32")
    (file,) = tmp_path.rglob("*.npy")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"damaged \(.*\); delete this folder and start again"):
        cache_states(pipeline, inputs, [2], tmp_path, dtype="float32")
    file.write_bytes(b"")
    with pytest.raises(UserError, match=r"damaged \(.*\); delete this folder and start again"):
        cache_states(pipeline, inputs, [2], tmp_path, dtype="float32")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*: Not a directory; choose another folder"):
        cache_states(pipeline, inputs, [2], tmp_path / "file")
    np.save(file, np.zeros((3, 64), dtype=np.float32))
    with pytest.raises(UserError, match=r"layer-02.npy: not of these inputs; delete this file and start again"):
        cache_states(pipeline, inputs, [2], tmp_path, dtype="float32")
    with torch.no_grad():
        pipeline.model.encoder.layers[1].output_norm.bias[3] = float("nan")
    with pytest.raises(
        UserError, match="the encoder gives features that are no numbers; its weights are damaged, take another one"
    ):
        cache_states(pipeline, inputs, [2], tmp_path, dtype="float32")
