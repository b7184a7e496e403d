"""Order without state: every index once, streams that do not meet, batches of near-equal length."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dokkai.data.order import generator, group_by_length, permutation, split_by_tokens


def draws(*arguments):
    return tuple(generator(*arguments).integers(0, 2**63, 4).tolist())


def test_generators_do_not_collide():
    """Neighbouring numbers, purposes and seeds, and the same number in another place, give other streams."""
    numbers = list(product(range(6), repeat=3))
    streams = {draws(seed, purpose, *n) for seed in range(2) for purpose in ("order", "instances") for n in numbers}
    assert len(streams) == 2 * 2 * len(numbers)
    firsts = [stream[0] for stream in streams]
    assert len(set(firsts)) == len(firsts)
    assert draws(1, "instances", 0, 2, 3) == draws(1, "instances", 0, 2, 3)


def test_streams_of_neighbours_are_independent():
    """The stream of one index is not that of the next one, moved along."""
    long = generator(0, "instances", 0, 0, 7).integers(0, 2**63, 10_000)
    for number in (6, 8):
        assert not np.isin(generator(0, "instances", 0, 0, number).integers(0, 2**63, 100), long).any()
    values = np.array([generator(0, "instances", 0, 0, index).random() for index in range(20_000)])
    standard_error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - 0.5) < 3 * standard_error
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 3 / np.sqrt(len(values))


def test_large_numbers():
    assert draws(2**63, "heldout", 2**62) != draws(2**63, "heldout", 2**62 + 1)
    assert draws(3, "batches", np.int64(5)) == draws(3, "batches", 5)


def test_a_purpose_must_be_known():
    with pytest.raises(KeyError):
        generator(0, "something", 1)


def test_permutation_covers_each_index_once():
    orders = [permutation(1000, seed, phase, epoch) for seed, phase, epoch in product(range(2), repeat=3)]
    for order in orders:
        assert np.array_equal(np.sort(order), np.arange(1000))
    assert len({order.tobytes() for order in orders}) == len(orders)
    assert np.array_equal(permutation(1000, 1, 1, 1), orders[-1])


def test_permutation_is_shared_and_therefore_read_only():
    with pytest.raises(ValueError, match="read-only"):
        permutation(10, 0, 0, 0)[0] = 1


@pytest.mark.parametrize("size", [1, 31, 32, 33, 1000, 5000])
def test_group_by_length_covers_each_index_once(size):
    lengths = np.random.default_rng(0).integers(5, 400, size)
    batches = group_by_length(lengths, 32, seed=1, epoch=2)
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(size))
    assert len(batches) == -(-size // 32)
    assert sorted(map(len, batches))[1:] == [32] * (len(batches) - 1)


def test_group_by_length_saves_padding_and_stays_random():
    lengths = np.random.default_rng(0).integers(5, 400, 8192)
    batches = group_by_length(lengths, 32, seed=0, epoch=0)
    spreads = [int(np.ptp(lengths[batch])) for batch in batches]
    assert np.median(spreads) < 60  # of 395; a sixteenth is 25
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.06 * lengths.sum()
    # Lengths do not drift over the epoch: each window of 16 batches has the mean of all.
    means = [lengths[np.concatenate(batches[start : start + 16])].mean() for start in range(0, len(batches), 16)]
    assert np.ptp(means) < 6 * lengths.std() / np.sqrt(16 * 32)
    maxima = np.array([lengths[batch].max() for batch in batches])
    assert abs(np.corrcoef(maxima[:-1], maxima[1:])[0, 1]) < 3 / np.sqrt(len(maxima))


def test_group_by_length_depends_on_seed_and_epoch_alone():
    lengths = np.random.default_rng(0).integers(5, 400, 300)
    keys = list(product(range(2), repeat=2))
    orders = {key: np.concatenate(group_by_length(lengths, 16, *key)).tobytes() for key in keys}
    assert len(set(orders.values())) == 4
    assert np.concatenate(group_by_length(lengths, 16, 1, 1)).tobytes() == orders[1, 1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.integers(1, 2000))
def test_split_by_tokens_keeps_to_the_budget(numbers, max_tokens):
    lengths = np.array([*numbers, 999])  # the last one is in no batch
    indices = np.random.default_rng(0).permutation(len(numbers))
    parts = split_by_tokens(lengths, indices, max_tokens)
    assert sorted(np.concatenate(parts).tolist()) == sorted(indices.tolist())
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        assert len(part) == 1 or len(part) * lengths[part].max() <= max_tokens
        if following is not None:  # no part is smaller than it must be
            assert (len(part) + 1) * lengths[part].max() > max_tokens
