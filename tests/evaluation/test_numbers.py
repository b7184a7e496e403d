"""Scores of numbers against numbers worked out by hand."""

import warnings

import pytest

from dokkai.evaluation.metrics import regression_scores


def test_numbers_by_hand():
    found = regression_scores([1, 2, 3, 4], [1, 3, 2, 8])
    # deviations -1.5 -0.5 0.5 1.5 and -2.5 -0.5 -1.5 4.5; ranks 1 2 3 4 and 1 3 2 4
    assert found == pytest.approx(
        {"pearson": 10 / (5 * 29) ** 0.5, "spearman": 1 - 6 * 2 / 60, "mean_squared_error": (0 + 1 + 1 + 16) / 4}
    )
    assert regression_scores([1, 2, 3], [30, 20, 10])["pearson"] == pytest.approx(-1)


def test_constant_numbers_have_no_correlation():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for values, guesses in (([1, 2, 3], [2, 2, 2]), ([2, 2], [1, 3]), ([1], [1])):
            found = regression_scores(values, guesses)
            assert (found["pearson"], found["spearman"]) == (0, 0)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="1 values but 2 predictions"):
        regression_scores([1], [1, 2])
    with pytest.raises(ValueError, match="no values to score"):
        regression_scores([], [])
