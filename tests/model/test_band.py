"""Attention in blocks is attention with a mask of the neighbourhood, wherever it is used."""

from dataclasses import replace

import pytest
import torch
from tiny_bert import draw_wide, padded_batch, tiny_config
from torch.nn import functional as F

from dokkai.model import encoder
from dokkai.model.band import make_band
from dokkai.model.heads import Model
from dokkai.model.positions import neighbours

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("length", "distance", "is_padded"),
    [
        (304, 3, True),
        (384, 8, False),
        (385, 8, True),
        (280, 1, True),
        (768, 32, False),
        (800, 33, True),
        (1536, 64, True),
    ],
)
def test_beside_a_mask(length, distance, is_padded):
    generator = torch.Generator().manual_seed(length)
    q, k, v = torch.randn(3, 2, 4, length, 8, generator=generator, dtype=torch.float64)
    mask = (torch.arange(length) < torch.tensor([[length], [length // 3]]))[:, None, None] if is_padded else None
    band = make_band(length, distance, mask, CPU)
    near = neighbours(torch.arange(length), distance)
    tokens = torch.ones(2, length, dtype=torch.bool) if mask is None else mask[:, 0, 0]
    wanted = F.scaled_dot_product_attention(q, k, v, near if mask is None else near & mask)
    found = band.attend(q, k, v)
    assert found.shape == wanted.shape
    seen = tokens[:, None, :, None]
    torch.testing.assert_close(found * seen, wanted.nan_to_num() * seen, rtol=1e-12, atol=1e-12)


def test_where_it_does_not_pay(monkeypatch):
    assert make_band(384, 8, None, CPU) is not None
    assert make_band(383, 8, None, CPU) is None
    assert make_band(1535, 64, None, CPU) is None
    assert make_band(512, 0, None, CPU) is None
    assert make_band(512, 8, None, torch.device("meta")) is None
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert make_band(384, 8, None, CPU) is None


def modern(**changes):
    config = {"model_type": "modernbert", "position_embedding_type": "rotary", "num_hidden_layers": 5}
    config |= {"local_attention": 6, "max_position_embeddings": 512, "hidden_dropout_prob": 0.0}
    return draw_wide(Model(tiny_config(**config, attention_probs_dropout_prob=0.0, **changes)), 1).double()


def test_the_first_tokens_alone(monkeypatch):
    """Layers that give few tokens have the mask, those below them the blocks."""
    model, batch = modern(global_attn_every_n_layers=4), padded_batch(2, (310, 97))
    inputs = (batch["input_ids"], batch["token_type_ids"], batch["attention_mask"])
    found, whole = model.encoder(*inputs, first=3), model.encoder(*inputs)
    monkeypatch.setattr(encoder, "make_band", lambda *_: None)
    wanted = model.encoder(*inputs)
    torch.testing.assert_close(found, wanted[:, :3], rtol=1e-9, atol=1e-9)
    tokens = batch["attention_mask"].bool()
    torch.testing.assert_close(whole[tokens], wanted[tokens], rtol=1e-9, atol=1e-9)


def test_dropout_of_the_probabilities_is_kept():
    model, batch = modern(), padded_batch(3, (310, 97))
    model.encoder.config = replace(model.encoder.config, attention_probs_dropout_prob=0.1)
    for is_training in (False, True):
        model.train(is_training)
        near = model.encoder._sights(batch["input_ids"], batch["attention_mask"], None)[1]
        assert (near.band is None) is is_training
        assert near.mask.shape[-2] == (310 if is_training else 1)
