"""Converting: Google's files to a directory that transformers opens, and back to the same bytes; mistakes."""

import json
import shutil

import pytest
import torch
import transformers

import dokkai
from command_line import dokkai as command
from command_line import fails, make_home, tree, works
from dokkai.model.checkpoint import load_tensors
from released_files import GOLDEN, PREFIXES, PUBLISHED, bits, copy, expected, flip

transformers.utils.logging.disable_progress_bar()
CONFIG, VOCABULARY = "bert_config.json", "vocab.txt"
KINDS = {
    "published": "BertForPreTraining",
    "sharded": "BertForPreTraining",
    "classifier": "BertForSequenceClassification",
    "squad": "BertForQuestionAnswering",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


def convert(name, out, **options):
    if name == "classifier":
        options["base"] = PUBLISHED
    return dokkai.convert(PREFIXES[name], out, **options)


def write_words(folder, words):
    """A vocabulary of 40 with these words in it."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    tokens += [f"[unused{i}]" for i in range(40 - len(tokens))]
    (folder / VOCABULARY).write_text("".join(f"{token}\n" for token in tokens))


# ---- from Google's files


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_transformers_opens_what_was_converted(name, kind, tmp_path):
    """No key missing, none too much, the same logits."""
    made = convert(name, tmp_path / "out")
    assert (made.architecture, made.format, made.dtype, made.vocab_size) == (kind, "dokkai", "float32", 40)
    theirs, info = getattr(transformers, kind).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values()), info
    ours = dokkai.load(tmp_path / "out").model.double().eval()
    texts = ["Ann built the tower.", "Where?"], ["A light was in a river, in the tower.", "In the tower"]
    batch = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")(*texts, padding=True, return_tensors="pt")
    assert batch["input_ids"].shape == (2, 19) and not (batch["input_ids"] == 2).any(), "a word is unknown"
    with torch.inference_mode():
        found = ours(dict(batch) | {"masked_positions": torch.arange(38)})
        wanted = theirs.double().eval()(**batch)
    match kind:
        case "BertForPreTraining":
            pairs = [
                (found["masked_lm"], wanted.prediction_logits.flatten(0, 1)),
                (found["next_sentence"], wanted.seq_relationship_logits),
            ]
        case "BertForSequenceClassification":
            pairs = [(found["classification"], wanted.logits)]
        case _:
            pairs = [(found["span"], torch.stack([wanted.start_logits, wanted.end_logits], -1))]
    for left, right in pairs:
        assert right.std() > 0.1
        torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-8)


def test_tensors_lie_in_the_directory_as_they_lay_in_the_checkpoint(tmp_path):
    convert("published", tmp_path / "out")
    wanted, found = expected("published"), load_tensors(tmp_path / "out" / "model.safetensors")
    assert len(found) == len(wanted)
    layer = "bert.encoder.layer.1.attention.self.key"
    assert bits(found[f"{layer}.weight"]) == bits(wanted["bert/encoder/layer_1/attention/self/key/kernel"].t())
    assert bits(found[f"{layer}.bias"]) == bits(wanted["bert/encoder/layer_1/attention/self/key/bias"])
    assert bits(found["cls.seq_relationship.weight"]) == bits(wanted["cls/seq_relationship/output_weights"])
    assert bits(found["bert.embeddings.LayerNorm.weight"]) == bits(wanted["bert/embeddings/LayerNorm/gamma"])


@pytest.mark.parametrize(("words", "behaviour"), [([], "original"), (["--behaviour", "huggingface"], "huggingface")])
def test_text_is_cut_up_as_by_the_release(words, behaviour, tmp_path):
    made = json.loads(works("convert", PUBLISHED, "--out", tmp_path / "new", *words, "--json"))
    assert made["behaviour"] == dokkai.load_tokenizer(tmp_path / "new").behaviour == behaviour
    works("convert", tmp_path / "new", "--out", tmp_path / "copy")  # which keeps it
    assert dokkai.load_tokenizer(tmp_path / "copy").behaviour == behaviour


def test_labels(tmp_path):
    names = {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    convert("classifier", tmp_path / "plain")
    assert transformers.BertConfig.from_pretrained(tmp_path / "plain").id2label == names
    words = ["--base", PUBLISHED, "--out", tmp_path / "named", "--labels", "no, maybe,yes"]
    works("convert", GOLDEN / "classifier", *words)
    pipeline = dokkai.load(tmp_path / "named")
    assert pipeline.task.labels == ("no", "maybe", "yes")
    prediction = pipeline.predict([pipeline.task.parse({"text": "The tower."}, 0)])[0]
    assert set(prediction["probabilities"]) == {"no", "maybe", "yes"}
    works("convert", tmp_path / "named", "--format", "tensorflow", "--out", tmp_path / "back")  # and they come back
    works("convert", tmp_path / "back", "--out", tmp_path / "again")
    assert transformers.BertConfig.from_pretrained(tmp_path / "again").id2label == {0: "no", 1: "maybe", 2: "yes"}


def test_gelu(tmp_path):
    for gelu, written in ((None, "gelu"), ("erf", "gelu"), ("tanh", "gelu_new")):
        convert("published", tmp_path / str(gelu), gelu=gelu)
        assert json.loads((tmp_path / str(gelu) / "config.json").read_text())["hidden_act"] == written
    batch = {"input_ids": torch.tensor([[3, 9, 8, 4]]), "token_type_ids": torch.zeros(1, 4, dtype=torch.long)}
    batch["masked_positions"] = torch.arange(4)
    with torch.inference_mode():
        erf, tanh = (dokkai.load(tmp_path / gelu).model.eval()(batch)["masked_lm"] for gelu in ("erf", "tanh"))
    assert 1e-6 < (erf - tanh).abs().max() < 1e-2


@pytest.mark.parametrize(
    ("folder", "words", "options", "lowercase", "said"),
    [
        ("uncased_L-2_H-8_A-2", ["Tower"], [], True, "by its name text is lower-cased"),
        ("wwm_uncased_L-2", ["tower"], [], True, "by its name text is lower-cased"),
        ("cased_L-2_H-8_A-2", ["tower"], [], False, "by its name text is not lower-cased"),
        ("multi_cased_L-2", ["tower"], [], False, "by its name text is not lower-cased"),
        ("multilingual_L-2", ["Tower"], [], True, "by its name text is lower-cased"),
        ("chinese_L-2", ["Tower"], [], True, "by its name text is lower-cased"),
        ("out", ["Tower"], [], False, "the vocabulary has upper-case letters, so text is not lower-cased"),
        ("out", ["tower"], [], True, "the vocabulary has no upper-case letters, so text is lower-cased"),
        ("cased_L-2_H-8_A-2", ["tower"], ["--uncased"], True, ""),
        ("uncased_L-2_H-8_A-2", ["tower"], ["--cased"], False, ""),
        ("out", ["tower"], ["--cased"], False, ""),
    ],
)
def test_casing_is_told_or_guessed_and_the_guess_is_said(folder, words, options, lowercase, said, tmp_path):
    at = copy("published", tmp_path / folder).parent
    write_words(at, words)
    done = command("convert", at, "--out", tmp_path / "new", "--json", *options)
    assert done.code == 0 and json.loads(done.out)["lowercase"] is lowercase
    assert said in done.err and len(done.err.splitlines()) == (1 if said else 0)
    assert dokkai.load_tokenizer(tmp_path / "new").lowercase is lowercase
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "new").do_lower_case is lowercase


def test_a_tokenizer_configuration_decides_over_the_name(tmp_path):
    at = copy("published", tmp_path / "uncased_L-2").parent
    (at / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert dokkai.convert(at, tmp_path / "new").lowercase is False


def test_what_is_left_out_is_said(tmp_path):
    done = command("convert", GOLDEN / "squad", "--out", tmp_path / "out", "--uncased")
    assert done.code == 0 and done.err == (
        f"{PREFIXES['squad']}: left out: global_step 77 and 50 tensors of the optimizer (adam_m, adam_v); "
        "unused (in the file only): bert/pooler/dense/bias, bert/pooler/dense/kernel\n"
    )


# ---- back


@pytest.mark.parametrize("name", ["published", "sharded"])
def test_back_to_the_very_bytes(name, tmp_path):
    """What TensorFlow wrote, converted and converted back; of several data files one becomes."""
    works("convert", PREFIXES[name], "--out", tmp_path / "here")
    works("convert", tmp_path / "here", "--format", "tensorflow", "--out", tmp_path / "back")
    assert (tmp_path / "back" / CONFIG).read_bytes() == (PREFIXES[name].parent / CONFIG).read_bytes()
    assert (tmp_path / "back" / VOCABULARY).read_bytes() == (PREFIXES[name].parent / VOCABULARY).read_bytes()
    files = tree(tmp_path / "back")
    if name == "published":
        for path in PUBLISHED.glob("bert_model.ckpt.*"):
            assert files[str(tmp_path / "back" / path.name)] == path.read_bytes()
    works("convert", tmp_path / "back", "--out", tmp_path / "again")
    assert list(tree(tmp_path / "again").values()) == list(tree(tmp_path / "here").values()) != []


def test_a_run_of_ours_to_tensorflow_and_back(home, tmp_path):
    """Casing travels in tokenizer_config.json, which lies beside."""
    for run in ("encoder", "reader", "sorter"):
        made = dokkai.convert(home / run, tmp_path / run / "tf", format="tensorflow")
        assert made.format == "tensorflow" and (tmp_path / run / "tf" / "checkpoint").exists()
        again = dokkai.convert(tmp_path / run / "tf", tmp_path / run / "again")
        assert again.architecture == made.architecture
        for file in ("model.safetensors", "vocab.txt", "tokenizer.json"):
            assert (tmp_path / run / "again" / file).read_bytes() == (home / run / file).read_bytes()
        assert (
            dokkai.load_tokenizer(tmp_path / run / "again").fingerprint == dokkai.load_tokenizer(home / run).fingerprint
        )


# ---- from one directory to another


def test_precision(home, tmp_path):
    works("convert", home / "reader", "--out", tmp_path / "half", "--dtype", "bfloat16")
    size, half = ((at / "model.safetensors").stat().st_size for at in (home / "reader", tmp_path / "half"))
    assert half < 0.55 * size
    facts = json.loads(works("convert", tmp_path / "half", "--out", tmp_path / "kept", "--json"))
    assert facts["dtype"] == "bfloat16", "unset: as in the source"
    assert tree(tmp_path / "kept") == {
        path.replace("half", "kept"): content for path, content in tree(tmp_path / "half").items()
    }
    facts = json.loads(works("convert", tmp_path / "half", "--out", tmp_path / "whole", "--dtype", "float32", "--json"))
    assert facts["dtype"] == "float32"
    wanted = load_tensors(home / "reader" / "model.safetensors")
    for name, tensor in load_tensors(tmp_path / "whole" / "model.safetensors").items():
        assert torch.equal(tensor, wanted[name].bfloat16().float())
    facts = json.loads(
        works("convert", tmp_path / "half", "--format", "tensorflow", "--out", tmp_path / "tf", "--json")
    )
    assert facts["dtype"] == "float32"


def test_eight_bits_and_back(home, tmp_path):
    """What opens in dokkai alone is opened by ``transformers`` after another conversion."""
    works("convert", home / "reader", "--out", tmp_path / "small", "--dtype", "int8")
    size, small = ((at / "model.safetensors").stat().st_size for at in (home / "reader", tmp_path / "small"))
    assert small < 0.4 * size
    assert json.loads(works("convert", tmp_path / "small", "--out", tmp_path / "kept", "--json"))["dtype"] == "int8"
    works("convert", tmp_path / "small", "--out", tmp_path / "whole", "--dtype", "float32")
    wanted, expanded = dokkai.load(tmp_path / "small"), dokkai.load(tmp_path / "whole")
    assert expanded.task.settings == wanted.task.settings
    for name, tensor in wanted.model.state_dict().items():
        assert torch.equal(tensor, expanded.model.state_dict()[name])
    assert transformers.AutoModelForQuestionAnswering.from_pretrained(tmp_path / "whole")


def test_a_run_keeps_its_task(home, tmp_path):
    dokkai.convert(home / "sorter", tmp_path / "sorter", dtype="bfloat16")
    before, after = dokkai.load(home / "sorter"), dokkai.load(tmp_path / "sorter")
    assert after.task.settings == before.task.settings and after.task.labels == before.task.labels
    assert sorted(path.name for path in (tmp_path / "sorter").iterdir()) == sorted(
        ["config.json", "model.safetensors", "task.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    )


def test_a_directory_of_transformers(tmp_path):
    config = json.loads((PUBLISHED / CONFIG).read_text())
    theirs = transformers.BertForSequenceClassification(
        transformers.BertConfig(**config, id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1})
    )
    theirs.save_pretrained(tmp_path / "theirs")
    shutil.copy(PUBLISHED / VOCABULARY, tmp_path / "theirs")
    done = command("convert", tmp_path / "theirs", "--out", tmp_path / "ours")
    assert done.code == 0
    again = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "ours")
    assert again.config.id2label == {0: "no", 1: "yes"}
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in again.state_dict().items())


def test_a_directory_with_both_says_which(tmp_path):
    dokkai.convert(PUBLISHED, tmp_path / "both")
    for path in PUBLISHED.glob("bert_model.ckpt.*"):
        shutil.copy(path, tmp_path / "both")
    shutil.copy(PUBLISHED / CONFIG, tmp_path / "both")
    done = command("convert", tmp_path / "both", "--out", tmp_path / "a")
    assert "there is a checkpoint of TensorFlow in it too; give its prefix to convert that one" in done.err
    works("convert", tmp_path / "both" / "bert_model.ckpt.index", "--out", tmp_path / "b", "--gelu", "tanh")
    assert "gelu_new" in (tmp_path / "b" / "config.json").read_text()


# ---- mistakes


def without(*names):
    def change(folder):
        for name in names:
            (folder / name).unlink()

    return change


def replaced(name, content):
    return lambda folder: (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (without(CONFIG), [], "bert_config.json: no such file; give the folder that has it with --base DIR"),
        (without(VOCABULARY), [], "vocab.txt: no such file; give the folder that has it with --base DIR"),
        (without("bert_model.ckpt.index"), [], "no checkpoint in it (no .index file)"),
        (without("bert_model.ckpt.data-00000-of-00001"), [], "data-00000-of-00001: no such file; this "),
        (replaced("bert_model.ckpt.index", "a note"), [], "bert_model.ckpt.index: not the index of a TensorFlow"),
        (lambda folder: flip(folder / "bert_model.ckpt.index", 99), [], "wrong checksum of the block at byte 0"),
        (lambda folder: flip(folder / "bert_model.ckpt.data-00000-of-00001", 99), [], "wrong checksum of bert/"),
        (lambda folder: write_words(folder, "abcdefghijklmnopqrstuvwxyz0123456789"),
         ["--uncased"], "vocab.txt: the vocabulary has 41 entries, the model 40 embeddings: they do not"),
        (replaced(CONFIG, "{"), [], "bert_config.json: the model configuration is not JSON"),
        (replaced(CONFIG, "{}"), [], "bert_config.json: no number under 'vocab_size'"),
        (None, ["--base", "nowhere"], "nowhere: no such directory; it should hold bert_config.json and vocab.txt"),
        (None, ["--gelu", "than"], "unknown gelu 'than'; did you mean 'tanh'?"),
        (None, ["--labels", "yes,no"], "there is no classification in it, so it has no labels"),
        (None, ["--format", "tensrflow"], "unknown format 'tensrflow'; did you mean 'tensorflow'?"),
        (None, ["--dtype", "float23"], "unknown dtype 'float23'; did you mean 'float32'?"),
        (None, ["--format", "tensorflow", "--dtype", "bfloat16"], "the code of 2018 reads float32 only, not bfloat16"),
    ],
)  # fmt: skip
def test_one_line_and_nothing_written(change, words, message, tmp_path):
    source = copy("published", tmp_path / "source").parent
    if change:
        change(source)
    before = tree(tmp_path)
    assert message in fails("convert", source, "--out", tmp_path / "out", *words)
    assert tree(tmp_path) == before and not (tmp_path / "out").exists()


def test_a_wrong_number_of_labels(tmp_path):
    line = fails("convert", GOLDEN / "classifier", "--base", PUBLISHED, "--out", tmp_path / "out", "--labels", "yes,no")
    assert "model.ckpt-1234: 3 labels, not 2 (yes, no)" in line


def test_a_fine_tuned_folder_has_no_configuration(tmp_path):
    assert "classifier/bert_config.json: no such file; give the folder" in fails(
        "convert", GOLDEN / "classifier", "--out", tmp_path / "out"
    )


def test_no_source(tmp_path):
    assert "nowhere: no such model directory" in fails("convert", tmp_path / "nowhere", "--out", tmp_path / "out")


def test_what_is_there_stays(home, tmp_path):
    (tmp_path / "out").mkdir()
    works("convert", PUBLISHED, "--out", tmp_path / "out")  # an empty directory is as good as none
    before = tree(tmp_path)
    assert "out is there already; give the name of a new directory" in fails(
        "convert", home / "reader", "--out", tmp_path / "out"
    )
    assert tree(tmp_path) == before


def test_options_that_a_directory_does_not_need(home, tmp_path):
    for words in (
        ["--cased"],
        ["--labels", "a"],
        ["--base", PUBLISHED],
        ["--gelu", "erf"],
        ["--behaviour", "original"],
    ):
        line = fails("convert", home / "reader", "--out", tmp_path / "out", *words)
        assert "is no checkpoint of TensorFlow: it says itself what base, labels, lowercase" in line


def test_a_model_that_is_not_whole(home, tmp_path):
    shutil.copytree(home / "encoder", tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architectures": ["BertForQuestionAnswering"]}))
    line = fails("convert", tmp_path / "model", "--out", tmp_path / "out")
    assert "new (not in the file): heads.span.classifier.weight" in line and "cannot be converted" in line
