"""Scores of predicted numbers."""

from collections.abc import Sequence


def regression_scores(values: Sequence[float], predictions: Sequence[float]) -> dict[str, float]:
    """Score predicted numbers with scipy.

    Keys: ``pearson`` and ``spearman`` (correlations in -1..1, 0 where one side is constant), ``mean_squared_error``.
    ValueError if there is nothing to score or the lengths differ.
    """
    if len(values) != len(predictions):
        raise ValueError(f"{len(values)} values but {len(predictions)} predictions")
    if not values:
        raise ValueError("no values to score")

    import numpy as np
    from scipy.stats import pearsonr, spearmanr  # here, because the import takes seconds

    truth, guesses = np.array(values, dtype=np.float64), np.array(predictions, dtype=np.float64)
    scores = {"mean_squared_error": float(((truth - guesses) ** 2).mean())}
    is_constant = np.ptp(truth) == 0 or np.ptp(guesses) == 0  # then the correlation is not defined, and scipy warns
    for name, correlation in (("pearson", pearsonr), ("spearman", spearmanr)):
        scores[name] = 0.0 if is_constant else float(correlation(truth, guesses).statistic)
    return scores
