"""The mean of the weights of many updates, beside the weights that are trained.

It stands where a lower learning rate would lead, so it gains most while the rate is high, little where the rate has
fallen to 0.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

_EACH, _STRIDE = 100, 4  # so many first updates are all taken in, then one in four: it costs a pass over the weights


class WeightAverage:
    """A moving mean whose memory grows with the run: update n weighs as n to a power (Karras et al. 2024, "Analyzing
    and Improving the Training Dynamics of Diffusion Models", section 3.1).

    ``age`` is the mean age of what is in it, as a share of the updates so far: at 0.05 after 1000 updates, 50. So
    nothing needs to be known of the length of the run, and there is a mean at any time. At most 0.5: all weigh alike.
    """

    def __init__(self, model: nn.Module, age: float) -> None:
        parameters = dict(model.named_parameters())
        self._parameters: list[Tensor] = list(parameters.values())
        self._power = 1 / age - 1
        self.tensors = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        """The mean, by the names of the parameters."""

    @torch.no_grad()
    def update(self, done: int) -> None:
        """Take in the weights behind update number ``done``, from 1; that number is all it must know of the past."""
        if done > _EACH and done % _STRIDE:
            return
        kept = (1 - (1 if done <= _EACH else _STRIDE) / done) ** self._power
        torch._foreach_lerp_(list(self.tensors.values()), self._parameters, 1 - kept)

    @torch.no_grad()
    def move_into_model(self) -> None:
        """The mean becomes the weights of the model."""
        torch._foreach_copy_(self._parameters, list(self.tensors.values()))

    @contextlib.contextmanager
    def in_model(self) -> Iterator[None]:
        """The mean is the weights of the model meanwhile; then it has its own again, bit for bit."""
        own = [parameter.detach().clone() for parameter in self._parameters]
        self.move_into_model()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._parameters, own)
