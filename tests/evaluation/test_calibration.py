"""How far probabilities are off, and the temperature that brings them closest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dokkai.evaluation.calibration import calibration_error, fit_confidence, fit_temperature, temper


def softmax(logits_NY):
    weights_NY = np.exp(logits_NY - logits_NY.max(1, keepdims=True))
    return weights_NY / weights_NY.sum(1, keepdims=True)


def test_error_by_hand():
    """Bins of a tenth: two at 0.95, one of them right; 0.55 and 0.6, which is an edge and belongs below, one right."""
    confidences, is_right = np.array([0.95, 0.95, 0.55, 0.6]), np.array([True, False, True, False])
    assert calibration_error(confidences, is_right, 10) == pytest.approx((0.9 + 0.15) / 4)
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0
    assert calibration_error(np.array([1.0, 0.0]), np.array([False, False])) == 0.5
    with pytest.raises(ValueError, match="no predictions"):
        calibration_error(np.array([]), np.array([]))


def drawn(sharpness, number=20000):
    """Labels drawn from known logits, and the probabilities of a model whose logits are so many times as large."""
    random = np.random.default_rng(0)
    logits_NY = random.normal(size=(number, 4)) * 1.5
    labels_N = (softmax(logits_NY).cumsum(1) < random.random((number, 1))).sum(1)
    return softmax(sharpness * logits_NY), labels_N


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_finds_the_true_temperature(sharpness):
    probabilities_NY, labels_N = drawn(sharpness)
    found = fit_temperature(probabilities_NY, labels_N)
    assert found == pytest.approx(sharpness, rel=0.03)
    assert fit_temperature(temper(probabilities_NY, 2.0), labels_N, 2.0) == pytest.approx(found, rel=1e-3)
    better_NY = temper(probabilities_NY, found)
    is_right = probabilities_NY.argmax(1) == labels_N
    after = calibration_error(better_NY.max(1), is_right)
    assert after < 0.02
    if sharpness != 1:
        assert calibration_error(probabilities_NY.max(1), is_right) > 5 * after


def test_nothing_wrong_nothing_to_fit():
    assert fit_temperature(np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([0, 1])) == 1.0
    assert fit_temperature(np.array([[0.6, 0.4]]), np.array([0]), 2.5) == 2.5
    with pytest.raises(ValueError, match="no predictions"):
        fit_temperature(np.empty((0, 2)), np.empty(0))


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_confidence_in_what_was_chosen(sharpness):
    """Where it is right as often as its probability says, a temperature that was put in is found again."""
    random = np.random.default_rng(0)
    true_NY = softmax(random.normal(0, 2, (5000, 4)))
    chosen_N = true_NY.argmax(1)
    is_right_N = random.random(5000) < true_NY.max(1)
    given_NY = temper(true_NY, 1 / sharpness)

    def confidences(temperature):
        return temper(given_NY, temperature)[np.arange(5000), chosen_N]

    (found,) = fit_confidence(confidences, is_right_N, 1)
    assert found == pytest.approx(sharpness, rel=0.1)
    for all_or_none in (np.ones(5000, dtype=bool), np.zeros(5000, dtype=bool)):
        with pytest.raises(ValueError, match="all are right, or none is"):
            fit_confidence(confidences, all_or_none, 1)
    with pytest.raises(ValueError, match="no predictions"):
        fit_confidence(lambda temperature: np.empty(0), np.empty(0, dtype=bool), 1)


def test_worse_than_guessing_ends_at_the_bound():
    assert fit_temperature(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([1, 1])) == pytest.approx(20, rel=0.01)


def test_probability_of_zero():
    found_NY = temper(np.array([[1.0, 0.0], [0.5, 0.5]]), 2.0)
    assert np.isfinite(found_NY).all()
    assert found_NY[1].tolist() == [0.5, 0.5]
    assert 1 < fit_temperature(np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), np.array([0, 0, 1])) <= 20.01


@given(arrays(np.float64, (5, 3), elements=st.floats(-20, 20)), st.floats(0.05, 20))
def test_tempering_is_dividing_the_logits_and_keeps_the_order(logits_NY, temperature):
    probabilities_NY = softmax(logits_NY)
    found_NY = temper(probabilities_NY, temperature)
    np.testing.assert_allclose(found_NY, softmax(logits_NY / temperature), rtol=1e-6, atol=1e-12)
    chosen_N = probabilities_NY.argmax(1)
    assert (found_NY[np.arange(5), chosen_N] == found_NY.max(1)).all()
