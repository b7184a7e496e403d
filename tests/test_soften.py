"""models/soften.py: the queries of the first layer are multiplied, and nothing else."""

import subprocess
import sys
from pathlib import Path

import torch

from dokkai.model.checkpoint import load_model, save_model
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.tokenization import load_tokenizer, save_tokenizer

ROOT = Path(__file__).parent.parent


def run(*words):
    command = [sys.executable, ROOT / "models" / "soften.py", *words]
    return subprocess.run([*map(str, command)], capture_output=True, text=True)


def test_only_the_first_queries_change(tmp_path):
    tokenizer = load_tokenizer(ROOT / "models" / "mini-en")
    model = Model(shape_config("L2-H64", vocab_size=tokenizer.vocab_size, model_type="modernbert"), ("masked_lm",))
    save_model(model, tmp_path / "run")
    save_tokenizer(tokenizer, tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert run(tmp_path / "run", tmp_path / "out", "--queries", "0.25").returncode == 0

    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    softer = load_model(tmp_path / "out")[0].state_dict()
    assert load_tokenizer(tmp_path / "out").fingerprint == tokenizer.fingerprint
    for name, weight in model.state_dict().items():
        expected = weight.clone()
        if name == "encoder.layers.0.attention.qkv.weight":
            expected[:64] *= 0.25
        torch.testing.assert_close(softer[name], expected, rtol=0, atol=0)


def test_what_cannot_be_softened(tmp_path):
    mini = ROOT / "models" / "mini-en"
    (tmp_path / "there").mkdir()
    for words, message in (
        ((mini, tmp_path / "out"), f"{mini}: a first layer of BERT's own architecture is normalized"),
        ((tmp_path / "nowhere", tmp_path / "out"), f"{tmp_path / 'nowhere'}: no such model directory"),
        ((mini, tmp_path / "there"), f"{tmp_path / 'there'} is there already; give the name of a new directory"),
    ):
        done = run(*words)
        assert done.returncode == 2
        assert done.stderr.startswith(f"soften.py: {message}")
        assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
