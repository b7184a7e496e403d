"""The optimizer of 2018 and its learning rate (release: ``optimization.py``)."""

import math
import re
from collections.abc import Iterable

import torch
from torch import Tensor

from dokkai.model.heads import Model
from dokkai.model.names import to_foreign
from dokkai.settings import TrainSettings

_NOT_DECAYED = re.compile(r"LayerNorm|layer_norm|bias")  # looked for in the names on disk


class BertAdam(torch.optim.AdamW):
    """Adam without bias correction, epsilon outside the root, decay times the rate (``AdamWeightDecayOptimizer``).

    The correction divides by ``1 - beta ** step``, which is 1 after endless steps. So this is PyTorch's fused AdamW
    with its count of steps at infinity. Early updates are longer than corrected ones: 3.2 times at the first, 6.5
    times at the tenth.
    """

    def __init__(self, model: Model, settings: TrainSettings) -> None:
        decayed: list[Tensor] = []
        free: list[Tensor] = []
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            (decayed if is_decayed(name, parameter, model.config.model_type) else free).append(parameter)
        super().__init__(
            [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": free, "weight_decay": 0.0}],
            lr=settings.highest_rate,
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
            fused=True,
        )
        for tensor in [*decayed, *free]:
            self.state[tensor] = {
                "step": torch.tensor(math.inf, dtype=torch.float32, device=tensor.device),
                "exp_avg": torch.zeros_like(tensor),
                "exp_avg_sq": torch.zeros_like(tensor),
            }


def is_decayed(name: str, parameter: Tensor, model_type: str = "bert") -> bool:
    """Whether the release decays this parameter of ours: by its name, all but norms and biases.

    It knows no names of ModernBERT's: there, all but vectors.
    """
    if model_type != "bert":
        return parameter.ndim > 1
    return not any(map(_NOT_DECAYED.search, to_foreign({name: parameter.detach()})))


def learning_rate(done: float, total: float, settings: TrainSettings) -> float:
    """The rate of the update behind ``done`` of ``total``: a rise from exactly 0, then a fall counted from the start.

    So the first update changes no weight, and where the rise ends, the rate drops by the share of the warm-up.
    """
    warmup = int(total * settings.warmup_share)
    if done < warmup:
        return settings.highest_rate * done / warmup
    return settings.highest_rate * (1 - done / total)


def clip_gradients(parameters: Iterable[Tensor], longest: float) -> Tensor:
    """Shorten all gradients together to the length ``longest`` (0: leave them); their length before.

    As ``tf.clip_by_global_norm``: PyTorch's adds 1e-6 to the length first.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if longest:
        torch._foreach_mul_(gradients, longest / norm.clamp_min(longest))
    return norm
