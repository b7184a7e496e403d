"""Pre-training: the batches of a run, held-out sequences, and a tiny overfit."""

import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from tiny_tasks import overfit, tiny_model

from dokkai.data.masking import max_predictions
from dokkai.data.shards import Corpus
from dokkai.settings import PretrainingSettings
from dokkai.tasks import Pretraining
from dokkai.tasks.pretraining import PretrainingBatches
from dokkai.tokenization import Tokenizer
from dokkai.tokenization.wordpiece import WordPieceBackend


@pytest.fixture(scope="module")
def corpus(prepared):
    return Corpus.open(prepared)


def create(tokenizer, **settings):
    return Pretraining(PretrainingSettings(**settings), tokenizer)


def flat(micro_batches):
    """The sequences of an update, of whatever micro-batches, without padding of the masked positions."""
    rows = []
    for batch in micro_batches:
        num_rows, length = batch["input_ids"].shape
        positions = batch["masked_positions"].view(num_rows, -1)
        labels = batch["masked_labels"].view(num_rows, -1)
        for row in range(num_rows):
            known = labels[row] != -100
            assert torch.all(positions[row][known] // length == row)
            rows.append(
                (
                    batch["input_ids"][row].tolist(),
                    batch["token_type_ids"][row].tolist(),
                    (positions[row][known] % length).tolist(),
                    labels[row][known].tolist(),
                    int(batch["is_random_next"][row]) if "is_random_next" in batch else None,
                )
            )
    return rows


def test_corpus_has_several_shards(corpus):
    assert len(corpus.shards) > 1


def test_what_masking_knows_of_a_tokenizer():
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "[unused0]",
        "[no token 6]",
        "a",
        "##a",
        "b",
        "[unused1]",
    ]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    task = create(Tokenizer(WordPieceBackend(vocabulary, "[UNK]", special)))
    assert task.vocabulary.regular_ids.tolist() == [7, 8, 9]
    assert np.flatnonzero(task.vocabulary.is_continuation).tolist() == [8]
    assert (task.vocabulary.cls_id, task.vocabulary.sep_id, task.vocabulary.mask_id) == (2, 3, 4)


@pytest.mark.parametrize("whole_word", [False, True])
@pytest.mark.parametrize("next_sentence", [False, True])
def test_shares_on_real_text(tokenizer, corpus, next_sentence, whole_word):
    """Over 100,000 tokens of both kinds of instances."""
    length = 128
    task = create(tokenizer, lengths=[length], next_sentence=next_sentence, whole_word=whole_word)
    batches = PretrainingBatches(task, corpus, 14, 64, 64 * length, seed=0)
    num_tokens = chosen = masks = 0
    for step in range(len(batches)):
        for ids, _, positions, labels, _ in flat(batches[step]):
            size = sum(token != tokenizer.pad_id for token in ids)
            quota = min(max(1, round(size * 0.15)), max_predictions(length, 0.15))
            assert quota - 3 * whole_word <= len(positions) <= quota
            assert not {tokenizer.cls_id, tokenizer.sep_id} & set(labels)
            num_tokens, chosen = num_tokens + size, chosen + len(positions)
            masks += sum(ids[position] == tokenizer.mask_id for position in positions)
            if whole_word:  # what follows or precedes a masked piece in its word is masked too
                original = dict(zip(positions, labels, strict=True))
                for position in range(1, size - 1):
                    token = original.get(position, ids[position])
                    before = original.get(position - 1, ids[position - 1])
                    if tokenizer.is_continuation[token] and before not in (tokenizer.cls_id, tokenizer.sep_id):
                        assert (position in original) == (position - 1 in original)
    assert num_tokens > 100_000
    assert abs(chosen / num_tokens - 0.15) < 3 * math.sqrt(0.15 * 0.85 / num_tokens)
    assert abs(masks / chosen - 0.8) < 3 * math.sqrt(0.8 * 0.2 / chosen)


def test_phases(tokenizer, corpus):
    """Nine tenths of the steps at 128, the rest at 512, as in the paper."""
    task = create(tokenizer, lengths=[128, 512], length_shares=[0.9, 0.1])
    batches = PretrainingBatches(task, corpus, 20, 4, 4 * 512, seed=0)
    lengths = [batches[step][0]["input_ids"].shape[1] for step in range(20)]
    assert lengths == [128] * 18 + [512] * 2
    assert [len(batches[step]) for step in (0, 19)] == [1, 1]
    assert len(batches) == 20
    for step in (-1, 20):
        with pytest.raises(IndexError):
            batches[step]


def test_tokens_per_update(tokenizer, corpus):
    """With ``batch_tokens`` a short phase takes more sequences; together its updates still show each instance once."""
    task = create(tokenizer, lengths=[16, 64], length_shares=[0.5, 0.5], batch_tokens=256, next_sentence=False)
    batches = PretrainingBatches(task, corpus, 8, 999, 256, seed=0)
    assert [batches[step][0]["input_ids"].shape for step in (0, 3, 4, 7)] == [(16, 16)] * 2 + [(4, 64)] * 2
    shown = [tuple(row[0]) for step in range(4) for row in flat(batches[step])]
    assert len(set(shown)) == len(shown) == 4 * 16


def test_heldout_length(tokenizer, corpus):
    short, long = (
        create(tokenizer, lengths=[16, 64], length_shares=[0.5, 0.5], heldout_length=length, next_sentence=False)
        for length in (None, 64)
    )
    assert {len(item.input_ids) for item in short.heldout(corpus)} == {16}
    assert {len(item.input_ids) for item in long.heldout(corpus)} == {64}


@pytest.mark.parametrize("next_sentence", [False, True])
def test_heldout_sequences_are_those_of_every_run(tokenizer, corpus, next_sentence):
    plain = create(tokenizer, lengths=[64], next_sentence=next_sentence, heldout_sequences=8).heldout(corpus)
    changes = {"masked_share": 0.4, "whole_word": True, "short_share": 0.9, "random_next_share": 0.1}
    other = create(tokenizer, lengths=[64], next_sentence=next_sentence, heldout_sequences=8, **changes).heldout(corpus)
    for a, b in zip(plain, other, strict=True):
        assert np.array_equal(a.input_ids, b.input_ids) and np.array_equal(a.positions, b.positions)


@pytest.mark.parametrize("shares", [[0.5, 0.4999995], [1.0, 0.0], [0.0, 1.0], [1 / 3, 2 / 3]])
def test_every_step_has_a_phase(tokenizer, corpus, shares):
    steps = 4_000_000
    task = create(tokenizer, lengths=[8, 16], length_shares=shares)
    batches = PretrainingBatches(task, corpus, steps, 1, 64, seed=0)
    border = round(shares[0] * steps)
    for step in {0, border - 1, border, steps - 1} & set(range(steps)):
        assert batches[step][0]["input_ids"].shape == (1, 8 if step < border else 16)


@pytest.mark.parametrize("next_sentence", [False, True])
def test_shapes_are_fixed(tokenizer, corpus, next_sentence):
    task = create(tokenizer, lengths=[64], next_sentence=next_sentence)
    batches = PretrainingBatches(task, corpus, 12, 8, 4 * 64, seed=0)
    shapes = {
        tuple((name, tuple(part.shape)) for name, part in batch.items()) for i in range(12) for batch in batches[i]
    }
    assert len(shapes) == 1
    found = dict(shapes.pop())
    assert found["masked_positions"] == found["masked_labels"] == (4 * max_predictions(64, 0.15),)
    assert ("attention_mask" in found) == next_sentence  # full sequences need none
    assert ("is_random_next" in found) == next_sentence


def test_micro_batches_together_are_the_whole_batch(tokenizer, corpus):
    task = create(tokenizer, lengths=[64])
    whole, parts, odd = (PretrainingBatches(task, corpus, 5, 8, tokens, seed=3) for tokens in (512, 256, 3 * 64))
    for step in range(5):
        expected = flat(whole[step])
        assert [len(batches[step]) for batches in (whole, parts, odd)] == [1, 2, 3]
        assert flat(parts[step]) == flat(odd[step]) == expected
        assert len(expected) == 8
        counts = [task.counts(batch) for batch in parts[step]]
        assert sum(count["masked_lm"] for count in counts) == task.counts(whole[step][0])["masked_lm"]
        assert sum(count["next_sentence"] for count in counts) == 8


def test_a_step_depends_on_the_seed_alone(tokenizer, corpus):
    task = create(tokenizer, lengths=[64])
    first, again, other = (PretrainingBatches(task, corpus, 40, 8, 512, seed) for seed in (0, 0, 1))
    last = flat(again[39])  # asked for first
    for step in (0, 17, 39):
        assert flat(first[step]) == flat(again[step])
        assert flat(first[step]) != flat(other[step])
    assert flat(first[39]) == last


def test_an_epoch_shows_every_instance_and_the_next_one_other_masks(tokenizer, corpus):
    task = create(tokenizer, lengths=[64], short_share=0.0, random_next_share=0.0)
    size = len(task.instances(corpus, 64))
    batches = PretrainingBatches(task, corpus, 2 * size, 1, 64, seed=0)
    epochs = [[flat(batches[step])[0] for step in range(start, start + size)] for start in (0, size)]

    def first_words(row):
        ids = dict(enumerate(row[0])) | dict(zip(row[2], row[3], strict=True))
        return tuple(ids[position] for position in range(1, 7))

    # Sequences begin at fixed sentences (unless A was cut in front), in another order and with other masks.
    assert len({first_words(row) for row in epochs[0]} & {first_words(row) for row in epochs[1]}) > size / 3
    assert not {(tuple(row[0]), tuple(row[2])) for row in epochs[0]} & {(tuple(r[0]), tuple(r[2])) for r in epochs[1]}


def test_static_instances_come_round_with_their_masks(tokenizer, corpus):
    """Duplicate after duplicate, then the first again: the same pairs with the same masks in another order."""
    task = create(tokenizer, lengths=[64], static_duplicates=2)
    pairs = task.instances(corpus, 64)
    sizes = [len(pairs.walk(i).is_random) for i in range(2)]
    starts = np.cumsum([0, *sizes, *sizes])
    batches, other = (PretrainingBatches(task, corpus, int(starts[-1]), 1, 64, seed) for seed in (0, 1))
    epochs = [[flat(batches[i])[0] for i in range(*border)] for border in pairwise(map(int, starts))]
    assert sorted(epochs[0]) == sorted(epochs[2]) and epochs[0] != epochs[2]
    assert sorted(epochs[1]) == sorted(epochs[3])
    masks = [{(tuple(row[0]), tuple(row[2])) for row in epoch} for epoch in epochs[:2]]
    assert len(masks[0] & masks[1]) < sizes[0] / 50
    assert sorted(flat(other[i])[0] for i in range(sizes[0])) == sorted(epochs[0])


def test_random_words_of_static_instances_are_any(tokenizer, corpus):
    """Over 100,000 tokens: 80, 10 and 10 %, and a random word is any entry of the vocabulary, [PAD] and [MASK] too."""
    task = create(tokenizer, lengths=[128], static_duplicates=10)
    batches = PretrainingBatches(task, corpus, 16, 64, 64 * 128, seed=0)
    rows = [row for step in range(16) for row in flat(batches[step])]
    assert sum(token != tokenizer.pad_id for row in rows for token in row[0]) > 100_000
    new = np.array([row[0][position] for row in rows for position in row[2]])
    old = np.array([label for row in rows for label in row[3]])
    size, total = tokenizer.vocab_size, len(new)
    special = np.isin(new, [i for i in tokenizer.special_ids if i != tokenizer.mask_id])
    for found, share in (
        (new == tokenizer.mask_id, 0.8 + 0.1 / size),
        (new == old, 0.1 + 0.1 / size),
        (special, 0.1 * (len(tokenizer.special_ids) - 1) / size),
    ):
        assert abs(found.mean() - share) < 3 * math.sqrt(share * (1 - share) / total)
    assert special.any()


def test_most_predictions(tokenizer, corpus, prepared):
    """One number for each length, for training; held-out sequences stay as they are."""
    phases = {"lengths": [64, 128], "length_shares": [0.5, 0.5]}
    for more in ({}, {"static_duplicates": 3}):
        task = create(tokenizer, **phases, max_predictions=[4, 15], **more)
        batches = PretrainingBatches(task, corpus, 2, 64, 64 * 128, seed=0)
        for step, most, length in ((0, 4, 64), (1, 15, 128)):
            rows = flat(batches[step])
            assert max(len(row[2]) for row in rows) == most
            assert all(len(row[0]) == length for row in rows)
        plain = create(tokenizer, **phases)
        for x, y in zip(task.read(prepared), plain.read(prepared), strict=True):
            assert x.input_ids.tolist() == y.input_ids.tolist() and x.positions.tolist() == y.positions.tolist()


def test_batches_travel_to_another_process(tokenizer, corpus):
    for more in ({}, {"next_sentence": False}, {"static_duplicates": 2}):
        task = create(tokenizer, lengths=[64], **more)
        batches = PretrainingBatches(task, corpus, 5, 8, 512, seed=0)
        again = pickle.loads(pickle.dumps(batches))
        assert flat(again[3]) == flat(batches[3])


def test_heldout_sequences_are_the_same_in_every_run(tokenizer, prepared):
    task = create(tokenizer, lengths=[64, 128], length_shares=[0.5, 0.5])
    first, again = task.read(prepared), task.read(prepared)
    assert len(first) == len(task.instances(Corpus.open(prepared, "heldout"), 64)) > 20
    for x, y in zip(first, again, strict=True):
        assert x.input_ids.tolist() == y.input_ids.tolist()
        assert x.positions.tolist() == y.positions.tolist()
        assert len(x.input_ids) <= 64
    few = create(tokenizer, lengths=[64], heldout_sequences=5).read(prepared)
    assert [item.input_ids.tolist() for item in few] == [item.input_ids.tolist() for item in first[:5]]
    assert task.encode(first, training=False) is first


def test_scores_by_hand(tokenizer, prepared):
    """The mean is over masked words, not over sequences or batches."""
    task = create(tokenizer, lengths=[64], heldout_sequences=4)
    examples = task.read(prepared)
    batch = task.collate(examples, 64)
    labels = batch["masked_labels"]
    is_known = labels != -100
    logits_MV = torch.zeros(len(labels), tokenizer.vocab_size)
    right = is_known.nonzero().flatten()[::2]
    logits_MV[right, labels[right]] = 20.0
    logits_B2 = torch.tensor([[1.0, 0.0]] * 4)  # B always follows
    found = task.decode({"masked_lm": logits_MV, "next_sentence": logits_B2}, batch, examples)
    scores = task.score(examples, task.merge(examples, examples, found))
    total = int(is_known.sum())
    assert scores["masked_lm_accuracy"] == pytest.approx(len(right) / total)
    wrong = (total - len(right)) * math.log(tokenizer.vocab_size)
    assert scores["masked_lm_loss"] == pytest.approx(wrong / total, rel=1e-4)
    assert scores["next_sentence_accuracy"] == np.mean([not item.is_random_next for item in examples])
    assert sum(item["masked"] for item in found) == total


def test_tiny_overfit(tokenizer, corpus):
    task = create(tokenizer, lengths=[48])
    batch = PretrainingBatches(task, corpus, 1, 4, 4 * 48, seed=0)[0][0]
    assert len(set(batch["is_random_next"].tolist())) == 2
    model = tiny_model(task, tokenizer.vocab_size, std=0.1)
    assert overfit(model, task, batch, steps=150, rate=3e-3) < 0.05
