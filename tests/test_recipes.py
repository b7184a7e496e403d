"""Every recipe of a data set reads a few rows in the layout in which it was published, and so does ``predict``."""

import csv
import io
import json
import lzma

import pytest

from dokkai.data.choices import ChoiceQuestion
from dokkai.data.heldout import content_of
from dokkai.data.label_sets import LabelledText
from dokkai.data.rows import Row
from dokkai.data.squad import Answer
from dokkai.predicting import _examples
from dokkai.settings import ClassificationSettings, load_settings, recipe_names
from dokkai.tasks import create_task

LABELS_OF = {
    "cola": 2,
    "sst-2": 2,
    "mrpc": 2,
    "qqp": 2,
    "mnli": 3,
    "qnli": 2,
    "rte": 2,
    "wnli": 2,
    "jnli": 3,
    "marc-ja": 2,
}


def tsv(*rows):
    return "".join("\t".join(row) + "\n" for row in rows)


def json_lines(*records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def squad(context, question, answer):
    qas = [{"id": "a1", "question": question, "answers": [{"text": answer, "answer_start": context.index(answer)}]}]
    return json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": qas}]}]})


MNLI_HEADER = (
    *("index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse"),
    *("sentence1_parse", "sentence2_parse", "sentence1", "sentence2", "label1", "gold_label"),
)
STS_HEADER = (
    "index",
    "genre",
    "filename",
    "year",
    "old_index",
    "source1",
    "source2",
    "sentence1",
    "sentence2",
    "score",
)
SWAG_HEADER = ",video-id,fold-ind,startphrase,sent1,sent2,gold-source,ending0,ending1,ending2,ending3,label\n"

# recipe: the name of a file, what is in it, and its first example (text, second text, label)
TEXTS = {
    "cola": (
        "train.tsv",
        tsv(("gj04", "1", "", "Bill floated."), ("cj99", "0", "*", 'He "the more.')),
        ("Bill floated.", None, "1"),
    ),
    "sst-2": (
        "train.tsv",
        tsv(("sentence", "label"), ("a fine film ", "1"), ("dull ", "0")),
        ("a fine film ", None, "1"),
    ),
    "mrpc": (
        "msr_paraphrase_train.txt.tsv",
        "\ufeff"
        + tsv(("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"), ("0", "7", "8", 'He said "no.', "She said.")),
        ('He said "no.', "She said.", "0"),
    ),
    "sts-b": (
        "sts-train.csv",
        tsv(
            ("main-captions", "MSRvid", "2012test", "0001", "4.750", 'A "child rides.', "A boy rides."),
            ("main-news", "x", "2014", "2", "1.0", "One.", "Two.", "http://source", "another"),
        ),
        ('A "child rides.', "A boy rides.", "4.750"),
    ),
    "qqp": (
        "train.tsv",
        tsv(
            ("id", "qid1", "qid2", "question1", "question2", "is_duplicate"),
            ("0", "1", "2", "Who?", "Who is it?", "1"),
            ("1", "3", "4", "A question with"),
            ("a line break?", "Why?", "0"),
        ),
        ("Who?", "Who is it?", "1"),
    ),
    "mnli": (
        "train.tsv",
        tsv(
            MNLI_HEADER,
            (
                "0",
                "1",
                "1n",
                "fiction",
                "( a )",
                "( b )",
                "(A)",
                "(B)",
                "It rains.",
                "It is wet.",
                "entailment",
                "neutral",
            ),
        ),
        ("It rains.", "It is wet.", "neutral"),
    ),
    "qnli": (
        "dev.tsv",
        tsv(("index", "question", "sentence", "label"), ("0", "Who?", "Ann did.", "entailment")),
        ("Who?", "Ann did.", "entailment"),
    ),
    "rte": (
        "dev.tsv",
        tsv(("index", "sentence1", "sentence2", "label"), ("0", "A.", "B.", "not_entailment")),
        ("A.", "B.", "not_entailment"),
    ),
    "wnli": ("dev.tsv", tsv(("index", "sentence1", "sentence2", "label"), ("0", "A.", "B.", "1")), ("A.", "B.", "1")),
    "jnli": (
        "train-v1.1.json",
        json_lines(
            {
                "sentence_pair_id": "0",
                "yjcaptions_id": "1-2-3",
                "sentence1": "雨です。",
                "sentence2": "雨。",
                "label": "neutral",
            }
        ),
        ("雨です。", "雨。", "neutral"),
    ),
    "jsts": (
        "valid-v1.1.json",
        json_lines(
            {
                "sentence_pair_id": "0",
                "yjcaptions_id": "1-2-3",
                "sentence1": "雨です。",
                "sentence2": "雨。",
                "label": 3.4,
            }
        ),
        ("雨です。", "雨。", "3.4"),
    ),
    "marc-ja": (
        "train-v1.0.json",
        json_lines({"review_id": "R1", "text": "とても良い。", "label": "positive"}),
        ("とても良い。", None, "positive"),
    ),
    "my-classes": ("mine.csv", 'text,label\n"Good, but slow.",so so\nBad.,bad\n', ("Good, but slow.", None, "so so")),
    "my-numbers": ("mine.csv", "text,label\nGood.,4.5\nBad.,-1\n", ("Good.", None, "4.5")),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name, tokenizer, tmp_path):
    file, content, (text, pair, label) = TEXTS[name]
    path = tmp_path / file
    path.write_text(content, encoding="utf-8")
    settings = load_settings(name).task
    task = create_task(settings, tokenizer)
    rows = task.read(path)
    assert (rows[0].text, rows[0].pair, rows[0].label) == (text, pair, label)
    assert len(rows) == {"cola": 2, "sst-2": 2, "sts-b": 2, "my-classes": 2, "my-numbers": 2}.get(name, 1)
    if isinstance(settings, ClassificationSettings) and settings.labels:
        assert LABELS_OF[name] == len(task.labels) and label in task.labels
    trained = create_task(settings, tokenizer, task.find_labels(rows, path))
    assert len(trained.encode(rows, training=True)) == len(rows)


def test_sts_b_as_glue_has_it(tokenizer, tmp_path):
    """By the overrides that the recipe names."""
    path = tmp_path / "train.tsv"
    path.write_text(tsv(STS_HEADER, ("0", "main", "x", "2012", "1", "none", "none", "One.", "Two.", "5.000")))
    overrides = ["task.header=true", "task.text=sentence1", "task.pair=sentence2", "task.label=score"]
    row = create_task(load_settings("sts-b", overrides).task, tokenizer).read(path)[0]
    assert row == Row("One.", "Two.", "5.000", "0", "line 2")


def test_several_labels(tokenizer, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text('text,labels\n"Good, but slow.","good, slow"\nHm.,\n')
    task = create_task(load_settings("my-labels").task, tokenizer)
    assert task.read(path)[:1] == [LabelledText("Good, but slow.", None, ("good", "slow"), "0", "line 2")]
    assert task.find_labels(task.read(path), path) == ("good", "slow")
    path.write_text("text,good,slow\nGood.,1,0\n")
    task = create_task(load_settings("my-labels", ['task.label_columns=["good", "slow"]']).task, tokenizer)
    assert task.read(path)[0].labels == ("good",)


DREAM = [[["M: Tea?", "W: Yes."], [{"question": "Who?", "choice": ["Al", "Bo", "Cy"], "answer": "Bo"}], "5-1"]]
RACE = {
    "article": "A bee.",
    "questions": ["Who?"],
    "options": [["w", "x", "y", "z"]],
    "answers": ["C"],
    "id": "high1.txt",
}
CHOICES = {
    "my-choices": (
        "mine.csv",
        "question,choice0,choice1,choice2,choice3,label\nWho?,Al,Bo,Cy,Di,3\n",
        ChoiceQuestion(None, "Who?", ("Al", "Bo", "Cy", "Di"), 3, "0", "line 2"),
    ),
    "swag": (
        "train.csv",
        SWAG_HEADER + '0,lsmdc1,12,"He smiles, she","She stops.",She,gold,goes.,comes.,"runs, fast.",falls.,2\n',
        ChoiceQuestion("She stops.", "She", ("goes.", "comes.", "runs, fast.", "falls."), 2, "0", "line 2"),
    ),
    "jcommonsenseqa": (
        "train-v1.1.json",
        json_lines(
            {"q_id": 5, "question": "丸いものは？", **{f"choice{i}": w for i, w in enumerate("箱玉板棒紙")}, "label": 1}
        ),
        ChoiceQuestion(None, "丸いものは？", tuple("箱玉板棒紙"), 1, "5", "line 1"),
    ),
    "dream": (
        "train.json",
        json.dumps(DREAM),
        ChoiceQuestion("M: Tea?\nW: Yes.", "Who?", ("Al", "Bo", "Cy"), 1, "5-1-0", "entry 1"),
    ),
    "race": (
        "high.jsonl",
        json_lines(RACE),
        ChoiceQuestion("A bee.", "Who?", ("w", "x", "y", "z"), 2, "high1.txt-0", "line 1"),
    ),
    "mctest": (
        "mc500.dev.tsv",
        tsv(("mc.0", "Author: 1", "A bee.\\newlineIt\\tabflew.", *["one: Who?", "w", "x", "y", "z"] * 4)),
        ChoiceQuestion("A bee.\nIt\tflew.", "Who?", ("w", "x", "y", "z"), 3, "mc.0-0", "line 1"),
    ),
}


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name, tokenizer, tmp_path):
    file, content, expected = CHOICES[name]
    (tmp_path / file).write_text(content, encoding="utf-8")
    (tmp_path / "mc500.dev.ans").write_text("D\tA\tA\tA\n")
    task = create_task(load_settings(name).task, tokenizer)
    found = task.read(tmp_path / file)
    assert found[0] == expected
    assert task.encode(found, training=True)[0].label == expected.label


TAGS = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nPeter NNP B-NP B-PER\n"


@pytest.mark.parametrize("name", ["conll-2003", "my-tags"])
def test_tags(name, tokenizer, tmp_path):
    path = tmp_path / "eng.train"
    path.write_text(TAGS)
    task = create_task(load_settings(name).task, tokenizer)
    found = task.read(path)
    assert (found[0].words, found[0].tags) == (["EU", "rejects"], ("B-ORG", "O"))
    labels = task.find_labels(found, path)
    assert labels[0] == "O" and len(labels) == (9 if name == "conll-2003" else 3)
    task = create_task(load_settings(name).task, tokenizer, labels)
    features = task.encode(found, training=False)
    assert (len(features[0].input_ids) == len(features[1].input_ids)) is (name == "conll-2003")  # the whole document
    windows = task.encode(found, training=True)
    assert [len(item.words) for item in windows] == ([3] if name == "conll-2003" else [2, 1])  # once for both sentences


QUESTIONS = ["jsquad", "squad", "squad2", "my-questions", "paper-squad", "paper-squad2", "demo-questions", "reader-en"]


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions(name, tokenizer, tmp_path):
    path = tmp_path / "train.json"
    path.write_text(squad("梅雨 [SEP] 梅雨は雨が多い。", "何が多い？", "雨が多い。"), encoding="utf-8")
    settings = load_settings(name).task
    task = create_task(settings, tokenizer)
    found = task.read(path)
    assert len(task.encode(found, training=True)) == 1
    prediction = {"id": "a1", "answer": "雨が多い", "null_odds": -1.0, "nbest": []}
    assert task.score(found, [prediction])["exact"] == (100 if name == "jsquad" else 0)  # without the full stop


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions_of_a_table(name, tokenizer, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text('question,context,answer\n何が多い？,"梅雨, 梅雨は雨が多い。",雨が多い\n', encoding="utf-8")
    task = create_task(load_settings(name).task, tokenizer)
    (found,) = task.read(path)
    assert (found.question, found.answers) == ("何が多い？", (Answer("雨が多い", 7),))
    assert len(task.encode([found], training=True)) == 1


# ---- what is trained on is also predicted, with its labels and without


def files_of(name):
    """The name and the content of the file of a recipe."""
    if name in TEXTS or name in CHOICES:
        return (TEXTS | CHOICES)[name][:2]
    if name in ("conll-2003", "my-tags", "probe-entities"):
        return "eng.train", TAGS
    if name in QUESTIONS:
        return "train.json", squad("梅雨 [SEP] 梅雨は雨が多い。", "何が多い？", "雨が多い。")
    more = {"my-labels": 'text,labels\nGood.,"a, b"\n', "sentence-vectors": "text,pair,label\nOne.,Two.,0.5\n"}
    return "mine.csv", more.get(name, "text,label\nGood.,yes\nBad.,no\n")


def without_labels(name, settings, content):
    """The same file, as far as it can be had without what is learned from it."""
    if name == "dream":
        entries = json.loads(content)
        return json.dumps([[t, [{k: q[k] for k in ("question", "choice")} for q in qs], n] for t, qs, n in entries])
    if name == "race":
        return json_lines({key: value for key, value in RACE.items() if key != "answers"})
    if name == "mctest":
        return content  # the labels are in a file of their own
    if settings.kind == "token-classification":
        return "\n".join(line.partition(" ")[0] for line in content.splitlines())
    if settings.kind == "question-answering":
        articles = json.loads(content)
        articles["data"][0]["paragraphs"][0]["qas"][0].pop("answers")
        return json.dumps(articles, indent=2, ensure_ascii=False)
    if content.startswith("{"):
        records = map(json.loads, content.splitlines())
        return json_lines(*({k: v for k, v in record.items() if k != settings.label} for record in records))
    if not settings.header:
        return content  # columns are numbers there, so the one of the labels has to stay
    if TEXTS.get(name, ("a.csv",))[0].endswith(".csv") or name == "swag":
        rows = list(csv.reader(io.StringIO(content)))
        place = rows[0].index(settings.label)
        out = io.StringIO()
        csv.writer(out).writerows(row[:place] + row[place + 1 :] for row in rows)
        return out.getvalue()
    rows = [line.split("\t") for line in content.removeprefix("\ufeff").splitlines()]
    place = rows[0].index(settings.label)
    return tsv(*(row[:place] + row[place + 1 :] if len(row) == len(rows[0]) else row for row in rows))


PREDICTED = [
    name
    for name in recipe_names()
    if load_settings(name).task.kind != "pretraining"  # those predict masked words
]


@pytest.mark.parametrize("name", PREDICTED)
def test_predict_reads_what_is_trained_on(name, tokenizer, tmp_path):
    file, content = files_of(name)
    path = tmp_path / file
    path.write_text(content, encoding="utf-8")
    answers = tmp_path / "mc500.dev.ans"
    answers.write_text("D\tA\tA\tA\n")
    task = create_task(load_settings(name).task, tokenizer)
    trained = task.read(path)
    expected = [(content_of(item), item.id) for item in trained]
    assert expected
    answers.unlink()
    for text in (content, without_labels(name, task.settings, content)):
        path.write_text(text, encoding="utf-8")
        found = list(_examples(task, str(path)))
        assert [(content_of(item), item.id) for item in found] == expected
        compressed = tmp_path / f"{file}.xz"
        compressed.write_bytes(lzma.compress(text.encode()))
        assert list(_examples(task, str(compressed))) == found
        for item in found:
            known = [getattr(item, key, None) for key in ("label", "labels", "tags", "answers")]
            assert not any(known) and not getattr(item, "is_labelled", False)


def test_no_recipe_is_left_out():
    """Those of pre-training and of the demo are built elsewhere, and tables without a data set need no layout."""
    tested = {*TEXTS, *CHOICES, *QUESTIONS, "my-labels", "conll-2003", "my-tags"}
    elsewhere = {
        "demo-pretrain",
        "encoder-en",
        "mini-en",
        "modern-mini",
        "paper-base",
        "paper-large",
    }
    elsewhere |= {"probe-entities", "sentence-vectors"}
    assert tested | elsewhere | {"paper-classes", "paper-classes-small"} == set(recipe_names())


@pytest.mark.parametrize("name", [*TEXTS, *CHOICES, "my-labels", "conll-2003", "my-tags", "jsquad", "my-questions"])
def test_recipes_are_short(name):
    from importlib import resources

    lines = (resources.files("dokkai.recipes") / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 20


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file", "number"),
    [
        ("cola", "glue/CoLA-train.tsv", 8551),
        ("cola", "glue/CoLA-dev.tsv", 1043),
        ("sst-2", "glue/SST-2-train.tsv", 67349),
        ("sst-2", "glue/SST-2-dev.tsv", 872),
        ("mrpc", "glue/MRPC-train.tsv", 3668),
        ("mrpc", "glue/MRPC-dev.tsv", 408),
        ("sts-b", "glue/STS-B-train.csv", 5749),
        ("sts-b", "glue/STS-B-dev.csv", 1500),
        ("rte", "glue/RTE-train.tsv", 2490),
        ("rte", "glue/RTE-dev.tsv", 277),
        ("wnli", "glue/WNLI-train.tsv", 635),
        ("wnli", "glue/WNLI-dev.tsv", 71),
        ("jsts", "jglue/jsts-train.json", 12451),
        ("jsts", "jglue/jsts-valid.json", 1457),
        ("jcommonsenseqa", "jglue/jcommonsenseqa-train.json", 8939),
        ("jcommonsenseqa", "jglue/jcommonsenseqa-valid.json", 1119),
        ("dream", "dream/train.json", 6116),
        ("dream", "dream/dev.json", 2040),
        ("mctest", "mctest/mc500.train.tsv", 1200),
        ("mctest", "mctest/mc500.dev.tsv", 200),
        ("mctest", "mctest/mc500.test.tsv", 600),
        ("conll-2003", "conll2003/train.iob2", 14041),
        ("conll-2003", "conll2003/dev.iob2", 3250),
        ("my-tags", "ner-ja/train.bio", 7050),
        ("my-tags", "ner-ja/dev.bio", 507),
        ("jsquad", "jaquad/dev.json.xz", 3939),
    ],
)
def test_whole_files(name, file, number, data, tokenizer):
    task = create_task(load_settings(name).task, tokenizer)
    examples = task.read(data / file)
    assert len(examples) == number
    predicted = [(content_of(item), item.id) for item in _examples(task, str(data / file))]
    assert predicted == [(content_of(item), item.id) for item in examples]
    labels = task.find_labels(examples, file)
    trained = create_task(load_settings(name).task, tokenizer, labels)
    features = trained.encode(examples[:200], training=True)
    if getattr(trained.settings, "shared_windows", False):  # not a sequence for each example, but each word once
        assert sum(len(item.words) for item in features) == sum(len(item.words) for item in examples[:200])
    else:
        assert len(features) >= min(200, number)
