"""The updates of a fine-tuning: how many there are, and how they are cut into parts."""

import pytest
import torch

from dokkai.data.rows import Row
from dokkai.data.squad import Question
from dokkai.errors import UserError
from dokkai.pipeline import CPU_BATCH_TOKENS, PADDING
from dokkai.settings import QuestionAnsweringSettings, SimilaritySettings, TrainSettings
from dokkai.tasks import QuestionAnswering, Similarity
from dokkai.training.finetune import FeatureBatches


@pytest.mark.parametrize(("batch_size", "epochs", "steps"), [(4, 2.0, 14), (4, 0.5, 4), (100, 3.0, 3)])
def test_steps_count_windows(tokenizer, batch_size, epochs, steps):
    """An epoch shows every window once; the release counts questions, here 3, so that its training ends earlier."""
    settings = QuestionAnsweringSettings(max_length=20, stride=10, max_question_length=1, no_answer=True)
    task = QuestionAnswering(settings, tokenizer)
    questions = [Question(str(number), "a", "a " * 96, ()) for number in range(3)]
    features = task.encode(questions, training=True)
    assert len(features) == 3 * 9
    batches = FeatureBatches(task, features, TrainSettings(batch_size=batch_size, epochs=epochs))
    assert len(batches) == steps
    per_epoch = -(-27 // batch_size)
    rows = [sum(len(batch["input_ids"]) for batch in batches[step]) for step in range(steps)]
    assert sum(rows[:per_epoch]) == min(27, batch_size * steps)


def examples_of(batches, step):
    """The tokens of the windows of an update, without padding, in no order."""
    rows = []
    for batch in batches[step]:
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            rows.append(tuple(ids[mask.bool()].tolist()))
    return sorted(rows)


def test_parts_of_an_update_are_small_on_a_cpu(tokenizer):
    """By a budget of tokens, longest first: the same examples, more than a few tokens each, and less padding."""
    task = QuestionAnswering(QuestionAnsweringSettings(max_length=384, no_answer=True), tokenizer)
    questions = [Question(str(number), "a", "a " * (10 + 11 * number), ()) for number in range(30)]
    features = task.encode(questions, training=True)
    settings = TrainSettings(batch_size=32, steps=1, micro_batch_tokens=16384)
    anywhere = FeatureBatches(task, features, settings)
    on_cpu = FeatureBatches(task, features, settings, torch.device("cpu"))
    assert examples_of(anywhere, 0) == examples_of(on_cpu, 0)
    sizes = [batch["input_ids"].numel() for batch in on_cpu[0]]
    assert max(sizes) <= CPU_BATCH_TOKENS < max(batch["input_ids"].numel() for batch in anywhere[0])
    real = sum(len(row) for row in examples_of(on_cpu, 0))
    assert real / sum(sizes) > 0.75 > real / sum(batch["input_ids"].numel() for batch in anywhere[0])
    assert all(batch["input_ids"].shape[1] % PADDING == 0 for batch in on_cpu[0])
    little = FeatureBatches(
        task, features, settings.model_copy(update={"micro_batch_tokens": 500}), torch.device("cpu")
    )
    assert max(batch["input_ids"].numel() for batch in little[0]) <= 500  # what is set stays the most


def test_pairs_stay_together(tokenizer):
    """Whatever fits into memory: a pair is told apart from all others of its update."""
    task = Similarity(SimilaritySettings(label=None), tokenizer)
    rows = [Row("a " * 20, "b " * 20, None, str(number), f"line {number}") for number in range(24)]
    features = task.encode(rows, training=True)
    settings = TrainSettings(batch_size=8, epochs=1, micro_batch_tokens=16)
    batches = FeatureBatches(task, features, settings, torch.device("cpu"))
    assert [[len(batch["is_positive"]) for batch in batches[step]] for step in range(3)] == [[8], [8], [8]]
    with pytest.raises(
        UserError, match=r"train.batch_size is 1, but a pair is told apart from the others of its update"
    ):
        FeatureBatches(task, features, settings.model_copy(update={"batch_size": 1}))
