"""What every kind of task predicts can be shown in the report."""

import pytest
from tiny_tasks import KINDS, build, predict, tiny_model

from dokkai.reporting.outcomes import describe

SHOWN = [kind for kind in KINDS if kind not in ("pretraining", "masked-lm", "similarity")]


@pytest.mark.parametrize("kind", SHOWN)
def test_every_kind_is_shown(kind, tokenizer, prepared, examples):
    """On what a model that knows nothing really predicts."""
    case = build(kind, tokenizer, prepared, examples)
    model = tiny_model(case.task, tokenizer.vocab_size)
    model.eval()
    found = describe(case.task, case.examples, predict(case.task, model, case.examples), "dev")
    assert found.parts and found.mistakes
    weights = [item.weight for item in found.mistakes]
    assert weights == sorted(weights, reverse=True)
    assert all(item.texts and item.gold != item.predicted for item in found.mistakes)
