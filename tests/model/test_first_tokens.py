"""A head that reads [CLS] costs less: what [CLS] does not see of a layer is not computed, and nothing else changes."""

import pytest
import torch
from tiny_bert import TINY, draw_wide, padded_batch

from dokkai.model import encoder, heads
from dokkai.model.config import ModelConfig
from dokkai.model.heads import Model

MODERN = TINY | {
    "model_type": "modernbert",
    "position_embedding_type": "rotary",
    "local_attention": 6,  # shorter than the sequences
}
KINDS = {
    "bert": TINY,
    "modern, whole near whole": MODERN | {"num_hidden_layers": 3, "global_attn_every_n_layers": 2},
    "modern, whole near near": MODERN | {"num_hidden_layers": 3, "global_attn_every_n_layers": 3},
    "distances": TINY | {"position_embedding_type": "relative_key_query"},
}


def run(model, ids, types, mask, first, weight):
    """The states of the first tokens, and how all parameters would move for them."""
    model.zero_grad()
    x = model.encoder(ids, types, mask, first)
    (x[:, : weight.shape[1]] * weight).sum().backward()
    zero = [torch.zeros_like(parameter) for parameter in model.parameters()]
    return x, [p.grad if p.grad is not None else z for p, z in zip(model.parameters(), zero, strict=True)]


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("first", [1, 2, 15, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_tokens_are_what_they_are_among_all(kind, first, is_full):
    changes = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = draw_wide(Model(ModelConfig(**(KINDS[kind] | changes))), 1).double().train()
    batch = padded_batch(1)
    ids, types, mask = (batch[name] for name in ("input_ids", "token_type_ids", "attention_mask"))
    weight = torch.randn(len(ids), first, 32, dtype=torch.float64)
    weight = weight if is_full else weight * mask[:, :first, None]
    given = None if is_full else mask
    found, gradients = run(model, ids, types, given, first, weight)
    whole, whole_gradients = run(model, ids, types, given, None, weight)
    assert found.shape[1] == first
    seen = torch.ones_like(mask[:, :first]).bool() if is_full else mask[:, :first].bool()
    torch.testing.assert_close(found[seen], whole[:, :first][seen])
    for one, other in zip(gradients, whole_gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("kind", "tokens"),
    [
        ("bert", [16, 1]),
        ("modern, whole near whole", [16, 16, 1]),
        ("modern, whole near near", [7, 4, 1]),
        ("distances", [16, 1]),
    ],
)
def test_layers_give_no_more_than_the_next_one_sees(kind, tokens):
    """Three places away is as far as a near layer sees: of 16 tokens the last one needs 4, the one before it 7."""
    model = draw_wide(Model(ModelConfig(**KINDS[kind]), ("classification",)), 1).eval()
    given = []
    for layer in model.encoder.layers:
        layer.register_forward_hook(lambda layer, inputs, output: given.append(output.shape[1]))
    model(padded_batch(1))
    assert given == tokens


@pytest.mark.parametrize(
    ("model_type", "names", "pooling", "is_first"),
    [
        ("bert", ("classification",), "cls", True),
        ("bert", ("multiple_choice",), "cls", True),
        ("bert", ("next_sentence",), "cls", True),
        ("bert", ("masked_lm", "next_sentence"), "cls", False),
        ("bert", ("token_classification",), "cls", False),
        ("bert", ("span",), "cls", False),
        ("bert", (), "cls", False),
        ("modernbert", ("classification",), "cls", True),
        ("modernbert", ("multiple_choice",), "cls", True),
        ("modernbert", ("classification",), "mean", False),
        ("modernbert", ("token_classification",), "cls", False),
        ("modernbert", ("span",), "cls", False),
        ("modernbert", ("masked_lm",), "cls", False),
    ],
)
def test_only_heads_that_read_the_first_token_alone_go_without_the_others(
    model_type, names, pooling, is_first, monkeypatch
):
    shape = TINY if model_type == "bert" else MODERN
    model = draw_wide(Model(ModelConfig(**shape, classifier_pooling=pooling), names), 1).eval()
    batch, lengths = padded_batch(1), []
    model.encoder.register_forward_hook(lambda module, inputs, output: lengths.append(output.shape[1]))
    found = model(batch)
    assert lengths == [1 if is_first else 16]
    monkeypatch.setattr(heads, "_reads_first_only", lambda head: False)
    whole = Model(ModelConfig(**shape, classifier_pooling=pooling), names).eval()
    whole.load_state_dict(model.state_dict())
    for name, logits in whole(batch).items():
        torch.testing.assert_close(found[name], logits)


def test_a_packed_batch_is_computed_whole(monkeypatch):
    """The kernel of GPUs counts places from the end of the keys: the first tokens are cut off behind it."""
    from test_modernbert import attend_one_by_one

    model = draw_wide(Model(ModelConfig(**(MODERN | {"attention_probs_dropout_prob": 0.0}))), 1).double().eval()
    batch = padded_batch(1)
    inputs = [batch[name] for name in ("input_ids", "token_type_ids", "attention_mask")]
    wanted, below = model.encoder(*inputs)[:, :1], list(model.encoder.states(*inputs))[1]
    monkeypatch.setattr(encoder, "can_pack", lambda device, dropout_prob, is_full: True)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", attend_one_by_one)
    torch.testing.assert_close(model.encoder(*inputs, first=1), wanted)
    torch.testing.assert_close(model.encoder(*inputs, first=1, below=(1, below)), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_it_compiles_to_one_graph(kind):
    model = draw_wide(Model(ModelConfig(**KINDS[kind]), ("classification",)), 1).eval()
    batch = padded_batch(1)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", dynamic=False, fullgraph=True)
    torch.testing.assert_close(compiled(batch), model(batch))


@pytest.mark.parametrize("number", [0, 1, 2, 3])
@pytest.mark.parametrize("first", [None, 1])
def test_from_a_lower_layer_on(number, first):
    """In the precision of a training too: what is kept in float32 gives what the whole model gives."""
    model = draw_wide(Model(ModelConfig(**KINDS["modern, whole near whole"])), 1).eval()
    batch = padded_batch(1)
    inputs = [batch[name] for name in ("input_ids", "token_type_ids", "attention_mask")]
    seen = batch["attention_mask"][:, :first].bool()
    for is_half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
            wanted = model.encoder(*inputs, first=first)
            below = list(model.encoder.states(*inputs))[number].float() * batch["attention_mask"][:, :, None]
            found = model.encoder(*inputs, first=first, below=(number, below))
        torch.testing.assert_close(found[seen].float(), wanted[seen].float())
