"""The optimizers of a run."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dokkai.model.device import has_fast_bf16
from dokkai.model.heads import Model
from dokkai.settings import TrainSettings
from dokkai.training.bert_adam import BertAdam
from dokkai.training.muon import Muon


def create_optimizers(model: nn.Module, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    """One optimizer or two, which together hold every parameter that is not frozen.

    Vectors (norms and biases) are not decayed; matrices are, embeddings included. With ``muon`` the matrices of the
    layers go to Muon, the rest (embeddings, heads, vectors) to AdamW, at the same learning rate. ``bert-adam`` is the
    optimizer of 2018, for all of them.
    """
    if settings.optimizer == "bert-adam":
        assert isinstance(model, Model)  # it goes by the names on disk
        return [BertAdam(model, settings)]
    is_muon = settings.optimizer == "muon"
    matrices: list[Tensor] = []
    vectors: list[Tensor] = []
    hidden: list[tuple[Tensor, int]] = []  # and how many matrices lie in it
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2:
            vectors.append(parameter)
        elif is_muon and name.startswith("encoder.layers."):
            hidden.append((parameter, 3 if name.endswith("qkv.weight") else 1))
        else:
            matrices.append(parameter)
    adamw = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=settings.highest_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=True,
    )
    if not hidden:
        return [adamw]
    dtype = torch.bfloat16 if has_fast_bf16(hidden[0][0].device) else torch.float32
    return [adamw, Muon(hidden, settings.highest_rate, settings.weight_decay, dtype=dtype)]


def set_learning_rate(optimizers: Sequence[torch.optim.Optimizer], rate: float) -> None:
    """Give all groups this rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
