"""Layers that stay as they are."""

import pytest
import torch

from command_line import EXAMPLES, fails, make_home, works
from dokkai.model.checkpoint import load_tensors
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.settings import TrainSettings
from dokkai.training.freezing import freeze
from dokkai.training.optimizer import create_optimizers
from killing import unfinish


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


def finetune(home, out, *more):
    table = EXAMPLES / "topics-train.csv"
    words = ["finetune", "my-classes", "--from", home / "encoder", "--train", table, "--out", out, "task.max_length=32"]
    return [*words, "train.steps=4", "train.batch_size=8", "train.save_every=2", "train.precision=fp32", *more]


def learned(before, after):
    """Which parts of the encoder are others now, and which are the same."""
    parts = {True: set(), False: set()}
    for name, tensor in load_tensors(after).items():
        if name.startswith("bert.") and "pooler" not in name:
            part = name.removeprefix("bert.").removeprefix("encoder.").split(".")
            parts[not torch.equal(tensor, before[name])].add(".".join(part[: 1 + (part[0] == "layer")]))
    return parts[True], parts[False]


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "bert-adam"])
@pytest.mark.parametrize(
    ("number", "others", "same"),
    [(0, {"layer.0", "layer.1"}, {"embeddings"}), (1, {"layer.1"}, {"embeddings", "layer.0"})],
)
def test_what_is_frozen_stays_bit_for_bit(home, tmp_path, optimizer, number, others, same):
    more = ["train.clip_norm=1.0", f"train.optimizer={optimizer}", "train.warmup_share=0.0"]
    works(*finetune(home, tmp_path / "run", f"train.frozen_layers={number}", *more))
    before = load_tensors(home / "encoder" / "model.safetensors")
    assert learned(before, tmp_path / "run" / "model.safetensors") == (others, same)


def test_a_stopped_run_goes_on(home, tmp_path):
    words = finetune(home, tmp_path / "run", "train.frozen_layers=1", "train.average=0.1")
    works(*words)
    whole = (tmp_path / "run" / "model.safetensors").read_bytes()
    unfinish(tmp_path / "run", 4)
    works(*words)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == whole


def test_frozen_layers_have_no_gradient_and_no_memory_in_the_optimizer():
    model = Model(shape_config("L2-H64", vocab_size=50, max_position_embeddings=16), ("classification",))
    freeze(model, 1)
    ids = torch.arange(8).reshape(1, 8)
    model({"input_ids": ids, "token_type_ids": torch.zeros_like(ids)})["classification"].sum().backward()
    frozen = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert frozen == {
        n for n, _ in model.named_parameters() if n.startswith(("encoder.embeddings", "encoder.layers.0."))
    }
    for name in ("adamw", "muon", "bert-adam"):
        optimizers = create_optimizers(model, TrainSettings(optimizer=name))
        held = {p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
        assert held == {parameter for parameter in model.parameters() if parameter.requires_grad}


def test_frozen_layers_drop_nothing():
    """They give the same in every pass of a training, those above do not; a saved model still has its dropout."""
    config = shape_config("L3-H64", vocab_size=50, max_position_embeddings=16)
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0.1
    model = Model(config).train()
    freeze(model, 2)
    ids = torch.arange(8).reshape(1, 8)
    one, other = (list(model.encoder.states(ids, torch.zeros_like(ids))) for _ in range(2))
    assert [torch.equal(a, b) for a, b in zip(one, other, strict=True)] == [True, True, True, False]
    assert model.config == config


def test_mistakes(home, tmp_path):
    line = fails(*finetune(home, tmp_path / "run", "train.frozen_layers=3"))
    assert line == "train.frozen_layers is 3, but the model has 2 layers; lower it"
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("text,pair\na,b\nc,d\n", encoding="utf-8")
    recipe = tmp_path / "pairs.toml"
    recipe.write_text('[task]\nkind = "similarity"\n[train]\nfrozen_layers = 2\n', encoding="utf-8")
    words = [
        "finetune",
        recipe,
        "--from",
        home / "encoder",
        "--train",
        tmp_path / "scored.csv",
        "--out",
        tmp_path / "run",
    ]
    (tmp_path / "scored.csv").write_text("text,pair,label\na,b,1\nc,d,1\n", encoding="utf-8")
    line = fails(*words, "task.max_length=16")
    assert line == "train.frozen_layers=2 leaves nothing to train: the model has 2 layers and no head; lower it"
    words = ["pretrain", "demo-pretrain", "--data", home / "data", "--out", tmp_path / "run", "train.frozen_layers=1"]
    assert "train.frozen_layers keeps what a model has learned; give one by --init" in fails(*words)
    assert not (tmp_path / "run").exists()
