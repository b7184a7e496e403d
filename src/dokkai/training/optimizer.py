"""The optimizers of a run."""

import re
from collections.abc import Sequence

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
    is_muon = settings.optimizer == "muon"
    # By factor, and whether it is a vector; checkpoints count on this order.
    parts: dict[tuple[float, bool], list[Tensor]] = {(1.0, False): [], (1.0, True): []}
    hidden: list[tuple[Tensor, int]] = []  # and how many matrices lie in it
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_vector = parameter.ndim < 2
        if is_muon and not is_vector and name.startswith("encoder.layers."):
            hidden.append((parameter, 3 if name.endswith("qkv.weight") else 1))
        else:
            factor = (settings.head_rate or 1.0) if _LAST.match(name) else 1.0
            parts.setdefault((factor, is_vector), []).append(parameter)
    adamw = torch.optim.AdamW(
        [
            {"params": part, "weight_decay": 0.0 if is_vector else settings.weight_decay, "factor": factor}
            for (factor, is_vector), part in parts.items()
        ],
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
