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


def test_only_the_first_queries_change(tmp_path):
    tokenizer = load_tokenizer(ROOT / "models" / "mini-en")
    model = Model(shape_config("L2-H64", vocab_size=tokenizer.vocab_size, model_type="modernbert"), ("masked_lm",))
    save_model(model, tmp_path / "run")
    save_tokenizer(tokenizer, tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    words = [tmp_path / "run", tmp_path / "out", "--queries", "0.25"]
    subprocess.run([sys.executable, ROOT / "models" / "soften.py", *map(str, words)], check=True)

    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    softer = load_model(tmp_path / "out")[0].state_dict()
    assert load_tokenizer(tmp_path / "out").fingerprint == tokenizer.fingerprint
    for name, weight in model.state_dict().items():
        expected = weight.clone()
        if name == "encoder.layers.0.attention.qkv.weight":
            expected[:64] *= 0.25
        torch.testing.assert_close(softer[name], expected, rtol=0, atol=0)
