"""The optimizers of a run."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dokkai.model.device import has_fast_bf16
from dokkai.model.heads import Model
from dokkai.settings import TrainSettings
from dokkai.training.bert_adam import BertAdam
from dokkai.training.muon import Muon

_LAST = re.compile(r"heads\.\w+\.classifier\.")


def create_optimizers(model: nn.Module, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    """One optimizer or two, which together hold every parameter that is not frozen.

    Vectors (norms and biases) are not decayed; matrices are, embeddings included. The last layer of a head has a rate
    of its own (``train.head_rate``), by the ``factor`` of its groups. With ``muon`` the matrices of the layers go to
    Muon, the rest (embeddings, heads, vectors) to AdamW, at the same learning rate. ``bert-adam`` is the optimizer of
    2018, for all of them.
    """
    if settings.optimizer == "bert-adam":
        assert isinstance(model, Model)  # it goes by the names on disk
        return [BertAdam(model, settings)]
    is_muon, factor = settings.optimizer == "muon", settings.head_rate or 1.0
    matrices: list[Tensor] = []
    vectors: list[Tensor] = []
    last: tuple[list[Tensor], list[Tensor]] = ([], [])  # of a head: matrices, vectors
    hidden: list[tuple[Tensor, int]] = []  # and how many matrices lie in it
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if factor != 1 and _LAST.match(name):
            last[parameter.ndim < 2].append(parameter)
        elif parameter.ndim < 2:
            vectors.append(parameter)
        elif is_muon and name.startswith("encoder.layers."):
            hidden.append((parameter, 3 if name.endswith("qkv.weight") else 1))
        else:
            matrices.append(parameter)
    decays = settings.weight_decay, 0.0
    groups: list[dict[str, Any]] = [
        {"params": part, "weight_decay": decay} for part, decay in zip((matrices, vectors), decays, strict=True)
    ]
    groups += [
        {"params": part, "weight_decay": decay, "factor": factor}
        for part, decay in zip(last, decays, strict=True)
        if part
    ]
    adamw = torch.optim.AdamW(
        groups,
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
    """Give all groups this rate, times their ``factor`` where they have one."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)
