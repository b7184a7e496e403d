"""Similarity: pairs to features, the loss beside one written with loops, what is alike, errors, and a tiny overfit."""

import math

import numpy as np
import pytest
import torch
from tiny_tasks import TEXTS, overfit, predict, tiny_model

from dokkai.data.rows import Row
from dokkai.errors import UserError
from dokkai.settings import SimilaritySettings
from dokkai.tasks.similarity import Similarity, pool


def create(tokenizer, **settings):
    return Similarity(SimilaritySettings(**settings), tokenizer)


def pairs(*texts, labels=()):
    labels = labels or [None] * len(texts)
    numbered = enumerate(zip(texts, labels, strict=True))
    return [Row(first, second, label, str(i), f"line {i + 2}") for i, ((first, second), label) in numbered]


def test_features(tokenizer, capsys):
    rows = pairs(("a bee", "the tree"), ("bee " * 50, "an oak"))
    task = create(tokenizer, label=None, max_length=8)
    features = task.encode(rows, training=True)
    sides = (features[0].first, features[0].second)
    shown = [tokenizer.decode(side.input_ids, skip_special_tokens=False) for side in sides]
    assert shown == ["[CLS] a bee [SEP]", "[CLS] the tree [SEP]"]
    assert len(features[1].input_ids) == 8 > len(features[1].second.input_ids)
    assert "1 texts are cut to 8 tokens" in capsys.readouterr().err
    batch = task.collate(features, 8)
    assert batch["input_ids"].shape == (4, 8)
    assert batch["input_ids"][2, : len(features[0].second.input_ids)].tolist() == features[0].second.input_ids
    assert batch["is_positive"].tolist() == [True, True]


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_loss(tokenizer, pooling):
    """Text by text: each picks its partner among all partners that share no text with it."""
    rows = pairs(("a bee", "an oak"), ("a bee", "fir"), ("grass", "a red stone"), ("fir", "a stone"), labels="1101")
    task = create(tokenizer, positive=1, pooling=pooling, temperature=0.1)
    features = task.encode(rows, training=False)
    batch = task.collate(features, 16)
    same = {(0, 1), (1, 0), (1, 3), (3, 1)}
    others = {(i, j) for i in range(4) for j in range(4) if i != j} - same
    assert {tuple(place) for place in batch["is_other"].nonzero().tolist()} == others
    torch.manual_seed(1)
    states = torch.randn(8, 16, 12)
    loss = task.losses({"states": states}, batch)["similarity"]
    vectors = []
    for row, mask in zip(states.double().numpy(), batch["attention_mask"].bool().numpy(), strict=True):
        tokens = row[mask]
        vectors.append({"mean": tokens.mean(0), "cls": tokens[0], "max": tokens.max(0)}[pooling])
    units = np.array([vector / np.linalg.norm(vector) for vector in vectors])
    cosines = units[:4] @ units[4:].T
    expected = 0.0
    for i in (0, 1, 3):
        shown = [i, *[j for j in range(4) if (i, j) in others]]
        for scores in (cosines[i] / 0.1, cosines[:, i] / 0.1):
            expected -= (scores[i] - math.log(sum(math.exp(scores[j]) for j in shown))) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert task.counts(batch) == {"similarity": 3}
    found = task.merge(rows, features, task.decode({"states": states}, batch, features))
    assert [item["similarity"] for item in found] == pytest.approx(np.diag(cosines), abs=1e-6)


def test_unknown_pooling():
    with pytest.raises(ValueError, match="pooling is mean, max or cls, not 'sum'"):
        pool(torch.zeros(1, 2, 3), torch.ones(1, 2), "sum")


@pytest.mark.parametrize(
    ("positive", "labels", "chosen", "truth"),
    [
        (None, ["1", "5", "2.5"], [0, 1, 2], [1, 5, 2.5]),
        (2.5, ["1", "5", "2.5"], [1, 2], [1, 5, 2.5]),
        (4, ["4", "5", "0"], [0, 1], [4, 5, 0]),
        ("entailment", ["entailment", "neutral", "entailment"], [0, 2], [1, 0, 1]),
    ],
)
def test_which_pairs_are_alike(tokenizer, capsys, positive, labels, chosen, truth):
    task = create(tokenizer, positive=positive)
    rows = pairs(("a", "b"), ("c", "d"), ("e", "f"), labels=labels)
    assert [item.example for item in task.encode(rows, training=True)] == chosen
    said = f"{len(chosen)} of 3 pairs are alike; the others are not trained on"
    assert (said in capsys.readouterr().err) is (len(chosen) < 3)
    assert [item.is_positive for item in task.encode(rows, training=False)] == [i in chosen for i in range(3)]
    scores = task.score(rows, [{"similarity": value} for value in truth])
    assert scores == pytest.approx({"pearson": 1, "spearman": 1})


def test_scores(tokenizer):
    """Ties share their rank; scores that are all the same correlate with nothing."""
    rows = pairs(("a", "b"), ("c", "d"), ("e", "f"), labels=["1", "2", "2"])
    scores = create(tokenizer).score(rows, [{"similarity": value} for value in (0.1, 0.9, 0.5)])
    assert scores == pytest.approx({"pearson": math.sqrt(0.75), "spearman": math.sqrt(0.75)})
    same = create(tokenizer).score(rows, [{"similarity": 0.5}] * 3)
    assert same == {"pearson": 0, "spearman": 0}


def test_read(tokenizer, tmp_path):
    """Without a label column, and rows with more fields than the first, as in STS-B."""
    table = tmp_path / "pairs.csv"
    table.write_text("x\t4.5\tA bee.\tA wasp.\ny\t0\tAn oak.\tA car.\tmore\n")
    columns = {"text": "2", "pair": "3", "header": False, "format": "tsv", "ragged": True}
    found = create(tokenizer, label="1", **columns).read(table)
    assert [(row.text, row.pair, row.label) for row in found] == [
        ("A bee.", "A wasp.", "4.5"),
        ("An oak.", "A car.", "0"),
    ]
    assert [row.label for row in create(tokenizer, label=None, **columns).read(table)] == [None, None]


def test_errors(tokenizer, tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("text,pair,label\na bee,a wasp,1\nan oak,a tree,entailment\n")
    message = r"rows\.csv line 3: the score 'entailment' is no number; if it is a label, set task.positive to that of"
    with pytest.raises(UserError, match=message):
        create(tokenizer).read(table)
    assert len(create(tokenizer, positive="entailment").read(table)) == 2
    table.write_text("text,pair,label\na bee,a wasp,1\nan oak,a tree,nan\n")
    with pytest.raises(UserError, match=r"rows\.csv line 3: the score 'nan' is no number"):
        create(tokenizer).read(table)
    with pytest.raises(UserError, match="line 4: no text under 'pair'; found: text, label"):
        create(tokenizer).parse({"text": "x", "label": "y"}, 3)
    message = r"1 of 2 pairs are alike \(task.positive=4.0\); two or more are needed: set task.positive to the label"
    with pytest.raises(UserError, match=message):
        create(tokenizer, positive=4.0).encode(pairs(("a", "b"), ("c", "d"), labels="51"), training=True)
    unlabelled = pairs(("a", "b"))
    with pytest.raises(UserError, match="the examples have no labels, so there is nothing to compare with"):
        create(tokenizer).score(unlabelled, [{"similarity": 0.5}])


def test_tiny_overfit(tokenizer):
    """Eight pairs that have no word in common find each other."""
    partners = ["a red stone", "fir", "grass", "a bee", "the slab", "a penguin", "an octopus", "tree"]
    rows = pairs(*zip([*TEXTS, "eight arms"], partners, strict=True), labels="5" * 8)
    task = create(tokenizer)
    features = task.encode(rows, training=True)
    batch = task.collate(features, max(len(item.input_ids) for item in features))
    model = tiny_model(task, tokenizer.vocab_size, std=0.1)
    assert overfit(model, task, batch, steps=60, rate=3e-3) < 0.2
    crossed = [Row(row.text, rows[i - 1].pair, "0", f"x{i}", "line 1") for i, row in enumerate(rows)]
    everything = rows + crossed
    assert task.score(everything, predict(task, model, everything))["pearson"] > 0.8
