"""Probabilities that can be believed: how far they are off, and the temperature that brings them closest.

Guo et al. 2017, "On Calibration of Modern Neural Networks".

N examples · Y labels
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

_LOWEST, _HIGHEST = 0.05, 20.0  # temperatures
_STARTS = (0.1, 0.3, 1.0, 3.0, 10.0)  # the best of which a search among several begins with
_TINY = np.finfo(np.float64).tiny  # a probability of 0 has no logarithm


def calibration_error(confidences: np.ndarray, is_right: np.ndarray, num_bins: int = 15) -> float:
    """The expected calibration error (ECE), 0 to 1: the mean distance of confidence and share of right answers.

    ``confidences`` ``(N,)`` are the probabilities of the predicted labels, ``is_right`` ``(N,)`` says which of them are
    right. Bins are equally wide, each ``(low, high]``; each weighs as many as it holds. ValueError without examples.
    """
    if not len(confidences):
        raise ValueError("no predictions")
    bins = np.clip(np.ceil(confidences * num_bins).astype(int) - 1, 0, num_bins - 1)
    gaps = np.bincount(bins, weights=confidences - is_right, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(confidences))


def fit_temperature(probabilities_NY: np.ndarray, labels_N: np.ndarray, current: float = 1.0) -> float:
    """The temperature under which the right labels are likeliest, from 0.05 to 20; above 1 makes less sure.

    ``labels_N`` are the numbers of the right labels, ``current`` is the temperature that the probabilities were made
    with. It stays where no prediction is wrong: the likeliest would be to be sure of everything. ValueError without
    examples.
    """
    if not len(labels_N):
        raise ValueError("no predictions")
    if (probabilities_NY.argmax(1) == labels_N).all():
        return current

    def loss(temperature: float) -> float:
        return log_loss(temper(probabilities_NY, temperature / current), labels_N)

    return _lowest(loss)


def fit_confidence(confidences: Callable[..., np.ndarray], is_right_N: np.ndarray, number: int) -> tuple[float, ...]:
    """The temperatures, from 0.05 to 20, under which the probability of what was chosen says best whether it is right.

    For tasks such as answers, where the right one may not be among the candidates. ``confidences`` gives the
    probabilities ``(N,)`` under ``number`` temperatures. ValueError without examples, and where all are right, or none.
    """
    if not len(is_right_N):
        raise ValueError("no predictions")
    if is_right_N.all() or not is_right_N.any():
        raise ValueError("all are right, or none is: the surer the better")
    from scipy.optimize import minimize  # here, because the import takes a while

    def loss(logarithms: Sequence[float]) -> float:
        return confidence_loss(confidences(*np.exp(logarithms).tolist()), is_right_N)

    start = np.array(min(itertools.product(np.log(_STARTS), repeat=number), key=loss))
    bounds = [(np.log(_LOWEST), np.log(_HIGHEST))] * number
    simplex = np.vstack([start, start + 0.5 * np.eye(number)])
    options = {"xatol": 1e-4, "fatol": 1e-9, "initial_simplex": simplex}
    found = minimize(loss, start, method="Nelder-Mead", bounds=bounds, options=options)
    return tuple(np.exp(found.x).tolist())


def _lowest(loss: Callable[[float], float]) -> float:
    """The temperature with the lowest loss."""
    from scipy.optimize import minimize_scalar  # here, because the import takes a while

    bounds = (np.log(_LOWEST), np.log(_HIGHEST))
    return float(np.exp(minimize_scalar(lambda x: loss(float(np.exp(x))), bounds=bounds, method="bounded").x))


def log_loss(probabilities_NY: np.ndarray, labels_N: np.ndarray) -> float:
    """The mean of minus the logarithm of the right labels' probabilities: what a temperature is fitted to."""
    chosen_N = probabilities_NY[np.arange(len(labels_N)), labels_N]
    return -float(np.log(np.maximum(chosen_N, _TINY)).mean())


def confidence_loss(confidences_N: np.ndarray, is_right_N: np.ndarray) -> float:
    """The same of "right" and "wrong", where ``confidences_N`` are the probabilities of "right"."""
    return log_loss(np.stack([1 - confidences_N, confidences_N], axis=1), is_right_N.astype(int))


def temper(probabilities_NY: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities that the same logits, divided by ``temperature``, would give; their order stays."""
    logits_NY = np.log(np.maximum(probabilities_NY.astype(np.float64), _TINY)) / temperature
    weights_NY = np.exp(logits_NY - logits_NY.max(1, keepdims=True))
    tempered: np.ndarray = weights_NY / weights_NY.sum(1, keepdims=True)
    return tempered
