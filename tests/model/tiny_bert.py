"""Small models with wide weights, a padded batch, and the one-line rule for errors."""

from contextlib import contextmanager

import pytest
import torch

from dokkai.errors import UserError
from dokkai.model.config import ModelConfig

TINY = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
}
HEAD_SETS = {  # written out again here: the table under test is not its own witness
    "BertModel": (),
    "BertForPreTraining": ("masked_lm", "next_sentence"),
    "BertForMaskedLM": ("masked_lm",),
    "BertForNextSentencePrediction": ("next_sentence",),
    "BertForSequenceClassification": ("classification",),
    "BertForTokenClassification": ("token_classification",),
    "BertForMultipleChoice": ("multiple_choice",),
    "BertForQuestionAnswering": ("span",),
}
NUM_LABELS = 3
LENGTHS = (16, 9, 3)


def tiny_config(**changes):
    return ModelConfig(**(TINY | changes))


def draw_wide(module, seed):
    """Redraw every parameter, biases and norms too: at 0.02 a tanh GELU and swapped query/key go unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(module.named_parameters()):
            parameter.normal_(0, 0.5, generator=generator)
    return module.eval()


def padded_batch(seed, lengths=LENGTHS):
    """Rows of different lengths, each with both token types, and masked positions in every row."""
    generator = torch.Generator().manual_seed(seed)
    width = max(lengths)
    input_ids = torch.randint(1, TINY["vocab_size"], (len(lengths), width), generator=generator)
    attention_mask = (torch.arange(width)[None] < torch.tensor(lengths)[:, None]).long()
    second = torch.arange(width)[None] >= torch.tensor(lengths)[:, None] // 2
    return {
        "input_ids": input_ids * attention_mask,
        "token_type_ids": second.long() * attention_mask,
        "attention_mask": attention_mask,
        "masked_positions": torch.tensor([1, 2, 15, 16, 20, 33]),
    }


@contextmanager
def one_line_error(match):
    """UserError whose message matches and is one plain line."""
    with pytest.raises(UserError, match=match) as caught:
        yield
    assert "\n" not in str(caught.value)
