"""The masking rule of the paper (section 3.1, task 1).

Of the tokens of a sequence 15 % are chosen, never [CLS] or [SEP]. Of the chosen, 80 % become [MASK], 10 % a random word
and 10 % stay as they are; the model must predict the original of all of them.
"""

import math
from dataclasses import dataclass

import numpy as np

MASK_PROB, RANDOM_PROB = 0.8, 0.1  # of the chosen tokens; the rest stay


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What masking must know of a tokenizer."""

    cls_id: int
    sep_id: int
    mask_id: int
    pad_id: int
    regular_ids: np.ndarray
    """Ids a random word is drawn from: everything but special and unused tokens."""
    is_continuation: np.ndarray
    """``(V,)`` bool: True for pieces that continue a word (``##ing``)."""


def max_predictions(length: int, share: float) -> int:
    """Most positions predicted in a sequence of ``length``: 20 of 128, 77 of 512, as the release sets it."""
    return math.ceil(length * share)


def mask(
    input_ids: np.ndarray,
    vocabulary: Vocabulary,
    share: float,
    most: int,
    whole_word: bool,
    rng: np.random.Generator,
    as_released: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose and replace tokens of one sequence ``(n,)``.

    Returns the changed ids ``(n,)``, the chosen positions, ascending ``(m,)``, and their original ids ``(m,)``.
    ``m`` is ``round(n * share)`` with [CLS] and [SEP] counted in n, as in the release, at least 1, at most ``most``;
    with ``whole_word`` it is less if the words left do not fit. Nothing is chosen where there are only [CLS] and [SEP].

    Two details of whole words are mended unless ``as_released``: a piece behind a [SEP] begins a word, which the
    release joins to the last word before it; and where no word fits, part of one is chosen, not nothing.
    """
    candidates = np.flatnonzero((input_ids != vocabulary.cls_id) & (input_ids != vocabulary.sep_id))
    wanted = min(most, max(1, round(len(input_ids) * share)), len(candidates))
    if whole_word:
        positions = _choose_words(input_ids, candidates, vocabulary.is_continuation, wanted, rng, as_released)
    else:
        positions = rng.permutation(candidates)[:wanted]
    positions = np.sort(positions)
    originals = input_ids[positions]
    draw = rng.random(len(positions))
    random_ids = vocabulary.regular_ids[rng.integers(0, len(vocabulary.regular_ids), len(positions))]
    replaced = np.where(draw < MASK_PROB, vocabulary.mask_id, originals)
    replaced = np.where(draw >= 1 - RANDOM_PROB, random_ids, replaced)
    changed = input_ids.copy()
    changed[positions] = replaced
    return changed, positions, originals


def _choose_words(
    input_ids: np.ndarray,
    candidates: np.ndarray,
    is_continuation: np.ndarray,
    wanted: int,
    rng: np.random.Generator,
    as_released: bool,
) -> np.ndarray:
    """Whole words in random order until ``wanted`` positions are full; a word that would overflow is left out."""
    follows = np.zeros(len(candidates), dtype=bool)
    follows[1:] = is_continuation[input_ids[candidates[1:]]] & (as_released | (np.diff(candidates) == 1))
    starts = np.flatnonzero(~follows)
    ends = np.append(starts[1:], len(candidates))
    chosen: list[np.ndarray] = []
    room = wanted
    for word in rng.permutation(len(starts)):
        size = int(ends[word] - starts[word])
        if size <= room:
            chosen.append(candidates[starts[word] : ends[word]])
            room -= size
        if room == 0:
            break
    if (
        not chosen and len(starts) and not as_released
    ):  # every word is longer than the quota: take a piece, or there is nothing to learn
        word = int(rng.integers(len(starts)))
        chosen.append(candidates[starts[word] : ends[word]][:wanted])
    return np.concatenate(chosen) if chosen else candidates[:0]
