"""The masking rule: exact counts, the paper's shares over more than 100,000 tokens, whole words."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from dokkai.data.masking import Vocabulary, mask, max_predictions

CLS, SEP, MASK, PAD, UNK, UNUSED = 2, 3, 4, 0, 1, 5
SIZE = 300
CONTINUATIONS = np.arange(200, SIZE)  # of the ids; the rest begin words
VOCABULARY = Vocabulary(
    cls_id=CLS,
    sep_id=SEP,
    mask_id=MASK,
    pad_id=PAD,
    regular_ids=np.arange(UNUSED + 1, SIZE),
    is_continuation=np.arange(SIZE) >= 200,
)
SHARE = 0.15


def sequence(rng, length, pieces=0.4):
    """[CLS] A [SEP] B [SEP] of random words; ``pieces`` is the share of tokens that continue a word."""
    ids = np.where(rng.random(length) < pieces, rng.choice(CONTINUATIONS, length), rng.integers(6, 200, length))
    ids[[0, length // 2, length - 1]] = CLS, SEP, SEP
    return ids.astype(np.int64)


def masked(num_sequences, length, seed=0, whole_word=False, pieces=0.4):
    rng = np.random.default_rng(seed)
    most = max_predictions(length, SHARE)
    sequences = [sequence(rng, length, pieces) for _ in range(num_sequences)]
    return [(ids, *mask(ids, VOCABULARY, SHARE, most, whole_word, rng)) for ids in sequences]


def words(ids):
    """Positions of the words of a sequence; [CLS] and [SEP] belong to none."""
    out = []
    for position, token in enumerate(ids.tolist()):
        if token in (CLS, SEP):
            continue
        if VOCABULARY.is_continuation[token] and out and out[-1][-1] == position - 1:
            out[-1].append(position)
        else:
            out.append([position])
    return out


def assert_share(count, total, share):
    standard_error = math.sqrt(share * (1 - share) / total)
    assert abs(count / total - share) < 3 * standard_error, f"{count / total:.5f} of {total}, expected {share:.5f}"


def test_most_predictions_are_those_of_the_release():
    assert max_predictions(128, SHARE) == 20
    assert max_predictions(512, SHARE) == 77


def test_the_number_chosen_is_exact():
    rng = np.random.default_rng(0)
    for length in range(5, 300):
        ids = sequence(rng, length)
        changed, positions, originals = mask(ids, VOCABULARY, SHARE, max_predictions(128, SHARE), False, rng)
        assert len(positions) == min(20, max(1, round(length * SHARE)))
        assert np.array_equal(positions, np.unique(positions))
        assert np.array_equal(originals, ids[positions])
        untouched = np.setdiff1d(np.arange(length), positions)
        assert np.array_equal(changed[untouched], ids[untouched])


def test_the_input_is_not_changed():
    ids = sequence(np.random.default_rng(0), 50)
    before = ids.copy()
    mask(ids, VOCABULARY, SHARE, 8, False, np.random.default_rng(1))
    assert np.array_equal(ids, before)


def test_masks_depend_on_the_generator_alone():
    ids = sequence(np.random.default_rng(0), 128)
    runs = [mask(ids, VOCABULARY, SHARE, 20, False, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert all(np.array_equal(x, y) for x, y in zip(runs[0], runs[1], strict=True))
    assert not np.array_equal(runs[0][1], runs[2][1])


@pytest.mark.parametrize("whole_word", [False, True])
def test_shares_of_the_paper(whole_word):
    """Over 256,000 tokens: 15 % chosen; of these 80 % [MASK], 10 % random, 10 % the same."""
    results = masked(2000, 128, whole_word=whole_word)
    num_tokens = sum(len(ids) for ids, *_ in results)
    assert num_tokens >= 100_000
    chosen = sum(len(positions) for _, _, positions, _ in results)
    assert_share(chosen, num_tokens, SHARE)
    new = np.concatenate([changed[positions] for _, changed, positions, _ in results])
    old = np.concatenate([originals for *_, originals in results])
    by_chance = 0.1 / len(VOCABULARY.regular_ids)  # a random word may be the word itself
    assert_share(int((new == MASK).sum()), chosen, 0.8)
    assert_share(int((new == old).sum()), chosen, 0.1 + by_chance)
    assert_share(int(((new != MASK) & (new != old)).sum()), chosen, 0.1 - by_chance)


@pytest.mark.parametrize("whole_word", [False, True])
def test_special_tokens_are_never_chosen_or_made(whole_word):
    for ids, changed, positions, _ in masked(500, 60, whole_word=whole_word):
        assert not np.isin(ids[positions], (CLS, SEP)).any()
        assert np.array_equal(changed == CLS, ids == CLS)
        assert np.array_equal(changed == SEP, ids == SEP)
        assert not np.isin(changed, (PAD, UNK, UNUSED)).any()


def test_random_words_are_uniform_over_regular_ids():
    results = masked(8000, 128)
    new = np.concatenate([changed[positions] for _, changed, positions, _ in results])
    old = np.concatenate([originals for *_, originals in results])
    counts = np.bincount(new[(new != MASK) & (new != old)], minlength=SIZE)
    assert not counts[: UNUSED + 1].any()
    counts = counts[UNUSED + 1 :]
    expected = counts.sum() / len(counts)
    assert expected > 50
    freedom = len(counts) - 1
    assert abs(((counts - expected) ** 2 / expected).sum() - freedom) < 3 * math.sqrt(2 * freedom)


def test_every_position_is_as_likely():
    ids = sequence(np.random.default_rng(0), 128)
    rng = np.random.default_rng(1)
    counts = np.zeros(128)
    for _ in range(4000):
        counts[mask(ids, VOCABULARY, SHARE, 20, False, rng)[1]] += 1
    counts = counts[(ids != CLS) & (ids != SEP)]
    share = round(128 * SHARE) / len(counts)
    expected = 4000 * share
    freedom = len(counts) - 1
    statistic = ((counts - expected) ** 2 / (expected * (1 - share))).sum()
    assert abs(statistic - freedom) < 3 * math.sqrt(2 * freedom)


def test_whole_words_stay_whole():
    num_long = 0
    for ids, _, positions, _ in masked(1000, 128, whole_word=True, pieces=0.6):
        quota = round(128 * SHARE)
        assert len(positions) <= quota
        chosen = set(positions.tolist())
        for word in words(ids):
            assert chosen.issuperset(word) or chosen.isdisjoint(word)
            num_long += len(word) > 1 and word[0] in chosen
    assert num_long > 1000


def test_a_word_longer_than_the_quota_is_masked_in_part():
    """Nothing else would be left to learn from."""
    ids = np.array([CLS, 10, *[250] * 11, SEP])  # one word of 12 pieces; the quota is 2
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert mask(ids, VOCABULARY, SHARE, 20, True, rng)[1].tolist() == [1, 2]


def test_a_piece_behind_a_special_token_begins_a_word():
    ids = np.array([CLS, 250, 250, SEP, 251, SEP])
    rng = np.random.default_rng(0)
    found = {tuple(mask(ids, VOCABULARY, 0.34, 3, True, rng)[1].tolist()) for _ in range(50)}
    assert found == {(1, 2), (4,)}


@pytest.mark.parametrize("whole_word", [False, True])
def test_nothing_to_mask(whole_word):
    ids = np.array([CLS, SEP, SEP])
    changed, positions, originals = mask(ids, VOCABULARY, SHARE, 3, whole_word, np.random.default_rng(0))
    assert changed.tolist() == ids.tolist()
    assert len(positions) == len(originals) == 0


def release_masks(tokens, most, whole_word, rng):
    """``create_masked_lm_predictions`` with a list of tokens: position to (new, original)."""
    words = []
    for position, token in enumerate(tokens):
        if token in (CLS, SEP):
            continue
        if whole_word and words and VOCABULARY.is_continuation[token]:
            words[-1].append(position)
        else:
            words.append([position])
    rng.shuffle(words)
    wanted = min(most, max(1, round(len(tokens) * SHARE)))
    found = {}
    for word in words:
        if len(found) >= wanted:
            break
        if len(found) + len(word) > wanted:
            continue
        for position in word:
            new = MASK
            if rng.random() >= 0.8:
                new = tokens[position] if rng.random() < 0.5 else rng.randint(0, SIZE - 1)
            found[position] = new, tokens[position]
    return found


@pytest.mark.parametrize("whole_word", [False, True])
def test_masks_as_released(whole_word):
    """Over 100,000 tokens beside the plain algorithm: how many, which, and what became of them."""
    everything = replace(VOCABULARY, regular_ids=np.arange(SIZE))
    rng, draws = np.random.default_rng(3), random.Random(3)
    rows = {"ours": [], "theirs": []}
    for _ in range(1700):
        ids = sequence(rng, int(rng.integers(5, 129)), pieces=0.6)
        changed, positions, originals = mask(ids, everything, SHARE, 12, whole_word, rng, as_released=True)
        assert np.array_equal(ids[positions], originals)
        rows["ours"].append((ids, positions, changed[positions]))
        found = sorted(release_masks(ids.tolist(), 12, whole_word, draws).items())
        rows["theirs"].append(
            (ids, np.array([p for p, _ in found], dtype=int), np.array([new for _, (new, _) in found]))
        )
        if not whole_word:
            assert len(positions) == len(found)
    assert sum(len(ids) for ids, *_ in rows["ours"]) > 100_000
    measures = {
        "chosen": lambda ids, positions, new: len(positions),
        "nothing": lambda ids, positions, new: not len(positions),
        "pieces": lambda ids, positions, new: int(VOCABULARY.is_continuation[ids[positions]].sum()),
        "masks": lambda ids, positions, new: int((new == MASK).sum()),
        "kept": lambda ids, positions, new: int((new == ids[positions]).sum()),
        "special": lambda ids, positions, new: int(np.isin(new, (CLS, SEP, PAD, UNK, UNUSED)).sum()),
    }
    for name, measure in measures.items():
        x, y = (np.array([measure(*row) for row in rows[side]], dtype=float) for side in ("ours", "theirs"))
        error = math.sqrt((x.var() + y.var()) / len(x))
        assert abs(x.mean() - y.mean()) <= 3 * error, (name, x.mean(), y.mean(), error)
    assert sum(measures["special"](*row) for row in rows["ours"]) > 0  # from the whole vocabulary


def test_whole_words_as_released():
    """A piece behind a [SEP] belongs to the word before it; where no word fits, nothing is chosen."""
    ids = np.array([CLS, 250, 250, SEP, 251, 10, SEP])
    rng = np.random.default_rng(0)
    found = {tuple(mask(ids, VOCABULARY, 0.43, 3, True, rng, True)[1].tolist()) for _ in range(50)}
    assert found == {(1, 2, 4), (5,)}
    ids = np.array([CLS, 10, *[250] * 11, SEP])
    assert mask(ids, VOCABULARY, SHARE, 20, True, rng, as_released=True)[1].tolist() == []
