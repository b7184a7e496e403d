"""What changes in the course of a pre-training: the share of masked tokens, and the size of an update."""

import pytest

from dokkai.data.masking import max_predictions
from dokkai.data.shards import Corpus
from dokkai.errors import UserError
from dokkai.settings import PretrainingSettings, load_settings
from dokkai.tasks import Pretraining
from dokkai.tasks.pretraining import PretrainingBatches

LENGTH = 64


@pytest.fixture(scope="module")
def corpus(prepared):
    return Corpus.open(prepared)


def create(tokenizer, **settings):
    return Pretraining(PretrainingSettings(next_sentence=False, **settings), tokenizer)


def num_masked(batch):
    """Masked tokens of each full sequence."""
    return (batch["masked_labels"].view(len(batch["input_ids"]), -1) != -100).sum(1).tolist()


@pytest.mark.parametrize(("start", "end"), [(0.3, 0.1), (0.1, 0.3), (0.15, 0.15)])
def test_masked_share_goes_straight_from_one_to_the_other(tokenizer, corpus, start, end):
    task = create(tokenizer, lengths=[LENGTH], masked_share=start, masked_share_end=end)
    steps = 40
    batches = PretrainingBatches(task, corpus, steps, 2, 2 * LENGTH, seed=0)
    for step in range(steps):
        [batch] = batches[step]
        wanted = round(LENGTH * (start + (end - start) * step / steps))
        assert num_masked(batch) == [wanted] * 2


def test_sequences_with_few_masks_and_with_many(tokenizer, corpus):
    """Each draws its share: one mask alone is seen in training too. Held-out masks stay as they are."""
    task = create(tokenizer, lengths=[LENGTH], masked_share=0.3, masked_share_least=0.0)
    batches = PretrainingBatches(task, corpus, 40, 8, 8 * LENGTH, seed=0)
    numbers = [number for step in range(40) for number in num_masked(batches[step][0])]
    assert min(numbers) == 1 and max(numbers) == round(LENGTH * 0.3)
    assert abs(sum(numbers) / len(numbers) - LENGTH * 0.15) < 1
    assert len(batches[0][0]["masked_positions"]) == 8 * max_predictions(LENGTH, 0.3)


def test_the_list_of_masked_positions_follows_in_four_steps(tokenizer, corpus):
    """It always has room, and few shapes have to be compiled; with a clock too, where a step says nothing."""
    task = create(tokenizer, lengths=[LENGTH], masked_share=0.3, masked_share_end=0.1)
    batches = PretrainingBatches(task, corpus, None, 2, 2 * LENGTH, seed=0)
    sizes = [len(batches.at(7, number / 40)[0]["masked_positions"]) // 2 for number in range(40)]
    assert sizes == [max_predictions(LENGTH, share) for share in (0.3, 0.25, 0.2, 0.15) for _ in range(10)]
    rising = create(tokenizer, lengths=[LENGTH], masked_share=0.1, masked_share_end=0.3)
    batches = PretrainingBatches(rising, corpus, None, 2, 2 * LENGTH, seed=0)
    sizes = [len(batches.at(7, number / 4)[0]["masked_positions"]) // 2 for number in range(4)]
    assert sizes == [max_predictions(LENGTH, share) for share in (0.15, 0.2, 0.25, 0.3)]


def test_heldout_masks_do_not_change(tokenizer, prepared):
    plain = create(tokenizer, lengths=[LENGTH], heldout_sequences=4)
    other = {"masked_share": 0.3, "masked_share_end": 0.1, "masked_share_least": 0.0}
    falling = create(tokenizer, lengths=[LENGTH], heldout_sequences=4, **other)
    for a, b in zip(plain.read(prepared), falling.read(prepared), strict=True):
        assert a.input_ids.tolist() == b.input_ids.tolist() and a.positions.tolist() == b.positions.tolist()
    falling.collate(falling.read(prepared), LENGTH)


def test_a_share_that_stays_gives_the_batches_of_before(tokenizer, corpus):
    """Bit for bit, whether the end is set to the same or not at all."""
    plain, same = (
        PretrainingBatches(create(tokenizer, lengths=[LENGTH], **more), corpus, 8, 2, 999, seed=0)
        for more in ({}, {"masked_share_end": 0.15})
    )
    for step in range(8):
        for a, b in zip(plain[step], same[step], strict=True):
            assert a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


def test_tokens_per_update_of_each_phase(tokenizer, corpus):
    """A ramp of the batch at one length, and of both; each sequence of a phase once."""
    settings = {"lengths": [16, 16, 64], "length_shares": [0.25, 0.25, 0.5], "batch_tokens": [32, 64, 256]}
    batches = PretrainingBatches(create(tokenizer, **settings), corpus, 8, 999, 9999, seed=0)
    shapes = [tuple(batches[step][0]["input_ids"].shape) for step in range(8)]
    assert shapes == [(2, 16)] * 2 + [(4, 16)] * 2 + [(4, 64)] * 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["task.batch_tokens=[64, 128]"],
            "task.batch_tokens must hold one number for each of task.lengths, no smaller",
        ),
        (["task.batch_tokens=[512, 512, 512, 383]"], "task.batch_tokens must hold one number for each"),
        (["task.batch_tokens=383"], "task.batch_tokens must be at least the longest of task.lengths, 384"),
        (["task.batch_tokens=4e3"], "task.batch_tokens = 4000.0: write a whole number, or a list of them"),
        (['task.batch_tokens=["many"]'], "task.batch_tokens = .*: write a whole number, or a list of them"),
        (["task.masked_share_end=0"], "task.masked_share_end = 0: input should be greater than 0"),
        (["task.masked_share_least=0.4"], "task.masked_share_least is above task.masked_share; lower it"),
        (
            ["task.masked_share_end=0.1", "task.static_duplicates=2", "task.next_sentence=true"],
            "task.static_duplicates makes masks that stay; leave task.masked_share_end out",
        ),
    ],
)
def test_mistakes(overrides, message):
    with pytest.raises(UserError, match=message) as caught:
        load_settings("mini-en", overrides)
    assert "\n" not in str(caught.value)
