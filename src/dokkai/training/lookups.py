"""Gradients of the word embeddings: an update looks up few of the rows, and only those need to be written.

PyTorch's gradient of a lookup is a matrix of the whole vocabulary, filled with zeros and added up in each micro-batch:
a good part of a fine-tuning on a CPU, whose micro-batches are small. As a list of rows it costs next to nothing, until
the optimizer, once an update, gets the matrix.
"""

import torch
from torch import nn

from dokkai.model.heads import Model


def keep_rows(model: nn.Module, device: torch.device) -> None:
    """Let lookups give lists of rows, where that is less work.

    Not on a GPU, whose fill is cheap and whose additions into rows are not repeatable, nor where the masked-LM head
    gives a gradient to every word anyway.
    """
    if isinstance(model, Model):  # not a small one on what an encoder gave
        model.encoder.embeddings.word.sparse = device.type == "cpu" and "masked_lm" not in model.heads


def make_matrices(model: nn.Module) -> None:
    """Turn the lists of rows of an update into the matrices that optimizers expect."""
    for parameter in model.parameters():
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.to_dense()
