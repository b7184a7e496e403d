"""Model directories: what is written, what is reported, and one plain line for every way in which one can be wrong."""

import json
import pickle
import resource
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_bert import HEAD_SETS, NUM_LABELS, draw_wide, one_line_error, padded_batch, tiny_config

from dokkai.files import replacing
from dokkai.model import checkpoint
from dokkai.model.checkpoint import CONFIG, WEIGHTS, LoadReport, load_model, load_tensors, save_model, save_tensors
from dokkai.model.heads import Model


def wide_model(kind="BertForPreTraining", seed=0, **changes):
    return draw_wide(Model(tiny_config(**changes), HEAD_SETS[kind], NUM_LABELS), seed)


def assert_same_weights(model, other):
    state, expected = model.state_dict(), other.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], expected[name]) for name in state)


@pytest.fixture
def saved(tmp_path):
    """The directory of a pre-training model."""
    save_model(wide_model(), tmp_path / "model")
    return tmp_path / "model"


def change_config(directory, **changes):
    values = json.loads((directory / CONFIG).read_text())
    (directory / CONFIG).write_text(json.dumps({k: v for k, v in (values | changes).items() if v is not None}))


def change_tensors(directory, change):
    tensors = load_file(directory / WEIGHTS)
    changed = change(tensors)
    save_file(tensors if changed is None else changed, directory / WEIGHTS)


@contextmanager
def room_for(num_bytes):
    """A file may grow no further than this, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", HEAD_SETS)
def test_there_and_back(kind, tmp_path):
    model = wide_model(kind, layer_norm_eps=1e-5)
    save_model(model, tmp_path / "new" / "model")
    again, report = load_model(tmp_path / "new" / "model", seed=9)
    assert (report.new, report.unused, str(report)) == ([], [], "")
    assert again.config == model.config
    assert_same_weights(again, model)
    assert sorted(path.name for path in (tmp_path / "new" / "model").iterdir()) == [CONFIG, WEIGHTS]


def test_saving_again_replaces(saved):
    model = wide_model("BertForQuestionAnswering", seed=1, num_hidden_layers=1)
    save_model(model, saved)
    again, report = load_model(saved)
    assert str(report) == ""
    assert_same_weights(again, model)


def test_other_heads_are_new_and_reported(saved):
    model, report = load_model(saved, ("span",), seed=1)
    assert report.new == ["heads.span.classifier.weight", "heads.span.classifier.bias"]
    assert report.unused == sorted(
        name for name in load_file(saved / WEIGHTS) if name.startswith(("cls.", "bert.pooler."))
    )
    assert str(report) == (
        "new (not in the file): heads.span.classifier.weight, heads.span.classifier.bias; unused (in the file only): "
        "bert.pooler.dense.bias, bert.pooler.dense.weight, cls.predictions.bias, "
        "cls.predictions.transform.LayerNorm.bias, and 5 more"
    )
    assert torch.equal(
        model.heads["span"].classifier.weight, load_model(saved, ("span",), seed=1)[0].heads["span"].classifier.weight
    )
    other = load_model(saved, ("span",), seed=2)[0]
    assert not torch.equal(model.heads["span"].classifier.weight, other.heads["span"].classifier.weight)
    assert_same_weights(model.encoder, other.encoder)


def test_a_classifier_takes_over_the_pooler(saved):
    model, report = load_model(saved, ("classification",), num_labels=5)
    assert report.new == ["heads.classification.classifier.weight", "heads.classification.classifier.bias"]
    assert torch.equal(model.heads["classification"].pooler.weight, wide_model().heads["next_sentence"].pooler.weight)
    assert model.heads["classification"].classifier.weight.shape == (5, 32)


def test_a_report_of_one_side():
    assert str(LoadReport(unused=["a"])) == "unused (in the file only): a"
    assert str(LoadReport(new=["a", "b", "c", "d"])) == "new (not in the file): a, b, c, d"


def test_changes_override_the_file(saved):
    model, _ = load_model(saved, hidden_dropout_prob=0.3, hidden_act="relu")
    assert (model.config.hidden_dropout_prob, model.config.hidden_act) == (0.3, "relu")
    assert model.encoder.layers[0].dropout.prob == 0.3
    with pytest.raises(TypeError, match="hidden_droput_prob"):
        load_model(saved, hidden_droput_prob=0.3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype, tmp_path):
    model = wide_model()
    save_model(model, tmp_path, dtype)
    assert {tensor.dtype for tensor in load_file(tmp_path / WEIGHTS).values()} == {dtype}
    assert json.loads((tmp_path / CONFIG).read_text())["dtype"] == str(dtype).removeprefix("torch.")
    assert model.encoder.embeddings.word.weight.dtype == torch.float32
    again, report = load_model(tmp_path)
    assert str(report) == ""
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}
    assert_same_weights(again, model.to(dtype).float())


@pytest.mark.parametrize("kind", HEAD_SETS)
def test_older_names(kind, tmp_path):
    """gamma and beta, no prefix ``bert.``, the position buffer, tied weights twice: the files of 2018 and 2019."""
    model = wide_model(kind)
    save_model(model, tmp_path)

    def age(tensors):
        old = {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}
        if "masked_lm" in model.heads:
            old["cls.predictions.decoder.weight"] = old["embeddings.word_embeddings.weight"].clone()
        old["embeddings.position_ids"] = torch.arange(24)[None]
        spelled = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        return {
            next((name.replace(new, past) for new, past in spelled.items() if new in name), name): tensor
            for name, tensor in old.items()
        }

    change_tensors(tmp_path, age)
    assert "embeddings.LayerNorm.gamma" in load_file(tmp_path / WEIGHTS)
    again, report = load_model(tmp_path)
    assert str(report) == ""
    assert_same_weights(again, model)


@pytest.mark.parametrize("kind", HEAD_SETS)
def test_configurations_that_name_little(kind, tmp_path):
    """The 2018 files name no type and no class: the weights show the head, unless it is one of three classifiers."""
    save_model(wide_model(kind), tmp_path)
    change_config(tmp_path, model_type=None, architectures=None, dtype=None)
    is_clear = kind not in ("BertForSequenceClassification", "BertForTokenClassification", "BertForMultipleChoice")
    assert tuple(load_model(tmp_path)[0].heads) == (HEAD_SETS[kind] if is_clear else ())
    model, report = load_model(tmp_path, HEAD_SETS[kind])
    assert str(report) == ""
    assert_same_weights(model, wide_model(kind))


def test_no_such_directory(tmp_path, saved):
    with one_line_error("nowhere: no such model directory"):
        load_model(tmp_path / "nowhere")
    with one_line_error("model.safetensors: no such model directory"):
        load_model(saved / WEIGHTS)


def test_missing_files(saved):
    (saved / WEIGHTS).rename(saved / "aside")
    with one_line_error("model/model.safetensors: no such file"):
        load_model(saved)
    (saved / CONFIG).unlink()
    with one_line_error("model/config.json: no such file"):
        load_model(saved)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", r"config.json: the model configuration is not JSON \(line 1: "),
        ('{"vocab_size": 3}', "config.json: no number under 'hidden_size'"),
        ("[1, 2]", "config.json: not a model configuration"),
        ("", "config.json is empty"),
    ],
)
def test_broken_configurations(text, match, saved):
    (saved / CONFIG).write_text(text)
    with one_line_error(match):
        load_model(saved)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model_type": "gpt2"}, "config.json: model_type 'gpt2' is not BERT"),
        ({"position_embedding_type": "alibi"}, "config.json: position_embedding_type 'alibi' is not supported"),
        (
            {"architectures": ["BertLMHeadModel"]},
            "config.json: architecture 'BertLMHeadModel' is not supported; there is",
        ),
        ({"num_attention_heads": 5}, "config.json: hidden_size 32 is not a multiple of num_attention_heads 5"),
        ({"hidden_act": "sine"}, "config.json: unknown hidden_act 'sine'"),
        ({"id2label": {"0": "no", "2": "yes"}}, "config.json: id2label must name the classes 0, 1, 2 and so on"),
        ({"id2label": {"no": 0, "yes": 1}}, "config.json: id2label must name the classes 0, 1, 2 and so on"),
        ({"id2label": ["no", "yes"]}, "config.json: id2label must name the classes 0, 1, 2 and so on"),
        ({"num_labels": "3"}, "config.json: num_labels must be a whole number above 0, not '3'"),
    ],
)
def test_configurations_of_something_else(changes, match, saved):
    change_config(saved, **changes)
    with one_line_error(match):
        load_model(saved)


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.9999])
def test_truncated_weights(share, saved):
    whole = (saved / WEIGHTS).read_bytes()
    (saved / WEIGHTS).write_bytes(whole[: max(1, int(share * len(whole)))])
    with one_line_error("model.safetensors: corrupt or not a safetensors file"):
        load_model(saved)


@pytest.mark.parametrize(
    "content",
    [
        b"These are not weights at all, but some plain text.\n" * 20,
        b"PK\x03\x04" + bytes(5000),
        pickle.dumps({"weight": [1.0] * 1000}),
        bytes(8),
        b"\xff" * 64,
        (20).to_bytes(8, "little") + b'{"a": {"dtype": 1}} ',
        (14).to_bytes(8, "little") + b"\xff\xfe not UTF-8" + bytes(9),
    ],
)
def test_foreign_files_under_that_name(content, saved):
    (saved / WEIGHTS).write_bytes(content)
    with one_line_error("model.safetensors: corrupt or not a safetensors file .* restore it or use another one"):
        load_model(saved)


def test_what_is_no_file(saved):
    (saved / WEIGHTS).write_bytes(b"")
    with one_line_error("model.safetensors is empty"):
        load_model(saved)
    (saved / WEIGHTS).unlink()
    (saved / WEIGHTS).mkdir()
    with one_line_error("model.safetensors is a directory"):
        load_model(saved)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"vocab_size": 61}, r"encoder.embeddings.word.weight has shape \(60, 32\), config.json asks for \(61, 32\)"),
        ({"intermediate_size": 47}, r"encoder.layers.0.intermediate.weight has shape \(48, 32\), .* \(47, 32\)"),
        ({"hidden_size": 64}, r"encoder.embeddings.word.weight has shape \(60, 32\), config.json asks for \(60, 64\)"),
        (
            {"num_hidden_layers": 3},
            r"not the weights of a BERT encoder \(no encoder.layers.2.attention.qkv.weight in it",
        ),
    ],
)
def test_shapes_that_differ_from_the_configuration(changes, match, saved):
    change_config(saved, **changes)
    with one_line_error(f"model.safetensors: {match}"):
        load_model(saved)


def test_fewer_layers_than_the_file_has(saved):
    """Allowed, and said: the upper layers are listed."""
    change_config(saved, num_hidden_layers=1)
    _, report = load_model(saved)
    assert len(report.unused) == 16
    assert all(name.startswith("bert.encoder.layer.1.") for name in report.unused)


def test_another_number_of_labels(tmp_path):
    save_model(wide_model("BertForSequenceClassification"), tmp_path)
    with one_line_error(r"heads.classification.classifier.weight has shape \(3, 32\), config.json asks for \(2, 32\)"):
        load_model(tmp_path, num_labels=2)
    with pytest.raises(ValueError, match="2 names for 3 labels: no, yes"):
        save_model(wide_model("BertForSequenceClassification"), tmp_path, labels=("no", "yes"))


def test_parts_that_do_not_stack(saved):
    def cut(tensors):
        name = "bert.encoder.layer.0.attention.self.key.weight"
        tensors[name] = tensors[name][:, :31].contiguous()

    change_tensors(saved, cut)
    with one_line_error(r"model.safetensors: these must have the same shape: .*key.weight \(32, 31\)"):
        load_model(saved)


def test_quantized_weights(saved):
    def quantize(tensors):
        tensors["bert.pooler.dense.weight"] = tensors["bert.pooler.dense.weight"].to(torch.int8)

    change_tensors(saved, quantize)
    with one_line_error("heads.next_sentence.pooler.weight is int8; of quantized weights only those of"):
        load_model(saved)


def test_an_untied_output_matrix(saved):
    """Silently tying it would give other logits."""
    change_tensors(saved, lambda tensors: tensors | {"cls.predictions.decoder.weight": torch.ones(60, 32)})
    with one_line_error("cls.predictions.decoder.weight is not a copy of the word embeddings or of the bias"):
        load_model(saved)
    _, report = load_model(saved, ("span",))  # of no consequence here, but named
    assert "cls.predictions.decoder.weight" in report.unused


def test_no_encoder_in_the_file(saved):
    save_file({"linear.weight": torch.ones(2, 2)}, saved / WEIGHTS)
    with one_line_error(r"not the weights of a BERT encoder \(no encoder.embeddings.word.weight in it\)"):
        load_model(saved)

    save_model(wide_model(), saved)

    def lose(tensors):
        del tensors["bert.encoder.layer.1.output.dense.bias"]

    change_tensors(saved, lose)
    with one_line_error(r"not the weights of a BERT encoder \(no encoder.layers.1.output.bias in it\)"):
        load_model(saved)


def test_a_full_disk_leaves_the_old_directory(saved):
    """Weights and configuration alike: a new config.json beside old weights would not open."""
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    larger = wide_model("BertForQuestionAnswering", intermediate_size=96)
    with room_for(10_000), one_line_error("cannot write .*model.safetensors: .*what was there before is untouched"):
        save_model(larger, saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert_same_weights(load_model(saved)[0], wide_model())
    save_model(larger, saved)  # and with room again it works
    assert_same_weights(load_model(saved)[0], larger)


@pytest.mark.parametrize("error", [checkpoint.SafetensorError("No space left"), OSError(28, "No space left on device")])
def test_every_name_of_a_full_disk(error, saved, monkeypatch):
    before = (saved / WEIGHTS).read_bytes()

    def half_written(tensors, path, metadata):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(checkpoint, "save_file", half_written)
    with one_line_error("cannot write .*model.safetensors: .*No space left"):
        save_model(wide_model(seed=1), saved)
    assert (saved / WEIGHTS).read_bytes() == before
    assert sorted(path.name for path in saved.iterdir()) == [CONFIG, WEIGHTS]


def test_being_stopped_while_saving_leaves_the_old_file(saved):
    before = (saved / WEIGHTS).read_bytes()
    with pytest.raises(KeyboardInterrupt), replacing(saved / WEIGHTS) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert (saved / WEIGHTS).read_bytes() == before


def test_tensors_there_and_back(tmp_path):
    tensors = {"step": torch.tensor(7.0), "a": torch.arange(6).view(2, 3), "empty": torch.zeros(0, 3)}
    save_tensors(tensors, tmp_path / "new" / "tensors.safetensors")
    again = load_tensors(tmp_path / "new" / "tensors.safetensors")
    assert set(again) == set(tensors)
    for name in tensors:
        torch.testing.assert_close(again[name], tensors[name], rtol=0, atol=0)


def test_a_loaded_model_computes_as_the_saved_one(saved):
    model, _ = load_model(saved)
    batch = padded_batch(0)
    with torch.inference_mode():
        logits, expected = model.eval()(batch), wide_model()(batch)
    assert set(logits) == {"masked_lm", "next_sentence"}
    assert all(torch.equal(logits[name], expected[name]) for name in logits)
