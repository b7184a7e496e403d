"""Scores of classes against numbers worked out by hand."""

import warnings

import pytest

from dokkai.evaluation.metrics import classification_scores, multi_label_scores


def test_classes_by_hand():
    #            a is right twice, missed once, wrongly said once; b is right once
    labels = ["a", "a", "a", "b", "b"]
    predictions = ["a", "a", "b", "b", "a"]
    scores = classification_scores(labels, predictions)
    assert scores == pytest.approx(
        {
            "accuracy": 3 / 5,
            "f1_micro": 3 / 5,
            "f1_macro": (2 / 3 + 1 / 2) / 2,
            "f1_binary": 1 / 2,
            "matthews": (2 * 1 - 1 * 1) / (3 * 3 * 2 * 2) ** 0.5,
        }
    )
    assert classification_scores(labels, predictions, ["b", "a"])["f1_binary"] == pytest.approx(2 / 3)


def test_three_classes_have_no_binary_f1():
    scores = classification_scores(["x", "y", "z"], ["x", "y", "y"])
    assert scores == pytest.approx(
        {"accuracy": 2 / 3, "f1_micro": 2 / 3, "f1_macro": (1 + 2 / 3 + 0) / 3, "matthews": 3 / (6 * 4) ** 0.5},
        abs=1e-12,
    )


def test_classes_that_do_not_occur_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = classification_scores(["no", "no"], ["no", "no"])
        assert alone == {"accuracy": 1, "f1_micro": 1, "f1_macro": 1, "matthews": 0}
        declared = classification_scores(["no", "no"], ["no", "no"], ["no", "yes"])
        assert declared == {"accuracy": 1, "f1_micro": 1, "f1_macro": 1, "matthews": 0, "f1_binary": 0}
        never_right = classification_scores(["no", "no"], ["yes", "yes"])
        assert never_right == {"accuracy": 0, "f1_micro": 0, "f1_macro": 0, "matthews": 0, "f1_binary": 0}


def test_wrong_arguments():
    with pytest.raises(ValueError, match="2 labels but 1 predictions"):
        classification_scores(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="no labels to score"):
        classification_scores([], [])
    with pytest.raises(ValueError, match="'c' is not among the declared classes"):
        classification_scores(["a", "b"], ["a", "c"], ["a", "b"])


def test_label_sets_by_hand():
    #          a: right once, missed once; b: right once, said once too much; c: never said, missed once
    labels = [("a", "b"), ("a",), ("c",), ()]
    predictions = [("b", "a"), (), ("b",), ()]
    found = multi_label_scores(labels, predictions, ["a", "b", "c", "never"])
    expected = {"f1_micro": 2 * 2 / (2 * 2 + 1 + 2), "f1_macro": (2 / 3 + 2 / 3 + 0) / 3, "accuracy": 2 / 4}
    assert found == pytest.approx(expected)


def test_empty_label_sets_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert multi_label_scores([(), ()], [(), ()], ["a"]) == {"f1_micro": 0, "f1_macro": 0, "accuracy": 1}
        assert multi_label_scores([("a",)], [()], ["a"]) == {"f1_micro": 0, "f1_macro": 0, "accuracy": 0}


def test_wrong_label_sets():
    with pytest.raises(ValueError, match="1 labels but 0 predictions"):
        multi_label_scores([()], [], ["a"])
    with pytest.raises(ValueError, match="no labels to score"):
        multi_label_scores([], [], ["a"])
    with pytest.raises(ValueError, match="'b' is not among the declared classes"):
        multi_label_scores([("a",)], [("b",)], ["a"])
