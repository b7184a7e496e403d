"""Where things end: positions, spare rows, columns by number, lines of a stream, half a surrogate pair, memory."""

import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dokkai import cli
from dokkai.data.rows import Row
from dokkai.doctor import examine
from dokkai.errors import UserError
from dokkai.files import read_json, write_json
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.pipeline import Pipeline, load
from dokkai.settings import ClassificationSettings, PretrainingSettings, QuestionAnsweringSettings, load_settings
from dokkai.tasks import create_task
from dokkai.tokenization import save_tokenizer
from dokkai.training import loop
from dokkai.training.finetune import finetune
from dokkai.training.pretrain import pretrain

CPU = torch.device("cpu")


def encoder(tokenizer, positions=50, spare=0):
    """Wide random weights; 50 positions are no multiple of the padding."""
    task = create_task(PretrainingSettings(lengths=[32]), tokenizer)
    shape = {"max_position_embeddings": positions, "initializer_range": 0.3}
    config = shape_config("L1-H64", vocab_size=tokenizer.vocab_size + spare, **shape)
    return Pipeline(Model(config, task.heads, seed=3), tokenizer, task, CPU)


def test_long_texts_are_cut_and_counted(tokenizer, capsys):
    vectors = encoder(tokenizer).embed(["word " * 300, "Glass."], pooling="none")
    assert len(vectors[0]) == 50 and len(vectors[1]) < 10
    assert "1 of 2 texts are cut to the 50 tokens that the model reads" in capsys.readouterr().err
    with pytest.raises(UserError, match="tokens, but the model has 50 positions; shorten it"):
        encoder(tokenizer).fill_mask("[MASK] " + "one two three " * 30)
    with pytest.raises(UserError, match="layers go from -2 to 1"):
        encoder(tokenizer).embed(["a"], layers=())


def test_rows_without_a_token_are_never_guessed(tokenizer):
    model = encoder(tokenizer, spare=64)
    with torch.no_grad():
        model.model.heads["masked_lm"].bias[tokenizer.vocab_size :] = 100
    (guesses,) = model.fill_mask("A [MASK].", top=5)
    assert len(guesses) == 5 and sum(value for _, value in guesses) > 0.001


def test_small_models_of_transformers_get_a_task_that_fits(tokenizer, tmp_path):
    from transformers import BertConfig, BertForQuestionAnswering, BertForSequenceClassification

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=tokenizer.vocab_size, max_position_embeddings=48, **sizes)
    for kind in (BertForQuestionAnswering, BertForSequenceClassification):
        kind(config).save_pretrained(tmp_path / kind.__name__)
        save_tokenizer(tokenizer, tmp_path / kind.__name__)
    sorter = load(tmp_path / "BertForSequenceClassification", "cpu")
    assert sorter.predict([Row("word " * 300, None, None, "x", "line 1")])[0]["id"] == "x"
    text = "Ann built the tower. " * 30
    answer = load(tmp_path / "BertForQuestionAnswering", "cpu").ask("Who built the tower of this town? " * 9, text)
    assert text[answer.start : answer.end] == answer.answer


def test_weights_that_the_file_lacks_are_named(tokenizer, tmp_path, capsys):
    bare = encoder(tokenizer)
    bare.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["BertForQuestionAnswering"]}))
    (tmp_path / "task.json").unlink()
    load(tmp_path, "cpu")
    assert "new (not in the file): heads.span.classifier" in capsys.readouterr().err


def test_a_saved_task_longer_than_the_model_is_refused(tokenizer, tmp_path):
    encoder(tokenizer).save(tmp_path)
    task = json.loads((tmp_path / "task.json").read_text())
    task["task"]["lengths"] = [64]
    (tmp_path / "task.json").write_text(json.dumps(task))
    with pytest.raises(UserError, match=r"task.lengths is 64, but the model has 50 positions"):
        load(tmp_path, "cpu")


def test_heldout_sequences_longer_than_the_model_are_refused(prepared, tmp_path):
    words = ["model.shape=L1-H64", "model.max_position_embeddings=50", "task.lengths=[32]", "task.heldout_length=64"]
    with pytest.raises(UserError, match=r"task.heldout_length is 64, but the model has 50 positions"):
        pretrain("demo-pretrain", prepared, tmp_path / "run", words, device="cpu")
    assert not (tmp_path / "run").exists()


def test_files_of_two_models(sorter):
    task = json.loads((sorter / "task.json").read_text())
    for change, message in (
        ({"labels": ["one"]}, "task.json: 1 labels, but the weights have 2"),
        ({"labels": None}, "task.json: 0 labels, but the weights have 2"),
        ({"task": QuestionAnsweringSettings(max_length=32).model_dump()}, "the weights have no such head"),
    ):
        (sorter / "task.json").write_text(json.dumps(task | change))
        with pytest.raises(UserError, match=message):
            load(sorter, "cpu")


@pytest.mark.parametrize("names", [("no", "yes"), ("bad", "good"), ("a", "b", "c")])
def test_a_classifier_of_other_labels_is_drawn_anew(names, sorter, tmp_path, capsys):
    """Of other names or another number; that of the same labels goes on."""
    table = tmp_path / "t.csv"
    table.write_text("text,label\n" + "".join(f"word,{name}\n" for name in names))
    words = ["task.max_length=16", "train.steps=1", "train.precision=fp32", "train.learning_rate=1e-9", "train.seed=3"]
    made = finetune("my-classes", sorter, table, tmp_path / "run", overrides=words, device="cpu")
    old = load(sorter, "cpu").model.heads["classification"].classifier.weight
    is_kept = made.model.heads["classification"].classifier.weight.shape == old.shape and torch.allclose(
        made.model.heads["classification"].classifier.weight, old, atol=1e-6
    )
    assert is_kept == (names == ("no", "yes"))
    assert ("new (not in the file): heads.classification.classifier" in capsys.readouterr().err) != is_kept
    assert load(tmp_path / "run", "cpu").task.labels == names


def test_half_a_surrogate_pair_is_written_as_json_writes_it(tmp_path):
    write_json(tmp_path / "a.json", {"label": "\ud800"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"label": "\ud800"}


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5_000])
def test_json_that_nobody_can_read(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"a\.json: the record is not JSON \(line 1: a number too long, or nested"):
        read_json(tmp_path / "a.json", "record")


def test_doctor_names_a_gpu_that_this_pytorch_cannot_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/nvidia-smi" if name == "nvidia-smi" else None)
    missing = {item.name: item.install for item in examine() if not item.is_good}
    assert missing["GPU"] == "pip install --force-reinstall torch"
    assert missing["C++ compiler"].startswith("apt install g++ python3-dev")


def test_columns_by_number():
    task = load_settings("my-classes", ["task.text=0", "task.label=1", "task.header=false"]).task
    assert isinstance(task, ClassificationSettings)
    assert (task.text, task.label) == ("0", "1")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.learning_rate=inf", "train.learning_rate = inf"),
        ("train.seed=99999999999", "train.seed = 99999999999"),
        ("task.kind=dancing", 'unknown task.kind "dancing"; there is: classification, multi-label'),
    ],
)
def test_values_out_of_range(override, message):
    with pytest.raises(UserError, match=message):
        load_settings("my-classes", [override])


def test_a_task_without_a_kind(tmp_path):
    (tmp_path / "mine.toml").write_text("[task]\nmax_length = 64\n")
    with pytest.raises(UserError, match=r"mine.toml: task.kind is not set; there is: classification"):
        load_settings(str(tmp_path / "mine.toml"))


@pytest.fixture
def sorter(tokenizer, tmp_path):
    task = create_task(ClassificationSettings(max_length=32), tokenizer, ("no", "yes"))
    model = Model(shape_config("L1-H64", vocab_size=tokenizer.vocab_size, max_position_embeddings=32), task.heads)
    Pipeline(model, tokenizer, task, CPU).save(tmp_path / "sorter")
    return tmp_path / "sorter"


def predict(sorter, monkeypatch, stdin):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "argv", ["dokkai", "predict", str(sorter)])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code, out.buffer.getvalue()


def test_errors_name_the_line_of_the_stream(sorter, monkeypatch, capsys):
    assert predict(sorter, monkeypatch, b'\n\n{"txt": "a"}\n') == (2, b"")
    assert "dokkai: standard input line 3: no text under 'text'; found: txt" in capsys.readouterr().err
    assert predict(sorter, monkeypatch, b'\n\n{"text"\n') == (2, b"")
    assert "dokkai: standard input line 3: not JSON" in capsys.readouterr().err


def test_output_is_utf8_whatever_the_locale(sorter, monkeypatch):
    code, out = predict(sorter, monkeypatch, '{"text": "読解", "id": "解"}\n{"text": "a", "id": "\\ud83d"}\n'.encode())
    assert code == 0
    assert [json.loads(line)["id"] for line in out.decode("utf-8").splitlines()] == ["解", "\ud83d"]


def test_a_limit_does_not_hide_labels(tokenizer, tmp_path, capsys):
    base = encoder(tokenizer)
    base.save(tmp_path / "base")
    table = tmp_path / "t.csv"
    table.write_text("text,label\n" + "a,no\n" * 6 + "b,yes\n")
    words = ["task.max_length=16", "train.steps=1", "train.precision=fp32"]
    made = finetune("my-classes", tmp_path / "base", table, tmp_path / "run", overrides=words, limit=4, device="cpu")
    assert made.task is not None and made.task.labels == ("no", "yes")
    with pytest.raises(UserError, match=r"model\.shape cannot be set here"):
        finetune("my-classes", tmp_path / "base", table, tmp_path / "other", overrides=["model.shape=tiny"])
    assert not (tmp_path / "other").exists()


def test_pretraining_goes_on_from_its_own_vocabulary_only(tokenizer, prepared, tmp_path):
    base = encoder(tokenizer)
    base.save(tmp_path / "base")
    task = json.loads((tmp_path / "base" / "task.json").read_text())
    (tmp_path / "base" / "task.json").write_text(json.dumps(task | {"tokenizer": "0" * 64}))
    with pytest.raises(UserError, match="the vocabulary is not the one the model was trained with"):
        pretrain("demo-pretrain", prepared, tmp_path / "run", ["task.lengths=[32]"], init=tmp_path / "base")
    assert not (tmp_path / "run").exists()


def test_out_of_memory_names_the_setting(prepared, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20 GiB")

    monkeypatch.setattr(loop, "_accumulate", full)
    words = ["model.shape=L1-H64", "task.lengths=[32]", "train.steps=1", "train.batch_size=2"]
    with pytest.raises(UserError, match=r"out of memory on cpu; set train\.micro_batch_tokens below 16384"):
        pretrain("demo-pretrain", prepared, tmp_path / "run", words, device="cpu")


def test_infinite_gradients_are_not_saved(tokenizer):
    meter = loop._Meter({"tokens": 0, "seconds": 0})
    batch = {"input_ids": torch.zeros(1, 4)}
    meter.count([batch], {"masked_lm": torch.tensor(1.0)}, torch.tensor(np.inf))
    with pytest.raises(UserError, match="the loss is not finite at step 7"):
        meter.check(7)
