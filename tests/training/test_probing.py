"""Probing: labels of texts beside scikit-learn by hand, tags of words by the loop, what stays, mistakes."""

import json

import numpy as np
import pytest

import dokkai as package
from command_line import EXAMPLES, dokkai, fails, make_home, tree, works
from dokkai.data.rows import read_rows
from dokkai.errors import UserError
from dokkai.model.checkpoint import load_tensors
from killing import unfinish

TRAIN, DEV = EXAMPLES / "topics-train.csv", EXAMPLES / "topics-dev.csv"
WORDS = {
    "B-LOC": ["Paris", "London", "Rome", "Kyoto"],
    "B-PER": ["John", "Mary", "Smeaton", "Anna"],
    "O": ["in", "saw"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """Forty sentences of tagged words, a word a line."""
    path = tmp_path_factory.mktemp("sentences") / "train.conll"
    rng = np.random.default_rng(0)
    blocks = []
    for _ in range(40):
        tags = rng.choice(list(WORDS), size=rng.integers(2, 9))
        blocks.append("\n".join(f"{rng.choice(WORDS[tag])} {tag}" for tag in tags))
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return path


def classes(home, out, *more):
    words = ["probe", "my-classes", "--from", home / "encoder", "--train", TRAIN, "--dev", DEV, "--out", out]
    return [*words, "task.max_length=64", "train.precision=fp32", *more]


def tags(home, sentences, out, *more):
    words = ["probe", "probe-entities", "--from", home / "encoder", "--train", sentences, "--dev", sentences]
    small = ["task.max_length=48", "task.stride=24", "probe.lstm_size=16", "train.batch_size=8", "train.log_every=1"]
    return [*words, "--out", out, *small, *more]


@pytest.mark.parametrize(
    ("choice", "layers", "is_sum"), [("last", [2], False), ("concat-last-4", [1, 2], False), ("sum-all", [1, 2], True)]
)
def test_labels_of_texts(home, tmp_path, choice, layers, is_sum):
    """Standardized vectors and logistic regression, by hand."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    settings = [f"probe.layers={choice}", "probe.pooling=cls", "probe.penalty=2.0"]
    result = json.loads(works(*classes(home, tmp_path / "run", *settings, "--json")))
    pipeline = package.load(home / "encoder", device="cpu", precision="fp32")
    rows = [read_rows(path) for path in (TRAIN, DEV)]
    x, unseen = (np.stack(pipeline.embed([row.text for row in part], layers, "cls")) for part in rows)
    if is_sum:
        x, unseen = (part.reshape(len(part), 2, -1).sum(1) for part in (x, unseen))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, max_iter=2000))
    model.fit(x, [row.label for row in rows[0]])
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert [line["id"] for line in lines] == [row.id for row in rows[1]]
    found = np.array([[line["probabilities"][label] for label in model.classes_] for line in lines])
    np.testing.assert_allclose(found, model.predict_proba(unseen), atol=2e-3)
    right = np.mean([line["label"] == row.label for line, row in zip(lines, rows[1], strict=True)])
    assert result["accuracy"] == pytest.approx(right)
    assert result["accuracy"] > 1 / 6
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert (record["command"], record["state"], record["settings"]["probe"]["layers"]) == ("probe", "finished", choice)


def test_the_features_are_kept(home, tmp_path):
    first = dokkai(*classes(home, tmp_path / "a", "probe.layers=1,2"))
    second = dokkai(*classes(home, tmp_path / "b"))
    third = dokkai(*classes(home, tmp_path / "c", "--cache", tmp_path / "other"))
    assert [done.code for done in (first, second, third)] == [0, 0, 0]
    assert [done.err.count("inputs go to") for done in (first, second, third)] == [2, 0, 2]
    assert f"come from {tmp_path / 'features'}" in second.err
    assert len(list((tmp_path / "features").iterdir())) == len(list((tmp_path / "other").iterdir())) == 2
    assert "this run is finished already" in dokkai(*classes(home, tmp_path / "b")).err
    assert (
        "holds a run with other settings (probe.layers was last, is 1)"
        in fails(*classes(home, tmp_path / "b", "probe.layers=1")).splitlines()[-1]
    )


def test_random_weights_are_another_encoder(home, tmp_path):
    works(*classes(home, tmp_path / "run"))
    works(*classes(home, tmp_path / "random", "--random-weights"))
    assert len(list((tmp_path / "features").iterdir())) == 4
    lines = [(tmp_path / name / "predictions.jsonl").read_text(encoding="utf-8") for name in ("run", "random")]
    assert lines[0] != lines[1]


@pytest.mark.parametrize("choice", ["last", "weighted-all", "concat-last-4"])
def test_tags_of_words(home, sentences, tmp_path, choice):
    """It learns its training sentences; the encoder's folder stays as it is."""
    before = tree(home / "encoder")
    settings = [f"probe.layers={choice}", "train.epochs=12", "train.learning_rate=1e-2"]
    done = dokkai(*tags(home, sentences, tmp_path / "run", *settings, "--json"))
    assert done.code == 0, done.err
    assert json.loads(done.out)["f1"] > 0.95
    assert ("weights: layer 1 0." in done.err) is (choice == "weighted-all")
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == 40 and set(lines[0]) >= {"tokens", "tags"}
    assert tree(home / "encoder") == before


def test_a_stopped_run_goes_on(home, sentences, tmp_path):
    words = tags(home, sentences, tmp_path / "run", "probe.layers=weighted-all", "train.steps=6", "train.save_every=3")
    works(*words)
    run = tmp_path / "run"
    whole = load_tensors(run / "model.safetensors")
    unfinish(run, 6)
    done = dokkai(*words)
    assert done.code == 0 and "going on from step 3" in done.err
    again = load_tensors(run / "model.safetensors")
    assert again.keys() == whole.keys() and {"mix.weights", "mix.scale", "classifier.weight"} <= whole.keys()
    assert all((again[name] == whole[name]).all() for name in whole)


def test_the_examples_are_looked_at_first(home, tmp_path):
    """Order of the labels, their balance, what stands on both sides, and few examples: before any feature."""
    train, dev = tmp_path / "train.csv", tmp_path / "dev.csv"
    train.write_text("text,label\n" + "a bee,animal\nan owl,animal\n" * 4 + "an oak,plant\n", encoding="utf-8")
    dev.write_text("text,label\nan owl,animal\na fir,plant\n", encoding="utf-8")
    words = ["probe", "my-classes", "--from", home / "encoder", "--train", train, "--dev", dev]
    done = dokkai(*words, "--out", tmp_path / "run", "task.max_length=16", "train.precision=fp32")
    assert done.code == 0, done.err
    lines = done.err.splitlines()
    for start in (
        "labels, in the order of the logits: animal, plant",
        "the classes are uneven: 8 of 9 examples are 'animal', 1 'plant'",
        "1 of 2 examples to measure on are among those to train on too (line 2)",
        "only 2 examples to measure on",
    ):
        (place,) = (number for number, line in enumerate(lines) if line.startswith(start))
        assert place < next(number for number, line in enumerate(lines) if "inputs go to" in line)


def test_one_label_to_train_on(home, tmp_path):
    train, out = tmp_path / "train.csv", tmp_path / "run"
    train.write_text("text,label\n" + "a bee,animal\n" * 4, encoding="utf-8")
    words = ["probe", "my-classes", "--from", home / "encoder", "--train", train, "--dev", train, "--out", out]
    done = dokkai(*words, 'task.labels=["animal", "plant"]', "task.max_length=16")
    message = f"dokkai: {train}: only one label ('animal') in it; a classification needs two"
    assert (done.code, done.err.splitlines()[-1]) == (2, message)
    assert not out.exists()


@pytest.mark.parametrize("kind", ["classes", "tags"])
def test_its_directory_is_no_model(kind, home, sentences, tmp_path):
    out = tmp_path / "run"
    words = classes(home, out) if kind == "classes" else tags(home, sentences, out, "train.steps=1")
    works(*words)
    message = (
        f"{out}: the run of a probe holds no model; give the encoder that it read, or make a model with "
        "`dokkai finetune RECIPE --from ENCODER --train FILE --out RUN train.frozen_layers=N --cache DIR`"
    )
    assert fails("predict", out, stdin='{"text": "a"}\n') == message
    assert fails("evaluate", out, DEV) == fails("embed", out, stdin="a\n") == message
    assert fails("finetune", "my-classes", "--from", out, "--train", TRAIN, "--out", tmp_path / "model") == message
    with pytest.raises(UserError, match="the run of a probe holds no model"):
        package.load(out)


def test_mistakes(home, tmp_path):
    out = tmp_path / "run"
    line = fails(*classes(home, out, "probe.layers=weighted-all")).splitlines()[-1]
    assert line == "probe.layers=weighted-all learns its weights with a tagger; take sum or concat here"
    assert "unknown probe.layers 'lats'; did you mean 'last'?" in fails(*classes(home, out, "probe.layers=lats"))
    line = fails(*classes(home, out, "train.optimizer=muon"))
    assert line == "train.optimizer=muon is for encoders; leave it out when probing"
    line = fails(*classes(home, out, "train.frozen_layers=1"))
    assert line == "train.frozen_layers is for fine-tuning; when probing, the whole encoder stays as it is"
    words = ["probe", "squad", "--from", home / "encoder", "--train", TRAIN, "--dev", DEV, "--out", out]
    line = fails(*words)
    assert line == "recipe 'squad' is for question-answering; probing is for classification and token-classification"
    line = fails("finetune", *classes(home, out, "probe.layers=last")[1:])
    assert line == "[probe] and probe.* are for `dokkai probe`; leave them out, or take another recipe"
    assert fails("pretrain", "demo-pretrain", "--data", home / "data", "--out", out, "probe.layers=last") == line
    assert "unknown setting 'probe.layer'; did you mean 'probe.layers'?" in fails(*classes(home, out, "probe.layer=x"))
    assert not out.exists()
