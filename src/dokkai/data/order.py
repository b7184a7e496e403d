"""Order without state: who comes when is a function of (seed, epoch, index) alone, never of rank, batch or time.

So a stopped run goes on where it was by knowing its step number, and one process and many see the same examples.
"""

from functools import lru_cache

import numpy as np

_PURPOSES = {"order": 1, "instances": 2, "heldout": 3, "batches": 4, "walks": 5, "static": 6}


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """A random generator for one thing, such as ``("instances", phase, epoch, index)``; at most three numbers.

    Philox is counter-based: the numbers go into the counter, so a million generators cost no more than their making.
    """
    counter = np.array([0, *numbers, *[0] * (3 - len(numbers))], dtype=np.uint64)  # the first word counts the draws
    key = np.array([seed, _PURPOSES[purpose]], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


@lru_cache(maxsize=4)
def permutation(size: int, seed: int, phase: int, epoch: int) -> np.ndarray:
    """The order of ``size`` things in an epoch: ``(size,)`` int64, each number once; read-only, it is shared."""
    order = generator(seed, "order", phase, epoch).permutation(size)
    order.setflags(write=False)
    return order


def group_by_length(lengths: np.ndarray, batch_size: int, seed: int, epoch: int, window: int = 16) -> list[np.ndarray]:
    """Batches of examples of near-equal length, drawn from a shuffled window, so that padding does little work.

    The epoch's random order is cut into windows of ``window`` batches; each window is sorted by length, cut into
    batches, and its batches are shuffled: batches stay random samples of a random sixteenth of the data.
    Returns index arrays of ``batch_size`` (one of the last window may be shorter); every index occurs once.
    """
    order = permutation(len(lengths), seed, 0, epoch)
    rng = generator(seed, "batches", epoch)
    batches: list[np.ndarray] = []
    for start in range(0, len(order), window * batch_size):
        chosen = order[start : start + window * batch_size]
        chosen = chosen[np.argsort(lengths[chosen], kind="stable")]
        parts = [chosen[i : i + batch_size] for i in range(0, len(chosen), batch_size)]
        batches += [parts[i] for i in rng.permutation(len(parts))]
    return batches


def split_by_tokens(
    lengths: np.ndarray, indices: np.ndarray, max_tokens: int, rows: np.ndarray | None = None
) -> list[np.ndarray]:
    """Cut one batch into micro-batches of at most ``max_tokens`` tokens, padding included, longest first.

    ``rows`` says how many sequences of its length an example has, one if unset. An example that is longer alone is a
    micro-batch of its own.
    """
    rows = np.ones(len(lengths), dtype=np.int64) if rows is None else rows
    order = indices[np.argsort(-lengths[indices], kind="stable")]
    parts: list[np.ndarray] = []
    start = 0
    while start < len(order):
        most = max_tokens // max(1, int(lengths[order[start]]))
        size = max(1, int(np.searchsorted(np.cumsum(rows[order[start:]]), most, side="right")))
        parts.append(order[start : start + size])
        start += size
    return parts
