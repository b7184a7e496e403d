"""The updates of a fine-tuning: how many there are."""

import pytest

from dokkai.data.squad import Question
from dokkai.settings import QuestionAnsweringSettings, TrainSettings
from dokkai.tasks import QuestionAnswering
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
