"""Every kind of task through the command line: finetune, the directory it leaves, predict, evaluate."""

import json

import pytest

from command_line import dokkai, make_home, works
from dokkai.pipeline import load

SHORT = ["train.steps=3", "train.batch_size=4", "task.max_length=48"]

CLASSES = "text,more,label\n" + "".join(f"a bee {i},an oak,{'yes' if i % 2 else 'no'}\n" for i in range(8))
NUMBERS = "text\tmore\tscore\n" + "".join(f"a bee {i}\tan oak\t{i / 2}\n" for i in range(8))
SETS = "".join(json.dumps({"text": f"bee {i}", "labels": ["a", "b", "c"][: i % 4]}) + "\n" for i in range(8))
QUESTIONS = "".join(
    json.dumps({"text": "a bee", "ask": f"what {i}", "choices": ["fir", "oak", "moss"][: 2 + i % 2], "label": i % 2})
    + "\n"
    for i in range(8)
)
TAGS = "a O\nbee B-ANIMAL\n\nan O\noak B-PLANT\ntree I-PLANT\n\n" * 4

# kind: (file, content, overrides, a record to predict, keys of the prediction, a metric, the class of transformers)
KINDS = {
    "classification": (
        "rows.csv",
        CLASSES,
        ["task.pair=more", 'task.labels=["yes", "no"]', "task.metric=f1_binary"],
        {"text": "a bee", "more": "grass"},
        {"text", "pair", "label", "probability", "probabilities"},
        "f1_binary",
        "SequenceClassification",
    ),
    "multi-label": (
        "rows.jsonl",
        SETS,
        [],
        {"text": "a bee"},
        {"text", "labels", "probabilities"},
        "f1_micro",
        "SequenceClassification",
    ),
    "regression": (
        "rows.tsv",
        NUMBERS,
        ["task.pair=more", "task.label=score"],
        {"text": "a bee", "more": "grass"},
        {"text", "pair", "value"},
        "spearman",
        "SequenceClassification",
    ),
    "multiple-choice": (
        "rows.jsonl",
        QUESTIONS,
        ["task.context=text", "task.question=ask"],
        {"text": "a bee", "ask": "what", "choices": ["fir", "oak"]},
        {"context", "question", "label", "choice", "probability", "probabilities"},
        "accuracy",
        "MultipleChoice",
    ),
    "token-classification": (
        "train.conll",
        TAGS,
        ["task.document_context=true"],
        {"text": "a bee"},
        {"text", "tokens", "tags", "probabilities", "entities"},
        "f1",
        "TokenClassification",
    ),
    "question-answering": (
        "dev.json",
        None,
        ["task.stride=16", "task.no_answer=true", "task.scoring=characters", "task.metric=exact"],
        {"question": "Who?", "context": "Ann built it."},
        {"question", "answer", "start", "end", "probability", "null_odds", "nbest"},
        "exact",
        "QuestionAnswering",
    ),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


def predicted(run, file):
    return [json.loads(line) for line in works("predict", run, file, "--device", "cpu").splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_from_a_file_to_scores(kind, home, tmp_path):
    name, content, overrides, record, keys, metric, architecture = KINDS[kind]
    file = home / "dev.json"
    if content is not None:
        file = tmp_path / name
        file.write_text(content, encoding="utf-8")
    recipe, run = tmp_path / "recipe.toml", tmp_path / "run"
    recipe.write_text(
        f'description = "a test"\n[task]\nkind = "{kind}"\nmax_length = 48\n'
        + ('question = "ask"\n' if kind == "multiple-choice" else "")
    )
    words = ["finetune", recipe, "--from", home / "encoder", "--train", file, "--dev", file, "--out", run]
    trained = json.loads(works(*words, "--limit", 8, "--json", "--device", "cpu", *SHORT, *overrides))
    assert metric in trained
    task = load(run, "cpu").task
    assert task is not None and (task.kind, task.primary_metric) == (
        kind,
        metric if kind != "regression" else "pearson",
    )
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == [f"BertFor{architecture}"]
    assert config.get("problem_type") == task.problem_type
    lines = works("predict", run, "--device", "cpu", stdin=json.dumps(record | {"id": "x"}) + "\n" + json.dumps(record))
    first, second = map(json.loads, lines.splitlines())
    assert (first.pop("id"), second.pop("id")) == ("x", "1")
    assert first == second and set(first) == keys
    scores = json.loads(
        works("evaluate", run, file, "--json", "--device", "cpu", "--predictions", tmp_path / "all.json")
    )
    assert scores == {key: value for key, value in trained.items() if key != "run"}
    predictions = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert len(predictions) >= 8
    assert predicted(run, file) == predictions  # read as in training, labels not looked at


def test_race_from_its_folder(home, tmp_path):
    """The layout as published: a folder of each level, an article with its questions in each file."""
    for part, number in (("train", 3), ("dev", 2)):
        for level in ("high", "middle"):
            (tmp_path / part / level).mkdir(parents=True)
            for n in range(number):
                article = {
                    "article": f"A bee {n} sat on a stone.",
                    "questions": ["What sat there?", "On a _ ."],
                    "options": [["a bee", "a fir", "an oak", "moss"], ["bee", "stone", "fir", "tree"]],
                    "answers": ["A", "B"],
                    "id": f"{level}{n}.txt",
                }
                (tmp_path / part / level / f"{n}.txt").write_text(json.dumps(article), encoding="utf-8")
    run, dev = tmp_path / "run", tmp_path / "dev"
    words = ["finetune", "race", "--from", home / "encoder", "--train", tmp_path / "train", "--dev", dev, "--out", run]
    done = dokkai(*words, "--json", "--device", "cpu", *SHORT)
    assert done.code == 0, done.err
    assert "fine-tuning on 12 examples" in done.err
    assert "8 of 8 examples to measure on are among those to train on too (file high/0.txt, file high/0.txt" in done.err
    found = works("evaluate", run, dev, "--json", "--predictions", tmp_path / "all.json")
    assert json.loads(found)["accuracy"] == json.loads(done.out)["accuracy"]
    predictions = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert [item["id"] for item in predictions][:3] == ["high0.txt-0", "high0.txt-1", "high1.txt-0"]
    assert {item["label"] for item in predictions} <= set("ABCD")
    assert predicted(run, dev) == predictions
    (article,) = (dev / "high" / "0.txt").read_text(encoding="utf-8").splitlines()
    lines = works("predict", run, "--device", "cpu", stdin=article).splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["high0.txt-0", "high0.txt-1"]


def test_questions_of_a_table(home, tmp_path):
    """From a table with columns of one's own names to predictions, for a table and for SQuAD's layout."""
    file, run = tmp_path / "mine.csv", tmp_path / "run"
    rows = "".join(f"What {n}?,A bee {n} sat on a stone.,bee {n}\n" for n in range(8))
    file.write_text("ask,passage,reply\n" + rows + "Who?,An oak.,\n", encoding="utf-8")
    words = ["finetune", "my-questions", "--from", home / "encoder", "--train", file, "--dev", file, "--out", run]
    names = ["task.question=ask", "task.context=passage", "task.answer=reply", "task.stride=16"]
    done = dokkai(*words, "--device", "cpu", *SHORT, *names)
    assert done.code == 0, done.err
    assert "fine-tuning on 9 examples" in done.err
    works("evaluate", run, file, "--json", "--device", "cpu", "--predictions", tmp_path / "all.json")
    predictions = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert [item["question"] for item in predictions] == [*(f"What {n}?" for n in range(8)), "Who?"]
    assert predicted(run, file) == predictions
    assert (
        len(predicted(run, home / "dev.json"))
        == json.loads(works("evaluate", run, home / "dev.json", "--json"))["total"]
    )


def test_labels_in_the_order_that_was_declared(home, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text(CLASSES, encoding="utf-8")
    words = ["finetune", "my-classes", "--from", home / "encoder", "--train", file, "--out", tmp_path / "run"]
    works(*words, *SHORT, 'task.labels=["yes", "no", "maybe"]')
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "yes", "1": "no", "2": "maybe"}
