"""Opening what others saved: shards, pickles, old names; every way in which it can be wrong; what stays mapped."""

import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_bert import HEAD_SETS, NUM_LABELS, TINY, draw_wide, one_line_error, padded_batch, tiny_config

from dokkai.model.checkpoint import CONFIG, WEIGHTS, load_model, save_model
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.model.weights import PICKLE, WeightFiles, find_weights

PRETRAINED = ("BertForPreTraining", "BertForMaskedLM", "BertForNextSentencePrediction")  # what ``saved`` has
TRANSFORMERS_4 = Path(__file__).parent / "transformers4"


def wide_model(kind="BertForPreTraining", seed=0, **changes):
    return draw_wide(Model(tiny_config(**changes), HEAD_SETS[kind], NUM_LABELS), seed)


def assert_same_weights(model, other):
    state, expected = model.state_dict(), other.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], expected[name]) for name in state)


def assert_opens_whole(directory, expected):
    model, report = load_model(directory)
    assert str(report) == ""
    assert_same_weights(model, expected)


@pytest.fixture
def saved(tmp_path):
    """The directory of a pre-training model."""
    save_model(wide_model(), tmp_path / "model")
    return tmp_path / "model"


def as_pickle(directory, change=lambda tensors: tensors, **options):
    """The same weights as ``pytorch_model.bin``."""
    tensors = load_file(directory / WEIGHTS)
    (directory / WEIGHTS).unlink()
    torch.save(change(tensors), directory / PICKLE, **options)


def in_shards(directory, name, count=3):
    """The same weights in ``count`` files and an index, named as transformers names them."""
    tensors = load_file(directory / WEIGHTS)
    (directory / WEIGHTS).unlink()
    stem, suffix = name.rsplit(".", 1)
    shards = {key: f"{stem}-{i % count + 1:05}-of-{count:05}.{suffix}" for i, key in enumerate(sorted(tensors))}
    for shard in set(shards.values()):
        part = {key: tensor for key, tensor in tensors.items() if shards[key] == shard}
        (save_file if suffix == "safetensors" else torch.save)(part, directory / shard)
    (directory / f"{name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    return sorted(set(shards.values()))


@pytest.mark.parametrize("kind", HEAD_SETS)
def test_shards_of_transformers(kind, tmp_path):
    """In files of 20 kB, query, key and value of one layer in different ones."""
    theirs = draw_wide(getattr(transformers, kind)(transformers.BertConfig(**TINY)), 3)
    theirs.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    theirs.save_pretrained(tmp_path / "one")
    assert len(list((tmp_path / "shards").glob("model-*-of-*.safetensors"))) > 2
    model, report = load_model(tmp_path / "shards")
    expected, other = load_model(tmp_path / "one")
    assert report == other
    assert report.new == []
    assert_same_weights(model, expected)


@pytest.mark.parametrize("directory", ["relative_key", "relative_key_query"])
def test_directories_of_transformers_4(directory):
    """Saved and computed by 4.57: shards of pickles and of safetensors, distances in attention, labels, dropout."""
    path = TRANSFORMERS_4 / directory
    suffix = "bin" if directory == "relative_key" else "safetensors"
    assert len(list(path.glob(f"*-of-*.{suffix}"))) > 1
    model, report = load_model(path)
    assert report.new == []
    assert report.unused == ["bert.embeddings.position_embeddings.weight"]  # saved by 4, but not used
    assert (model.num_labels, model.heads["token_classification"].dropout.p) == (3, 0.3)
    values = {name: torch.tensor(value) for name, value in json.loads((path / "expected.json").read_text()).items()}
    expected = torch.tensor(json.loads((path / "expected.json").read_text())["logits"], dtype=torch.float64)
    with torch.inference_mode():
        logits = model.double().eval()(values)["token_classification"]
    seen = values["attention_mask"].bool()
    assert expected[seen].std(0).min() > 0.5
    torch.testing.assert_close(logits[seen], expected[seen], rtol=1e-8, atol=1e-8)
    with torch.inference_mode():
        for layer in model.encoder.layers:
            layer.attention.distances.embedding.weight.zero_()
        assert (model(values)["token_classification"][seen] - expected[seen]).abs().max() > 0.1  # distances matter


@pytest.mark.parametrize("positions", ["relative_key", "relative_key_query"])
def test_distances_there_and_back(positions, tmp_path):
    """Padding changes nothing, and the directory opens again."""
    model = wide_model("BertForMaskedLM", position_embedding_type=positions)
    save_model(model, tmp_path)
    assert "bert.embeddings.position_embeddings.weight" not in load_file(tmp_path / WEIGHTS)
    assert_opens_whole(tmp_path, model)
    batch = padded_batch(0)
    with torch.inference_mode():
        states = model.double().encoder(batch["input_ids"], batch["token_type_ids"], batch["attention_mask"])
        alone = model.encoder(batch["input_ids"][1:2, :9], batch["token_type_ids"][1:2, :9])
    torch.testing.assert_close(states[1:2, :9], alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("is_old", [False, True])
def test_pickles(is_old, saved):
    """Of today, which are zip archives and mapped, and of PyTorch before 1.6."""
    as_pickle(saved, _use_new_zipfile_serialization=not is_old)
    assert zipfile.is_zipfile(saved / PICKLE) is not is_old
    assert find_weights(saved).is_mapped is not is_old
    assert_opens_whole(saved, wide_model())


@pytest.mark.parametrize("name", [WEIGHTS, PICKLE])
def test_shards(name, saved):
    assert len(in_shards(saved, name)) == 3
    assert_opens_whole(saved, wide_model())


def test_safetensors_come_first(saved):
    (saved / PICKLE).write_bytes(b"never looked at")
    assert_opens_whole(saved, wide_model())


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.module."])
def test_prefixes(prefix, saved):
    """What DataParallel, and a model inside another, put before each name; parameters instead of tensors."""
    as_pickle(
        saved, lambda found: OrderedDict((prefix + name, torch.nn.Parameter(part)) for name, part in found.items())
    )
    assert_opens_whole(saved, wide_model())


class Malice:
    """Unpickled by Python, this runs a command."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("is_old", [False, True])
def test_a_malicious_pickle_executes_nothing(is_old, saved, tmp_path):
    witness = tmp_path / "executed"
    as_pickle(saved, lambda found: found | {"x": Malice(witness)}, _use_new_zipfile_serialization=not is_old)
    with one_line_error(r"pytorch_model.bin: it holds more than tensors \(\w+.system\).*nothing was executed; get the"):
        load_model(saved)
    assert not witness.exists()
    torch.load(saved / PICKLE, weights_only=False)  # it is a real one
    assert witness.exists()


def test_a_malicious_plain_pickle_executes_nothing(saved, tmp_path):
    (saved / WEIGHTS).unlink()
    (saved / PICKLE).write_bytes(pickle.dumps({"x": Malice(tmp_path / "executed")}))
    with one_line_error("pytorch_model.bin: "):
        load_model(saved)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.9999])
@pytest.mark.parametrize("is_old", [False, True])
def test_truncated_pickles(is_old, share, saved):
    as_pickle(saved, _use_new_zipfile_serialization=not is_old)
    whole = (saved / PICKLE).read_bytes()
    (saved / PICKLE).write_bytes(whole[: max(1, int(share * len(whole)))])
    with one_line_error("pytorch_model.bin: corrupt or not a file of PyTorch weights"):
        load_model(saved)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"no weights at all\n" * 50, "corrupt or not a file of PyTorch weights"),
        (bytes(64), "corrupt or not a file of PyTorch weights"),
        (b"PK\x03\x04" + bytes(500), "corrupt or not a file of PyTorch weights"),
        (b"", "pytorch_model.bin is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
            "only the pointer of Git LFS, not the weights",
        ),
    ],
)
def test_foreign_files_under_that_name(content, match, saved):
    (saved / WEIGHTS).unlink()
    (saved / PICKLE).write_bytes(content)
    with one_line_error(match):
        load_model(saved)


@pytest.mark.parametrize("value", [[torch.ones(2)], torch.ones(2), {"state_dict": {"a": torch.ones(2)}}, {"step": 3}])
def test_a_pickle_of_something_else(value, saved):
    (saved / WEIGHTS).unlink()
    torch.save(value, saved / PICKLE)
    with one_line_error(
        "pytorch_model.bin: not tensors by name, as a model's state_dict is; save the state_dict alone"
    ):
        load_model(saved)


@pytest.mark.parametrize("name", [WEIGHTS, PICKLE])
def test_broken_shards(name, saved):
    shards = in_shards(saved, name)
    index = saved / f"{name}.index.json"
    written = json.loads(index.read_text())

    def change(**shards_of):
        index.write_text(json.dumps({"weight_map": written["weight_map"] | shards_of}))

    change(**{"bert.pooler.dense.bias": "../model.safetensors"})
    with one_line_error(r"index.json: '../model.safetensors' is not the name of a shard beside it"):
        load_model(saved)
    change(**{"bert.more.bias": shards[0]})
    with one_line_error(f"index.json: bert.more.bias should be in {shards[0]}, but is not; download it again"):
        load_model(saved)
    index.write_text(json.dumps(written))
    (saved / shards[1]).rename(saved / "aside")
    with one_line_error(f"{shards[1]}: no such file, but {name}.index.json names it"):
        load_model(saved)
    (saved / shards[1]).write_bytes((saved / shards[0]).read_bytes())
    with one_line_error("lies in two shards; download the model again|but is not; download it again"):
        load_model(saved)
    for content in ("[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', '{"weight_map": ["a"]}'):
        index.write_text(content)
        with one_line_error(r"index.json: not an index of weights \(no file names under 'weight_map'\)"):
            load_model(saved)


def test_weights_of_another_library(saved):
    (saved / WEIGHTS).rename(saved / "tf_model.h5")
    with one_line_error("no such file, nor pytorch_model.bin, nor shards of either; tf_model.h5 is not read: save it"):
        load_model(saved)


def test_untied_by_the_configuration(saved):
    values = json.loads((saved / CONFIG).read_text()) | {"tie_word_embeddings": False}
    (saved / CONFIG).write_text(json.dumps(values))
    with one_line_error("no cls.predictions.decoder.weight in it, but config.json says tie_word_embeddings=false"):
        load_model(saved)
    tensors = load_file(saved / WEIGHTS)
    copy = tensors["bert.embeddings.word_embeddings.weight"].clone()
    save_file(tensors | {"cls.predictions.decoder.weight": copy}, saved / WEIGHTS)
    assert_opens_whole(saved, wide_model())
    save_file(tensors | {"cls.predictions.decoder.weight": copy + 1}, saved / WEIGHTS)
    with one_line_error("cls.predictions.decoder.weight is not a copy of the word embeddings or of the bias"):
        load_model(saved)


def test_labels_by_their_number(tmp_path):
    """Files of 2019 name no classes, only how many there are."""
    save_model(wide_model("BertForTokenClassification"), tmp_path)
    values = json.loads((tmp_path / CONFIG).read_text())
    assert values.pop("id2label") == {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    (tmp_path / CONFIG).write_text(json.dumps(values | {"num_labels": 3}))
    assert load_model(tmp_path)[0].num_labels == 3


@pytest.mark.parametrize(
    "kind", ["BertForSequenceClassification", "BertForTokenClassification", "BertForMultipleChoice"]
)
@pytest.mark.parametrize(("classifier_dropout", "expected"), [(None, 0.2), (0.0, 0.0), (0.4, 0.4)])
def test_dropout_of_a_head(kind, classifier_dropout, expected, tmp_path):
    """As theirs: its own, or that of the layers."""
    changes = {"hidden_dropout_prob": 0.2, "classifier_dropout": classifier_dropout}
    theirs = getattr(transformers, kind)(transformers.BertConfig(**TINY, **changes))
    theirs.save_pretrained(tmp_path)
    assert theirs.dropout.p == expected
    model, _ = load_model(tmp_path)
    assert model.heads[HEAD_SETS[kind][0]].dropout.p == expected
    save_model(model, tmp_path)
    assert json.loads((tmp_path / CONFIG).read_text())["classifier_dropout"] == classifier_dropout


def test_a_mapped_model_does_not_write_to_its_file(saved):
    """Training changes the weights in memory alone, and saving over the file it is mapped from is safe."""
    model, _ = load_model(saved)
    before = (saved / WEIGHTS).read_bytes()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert (saved / WEIGHTS).read_bytes() == before
    save_model(model, saved)
    again, _ = load_model(saved)
    assert_same_weights(again, model)
    save_model(wide_model(seed=5), saved)  # replaced by rename: what is mapped stays what it was
    assert_same_weights(again, model)


def test_a_run_that_saves_meanwhile(saved, monkeypatch):
    """All weights are of one step, though the file is opened twice."""
    whole, calls = WeightFiles.open, []

    def replaced_before_the_second(files):
        calls.append(files)
        if len(calls) == 2:
            save_model(wide_model(seed=5), saved)
        return whole(files)

    monkeypatch.setattr(WeightFiles, "open", replaced_before_the_second)
    assert_opens_whole(saved, wide_model(seed=5))
    assert len(calls) == 4


def test_labels_of_a_run_that_saves_meanwhile(tmp_path, monkeypatch):
    """Opened once more, an output layer for classes of other names is not taken over either."""
    save_model(wide_model("BertForSequenceClassification"), tmp_path, labels=("a", "b", "c"))
    stamps = iter([[(1, 1)], [(2, 2)], [(2, 2)], [(2, 2)]])
    monkeypatch.setattr(WeightFiles, "stamp", lambda files: next(stamps))
    _, report = load_model(tmp_path, ("classification",), 3, labels=("x", "y", "z"))
    assert report.new == [f"heads.classification.classifier.{end}" for end in ("weight", "bias")]
    assert next(stamps, None) is None


def test_only_what_is_stacked_is_copied(saved):
    """One map of the file stays, and all tensors that are the file's lie in it."""
    model, _ = load_model(saved)
    rows = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(saved / WEIGHTS) in line]
    assert len(rows) == 1
    first, last = (int(end, 16) for end in rows[0][0].split("-"))
    for name, tensor in model.state_dict().items():
        assert (first <= tensor.data_ptr() < last) is ("qkv" not in name), name


@pytest.mark.parametrize("kind", HEAD_SETS)
def test_a_new_head_is_drawn_as_if_everything_were(kind, saved):
    """What the file has does not matter: a head drawn beside it is the one of a model that is drawn whole."""
    drawn = Model(tiny_config(), HEAD_SETS[kind], NUM_LABELS, seed=7).state_dict()
    model, report = load_model(saved, HEAD_SETS[kind], NUM_LABELS, seed=7)
    state = model.state_dict()
    assert bool(report.new) is ("BertFor" in kind and kind not in PRETRAINED)
    assert all(torch.equal(state[name], drawn[name]) for name in report.new)
    (saved / CONFIG).unlink()
    save_model(wide_model("BertModel"), saved)
    model, report = load_model(saved, HEAD_SETS[kind], NUM_LABELS, seed=7)
    state = model.state_dict()
    assert report.new == [name for name in drawn if name.startswith("heads.")]
    assert all(torch.equal(state[name], drawn[name]) for name in report.new)


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_a_head_of_another_kind_is_drawn(kind, tmp_path):
    """A classifier of five classes, a reader's of two places and a scorer's of one choice have one name in the file."""
    heads = ["classification", "token_classification", "multiple_choice", "span"]
    config = shape_config("L1-H64", vocab_size=100, model_type=kind)
    for saved in heads:
        save_model(draw_wide(Model(config, (saved,), NUM_LABELS), seed=1), tmp_path / saved)
        for wanted in heads:
            model, report = load_model(tmp_path / saved, (wanted,), 3 if wanted != saved else NUM_LABELS, seed=7)
            new = f"heads.{wanted}.classifier.weight" in report.new
            assert new is (wanted != saved), (saved, wanted)
            assert model.encoder.embeddings.word.weight.std() > 0
