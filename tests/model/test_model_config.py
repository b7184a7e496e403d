"""Published shapes and their parameter counts, and what makes a configuration wrong."""

import numpy as np
import pytest
import torch
from tiny_bert import TINY, one_line_error, tiny_config
from torch import nn

from dokkai.model.config import ModelConfig, count_parameters, published_shapes, read_config, shape_config
from dokkai.model.encoder import Encoder
from dokkai.model.heads import Model
from dokkai.model.initialization import initialize, start_at_frequencies, start_positions_as_waves

PUBLISHED = {
    "tiny": 4_385_920,
    "mini": 11_170_560,
    "small": 28_763_648,
    "medium": 41_373_184,
    "base": 109_482_240,
    "large": 335_141_888,
}


def count_built(config):
    """Parameters of a real encoder and pooler, without memory for them."""
    with torch.device("meta"):
        parts = (Encoder(config), nn.Linear(config.hidden_size, config.hidden_size))
    return sum(parameter.numel() for part in parts for parameter in part.parameters())


@pytest.mark.parametrize("shape", PUBLISHED)
def test_published_shapes_have_the_published_sizes(shape):
    config = shape_config(shape)
    assert count_parameters(config) == PUBLISHED[shape]
    assert count_built(config) == PUBLISHED[shape]
    assert config.hidden_size // config.num_attention_heads == 64


def test_all_shapes_have_the_size_they_have_in_transformers():
    """24 small ones, base and large, and the figures in millions that the releases are known by."""
    from transformers import BertConfig, BertModel

    shapes = published_shapes()
    assert len(shapes) == 26
    assert len({(config.num_hidden_layers, config.hidden_size) for config in shapes.values()}) == 25  # base is L12-H768
    for name, config in shapes.items():
        values = config.to_dict()
        with torch.device("meta"):
            theirs = BertModel(BertConfig(**values)).num_parameters()
        assert theirs == count_parameters(config) == count_built(config), name
        assert shape_config(name) == config
    known = [*map(shape_config, ("tiny", "mini", "small", "medium")), shapes["base"], shapes["large"]]
    millions = [f"{count_parameters(config) / 1e6:.2f}" for config in known]
    assert millions == ["4.39", "11.17", "28.76", "41.37", "109.48", "335.14"]
    assert all(config in shapes.values() for config in known)


def test_defaults_are_bert_base():
    assert ModelConfig() == shape_config("base")


def test_a_shape_by_its_numbers():
    config = shape_config("L6-H384", vocab_size=1000)
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (6, 384, 6)
    assert (config.intermediate_size, config.vocab_size) == (1536, 1000)
    assert shape_config("L2-H128") == shape_config("tiny")
    assert shape_config("L12-H768", num_attention_heads=6).num_attention_heads == 6


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"position_embedding_type": "relative_key"},
        {"type_vocab_size": 4, "max_position_embeddings": 7, "intermediate_size": 5},
    ],
)
def test_count_follows_the_configuration(changes):
    config = tiny_config(**changes)
    assert count_parameters(config) == count_built(config)


def test_unknown_shapes():
    with one_line_error("unknown model shape 'bse'; did you mean 'base'"):
        shape_config("bse")
    with one_line_error("unknown model shape 'xxxxxx'; there is: base, large, medium, mini, small, tiny"):
        shape_config("xxxxxx")
    with one_line_error(r"unknown model shape 'L6H384'.*L<layers>-H<hidden size>"):
        shape_config("L6H384")
    with one_line_error("hidden_size 200 is not a multiple of num_attention_heads 3"):
        shape_config("L2-H200")
    with one_line_error("num_hidden_layers must be at least 1, not 0"):
        shape_config("L0-H128")
    with one_line_error("hidden_size must be at least 1, not 0"):
        shape_config("L2-H0")
    with pytest.raises(TypeError, match="hidden_droput"):
        shape_config("tiny", hidden_droput=0.0)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"hidden_size": 30}, "hidden_size 30 is not a multiple of num_attention_heads 4"),
        ({"num_attention_heads": 0}, "num_attention_heads must be at least 1, not 0"),
        ({"vocab_size": 0}, "vocab_size must be at least 1, not 0"),
        ({"type_vocab_size": 0}, "type_vocab_size must be at least 1, not 0"),
        ({"max_position_embeddings": -5}, "max_position_embeddings must be at least 1, not -5"),
        ({"hidden_act": "gelu_nwe"}, "unknown hidden_act 'gelu_nwe'; did you mean 'gelu_new'"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob must be at least 0 and below 1, not 1.0"),
        (
            {"attention_probs_dropout_prob": -0.1},
            "attention_probs_dropout_prob must be at least 0 and below 1, not -0.1",
        ),
        ({"initializer_range": 0}, "initializer_range must be above 0, not 0"),
        ({"layer_norm_eps": -1e-12}, "layer_norm_eps must be above 0, not -1e-12"),
    ],
)
def test_numbers_that_make_no_encoder(changes, match):
    with one_line_error(match):
        tiny_config(**changes)
    with one_line_error(f"^here: {match}"):  # in a file, the file is named
        read_config(TINY | changes, "here")


def test_every_field_comes_back_from_its_dictionary():
    config = ModelConfig(
        vocab_size=11,
        hidden_size=12,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=13,
        hidden_act="relu",
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.3,
        max_position_embeddings=14,
        type_vocab_size=3,
        initializer_range=0.5,
        layer_norm_eps=1e-5,
        pad_token_id=4,
        position_embedding_type="relative_key",
        classifier_dropout=0.4,
    )
    values = config.to_dict()
    assert values.pop("model_type") == "bert"
    assert all(value != getattr(ModelConfig(), name) for name, value in values.items())
    assert read_config(values, "here") == config


def test_what_is_absent_or_foreign_takes_the_default():
    """The 2018 files name no model_type and no epsilon; newer tools add fields of their own, some of them null."""
    foreign = {"directionality": "bidi", "pad_token_id": None, "layer_norm_eps": None, "is_decoder": False}
    foreign |= {"pruned_heads": {}, "chunk_size_feed_forward": 0, "use_cache": True, "classifier_dropout": None}
    config = read_config(TINY | foreign, "here")
    assert config == tiny_config()
    assert (config.layer_norm_eps, config.hidden_act, config.type_vocab_size) == (1e-12, "gelu", 2)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model_type": "roberta"}, "here: model_type 'roberta' is not BERT"),
        ({"position_embedding_type": "alibi"}, "here: position_embedding_type 'alibi' is not supported; there is"),
        ({"is_decoder": True}, "here: is_decoder is set"),
        ({"add_cross_attention": True}, "here: add_cross_attention is set"),
        ({"quantization_config": {"quant_method": "gptq"}}, "here: quantization_config is set; of quantized weights"),
        ({"pruned_heads": {"0": [1]}}, "here: pruned_heads is set; models with heads cut out"),
        ({"auto_map": {"AutoModel": "own--own.Own"}}, "here: auto_map names code of its own for AutoModel"),
        ({"classifier_dropout": 1.5}, "here: classifier_dropout must be at least 0 and below 1, not 1.5"),
        ({"hidden_size": None}, "here: no number under 'hidden_size'; this is not the configuration of a BERT model"),
        ({"hidden_size": "32"}, "here: hidden_size must be a whole number, not '32'"),
        ({"vocab_size": True}, "here: vocab_size must be a whole number, not True"),
        ({"num_hidden_layers": 2.0}, "here: num_hidden_layers must be a whole number, not 2.0"),
        ({"layer_norm_eps": "1e-12"}, "here: layer_norm_eps must be a number, not '1e-12'"),
        ({"hidden_act": ["gelu"]}, r"here: hidden_act must be a word, not \['gelu'\]"),
        ({"layer_norm_eps": float("inf")}, "here: layer_norm_eps must be a number, not inf"),
        ({"hidden_size": 10**30}, "here: hidden_size must be at most 16777216, not 1000000"),
        ({"num_hidden_layers": 10**9}, "here: num_hidden_layers must be at most 1000, not 1000000000"),
        ({"architectures": "BertModel"}, "here: architectures must be a list, not 'BertModel'"),
        ({"architectures": [["BertModel"]]}, r"here: architectures.0 must be a word, not \['BertModel'\]"),
        ({"auto_map": 1}, "here: auto_map must be an object with names, not 1"),
        ({"dtype": ["float32"]}, r"here: dtype must be a word, not \['float32'\]"),
        ({"problem_type": {}}, "here: problem_type must be a word, not {}"),
    ],
)
def test_configurations_of_something_else(changes, match):
    with one_line_error(match):
        read_config(TINY | changes, "here")


def test_initial_weights():
    """As the release: a normal of 0.02 cut at two deviations, whose own deviation is then 0.8796 times that."""
    config = tiny_config(vocab_size=2000, hidden_size=64, intermediate_size=128)
    model = Model(config, ("masked_lm", "next_sentence"), seed=3)
    matrices = 0
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            matrices += 1
            assert parameter.abs().max() <= 2 * 0.02 + 1e-9, name
            assert abs(parameter.mean()) < 4 * 0.0176 / parameter.numel() ** 0.5, name
            assert abs(parameter.std() / (0.8796 * 0.02) - 1) < 4 / parameter.numel() ** 0.5, name
    assert matrices == 3 + 4 * config.num_hidden_layers + 3
    word = model.encoder.embeddings.word.weight
    assert word.abs().max() > 1.99 * 0.02
    assert word.std().item() == pytest.approx(0.8796 * 0.02, rel=0.01)


def test_initial_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = Model(tiny_config(), ("span",), seed=5).state_dict()
    torch.manual_seed(2)
    again, other = (
        Model(tiny_config(), ("span",), seed=5).state_dict(),
        Model(tiny_config(), ("span",), seed=6).state_dict(),
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if not name.endswith("bias") and "norm" not in name]
    assert not any(torch.equal(first[name], other[name]) for name in drawn)
    layers = [first[f"encoder.layers.{i}.attention.qkv.weight"] for i in (0, 1)]
    assert not torch.equal(*layers)


def test_the_encoder_starts_the_same_under_any_head():
    encoders = [
        Model(tiny_config(), heads, seed=5).encoder.state_dict() for heads in ((), ("masked_lm", "next_sentence"))
    ]
    assert all(torch.equal(encoders[0][name], encoders[1][name]) for name in encoders[0])


def test_initializer_range_counts():
    module = nn.Linear(200, 200)
    initialize(module, tiny_config(initializer_range=0.1), seed=0)
    assert module.weight.std().item() == pytest.approx(0.08796, rel=0.02)


def test_too_long_a_sequence():
    model = Model(tiny_config(max_position_embeddings=4))
    ids = torch.ones(1, 5, dtype=torch.long)
    with one_line_error("a sequence of 5 tokens; the model has 4 positions"):
        model.encoder(ids, ids)


def test_a_second_text_for_a_model_of_one_token_type():
    model = Model(tiny_config(type_vocab_size=1))
    ids = torch.ones(1, 3, dtype=torch.long)
    model.encoder(ids, ids * 0)
    with one_line_error("a pair of texts; the model knows no second one .its type_vocab_size is 1"):
        model.encoder(ids, ids)


def test_waves_make_near_positions_alike():
    encoder = Encoder(shape_config("L1-H64", vocab_size=32, max_position_embeddings=100))
    start_positions_as_waves(encoder, 0.1)
    weight = encoder.embeddings.position.weight
    torch.testing.assert_close(weight.norm(dim=1), torch.full((100,), 0.1 * 32**0.5))
    products = weight @ weight.T
    assert (products.diagonal(1) > products.diagonal(20).max()).all()
    torch.testing.assert_close(products.diagonal(1), products.diagonal(1)[:1].expand(99))


def test_the_output_bias_starts_at_the_frequencies():
    """Without a signal the model guesses words as often as they occur; a word that never does counts as one."""
    bias = nn.Parameter(torch.zeros(4))
    start_at_frequencies(bias, np.array([10, 0, 5, 4]))
    torch.testing.assert_close(bias.softmax(0).detach(), torch.tensor([0.5, 0.05, 0.25, 0.2]))
