"""Tags of words: pieces and labels, long sentences, documents, entities in the text, and a tiny overfit."""

from itertools import chain

import numpy as np
import pytest
import torch
from tiny_tasks import TAGS, overfit, predict, sentences, tiny_model

from dokkai.data.columns import Sentence
from dokkai.errors import UserError
from dokkai.settings import TokenClassificationSettings
from dokkai.tasks import TokenClassification
from dokkai.tasks.token_classification import TaggedText, tagged_text


def create(tokenizer, classes=TAGS, **settings):
    return TokenClassification(TokenClassificationSettings(**settings), tokenizer, classes)


def tagged(text, tags=None, document=0):
    words = tuple(text.split())
    return tagged_text(Sentence(words, tuple(tags.split()) if tags else None, "0", "line 1", document))


def planted(task, features, length, tags):
    """Logits that say these tags of the words, and X = the last label at every place that is no first piece."""
    logits = torch.zeros(len(features), length, len(task.labels))
    logits[:, :, -1] = 5.0
    for row, item in enumerate(features):
        for word, position in zip(item.words, item.positions, strict=True):
            logits[row, position] = 0.0
            logits[row, position, task.labels.index(tags[item.example][word])] = 3.0
    return {"token_classification": logits}


def test_the_first_piece_of_a_word_has_its_tag(tokenizer):
    task = create(tokenizer)
    example = tagged("a xylophone bee", "O B-PLANT B-ANIMAL")
    (feature,) = task.encode([example], training=True)
    pieces = [tokenizer.pieces(word) for word in example.words]
    assert len(pieces[1]) > 1
    assert feature.input_ids.tolist() == [tokenizer.cls_id, *chain(*pieces), tokenizer.sep_id]
    labels = task.collate([feature], 20)["labels"][0].tolist()
    assert [labels[1], labels[2], labels[2 + len(pieces[1])]] == [0, 3, 1]
    assert labels.count(-100) == 17


def test_a_word_that_leaves_nothing_is_unknown(tokenizer):
    example = TaggedText("a \u200b bee", ((0, 1), (2, 3), (4, 7)), ("O", "O", "B-ANIMAL"), "0", "line 1", 0)
    task = create(tokenizer)
    (feature,) = task.encode([example], training=True)
    assert feature.input_ids[2] == tokenizer.unk_id
    assert task.counts(task.collate([feature], 12)) == {"token_classification": 3}


def test_entities_stand_in_the_text(tokenizer):
    text = "Ein  Eisbär frißt (grünes) Moos."
    task = create(tokenizer)
    example = task.parse({"text": text, "id": 5}, 0)
    assert example.words == ["Ein", "Eisbär", "frißt", "(", "grünes", ")", "Moos", "."]
    features = task.encode([example], training=False)
    tags = ["B-ANIMAL", "I-ANIMAL", "O", "O", "B-PLANT", "I-ANIMAL", "O", "B-PLANT"]
    logits = planted(task, features, 32, [tags])
    (found,) = task.merge([example], features, task.decode(logits, {}, features))
    assert (found["id"], found["tokens"], found["tags"]) == ("5", example.words, tags)
    assert found["probabilities"] == pytest.approx([np.exp(3) / (np.exp(3) + 3)] * 8)
    assert found["entities"][:2] == [
        {"type": "ANIMAL", "text": "Ein  Eisbär", "start": 0, "end": 11, "words": [0, 2]},
        {"type": "PLANT", "text": "grünes", "start": 19, "end": 25, "words": [4, 5]},
    ]
    assert all(text[item["start"] : item["end"]] == item["text"] for item in found["entities"])
    assert [item["type"] for item in found["entities"]] == ["ANIMAL", "PLANT", "ANIMAL", "PLANT"]


def test_words_have_one_space_between(tokenizer):
    task = create(tokenizer)
    example = task.parse({"tokens": ["U.N.", "bees", "fly"]}, 7)
    assert (example.text, example.spans, example.id) == ("U.N. bees fly", ((0, 4), (5, 9), (10, 13)), "7")
    features = task.encode([example], training=False)
    tags = ["B-ANIMAL", "I-ANIMAL", "O"]
    (found,) = task.merge([example], features, task.decode(planted(task, features, 24, [tags]), {}, features))
    assert found["entities"] == [{"type": "ANIMAL", "text": "U.N. bees", "start": 0, "end": 9, "words": [0, 2]}]


def test_words_of_numbered_columns_come_as_tokens(tokenizer):
    assert create(tokenizer, words="0").parse({"tokens": ["a", "bee"]}, 0).words == ["a", "bee"]
    assert create(tokenizer, words="w").parse({"w": ["a", "bee"]}, 0).words == ["a", "bee"]


def test_long_sentences_are_read_in_windows(tokenizer, capsys):
    task = create(tokenizer, max_length=16, stride=6)
    examples = [tagged("a bee " * 30, "O B-ANIMAL " * 30), tagged("a bee", "O B-ANIMAL")]
    features = task.encode(examples, training=True)
    assert "1 of 2 sentences are longer than 16 tokens: read in windows" in capsys.readouterr().err
    assert max(len(item.input_ids) for item in features) == 16
    batch = task.collate(features, 16)
    assert task.counts(batch) == {"token_classification": 62}  # each word once
    logits = planted(task, features, 16, [item.tags for item in examples])
    found = task.merge(examples, features, task.decode(logits, batch, features))
    assert [tuple(item["tags"]) for item in found] == [item.tags for item in examples]
    assert task.score(examples, found)["f1"] == 1


def test_the_document_is_read_but_not_scored(tokenizer):
    examples = [tagged_text(sentence) for sentence in sentences()[:6]]
    task = create(tokenizer, document_context=True, max_length=64)
    features = task.encode(examples, training=True)
    assert len(features) == 6
    ids = [[i for word in item.words for i in tokenizer.pieces(word)] for item in examples]
    assert features[1].input_ids.tolist() == [tokenizer.cls_id, *chain(*ids[:4]), tokenizer.sep_id]
    assert features[5].input_ids.tolist() == [tokenizer.cls_id, *chain(*ids[4:]), tokenizer.sep_id]
    assert task.counts(task.collate(features, 64)) == {"token_classification": sum(len(i.words) for i in examples)}
    alone = create(tokenizer).encode(examples, training=True)
    assert alone[1].input_ids.tolist() == [tokenizer.cls_id, *ids[1], tokenizer.sep_id]


def test_windows_of_a_document_are_shared_in_training_alone(tokenizer, capsys):
    """Whole documents, cut where they are longer than a window; each word is learned from once, with its own tag."""
    examples = [tagged_text(sentence) for sentence in sentences()]
    shared = create(tokenizer, document_context=True, shared_windows=True, max_length=40, stride=16)
    features = shared.encode(examples, training=True)
    assert capsys.readouterr().err == ""
    joined = []
    for number in dict.fromkeys(item.document for item in examples):
        group = [item for item in examples if item.document == number]
        joined.append(tagged(" ".join(i.text for i in group), " ".join(" ".join(i.tags) for i in group)))
    alone = create(tokenizer, max_length=40, stride=16).encode(joined, training=True)
    assert len(joined) < len(features) < len(examples)
    for found, wanted in zip(features, alone, strict=True):
        assert found.input_ids.tolist() == wanted.input_ids.tolist()
        assert found.positions.tolist() == wanted.positions.tolist()
        assert found.labels.tolist() == wanted.labels.tolist()
    assert shared.counts(shared.collate(features, 40)) == {
        "token_classification": sum(len(item.words) for item in examples)
    }
    each = create(tokenizer, document_context=True, max_length=40, stride=16)
    for found, wanted in zip(shared.encode(examples, False), each.encode(examples, False), strict=True):
        assert found.input_ids.tolist() == wanted.input_ids.tolist()
        assert (found.example, found.words.tolist()) == (wanted.example, wanted.words.tolist())


def test_records_to_predict_are_no_document(tokenizer):
    task = create(tokenizer, document_context=True)
    examples = [task.parse({"text": text}, i) for i, text in enumerate(["a bee", "an oak"])]
    together = task.encode(examples, training=False)
    alone = create(tokenizer).encode(examples, training=False)
    assert [item.input_ids.tolist() for item in together] == [item.input_ids.tolist() for item in alone]


def test_tags(tokenizer, tmp_path):
    path = tmp_path / "train.iob2"
    path.write_text("a DT O\nbee NN B-ANIMAL\n\noak NN B-PLANT\n")
    task = create(tokenizer, ())
    found = task.read(path)
    assert task.find_labels(found, path) == ("O", "B-ANIMAL", "B-PLANT")
    assert create(tokenizer, (), labels=["B-PLANT", "O", "B-ANIMAL"]).find_labels(found, path)[0] == "B-PLANT"
    strict = create(tokenizer, ("O", "B-ANIMAL", "B-PLANTS"))
    path.write_text("a DT O\nbee NN B-ANIMAL\n\nan DT O\noak NN B-PLANT\n")
    with pytest.raises(UserError, match=r"train\.iob2 line 5: unknown tag 'B-PLANT'; did you mean 'B-PLANTS'"):
        strict.read(path)
    records = tmp_path / "train.jsonl"
    records.write_text('{"tokens": ["a"], "tags": ["O"]}\n{"tokens": ["an", "oak"], "tags": ["O", "B-PLANT"]}\n')
    with pytest.raises(UserError, match=r"train\.jsonl line 2, word 2: unknown tag 'B-PLANT'"):
        strict.read(records)
    path.write_text("a DT O\nbee NN B-ANIMAL\n\noak NN B-PLANT\n")
    words = create(tokenizer, (), tags="1")
    with pytest.raises(UserError, match=r"tags such as 'DT' mark no entities .*; set task\.metric=accuracy"):
        words.find_labels(words.read(path), path)
    words = create(tokenizer, (), tags="1", metric="accuracy")
    assert words.find_labels(words.read(path), path) == ("DT", "NN")
    with pytest.raises(UserError, match=r"train\.iob2: only one tag \('O'\) in it; a classification needs two"):
        task.find_labels([tagged("a b", "O O")], path)


def test_tags_of_words_make_no_entities(tokenizer):
    task = create(tokenizer, ("DT", "NN"), metric="accuracy")
    example = tagged("a bee", "DT NN")
    features = task.encode([example], training=True)
    found = task.merge([example], features, task.decode(planted(task, features, 8, [["DT", "DT"]]), {}, features))
    assert found[0]["entities"] == []
    assert task.score([example], found) == {"accuracy": 0.5}


def test_errors(tokenizer):
    with pytest.raises(
        UserError, match="line 3: no text under 'text', and no list of words under 'tokens'; found: txt"
    ):
        create(tokenizer).parse({"txt": "x"}, 2)
    with pytest.raises(UserError, match="no list of words under 'words'; found: words"):
        create(tokenizer, words="words").parse({"words": ["a", ""]}, 0)
    with pytest.raises(UserError, match="sentences without tags to train on; each word needs one"):
        create(tokenizer).encode([tagged("a bee")], training=True)
    with pytest.raises(UserError, match="the sentences have no tags, so there is nothing to compare with"):
        create(tokenizer).score([tagged("a bee")], [{"tags": ["O", "O"]}])


@pytest.mark.parametrize(
    "settings", [{}, {"document_context": True}, {"document_context": True, "shared_windows": True}]
)
def test_tiny_overfit(tokenizer, settings):
    task = create(tokenizer, max_length=24, stride=8, **settings)
    examples = [tagged_text(sentence) for sentence in sentences()]
    features = task.encode(examples, training=True)
    batch = task.collate(features, max(len(item.input_ids) for item in features))
    model = tiny_model(task, tokenizer.vocab_size, std=0.1)
    assert overfit(model, task, batch, steps=100, rate=3e-3) < 0.05
    scores = task.score(examples, predict(task, model, examples))
    assert scores == dict.fromkeys(("accuracy", "f1", "precision", "recall", "f1_ANIMAL", "f1_PLANT"), 1.0)
