"""A model in use: saving and opening, asking, filling masks, vectors; and parts that do not belong together."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dokkai.data.rows import Row
from dokkai.data.squad import Question, read_squad
from dokkai.errors import UserError
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.model.sentence_files import write_sentence_files
from dokkai.pipeline import Pipeline, check_length, load, sentence_around
from dokkai.settings import ClassificationSettings, PretrainingSettings, QuestionAnsweringSettings
from dokkai.tasks import create_task
from dokkai.tokenization import save_tokenizer

TASKS = {
    "pretraining": PretrainingSettings(),
    "classification": ClassificationSettings(pair="pair"),
    "question-answering": QuestionAnsweringSettings(max_length=64, stride=16, no_answer=True),
}


def pipeline(kind: str, tokenizer) -> Pipeline:
    """Random weights, drawn wide, so that predictions differ from each other."""
    task = create_task(TASKS[kind], tokenizer, ("no", "yes") if kind == "classification" else ())
    config = shape_config("L2-H64", vocab_size=tokenizer.vocab_size, max_position_embeddings=128, initializer_range=0.3)
    return Pipeline(Model(config, task.heads, seed=5), tokenizer, task, torch.device("cpu"))


def rows() -> list[Row]:
    texts = ["A volcano is a vent.", "Glass is old.", "It rains " * 20, ""]
    return [Row(text, text[::-1], None, str(i), f"line {i + 1}") for i, text in enumerate(texts)]


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return list(read_squad(Path(__file__).parent.parent / "examples" / "dev.json"))[:12]


def test_a_saved_model_predicts_the_same(tokenizer, questions, tmp_path: Path) -> None:
    for kind, examples in (("classification", rows()), ("question-answering", questions)):
        before = pipeline(kind, tokenizer)
        before.save(tmp_path / kind)
        after = load(tmp_path / kind, "cpu", "fp32")
        assert after.task is not None and after.task.kind == kind
        assert after.predict(examples) == before.predict(examples)


def test_predictions_do_not_depend_on_the_batch(tokenizer, questions) -> None:
    reader = pipeline("question-answering", tokenizer)
    together = reader.predict(questions)
    for question, prediction in zip(questions, together, strict=True):
        (alone,) = reader.predict([question])
        assert alone["answer"] == prediction["answer"]
        assert alone["null_odds"] == pytest.approx(prediction["null_odds"], abs=1e-4)


def test_bf16_weights_halve_the_file(tokenizer, tmp_path: Path) -> None:
    reader = pipeline("question-answering", tokenizer)
    reader.save(tmp_path / "full")
    reader.save(tmp_path / "half", torch.bfloat16)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.52 * sizes[0]
    assert next(load(tmp_path / "half", "cpu").model.parameters()).dtype == torch.float32


def test_ask_cuts_the_answer_out_of_the_text(tokenizer) -> None:
    reader = pipeline("question-answering", tokenizer)
    text = "Volcanoes erupt. Dionisio Pulido saw one grow in his field in 1943.\nIt was called Parícutin. " * 12
    answer = reader.ask("Who saw it?", text)
    assert text[answer.start : answer.end] == answer.answer
    assert 0 <= answer.confidence <= 1
    if answer.answer:
        assert answer.sentence[0] <= answer.start < answer.end <= answer.sentence[1]


def test_sentence_around() -> None:
    text = "One here. Two is there. Three!\nFour on a new line."
    begin = text.index("there")
    assert text[slice(*sentence_around(text, (begin, begin + 5)))] == "Two is there."
    begin = text.index("Four")
    assert text[slice(*sentence_around(text, (begin, begin + 4)))] == "Four on a new line."
    across = (text.index("here"), text.index("Two") + 3)
    assert text[slice(*sentence_around(text, across))] == "One here. Two is there."


def test_fill_mask_gives_words_for_each_mask(tokenizer) -> None:
    encoder = pipeline("pretraining", tokenizer)
    masks = encoder.fill_mask("The [MASK] is a [MASK].", top=3)
    assert [len(mask) for mask in masks] == [3, 3]
    for mask in masks:
        values = [value for _, value in mask]
        assert values == sorted(values, reverse=True) and 0 < sum(values) <= 1 + 1e-6
    with pytest.raises(UserError, match=r"no \[MASK\] in the text"):
        encoder.fill_mask("nothing is missing")
    with pytest.raises(UserError, match="no masked-LM head"):
        pipeline("classification", tokenizer).fill_mask("a [MASK]")
    with pytest.raises(UserError, match="not fine-tuned to answer questions"):
        encoder.ask("Who?", "Me.")


def test_embed_does_not_depend_on_the_batch(tokenizer) -> None:
    encoder = pipeline("pretraining", tokenizer)
    texts = ["Glass.", "A longer text about glass and volcanoes.", "", "word " * 300]
    together = encoder.embed(texts)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(encoder.embed([text])[0], vector, atol=1e-4)
    assert encoder.embed(texts[:1], layers=(-1, 0))[0].shape == (128,)
    tokens = encoder.embed(texts[:1], pooling="none")[0]
    np.testing.assert_allclose(tokens.mean(0), together[0], atol=1e-5)
    np.testing.assert_allclose(tokens[0], encoder.embed(texts[:1], pooling="cls")[0], atol=1e-6)
    with pytest.raises(UserError, match="layers go from -3 to 2"):
        encoder.embed(["a"], layers=(7,))


def test_a_directory_of_transformers_can_be_used(tokenizer, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForQuestionAnswering, BertForSequenceClassification

    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    labels = {0: "bad", 1: "good", 2: "so so"}
    for kind, architecture, more in (
        ("qa", BertForQuestionAnswering, {}),
        ("class", BertForSequenceClassification, {"id2label": labels}),
    ):
        architecture(BertConfig(vocab_size=tokenizer.vocab_size, **shape, **more)).save_pretrained(tmp_path / kind)
        save_tokenizer(tokenizer, tmp_path / kind)
    assert isinstance(load(tmp_path / "qa").ask("Who?", "Ann built it in 1900.").answer, str)
    row = load(tmp_path / "class").predict([Row("a text", None, None, "x", "line 1")])[0]
    assert row["id"] == "x" and row["label"] in ("bad", "good", "so so")
    assert sum(row["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("kept", ["tokenizer.json", "vocab.txt"])
def test_a_vocabulary_alone_is_enough(kept, tokenizer, tmp_path: Path) -> None:
    encoder = pipeline("pretraining", tokenizer)
    encoder.save(tmp_path)
    for name in {"tokenizer.json", "vocab.txt", "tokenizer_config.json", "task.json"} - {kept}:
        (tmp_path / name).unlink()
    texts = ["The Lighthouse, in 1759: Über Hügel."]
    np.testing.assert_allclose(load(tmp_path, "cpu", "fp32").embed(texts)[0], encoder.embed(texts)[0], atol=1e-6)


def test_what_is_new_and_unused_is_said_once(tokenizer, tmp_path: Path, capsys) -> None:
    from transformers import BertConfig, BertModel

    shape = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=tokenizer.vocab_size, **shape)).save_pretrained(tmp_path)
    save_tokenizer(tokenizer, tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"architectures": ["BertForQuestionAnswering"]}))
    capsys.readouterr()
    reader = load(tmp_path, "cpu", "fp32")
    reader.embed(["a text"])
    reader.ask("Who?", "Ann.")
    said = capsys.readouterr().err
    assert said.count("new (not in the file): heads.span.classifier.weight, heads.span.classifier.bias") == 1
    assert said.count("unused (in the file only): bert.pooler.dense.bias, bert.pooler.dense.weight") == 1


_SHAPE = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.mark.parametrize(
    ("architecture", "changes", "kind", "record", "keys"),
    [
        (
            "SequenceClassification",
            {},
            "classification",
            {"text": "a"},
            {"text", "label", "probability", "probabilities"},
        ),
        (
            "SequenceClassification",
            {"problem_type": "single_label_classification"},
            "classification",
            {"text": "a"},
            {"text", "label", "probability", "probabilities"},
        ),
        (
            "SequenceClassification",
            {"problem_type": "multi_label_classification"},
            "multi-label",
            {"text": "a"},
            {"text", "labels", "probabilities"},
        ),
        (
            "SequenceClassification",
            {"problem_type": "regression", "id2label": {"0": "x"}},
            "regression",
            {"text": "a"},
            {"text", "value"},
        ),
        ("SequenceClassification", {"id2label": {"0": "LABEL_0"}}, "regression", {"text": "a"}, {"text", "value"}),
        (
            "TokenClassification",
            {"id2label": {"0": "O", "1": "B-X"}},
            "token-classification",
            {"text": "a b"},
            {"text", "tokens", "tags", "probabilities", "entities"},
        ),
        ("TokenClassification", {"id2label": {"0": "DT", "1": "NN"}}, "token-classification", {"text": "a"}, None),
        (
            "MultipleChoice",
            {},
            "multiple-choice",
            {"question": "a", "choices": ["b", "c"]},
            {"question", "label", "choice", "probability", "probabilities"},
        ),
    ],
)
def test_the_task_of_a_directory_of_transformers(
    architecture, changes, kind, record, keys, tokenizer, tmp_path: Path
) -> None:
    import transformers

    config = transformers.BertConfig(vocab_size=tokenizer.vocab_size, **_SHAPE, **changes)
    getattr(transformers, f"BertFor{architecture}")(config).save_pretrained(tmp_path)
    save_tokenizer(tokenizer, tmp_path)
    opened = load(tmp_path, "cpu", "fp32")
    assert opened.task is not None and opened.task.kind == kind
    found = opened.predict([opened.task.parse(record, 0)])[0]
    assert keys is None or set(found) == {"id", *keys}


@pytest.mark.parametrize("problem_type", ["regression", "dancing"])
def test_a_classifier_of_another_kind_has_no_task(problem_type, tokenizer, tmp_path: Path, capsys) -> None:
    """Two numbers at once, and whatever else there may be."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(vocab_size=tokenizer.vocab_size, **_SHAPE)
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    save_tokenizer(tokenizer, tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"problem_type": problem_type}))
    opened = load(tmp_path, "cpu", "fp32")
    assert opened.task is None
    assert f"there is no task for problem_type '{problem_type}' and 2 labels" in capsys.readouterr().err
    assert opened.embed(["a text"])[0].shape == (64,)


def test_a_vocabulary_of_another_size_is_refused(tokenizer, tmp_path: Path) -> None:
    task = create_task(QuestionAnsweringSettings(), tokenizer)
    for rows in (tokenizer.vocab_size - 1, tokenizer.vocab_size + 500):
        model = Model(shape_config("L1-H64", vocab_size=rows), task.heads)
        with pytest.raises(UserError, match="do not belong together"):
            Pipeline(model, tokenizer, task, torch.device("cpu"))


def test_a_swapped_vocabulary_is_refused(tokenizer, tmp_path: Path) -> None:
    pipeline("question-answering", tokenizer).save(tmp_path)
    vocabulary = (tmp_path / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocabulary[100], vocabulary[101] = vocabulary[101], vocabulary[100]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="not the one the model was trained with"):
        load(tmp_path)


def test_a_foreign_task_file_is_refused(tokenizer, tmp_path: Path) -> None:
    pipeline("question-answering", tokenizer).save(tmp_path)
    for content in ([1], {"task": {"kind": "dancing"}}):
        (tmp_path / "task.json").write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"task\.json"):
            load(tmp_path)


@pytest.mark.parametrize("labels", [3, "ab", [1, 2], {"a": 0, "b": 1}])
def test_labels_that_are_no_list_of_words(labels, tokenizer, tmp_path: Path) -> None:
    """A word of so many letters as there are labels was taken for as many labels."""
    pipeline("question-answering", tokenizer).save(tmp_path)
    task = {"kind": "classification", "text": "text"}
    (tmp_path / "task.json").write_text(json.dumps({"task": task, "labels": labels}))
    with pytest.raises(UserError, match=r"task\.json: labels(\.0)? must be a (list|word), not"):
        load(tmp_path)


def test_a_length_of_sentence_transformers_that_is_none(tokenizer, tmp_path: Path) -> None:
    model = Model(pipeline("classification", tokenizer).model.config, ())
    Pipeline(model, tokenizer, None, torch.device("cpu")).save(tmp_path)
    write_sentence_files(tmp_path, "mean", -5, 64)
    with pytest.raises(UserError, match=r"the longest text \(max_seq_length\) must be at least 4, not -5"):
        load(tmp_path)


def test_sequences_longer_than_the_model_are_refused(tokenizer) -> None:
    model = pipeline("question-answering", tokenizer).model
    task = create_task(QuestionAnsweringSettings(max_length=384), tokenizer)
    with pytest.raises(UserError, match=r"task.max_length is 384, but the model has 128 positions"):
        check_length(task, model)
    with pytest.raises(UserError, match=r"task.lengths is 512, but the model has 128"):
        check_length(create_task(PretrainingSettings(lengths=[128, 512], length_shares=[0.9, 0.1]), tokenizer), model)


def test_texts_are_cut_to_a_model_of_odd_length(tokenizer) -> None:
    config = shape_config("L2-H64", vocab_size=tokenizer.vocab_size, max_position_embeddings=40)
    encoder = Pipeline(Model(config, ("masked_lm",)), tokenizer, None, torch.device("cpu"))
    (rows,) = encoder.embed(["one two three " * 30], pooling="none")
    assert rows.shape == (40, 64)
