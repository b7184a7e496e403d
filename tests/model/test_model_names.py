"""The table of foreign names: there and back, every tensor, and the older spellings."""

import pytest
import torch
from tiny_bert import HEAD_SETS, NUM_LABELS, draw_wide, one_line_error, tiny_config

from dokkai.model.heads import HEADS, Model
from dokkai.model.names import ARCHITECTURES, architecture, from_foreign, to_foreign

KINDS = pytest.mark.parametrize("kind", HEAD_SETS)


def wide_state(kind, **changes):
    return draw_wide(Model(tiny_config(**changes), HEAD_SETS[kind], NUM_LABELS), 0).state_dict()


def assert_equal(state, other):
    assert list(state) == list(other)
    assert all(torch.equal(state[name], other[name]) for name in state)


def spelled_as_in_2018(foreign):
    """gamma and beta, and no prefix before the encoder."""
    out = {}
    for name, tensor in foreign.items():
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        out[old.removeprefix("bert.")] = tensor
    return out


@KINDS
def test_there_and_back(kind):
    state = wide_state(kind)
    foreign = to_foreign(state)
    back, missing, unused = from_foreign(state, foreign)
    assert (missing, unused) == ([], [])
    assert_equal(back, state)


@KINDS
def test_every_tensor_is_written_once(kind):
    """Twelve layers: two digits in a name, and query, key, value apart."""
    state = wide_state(kind, num_hidden_layers=12)
    foreign = to_foreign(state)
    assert len(foreign) == len(state) + 2 * 2 * 12
    assert sum(tensor.numel() for tensor in foreign.values()) == sum(tensor.numel() for tensor in state.values())
    query, key, value = (
        next(tensor for name, tensor in foreign.items() if name.endswith(f"layer.11.attention.self.{part}.weight"))
        for part in ("query", "key", "value")
    )
    assert torch.equal(torch.cat([query, key, value]), state["encoder.layers.11.attention.qkv.weight"])
    assert_equal(from_foreign(state, foreign)[0], state)


@KINDS
def test_only_a_bare_encoder_drops_the_prefix(kind):
    names = list(to_foreign(wide_state(kind)))
    has_prefix = [name.startswith("bert.") for name in names]
    assert any(has_prefix) is (kind != "BertModel")
    assert ("embeddings.LayerNorm.weight" in names) is (kind == "BertModel")


@KINDS
def test_older_spellings(kind):
    state = wide_state(kind)
    old = spelled_as_in_2018(to_foreign(state))
    assert not any("LayerNorm.weight" in name or name.startswith("bert.") for name in old)
    old["embeddings.position_ids"] = torch.arange(24)[None]  # a buffer that older versions saved
    back, missing, unused = from_foreign(state, old)
    assert (missing, unused) == ([], [])
    assert_equal(back, state)


def test_what_is_missing_and_what_is_unused():
    state, foreign = wide_state("BertForQuestionAnswering"), to_foreign(wide_state("BertForPreTraining"))
    del foreign["bert.encoder.layer.1.attention.self.key.bias"]
    back, missing, unused = from_foreign(state, foreign)
    assert missing == [
        "encoder.layers.1.attention.qkv.bias",
        "heads.span.classifier.weight",
        "heads.span.classifier.bias",
    ]
    assert set(back) == set(state) - set(missing)
    assert unused == sorted(
        ["bert.encoder.layer.1.attention.self.query.bias", "bert.encoder.layer.1.attention.self.value.bias"]
        + [name for name in foreign if name.startswith(("cls.", "bert.pooler."))]
    )


def test_tied_copies():
    """Many published files hold the word embeddings twice; that is no loss, unless the two differ."""
    state = wide_state("BertForMaskedLM")
    foreign = to_foreign(state)
    foreign["cls.predictions.decoder.weight"] = foreign["bert.embeddings.word_embeddings.weight"].clone()
    foreign["cls.predictions.decoder.bias"] = foreign["cls.predictions.bias"].clone()
    assert from_foreign(state, foreign)[1:] == ([], [])
    foreign["cls.predictions.decoder.weight"][7, 7] += 1
    assert from_foreign(state, foreign)[1:] == ([], ["cls.predictions.decoder.weight"])
    del foreign["cls.predictions.bias"]  # the copy alone
    back, missing, _ = from_foreign(state, foreign)
    assert missing == []
    assert torch.equal(back["heads.masked_lm.bias"], state["heads.masked_lm.bias"])


def test_parts_of_different_shapes():
    state = wide_state("BertModel")
    foreign = to_foreign(state)
    foreign["encoder.layer.0.attention.self.key.weight"] = torch.zeros(32, 31)
    with one_line_error(r"these must have the same shape: .*query.weight \(32, 32\), .*key.weight \(32, 31\)"):
        from_foreign(state, foreign)


def test_classes_and_their_heads():
    classic = {name: heads for name, heads in ARCHITECTURES.items() if name.startswith("Bert")}
    assert classic == HEAD_SETS
    assert {name for heads in HEAD_SETS.values() for name in heads} == set(HEADS)
    for kind, heads in HEAD_SETS.items():
        assert architecture(heads) == architecture(heads[::-1]) == kind
    with pytest.raises(ValueError, match="holds the heads span, masked_lm together"):
        architecture(("span", "masked_lm"))
