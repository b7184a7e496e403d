"""A BERT out of Google's files: the graph of 2018 in NumPy gives the same numbers, and what does not fit is named."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from tiny_bert import NUM_LABELS, draw_wide, one_line_error, tiny_config

from dokkai.model.heads import Model
from dokkai.model.names import google_names, to_google
from dokkai.model.tf.bundle import Bundle, write_bundle
from dokkai.model.tf.checkpoint import find_prefix, is_checkpoint, load_checkpoint, save_checkpoint
from released_files import GOLDEN, KINDS, PREFIXES, PUBLISHED, assert_bit_equal, copy, expected

CONFIG = "bert_config.json"
WORDS = "bert/embeddings/word_embeddings"
BASES = {"classifier": PUBLISHED}  # where its bert_config.json lies
HEADS_IN = {
    "published": ("masked_lm", "next_sentence"),
    "sharded": ("masked_lm", "next_sentence"),
    "classifier": ("classification",),
    "squad": ("span",),
}


def load(name, gelu="erf"):
    return load_checkpoint(PREFIXES[name], BASES.get(name, PREFIXES[name].parent) / CONFIG, gelu)


# ---- the graph of the release, written out in NumPy on the tensors that TensorFlow was given


def gelu_erf(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


def gelu_tanh(x):
    return x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def graph_of_2018(w, config, ids, types, mask, gelu):
    """``modeling.py``: the last layer and the pooled vector; ``w`` holds Google's tensors, in float64."""

    def dense(x, name):
        return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

    def norm(x, name):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-12) * w[f"{name}/LayerNorm/gamma"] + w[f"{name}/LayerNorm/beta"]

    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    B, L = ids.shape
    D, H = config["hidden_size"], config["num_attention_heads"]
    x = w[WORDS][ids] + w["bert/embeddings/token_type_embeddings"][types]
    x = norm(x + w["bert/embeddings/position_embeddings"][:L], "bert/embeddings")
    adder = (1.0 - mask[:, None, None, :]) * -10000.0
    for number in range(config["num_hidden_layers"]):
        layer = f"bert/encoder/layer_{number}"

        def split(x, part, layer=layer):
            return dense(x, f"{layer}/attention/self/{part}").reshape(B, L, H, D // H).transpose(0, 2, 1, 3)

        q, k, v = (split(x, part) for part in ("query", "key", "value"))
        context = softmax(q @ k.transpose(0, 1, 3, 2) / np.sqrt(D // H) + adder) @ v
        context = context.transpose(0, 2, 1, 3).reshape(B, L, D)
        x = norm(dense(context, f"{layer}/attention/output/dense") + x, f"{layer}/attention/output")
        inner = gelu(dense(x, f"{layer}/intermediate/dense"))
        x = norm(dense(inner, f"{layer}/output/dense") + x, f"{layer}/output")
    pooled = np.tanh(dense(x[:, 0], "bert/pooler/dense"))
    heads = {}
    if "cls/predictions/output_bias" in w:
        y = norm(gelu(dense(x, "cls/predictions/transform/dense")), "cls/predictions/transform")
        heads["masked_lm"] = (y @ w[WORDS].T + w["cls/predictions/output_bias"]).reshape(B * L, -1)
        pair = "cls/seq_relationship"
        heads["next_sentence"] = pooled @ w[f"{pair}/output_weights"].T + w[f"{pair}/output_bias"]
    if "output_weights" in w:  # run_classifier.create_model
        heads["classification"] = pooled @ w["output_weights"].T + w["output_bias"]
    if "cls/squad/output_weights" in w:  # run_squad.create_model
        heads["span"] = x @ w["cls/squad/output_weights"].T + w["cls/squad/output_bias"]
    return heads


@pytest.mark.parametrize("gelu", ["erf", "tanh"])
@pytest.mark.parametrize("name", HEADS_IN)
def test_logits_are_those_of_the_graph_of_2018(name, gelu):
    config = json.loads((BASES.get(name, PREFIXES[name].parent) / CONFIG).read_text())
    random = np.random.RandomState(7)
    ids, types = random.randint(1, config["vocab_size"], (3, 17)), random.randint(0, 2, (3, 17))
    mask = (np.arange(17) < np.array([[17], [11], [4]])).astype(int)
    weights = {key: value.double().numpy() for key, value in expected(name).items()}
    wanted = graph_of_2018(weights, config, ids, types, mask, {"erf": gelu_erf, "tanh": gelu_tanh}[gelu])

    model, _ = load(name, gelu)
    batch = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask, "masked_positions": np.arange(3 * 17)}
    with torch.inference_mode():
        found = model.double().eval()({key: torch.tensor(value) for key, value in batch.items()})
    assert tuple(found) == tuple(wanted) == HEADS_IN[name]
    for head in found:
        seen = mask.astype(bool) if head in ("masked_lm", "span") else np.ones(3, bool)  # padding sees other padding
        ours, theirs = found[head].numpy().reshape(*seen.shape, -1)[seen], wanted[head].reshape(*seen.shape, -1)[seen]
        assert theirs.std() > 0.1, f"{head}: too flat to tell anything"
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_the_two_gelus_differ():
    assert load("published")[0].config.hidden_act == "gelu"
    assert load("published", "tanh")[0].config.hidden_act == "gelu_new"
    with one_line_error("unknown gelu 'tan'; did you mean 'tanh'"):
        load("published", "tan")


# ---- names


@pytest.mark.parametrize("name", HEADS_IN)
def test_every_tensor_is_used_skipped_or_named(name):
    model, report = load(name)
    assert tuple(model.heads) == HEADS_IN[name]
    used = [theirs for ours in model.state_dict() for theirs in google_names(ours)]
    slots = [key for key in expected(name) if key.endswith(("/adam_m", "/adam_v"))]
    step = ["global_step"] if report.step is not None else []
    assert len(used) == len(set(used))
    assert sorted([*used, *slots, *step, *report.unused]) == sorted(expected(name))
    assert report.num_slots == len(slots)
    assert report.unused == (["bert/pooler/dense/bias", "bert/pooler/dense/kernel"] if name == "squad" else [])
    back = to_google(model.state_dict())
    assert_bit_equal(back, {key: value for key, value in expected(name).items() if key in used})


def test_what_is_left_out_is_said_once():
    assert str(load("published")[1]) == ""
    assert str(load("classifier")[1]) == "left out: global_step 1234 and 82 tensors of the optimizer (adam_m, adam_v)"
    assert str(load("squad")[1]) == (
        "left out: global_step 77 and 50 tensors of the optimizer (adam_m, adam_v); "
        "unused (in the file only): bert/pooler/dense/bias, bert/pooler/dense/kernel"
    )


def test_only_kernels_are_turned():
    assert google_names("encoder.layers.11.attention.qkv.weight") == tuple(
        f"bert/encoder/layer_11/attention/self/{part}/kernel" for part in ("query", "key", "value")
    )
    assert google_names("encoder.embeddings.norm.weight") == ("bert/embeddings/LayerNorm/gamma",)
    assert google_names("heads.classification.classifier.weight") == ("output_weights",)
    for name in ("published", "squad"):
        model = load(name)[0]
        for ours, tensor in model.state_dict().items():
            (theirs, *more) = google_names(ours)
            if not more:
                wanted = expected(name)[theirs]
                assert torch.equal(tensor, wanted.t() if theirs.endswith("kernel") else wanted), ours


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind, tmp_path):
    """Wide weights, more than ten layers, labels; in NumPy's eyes contiguous again."""
    model = draw_wide(Model(tiny_config(num_hidden_layers=11), KINDS[kind], NUM_LABELS), 3)
    labels = ("no", "maybe", "yes") if "classification" in KINDS[kind] else ()
    remarks = save_checkpoint(model, tmp_path, labels)
    assert any("no pooler" in remark for remark in remarks) is not any(
        ".pooler." in name for name in model.state_dict()
    )
    back, report = load_checkpoint(find_prefix(tmp_path), tmp_path / CONFIG)
    assert str(report) == "" and tuple(back.heads) == KINDS[kind]
    assert back.config == model.config
    assert_bit_equal(back.state_dict(), model.state_dict())
    assert json.loads((tmp_path / CONFIG).read_text()).get("id2label") == (
        {"0": "no", "1": "maybe", "2": "yes"} if labels else None
    )


def test_numbers_that_the_release_has_as_constants(tmp_path):
    config = tiny_config(layer_norm_eps=1e-5, hidden_act="gelu_pytorch_tanh")
    remarks = save_checkpoint(Model(config, ("masked_lm",)), tmp_path)
    assert "the release does not heed layer_norm_eps 1e-05" in remarks
    assert 'hidden_act is written as "gelu"; to convert it back as it is, say --gelu tanh' in remarks
    values = json.loads((tmp_path / CONFIG).read_text())
    assert values["hidden_act"] == "gelu" and values["layer_norm_eps"] == 1e-5
    assert load_checkpoint(tmp_path / "bert_model.ckpt", tmp_path / CONFIG, "tanh")[0].config.layer_norm_eps == 1e-5


def test_a_configuration_without_the_number_of_segments(tmp_path):
    """The release's default is 16, not 2."""
    values = json.loads((PUBLISHED / CONFIG).read_text())
    del values["type_vocab_size"]
    (tmp_path / CONFIG).write_text(json.dumps(values))
    with one_line_error(r"token_type_embeddings has shape \(2, 8\), .*bert_config.json asks for \(16, 8\)"):
        load_checkpoint(PREFIXES["published"], tmp_path / CONFIG)


# ---- which checkpoint


def test_ways_to_name_a_checkpoint(tmp_path):
    prefix = copy("published", tmp_path / "copy")
    for end in ("", ".index", ".data-00000-of-00001", ".meta"):
        source = prefix.with_name(prefix.name + end)
        assert is_checkpoint(source) and find_prefix(source) == prefix
    assert is_checkpoint(prefix.parent) and find_prefix(prefix.parent) == prefix
    assert not is_checkpoint(tmp_path) and not is_checkpoint(tmp_path / "bert-base-uncased")


def test_the_newest_of_a_folder(tmp_path):
    folder = copy("classifier", tmp_path / "copy").parent
    assert find_prefix(folder).name == "model.ckpt-1234"
    path = folder / "checkpoint"
    for elsewhere in ("/home/someone/out/model.ckpt-1000", "C:\\\\out\\\\model.ckpt-1000"):  # the folder has moved
        path.write_text(f'model_checkpoint_path: "{elsewhere}"\nall_model_checkpoint_paths: "model.ckpt-1234"\n')
        assert find_prefix(folder).name == "model.ckpt-1000"
    path.write_text('model_checkpoint_path: "model.ckpt-9"\n')
    with one_line_error("checkpoint names model.ckpt-9, but there is no model.ckpt-9.index; copy it there"):
        find_prefix(folder)
    path.unlink()
    with one_line_error("copy: 2 checkpoints in it and nothing says which; give one as prefix: model.ckpt-1000, "):
        find_prefix(folder)


def test_no_checkpoint(tmp_path):
    with one_line_error("bert_model.ckpt.index: no such file; a checkpoint has an .index"):
        find_prefix(tmp_path / "bert_model.ckpt.index")
    shutil.copy(PUBLISHED / CONFIG, tmp_path)
    assert is_checkpoint(tmp_path)
    with one_line_error(r"no checkpoint in it \(no .index file\)"):
        find_prefix(tmp_path)


# ---- what does not fit


def rewrite(folder, change=None, **config):
    """A checkpoint with other tensors or another configuration."""
    tensors = expected("published")
    if change:
        change(tensors)
    values = json.loads((PUBLISHED / CONFIG).read_text()) | config
    (folder / CONFIG).write_text(json.dumps(values))
    write_bundle(tensors, folder / "bert_model.ckpt")
    return folder / "bert_model.ckpt", folder / CONFIG


def test_no_bert(tmp_path):
    with one_line_error(r"kinds.ckpt.index: not a BERT, there is no bert/embeddings/word_embeddings in it, but a/byte"):
        load_checkpoint(PREFIXES["kinds"], PUBLISHED / CONFIG)
    with one_line_error("ckpt-1.index: saved by TensorFlow 2 as a graph of objects; dokkai reads"):
        load_checkpoint(GOLDEN / "objects" / "ckpt-1", PUBLISHED / CONFIG)


def test_not_whole(tmp_path):
    files = rewrite(tmp_path, lambda tensors: tensors.pop("bert/encoder/layer_1/output/dense/kernel"))
    with one_line_error("not a whole BERT, there is no bert/encoder/layer_1/output/dense/kernel in it"):
        load_checkpoint(*files)


def test_another_number_of_layers(tmp_path):
    with one_line_error("bert/encoder/layer_1/.* has no place in a model of 1 layers, which .*bert_config.json"):
        load_checkpoint(*rewrite(tmp_path, num_hidden_layers=1))
    with one_line_error("not a whole BERT, there is no bert/encoder/layer_2/"):
        load_checkpoint(*rewrite(tmp_path, num_hidden_layers=3))


def test_shapes_are_named_as_they_lie_in_the_file(tmp_path):
    with one_line_error(r"intermediate/dense/kernel has shape \(8, 12\), .*bert_config.json asks for \(8, 16\)"):
        load_checkpoint(*rewrite(tmp_path, intermediate_size=16))
    with one_line_error(r"word_embeddings has shape \(40, 8\), .*bert_config.json asks for \(41, 8\)"):
        load_checkpoint(*rewrite(tmp_path, vocab_size=41))


def test_weights_that_are_whole_numbers(tmp_path):
    files = rewrite(tmp_path, lambda tensors: tensors.update({WORDS: tensors[WORDS].to(torch.int8)}))
    with one_line_error("word_embeddings is int8; weights must be floating point"):
        load_checkpoint(*files)


def test_heads_of_several_tasks(tmp_path):
    def add(tensors):
        tensors |= {"output_weights": torch.zeros(2, 8), "output_bias": torch.zeros(2)}

    with one_line_error("output layers of several tasks in it: masked_lm, next_sentence, classification"):
        load_checkpoint(*rewrite(tmp_path, add))


def test_labels_that_are_no_row(tmp_path):
    def change(tensors):
        for name in [name for name in tensors if name.startswith("cls/")]:
            del tensors[name]
        tensors |= {"output_weights": torch.zeros(2, 8), "output_bias": torch.zeros(2, 1)}

    with one_line_error(r"output_bias has shape \(2, 1\), not one number per label"):
        load_checkpoint(*rewrite(tmp_path, change))


def test_a_configuration_that_is_none(tmp_path):
    (tmp_path / CONFIG).write_text("[]")
    with one_line_error("bert_config.json: not the configuration of a BERT model"):
        load_checkpoint(PREFIXES["published"], tmp_path / CONFIG)


def test_a_head_that_the_release_does_not_have():
    with one_line_error("Google's release has no head for token labels, so its checkpoints cannot hold one"):
        google_names("heads.token_labels.classifier.weight")


def test_optimizer_slots_are_not_even_read(tmp_path):
    """Two thirds of a fine-tuned checkpoint: damage there hurts nobody."""
    prefix = copy("classifier", tmp_path / "copy")
    bundle = Bundle(prefix)
    entry = bundle.entries["bert/pooler/dense/kernel/adam_m"]
    path = bundle.shard_path(0)
    content = bytearray(path.read_bytes())
    content[entry.offset : entry.offset + entry.size] = bytes(entry.size)
    path.write_bytes(content)
    assert load_checkpoint(prefix, PUBLISHED / CONFIG)[1].num_slots == 82
