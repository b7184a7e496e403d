"""models/between.py: what two models share is mixed, what only the first has stays."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dokkai.model.checkpoint import load_model, save_model
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.tokenization import load_tokenizer, save_tokenizer

ROOT = Path(__file__).parent.parent


def run(*words):
    command = [sys.executable, ROOT / "models" / "between.py", *words]
    return subprocess.run([*map(str, command)], capture_output=True, text=True)


@pytest.fixture
def models(tmp_path):
    tokenizer = load_tokenizer(ROOT / "models" / "mini-en")
    config = shape_config("L2-H64", vocab_size=tokenizer.vocab_size, model_type="modernbert")
    made = {"a": Model(config, ("masked_lm",), seed=1), "b": Model(config, ("classification",), 1, seed=2)}
    for name, model in made.items():
        save_model(model, tmp_path / name)
        save_tokenizer(tokenizer, tmp_path / name)
    return made


def test_what_both_have_is_mixed(tmp_path, models):
    assert run(tmp_path / "a", tmp_path / "b", tmp_path / "out", "--share", "0.25").returncode == 0
    mixed, report = load_model(tmp_path / "out")
    assert (report.new, report.unused) == ([], []) and set(mixed.heads) == {"masked_lm"}
    a, b = (models[name].state_dict() for name in "ab")
    for name, weight in mixed.state_dict().items():
        other = b.get(name.replace("masked_lm", "classification"), a[name])
        torch.testing.assert_close(weight, 0.75 * a[name] + 0.25 * other)


def test_a_model_follows_what_it_was_tuned_from(tmp_path, models):
    """A reader of encoder C, moved by what an encoder B learned after C; its own head stays."""
    config = models["a"].config
    reader, later = Model(config, ("span",), seed=3), Model(config, ("masked_lm",), seed=4)
    for name, model in {"reader": reader, "later": later}.items():
        save_model(model, tmp_path / name)
    save_tokenizer(load_tokenizer(tmp_path / "a"), tmp_path / "reader")
    words = (tmp_path / "reader", tmp_path / "later", tmp_path / "out", "--base", tmp_path / "a", "--share", "0.5")
    assert run(*words).returncode == 0
    moved, _ = load_model(tmp_path / "out")
    assert set(moved.heads) == {"span"}
    before, after, own = models["a"].state_dict(), later.state_dict(), reader.state_dict()
    for name, weight in moved.state_dict().items():
        other = name.replace("span", "masked_lm")
        learned = after[other] - before[other] if other in after else torch.zeros(())
        torch.testing.assert_close(weight, own[name] + 0.5 * learned)


def test_what_cannot_be_mixed(tmp_path, models):
    small = Model(shape_config("L1-H64", vocab_size=100, model_type="modernbert"), ("masked_lm",))
    save_model(small, tmp_path / "small")
    for words, message in (
        (("a", "small", "out"), "are not of one shape"),
        (("a", "b", "b"), "is there already"),
        (("a", "nowhere", "out"), "nowhere"),
    ):
        done = run(*(tmp_path / word for word in words))
        assert done.returncode == 2 and message in done.stderr
        assert done.stderr.startswith("between.py: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
