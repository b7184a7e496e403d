"""The same weights give the same logits in ``transformers``, in both directions through the disk, for every head."""

import pytest
import torch
import transformers
from tiny_bert import HEAD_SETS, NUM_LABELS, TINY, draw_wide, padded_batch, tiny_config

from dokkai.model.checkpoint import load_model, save_model
from dokkai.model.config import ACTIVATIONS
from dokkai.model.heads import Model

transformers.utils.logging.disable_progress_bar()
EXACT = {"rtol": 1e-8, "atol": 1e-8}
SEEDS = range(6)
LABELLED = ("BertForSequenceClassification", "BertForTokenClassification")


def their_model(kind, seed, attention="sdpa", **changes):
    labels = NUM_LABELS if kind in LABELLED else 2  # their span head has num_labels columns too
    config = transformers.BertConfig(**TINY | {"num_labels": labels} | changes)
    config._attn_implementation = attention
    return draw_wide(getattr(transformers, kind)(config), seed)


def our_model(kind, seed, **changes):
    return draw_wide(Model(tiny_config(**changes), HEAD_SETS[kind], NUM_LABELS), seed)


def open_theirs(kind, directory, attention="sdpa", **options):
    """Their model from our directory, in which nothing may be missing and nothing too much."""
    if kind == "BertModel":
        options["add_pooling_layer"] = False  # the pooler belongs to the heads that use it; a bare encoder has none
    model, info = getattr(transformers, kind).from_pretrained(
        directory, output_loading_info=True, attn_implementation=attention, local_files_only=True, **options
    )
    assert not any(info.values()), info
    return model.eval()


def run_theirs(model, batch):
    """Their logits under our names; ``encoder`` for the last hidden states."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "masked_positions"}
    if isinstance(model, transformers.BertForMultipleChoice):  # (questions, choices, length): here all of one question
        inputs = {name: tensor[None] for name, tensor in inputs.items()}
    with torch.inference_mode():
        out = model(**inputs)
    if isinstance(model, transformers.BertModel):
        return {"encoder": out.last_hidden_state}
    if isinstance(model, transformers.BertForQuestionAnswering):
        return {"span": torch.stack([out.start_logits, out.end_logits], -1)}
    if isinstance(model, transformers.BertForNextSentencePrediction):
        return {"next_sentence": out.logits}
    if isinstance(model, transformers.BertForTokenClassification):
        return {"token_classification": out.logits}
    if isinstance(model, transformers.BertForMultipleChoice):
        return {"multiple_choice": out.logits.flatten()}
    if isinstance(model, transformers.BertForSequenceClassification):
        return {"classification": out.logits}
    words = out.prediction_logits if isinstance(model, transformers.BertForPreTraining) else out.logits
    logits = {"masked_lm": words.flatten(0, 1)[batch["masked_positions"]]}
    if isinstance(model, transformers.BertForPreTraining):
        logits["next_sentence"] = out.seq_relationship_logits
    return logits


def run_ours(model, batch):
    with torch.inference_mode():
        if not model.heads:
            return {"encoder": model.encoder(batch["input_ids"], batch["token_type_ids"], batch.get("attention_mask"))}
        return model(batch)


def assert_same(ours, theirs, **tolerance):
    assert set(ours) == set(theirs)
    for name in ours:
        assert ours[name].std() > 0.1, f"{name}: too flat to tell anything"
        torch.testing.assert_close(ours[name], theirs[name], **tolerance)


@pytest.mark.parametrize("kind", HEAD_SETS)
def test_their_directory_opens_here(kind, tmp_path):
    theirs = their_model(kind, 1)
    theirs.save_pretrained(tmp_path)
    ours, report = load_model(tmp_path)
    assert tuple(ours.heads) == HEAD_SETS[kind]
    assert report.new == []
    assert report.unused == (["bert.pooler.dense.bias", "bert.pooler.dense.weight"] if kind == "BertModel" else [])
    batch = padded_batch(1)
    assert_same(run_ours(ours.double().eval(), batch), run_theirs(theirs.double(), batch), **EXACT)


@pytest.mark.parametrize("kind", HEAD_SETS)
def test_our_directory_opens_there(kind, tmp_path):
    ours = our_model(kind, 2)
    save_model(ours, tmp_path)
    theirs = open_theirs(kind, tmp_path)
    batch = padded_batch(2)
    assert theirs.dtype == torch.float32
    assert_same(run_ours(ours.double(), batch), run_theirs(theirs.double(), batch), **EXACT)


@pytest.mark.parametrize("hidden_act", [name for name in ACTIVATIONS if name != "gelu"])
@pytest.mark.parametrize("ours_first", [True, False])
def test_activations(hidden_act, ours_first, tmp_path):
    kind = "BertForPreTraining"
    if ours_first:
        ours = our_model(kind, 3, hidden_act=hidden_act)
        save_model(ours, tmp_path)
        theirs = open_theirs(kind, tmp_path)
    else:
        theirs = their_model(kind, 3, hidden_act=hidden_act)
        theirs.save_pretrained(tmp_path)
        ours, _ = load_model(tmp_path)
    batch = padded_batch(3)
    assert_same(run_ours(ours.double().eval(), batch), run_theirs(theirs.double(), batch), **EXACT)


def test_other_numbers_of_the_configuration_count(tmp_path):
    """Not the defaults: head count, epsilon, number of token types, layers."""
    changes = {"num_attention_heads": 1, "layer_norm_eps": 1e-3, "type_vocab_size": 5, "num_hidden_layers": 3}
    theirs = their_model("BertForPreTraining", 4, **changes)
    theirs.save_pretrained(tmp_path)
    ours, _ = load_model(tmp_path)
    batch = padded_batch(4)
    batch["token_type_ids"] = batch["token_type_ids"] * 4
    assert_same(run_ours(ours.double().eval(), batch), run_theirs(theirs.double(), batch), **EXACT)


def test_without_a_mask_nothing_is_padding(tmp_path):
    ours = our_model("BertForPreTraining", 5)
    save_model(ours, tmp_path)
    theirs = open_theirs("BertForPreTraining", tmp_path)
    batch = padded_batch(5)
    del batch["attention_mask"]
    assert_same(run_ours(ours.double(), batch), run_theirs(theirs.double(), batch), **EXACT)


def test_padding_changes_nothing():
    """A row alone, without padding and without a mask, has the states it has in the batch."""
    ours, batch = our_model("BertModel", 6).double(), padded_batch(6)
    states = run_ours(ours, batch)["encoder"]
    for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        alone = {name: batch[name][row : row + 1, :length] for name in ("input_ids", "token_type_ids")}
        torch.testing.assert_close(run_ours(ours, alone)["encoder"], states[row : row + 1, :length], **EXACT)


@pytest.mark.parametrize("num_hidden_layers", [1, 3])
def test_states_of_all_layers(num_hidden_layers, tmp_path):
    theirs = their_model("BertModel", 7, num_hidden_layers=num_hidden_layers)
    theirs.save_pretrained(tmp_path)
    ours, _ = load_model(tmp_path)
    ours, theirs, batch = ours.double().eval(), theirs.double(), padded_batch(7)
    del batch["masked_positions"]
    with torch.inference_mode():
        states = list(ours.encoder.states(**batch))
        expected = theirs(**batch, output_hidden_states=True).hidden_states
        last = ours.encoder(**batch)
    assert len(states) == len(expected) == num_hidden_layers + 1
    for state, other in zip(states, expected, strict=True):
        torch.testing.assert_close(state, other, **EXACT)
    assert torch.equal(last, states[-1])


def differences(kind, directory, hidden_act):
    """Largest difference in float32 over the seeds: ours to theirs, theirs to theirs, and the size of the logits."""
    between, among, size = 0.0, 0.0, 0.0
    for seed in SEEDS:
        ours = our_model(kind, seed, hidden_act=hidden_act)
        save_model(ours, directory)
        batch = padded_batch(seed)
        logits = run_ours(ours, batch)
        sdpa, eager = (run_theirs(open_theirs(kind, directory, name), batch) for name in ("sdpa", "eager"))
        for name in logits:
            between = max(between, (logits[name] - sdpa[name]).abs().max().item())
            among = max(among, (eager[name] - sdpa[name]).abs().max().item())
            size = max(size, sdpa[name].abs().max().item())
    return between, among, size


@pytest.mark.parametrize("kind", HEAD_SETS)
def test_in_float32_we_differ_no_more_than_they_do_among_themselves(kind, tmp_path):
    between, among, size = differences(kind, tmp_path, "gelu")
    assert among > 0, "eager and sdpa were the same code: this measures nothing"
    assert between <= 3 * max(among, torch.finfo(torch.float32).eps * size)


def test_in_float32_with_tanh_gelu(tmp_path):
    """Theirs spells the tanh formula out, ours calls PyTorch's: only rounding may differ."""
    between, among, size = differences("BertForPreTraining", tmp_path, "gelu_new")
    assert between <= 3 * max(among, torch.finfo(torch.float32).eps * size)


def test_names_of_labels_travel(tmp_path):
    ours = our_model("BertForSequenceClassification", 8)
    save_model(ours, tmp_path, labels=("no", "maybe", "yes"))
    theirs = open_theirs("BertForSequenceClassification", tmp_path)
    assert theirs.config.id2label == {0: "no", 1: "maybe", 2: "yes"}
    assert theirs.config.label2id == {"no": 0, "maybe": 1, "yes": 2}
    assert load_model(tmp_path)[0].num_labels == NUM_LABELS


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_precision_on_disk_is_the_one_named(dtype, tmp_path):
    """Asked for, or the model's own: they open it in the precision in which it lies there."""
    ours = our_model("BertForQuestionAnswering", 9)
    save_model(ours, tmp_path / "asked", dtype)
    save_model(ours.to(dtype), tmp_path / "own")
    for name in ("asked", "own"):
        theirs = open_theirs("BertForQuestionAnswering", tmp_path / name)
        assert theirs.dtype == dtype
        assert torch.equal(theirs.qa_outputs.weight, ours.heads["span"].classifier.weight)
