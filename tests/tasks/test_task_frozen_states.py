"""Frozen layers whose states are kept: every kind of task sees the same."""

from dataclasses import replace

import pytest
import torch
from tiny_tasks import KINDS, build, tiny_model

from dokkai.errors import UserError
from dokkai.model.heads import Model
from dokkai.pipeline import Pipeline
from dokkai.training.freezing import freeze
from dokkai.training.frozen_states import keep_frozen_states

MODERN = {"model_type": "modernbert", "position_embedding_type": "rotary", "local_attention": 8}


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("model_type", ["bert", "modernbert"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("pretraining", "masked-lm")])
def test_every_task_sees_the_same(kind, model_type, number, tokenizer, prepared, examples, tmp_path):
    """Losses and gradients as from all layers, of batches in any order, with all layers, one and none learning."""
    case = build(kind, tokenizer, prepared, examples)
    task = case.task
    if not task.heads and number == 2:
        with pytest.raises(UserError, match="leaves nothing to train"):
            freeze(tiny_model(task, tokenizer.vocab_size), number)
        return
    model = tiny_model(task, tokenizer.vocab_size)
    if model_type == "modernbert":
        config = replace(model.config, **MODERN, global_attn_every_n_layers=2)
        model = Model(config, task.heads, model.num_labels, seed=1)
    freeze(model, number)
    pipeline = Pipeline(model, tokenizer, task, torch.device("cpu"))
    features = task.encode(case.examples, training=True)
    below = keep_frozen_states(pipeline, number, [features, []], tmp_path)
    model.train()
    for part in (features, features[::-1], features[2:5]):
        batch = task.collate(part, max(len(item.input_ids) for item in part))
        found = []
        for source in (None, below):
            model.read_below = source
            torch.manual_seed(0)  # the layers above drop as they did
            model.zero_grad()
            losses = task.losses(model(batch), batch)
            torch.stack(list(losses.values())).sum().backward()
            gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
            found.append((losses, gradients))
        torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
