"""The modern face from pre-training to fine-tuning, and what ``transformers`` makes of its directories."""

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForQuestionAnswering, AutoTokenizer

import dokkai
from dokkai.errors import UserError
from dokkai.model.checkpoint import load_model, save_model
from dokkai.model.config import ModelConfig
from dokkai.model.heads import Model

KIND = ["model.model_type=modernbert", "model.sinusoidal_positions=false"]
MODERN = [*KIND, "task.next_sentence=false", "model.frequency_bias=true", "model.shape=L3-H64"]
TEXT = "The lighthouse was built in [MASK] years."


@pytest.fixture(scope="module")
def run(prepared, tmp_path_factory):
    out = tmp_path_factory.mktemp("modern") / "run"
    dokkai.pretrain("demo-pretrain", prepared, out, [*MODERN, "train.steps=2"], device="cpu")
    return out


def test_transformers_opens_it_with_its_tokenizer(run):
    """The same likeliest words with the same probabilities."""
    inputs = AutoTokenizer.from_pretrained(run)(TEXT, return_tensors="pt")
    inputs.pop("token_type_ids", None)  # their ModernBERT does not take them
    with torch.inference_mode():
        logits = AutoModelForMaskedLM.from_pretrained(run).eval()(**inputs).logits
    pipeline = dokkai.load(run, "cpu", "fp32")
    place = inputs["input_ids"][0].tolist().index(pipeline.tokenizer.mask_id)
    wanted = logits[0, place].softmax(-1).topk(5)
    (found,) = pipeline.fill_mask(TEXT)
    assert [word for word, _ in found] == [pipeline.tokenizer.token(int(i)) for i in wanted.indices]
    torch.testing.assert_close(torch.tensor([share for _, share in found]), wanted.values)


def test_it_is_fine_tuned_like_any_other(run, examples, tmp_path):
    out = tmp_path / "reader"
    dokkai.finetune("demo-questions", run, examples / "train.json", out, None, ["train.steps=1"], device="cpu")
    theirs = AutoModelForQuestionAnswering.from_pretrained(out)
    assert type(theirs).__name__ == "ModernBertForQuestionAnswering"
    answer = dokkai.load(out, "cpu").ask("Who built it?", "John Smeaton built the lighthouse.")
    assert 0 <= answer.confidence <= 1


def test_pairs_are_not_for_it(prepared, tmp_path):
    with pytest.raises(UserError, match=r"no next-sentence task; set task\.next_sentence=false"):
        dokkai.pretrain("demo-pretrain", prepared, tmp_path / "run", KIND, device="cpu")


def test_a_run_goes_on_from_weights_of_its_own_kind(run, prepared, tmp_path):
    overrides = ["task.next_sentence=false", "model.sinusoidal_positions=false", "train.steps=1"]
    more = dokkai.pretrain("demo-pretrain", prepared, tmp_path / "more", overrides, init=run, device="cpu")
    assert more.model.config.is_modern
    dokkai.pretrain("demo-pretrain", prepared, tmp_path / "old", [*overrides, "model.shape=tiny"], device="cpu")
    with pytest.raises(UserError, match=r"old: is a bert, but model.model_type is modernbert; take another recipe"):
        dokkai.pretrain("demo-pretrain", prepared, tmp_path / "new", MODERN, init=tmp_path / "old", device="cpu")
    with pytest.raises(UserError, match=r"old: is a bert, but model.model_type is modernbert; take another recipe"):
        dokkai.pretrain("modern-mini", prepared, tmp_path / "new", init=tmp_path / "old", device="cpu")


def test_fine_tuning_keeps_the_kind_of_its_model(run, examples, tmp_path):
    with pytest.raises(UserError, match=r"model.model_type cannot be set here: it is that of the model under --from"):
        dokkai.finetune("demo-questions", run, examples / "train.json", tmp_path / "out", None, KIND[:1])


def test_labels_can_be_read_from_the_mean_of_the_tokens(run, examples, tmp_path):
    """A setting of the fine-tuning, kept with the model; BERT's own head has its pooler on [CLS]."""
    words = ["train.steps=1", "task.max_length=32", "model.classifier_pooling=mean"]
    table = examples / "topics-train.csv"
    dokkai.finetune("my-classes", run, table, tmp_path / "mean", None, words, device="cpu")
    assert dokkai.load(run).model.config.classifier_pooling == "cls"
    assert dokkai.load(tmp_path / "mean").model.heads["classification"].takes_mean
    old = tmp_path / "old"
    config = ModelConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    save_model(Model(config, ("masked_lm",)), old)
    line = r"classifier_pooling is for model_type 'modernbert'; .*old is a 'bert': leave it out"
    with pytest.raises(UserError, match=line):
        load_model(old, classifier_pooling="mean")
