"""Entities in tags, and their scores, against what the script of CoNLL would say by its rules."""

import warnings

import pytest

from dokkai.evaluation.metrics import are_entity_tags, find_entities, tag_scores


def test_entities():
    tags = ["B-PER", "I-PER", "B-PER", "O", "I-LOC", "I-ORG", "B-ORG", "I-PER"]
    expected = [("PER", 0, 2), ("PER", 2, 3), ("LOC", 4, 5), ("ORG", 5, 6), ("ORG", 6, 7), ("PER", 7, 8)]
    assert find_entities(tags) == expected
    assert find_entities([]) == find_entities(["O", "O"]) == []


def test_entities_in_bilou():
    tags = ["U-PER", "U-PER", "B-PER", "I-PER", "L-PER", "B-PER", "L-PER", "O", "U-LOC"]
    expected = [("PER", 0, 1), ("PER", 1, 2), ("PER", 2, 5), ("PER", 5, 7), ("LOC", 8, 9)]
    assert find_entities(tags) == expected
    as_bioes = [tag.replace("L-", "E-").replace("U-", "S-") for tag in tags]
    assert find_entities(as_bioes) == expected
    found = tag_scores([["B-PER", "L-PER", "B-PER", "L-PER"]], [["O", "O", "B-PER", "L-PER"]])  # one of two
    assert found == pytest.approx({"accuracy": 0.5, "f1": 2 / 3, "precision": 1, "recall": 1 / 2, "f1_PER": 2 / 3})


def test_which_tags_mark_entities():
    assert are_entity_tags(["O", "B-PER", "I-work-of-art", "S-X"])
    assert not are_entity_tags(["O", "NNP"])
    assert not are_entity_tags(["B-"])


def test_scores_by_hand():
    tags = [["B-PER", "I-PER", "O"], ["B-LOC", "O"], ["B-LOC"]]
    guesses = [["B-PER", "I-PER", "O"], ["B-PER", "B-LOC"], ["O"]]
    found = tag_scores(tags, guesses)  # 3 entities, 3 found, 1 right
    assert found == pytest.approx(
        {"accuracy": 3 / 6, "f1": 1 / 3, "precision": 1 / 3, "recall": 1 / 3, "f1_PER": 2 / 3, "f1_LOC": 0}
    )


def test_a_piece_of_an_entity_is_wrong():
    assert tag_scores([["B-PER", "I-PER"]], [["B-PER", "O"]])["f1"] == 0
    assert tag_scores([["B-PER", "I-PER"]], [["B-LOC", "I-LOC"]])["f1"] == 0


def test_nothing_found_is_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        none = tag_scores([["O"]], [["O"]])
        assert none == {"accuracy": 1, "f1": 0, "precision": 0, "recall": 0}
        assert tag_scores([["B-X"]], [["O"]])["f1"] == 0
        assert tag_scores([["O"]], [["B-X"]]) == {"accuracy": 0, "f1": 0, "precision": 0, "recall": 0, "f1_X": 0}


def test_tags_of_words_have_accuracy_alone():
    assert tag_scores([["NNP", "VBZ"]], [["NNP", "NN"]]) == {"accuracy": 0.5}


def test_wrong_arguments():
    with pytest.raises(ValueError, match="one predicted tag for each word"):
        tag_scores([["O", "O"]], [["O"]])
    with pytest.raises(ValueError, match="no tags to score"):
        tag_scores([[]], [[]])
