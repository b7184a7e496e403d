"""The modern face is ModernBERT: ``transformers`` opens it, the numbers agree, packing changes nothing."""

from dataclasses import replace

import pytest
import torch
import transformers
from tiny_bert import NUM_LABELS, TINY, draw_wide, one_line_error, padded_batch
from transformers.models.modernbert import modeling_modernbert

from dokkai.model import encoder, packing
from dokkai.model.checkpoint import load_model, save_model
from dokkai.model.config import ModelConfig, count_parameters, read_config, shape_config
from dokkai.model.heads import Model

transformers.utils.logging.disable_progress_bar()
HEADS = {
    "ModernBertModel": (),
    "ModernBertForMaskedLM": ("masked_lm",),
    "ModernBertForSequenceClassification": ("classification",),
    "ModernBertForTokenClassification": ("token_classification",),
    "ModernBertForMultipleChoice": ("multiple_choice",),
    "ModernBertForQuestionAnswering": ("span",),
}
MODERN = TINY | {
    "model_type": "modernbert",
    "position_embedding_type": "rotary",
    "num_hidden_layers": 4,  # whole, near, near, whole
    "local_attention": 6,  # shorter than the sequences
    "layer_norm_eps": 1e-5,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def our_model(kind, seed, **changes):
    return draw_wide(Model(ModelConfig(**(MODERN | changes)), HEADS[kind], NUM_LABELS), seed)


@pytest.fixture
def exact(monkeypatch):
    """Theirs turns queries and keys in float32 whatever computes; here in the precision of the model."""

    def turn(q, k, cos, sin, unsqueeze_dim=1):
        cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
        half = modeling_modernbert.rotate_half
        return q * cos + half(q) * sin, k * cos + half(k) * sin

    monkeypatch.setattr(modeling_modernbert, "apply_rotary_pos_emb", turn)


def run_theirs(model, batch):
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}
    if isinstance(model, transformers.ModernBertForMultipleChoice):
        inputs = {name: tensor[None] for name, tensor in inputs.items()}
    with torch.inference_mode():
        out = model(**inputs)
    if isinstance(model, transformers.ModernBertModel):
        return out.last_hidden_state
    if isinstance(model, transformers.ModernBertForQuestionAnswering):
        return torch.stack([out.start_logits, out.end_logits], -1)
    if isinstance(model, transformers.ModernBertForMaskedLM):
        return out.logits.flatten(0, 1)[batch["masked_positions"]]
    return out.logits.flatten() if isinstance(model, transformers.ModernBertForMultipleChoice) else out.logits


def run_ours(model, batch):
    with torch.inference_mode():
        if not model.heads:
            return model.encoder(batch["input_ids"], batch["token_type_ids"], batch.get("attention_mask"))
        (logits,) = model(batch).values()
        return logits


def read_tokens(logits, batch):
    """What stands at padding is nobody's business."""
    return logits[batch["attention_mask"].bool()] if logits.shape[:2] == batch["input_ids"].shape else logits


@pytest.mark.parametrize("kind", HEADS)
def test_our_directory_opens_there(kind, tmp_path, exact):
    """Their other way to attend, "eager", gives NaN in float64 where a window holds nothing but padding."""
    ours = our_model(kind, 1)
    save_model(ours, tmp_path)
    theirs, info = getattr(transformers, kind).from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="sdpa", local_files_only=True
    )
    assert not any(info.values()), info
    batch = padded_batch(1)
    found, wanted = run_ours(ours.double(), batch), run_theirs(theirs.double().eval(), batch)
    assert wanted.std() > 0.1
    torch.testing.assert_close(read_tokens(found, batch), read_tokens(wanted, batch), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("kind", HEADS)
def test_their_directory_opens_here(kind, pooling, tmp_path, exact):
    names = {"hidden_act": "hidden_activation", "layer_norm_eps": "norm_eps"}
    shape = {names.get(key, key): value for key, value in MODERN.items() if not key.endswith(("prob", "type"))}
    labelled = kind in ("ModernBertForSequenceClassification", "ModernBertForTokenClassification")
    config = transformers.ModernBertConfig(
        **shape,
        num_labels=NUM_LABELS if labelled else 2,
        global_attn_every_n_layers=2,
        classifier_pooling=pooling,
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 1000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        },
        **dict.fromkeys(("pad_token_id", "cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id"), 0),
    )
    config._attn_implementation = "sdpa"
    theirs = draw_wide(getattr(transformers, kind)(config), 2)
    theirs.save_pretrained(tmp_path)
    ours, report = load_model(tmp_path)
    assert str(report) == ""
    assert (ours.config.global_rope_theta, ours.config.local_rope_theta) == (1000, 100)
    assert ours.config.global_attn_every_n_layers == 2
    batch = padded_batch(2)
    found, wanted = run_ours(ours.double().eval(), batch), run_theirs(theirs.double(), batch)
    torch.testing.assert_close(read_tokens(found, batch), read_tokens(wanted, batch), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("lengths", [(304, 97, 3), (401, 32, 160)])
def test_long_sequences_are_seen_in_blocks_as_there(lengths, tmp_path, exact):
    ours = our_model("ModernBertModel", 5, max_position_embeddings=512)
    save_model(ours, tmp_path)
    theirs = transformers.ModernBertModel.from_pretrained(tmp_path, attn_implementation="sdpa", local_files_only=True)
    batch = padded_batch(5, lengths)
    assert ours.encoder._sights(batch["input_ids"], batch["attention_mask"], None)[1].band is not None
    found, wanted = run_ours(ours.double(), batch), run_theirs(theirs.double().eval(), batch)
    torch.testing.assert_close(read_tokens(found, batch), read_tokens(wanted, batch), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_learned_from_blocks_is_the_same(precision, monkeypatch):
    batch = padded_batch(6, (401, 32, 160))
    wanted = None
    for way in (encoder.make_band, lambda *_: None):
        monkeypatch.setattr(encoder, "make_band", way)
        model = our_model("ModernBertModel", 6, max_position_embeddings=512)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            states = model.encoder(batch["input_ids"], batch["token_type_ids"], batch["attention_mask"])
        (read_tokens(states, batch) ** 2).sum().backward()
        found = {name: parameter.grad for name, parameter in model.named_parameters()}
        band = model.encoder._sights(batch["input_ids"], batch["attention_mask"], None)[1].band
        assert (band is None) is (wanted is not None)
        wanted = wanted or found
        for name, gradient in found.items():
            apart = (gradient - wanted[name]).norm() / wanted[name].norm()
            assert apart < {"fp32": 1e-4, "bf16": 0.15}[precision], name


def test_in_float32_it_is_as_near_as_their_own_two_ways(tmp_path):
    ours = our_model("ModernBertForMaskedLM", 3)
    save_model(ours, tmp_path)
    kind, batch = transformers.ModernBertForMaskedLM, padded_batch(3)
    eager, sdpa = (
        run_theirs(kind.from_pretrained(tmp_path, attn_implementation=name).eval(), batch) for name in ("eager", "sdpa")
    )
    own = (eager - sdpa).abs().max()
    assert (run_ours(ours, batch) - eager).abs().max() <= max(3 * own, 1e-5)


def test_a_layer_that_sees_its_neighbourhood_sees_no_more():
    """Of one local layer, the state of a token depends on those three places away, and on none further."""
    model = our_model("ModernBertModel", 4, num_hidden_layers=2).double()
    batch = padded_batch(4, (16, 16, 16))
    config = model.encoder.config
    assert (config.global_attn_every_n_layers, config.local_attention) == (3, 6)
    model.encoder.layers = model.encoder.layers[1:]
    model.encoder._is_local = model.encoder._is_local[1:]
    before = run_ours(model, batch)
    batch["input_ids"][:, 8] += 1
    changed = (run_ours(model, batch) - before).abs().amax((0, 2)) > 0
    assert changed.tolist() == [abs(place - 8) <= 3 for place in range(16)]


def test_the_score_of_two_tokens_depends_on_their_distance_alone():
    """The same words further back: with rotary positions a sequence without padding has the same states anywhere."""
    q_1HK = torch.randn(1, 1, 8, dtype=torch.float64)
    rotation = encoder.rotations(torch.arange(16), 8, 100.0)
    turned = encoder.rotate(q_1HK.expand(16, 1, 8), rotation)[:, 0]
    scores = turned @ turned.T
    for distance in range(5):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_turning_and_its_way_back(dtype, monkeypatch):
    """Beside products with the matrix of each turn, and the steps that a compiler fuses; other heads stay."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(2, 5, 6, 8, generator=generator).to(dtype)
    gradient = torch.randn(x.shape, generator=generator).to(dtype)
    cos, sin = encoder.rotations(torch.arange(5), 8, 100.0)
    turns = torch.cat(
        [torch.cat([cos.diag_embed(), -sin.diag_embed()], 2), torch.cat([sin.diag_embed(), cos.diag_embed()], 2)], 1
    )
    wanted, back = x.double().clone(), gradient.double().clone()
    wanted[:, :, :4] = torch.einsum("lij,blhj->blhi", turns.double(), wanted[:, :, :4])
    back[:, :, :4] = torch.einsum("lji,blhj->blhi", turns.double(), back[:, :, :4])
    x.requires_grad_()
    found = encoder.rotate(x, (cos, sin), 4)
    found.backward(gradient)
    limit = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 1e-2}[dtype]
    assert found.dtype == x.grad.dtype == dtype
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(encoder.rotate(x, (cos, sin), 4), found, rtol=limit, atol=limit)
    torch.testing.assert_close(found.double(), wanted, rtol=limit, atol=limit)
    torch.testing.assert_close(x.grad.double(), back, rtol=limit, atol=limit)


def test_a_modern_encoder_has_no_biases_and_about_as_many_parameters():
    for shape in ("tiny", "mini", "base"):
        classic = shape_config(shape, vocab_size=8192)
        modern = shape_config(shape, vocab_size=8192, model_type="modernbert")
        assert modern.head_dropout_prob == modern.attention_probs_dropout_prob == 0
        with torch.device("meta"):
            model = Model(modern)
        assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
        assert sum(parameter.numel() for parameter in model.parameters()) == count_parameters(modern)
        assert 0.9 < count_parameters(modern) / count_parameters(classic) < 1


def test_what_layers_add_is_drawn_smaller():
    config = shape_config("L8-H64", vocab_size=100, model_type="modernbert", initializer_range=0.02)
    layer = Model(config).encoder.layers[3]
    for added, inner in ((layer.output, layer.intermediate), (layer.attention.output, layer.attention.qkv)):
        assert float((added.weight.std() / inner.weight.std()).detach()) == pytest.approx(
            1 / 4, rel=0.05
        )  # the root of 2 x 8


def test_its_configuration_comes_back(tmp_path):
    changes = {"global_rope_theta": 5.0, "local_rope_theta": 6.0, "classifier_pooling": "mean", "pad_token_id": 3}
    changes |= {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3, "classifier_dropout": 0.1}
    config = ModelConfig(**(MODERN | changes | {"hidden_act": "silu", "global_attn_every_n_layers": 2}))
    assert read_config(config.to_dict(), "here") == config
    assert "type_vocab_size" not in config.to_dict()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"norm_bias": True}, "norm_bias is set; only layers without are supported"),
        ({"decoder_bias": False}, "decoder_bias is false"),
        ({"classifier_activation": "relu"}, "hidden_activation and classifier_activation differ"),
        ({"layer_types": ["full_attention"] + 2 * ["sliding_attention"] + ["full_attention"] * 2}, "no regular change"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "rope_type 'yarn' is not supported"),
        ({"classifier_pooling": "max"}, "classifier_pooling is cls or mean, not 'max'"),
        ({"norm_eps": "1e-5"}, "norm_eps must be a number, not '1e-5'"),
        ({"hidden_activation": ["gelu"]}, r"hidden_activation must be a word, not \['gelu'\]"),
        ({"rope_parameters": [1]}, r"rope_parameters must be an object with names, not \[1\]"),
        ({"rope_parameters": {"full_attention": 1e4}}, "rope_parameters.full_attention must be an object with names"),
        ({"layer_types": 3}, "layer_types must be a list, not 3"),
        ({"layer_types": ["full_attention", "window"]}, "layer_types.1: Input should be 'full_attention' or"),
    ],
)
def test_what_is_not_supported(changes, match):
    values = ModelConfig(**MODERN).to_dict() | changes
    with one_line_error(f"^here: .*{match}"):
        read_config(values, "here")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"position_embedding_type": "absolute"},
            "position_embedding_type 'absolute' is not supported; there is: rotary",
        ),
        ({"num_attention_heads": 32}, "rotary positions turn pairs"),
    ],
)
def test_numbers_that_make_no_encoder(changes, match):
    with one_line_error(match):
        ModelConfig(**(MODERN | changes))


def test_its_settings_are_for_nothing_else():
    with one_line_error("local_attention is for model_type 'modernbert'; set model.model_type=modernbert"):
        shape_config("tiny", local_attention=16)


def test_rotary_positions_are_for_the_modern_face():
    with one_line_error("'rotary' is not supported; there is: absolute, relative_key, relative_key_query"):
        ModelConfig(**(TINY | {"position_embedding_type": "rotary"}))


def test_it_has_no_next_sentence_head():
    with one_line_error("no next-sentence task; set task.next_sentence=false"):
        Model(ModelConfig(**MODERN), ("masked_lm", "next_sentence"))


def attend_one_by_one(q, k, v, starts, _, most_q, most_k, window_size):
    """What PyTorch's kernel computes, which needs a GPU: each sequence by itself."""
    assert max(most_q, most_k) >= (starts[1:] - starts[:-1]).max()
    rows = []
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        places = torch.arange(end - begin)
        near = (places[:, None] - places).abs() <= (window_size[0] if window_size[0] >= 0 else end)
        parts = (part[begin:end].transpose(0, 1) for part in (q, k, v))
        rows.append(torch.nn.functional.scaled_dot_product_attention(*parts, near).transpose(0, 1))
    return torch.cat(rows)


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("model_type", ["bert", "modernbert"])
def test_packed_is_padded(model_type, is_full, monkeypatch):
    """The path of GPUs, with a kernel of our own: the same states and gradients, and zeros where padding is."""
    config = ModelConfig(**MODERN) if model_type == "modernbert" else ModelConfig(**TINY)
    model = draw_wide(Model(replace(config, attention_probs_dropout_prob=0.0)), 5).double()
    batch = padded_batch(5)
    ids, types, mask = (batch[name] for name in ("input_ids", "token_type_ids", "attention_mask"))
    mask = torch.ones_like(mask) if is_full else mask
    weight = torch.randn(16, 32, dtype=torch.float64) * mask[:, :, None]
    given = None if is_full else mask

    def run():
        model.zero_grad()
        states = list(model.encoder.states(ids, types, given))
        torch.testing.assert_close(model.encoder(ids, types, given), states[-1])
        (states[-1] * weight).sum().backward()
        return states, [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    padded, gradients = run()
    monkeypatch.setattr(encoder, "can_pack", lambda device, dropout_prob, is_full: True)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", attend_one_by_one)
    packed, packed_gradients = run()
    for one, other in zip(padded, packed, strict=True):
        torch.testing.assert_close(one * mask[:, :, None], other)
    for one, other in zip(gradients, packed_gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_a_cpu_does_not_pack():
    assert not packing.can_pack(torch.device("cpu"), 0.0, False)
    assert not packing.can_pack(torch.device("cuda"), 0.0, False)  # no autocast: float32
    with torch.autocast("cuda", torch.bfloat16, enabled=torch.cuda.is_available()):
        assert packing.can_pack(torch.device("cuda"), 0.0, False) == torch.cuda.is_available()
        assert not packing.can_pack(torch.device("cuda"), 0.1, False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_gpu_agrees_with_the_cpu(is_full, is_compiled):
    """Packed, in bf16, by PyTorch's kernel: the states and gradients of a CPU in float32, to bf16's rounding."""
    changes = {"hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 128, "num_hidden_layers": 3}
    model = Model(ModelConfig(**(MODERN | changes)), ("masked_lm",), seed=5)
    batch = padded_batch(5)
    ids, types, mask = (batch[name] for name in ("input_ids", "token_type_ids", "attention_mask"))
    mask = torch.ones_like(mask) if is_full else mask
    weight = torch.randn(*ids.shape, 128, generator=torch.Generator().manual_seed(1)) * mask[:, :, None]

    def run(device):
        model.to(device).zero_grad()
        moved = [ids.to(device), types.to(device), None if is_full else mask.to(device)]
        encoder_ = torch.compile(model.encoder, dynamic=False) if is_compiled and device == "cuda" else model.encoder
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            x = encoder_(*moved)
        (x * weight.to(device)).sum().backward()
        gradients = [layer.attention.qkv.weight.grad.cpu().clone() for layer in model.encoder.layers]  # it moves along
        return [x.detach().float().cpu() * mask[:, :, None], *gradients]

    for one, other in zip(run("cpu"), run("cuda"), strict=True):
        assert (one - other).norm() / one.norm() < 0.02
