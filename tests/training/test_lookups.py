"""Gradients of word embeddings as rows: the same as the matrix that PyTorch makes, and only where it helps."""

import pytest
import torch

from dokkai.model.config import ModelConfig
from dokkai.model.heads import Model
from dokkai.training.lookups import keep_rows, make_matrices

CPU = torch.device("cpu")


def model(*heads):
    config = ModelConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    return Model(config, heads, seed=3).double().eval()


def gradients(model, num_parts=3):
    """Of several micro-batches, in which words come again."""
    ids = torch.randint(0, 20, (num_parts, 2, 8), generator=torch.Generator().manual_seed(0))
    for part in ids:
        model({"input_ids": part, "token_type_ids": torch.zeros_like(part)})["classification"].square().sum().backward()
    kept = model.encoder.embeddings.word.weight.grad
    make_matrices(model)
    return kept, [parameter.grad for parameter in model.parameters()]


def test_rows_add_up_to_the_same_matrix():
    dense, rows = model("classification"), model("classification")
    keep_rows(rows, CPU)
    (_, expected), (kept, found) = gradients(dense), gradients(rows)
    assert kept.is_sparse
    assert not any(gradient.is_sparse for gradient in found)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    assert (found[0].abs().sum(1) > 0).sum() < 20 < len(found[0])  # words that did not occur


@pytest.mark.parametrize(
    ("heads", "device", "is_sparse"),
    [(("span",), "cpu", True), ((), "cpu", True), (("masked_lm",), "cpu", False), (("span",), "cuda", False)],
)
def test_only_on_a_cpu_and_without_the_masked_lm_head(heads, device, is_sparse):
    made = model(*heads)
    keep_rows(made, torch.device(device))
    assert made.encoder.embeddings.word.sparse is is_sparse


def test_without_a_gradient_nothing_happens():
    made = model("classification")
    make_matrices(made)
    assert made.encoder.embeddings.word.weight.grad is None
