"""AdamW's groups, the course of the rate, and that an update is what the paper's rule says."""

import pytest
import torch
from torch import nn

from dokkai.settings import TrainSettings
from dokkai.training.optimizer import create_optimizer, learning_rate, set_learning_rate


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(5, 3)
        self.linear = nn.Linear(3, 2)
        self.norm = nn.LayerNorm(2)

    def forward(self, ids):
        return self.norm(self.linear(self.embedding(ids)))


def test_only_matrices_decay():
    model = Small()
    decayed, free = create_optimizer(model, TrainSettings(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    assert {id(p) for p in decayed["params"]} == {id(model.embedding.weight), id(model.linear.weight)}
    assert {id(p) for p in free["params"]} == {id(model.linear.bias), id(model.norm.weight), id(model.norm.bias)}


def test_first_updates_by_hand():
    """Decoupled decay, corrected moments, epsilon outside the root; written out again here."""
    settings = TrainSettings(learning_rate=0.1, weight_decay=0.2, beta1=0.8, beta2=0.9, epsilon=1e-3)
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0]]))
    optimizer = create_optimizer(model, settings)
    x, mean, square = [1.0, -2.0], [0.0, 0.0], [0.0, 0.0]
    for step, gradient in enumerate([[0.5, -1.0], [0.25, 3.0]], start=1):
        model.weight.grad = torch.tensor([gradient])
        optimizer.step()
        for i, g in enumerate(gradient):
            mean[i] = 0.8 * mean[i] + 0.2 * g
            square[i] = 0.9 * square[i] + 0.1 * g * g
            root = (square[i] / (1 - 0.9**step)) ** 0.5
            x[i] -= 0.1 * 0.2 * x[i] + 0.1 * mean[i] / (1 - 0.8**step) / (root + 1e-3)
        torch.testing.assert_close(model.weight.detach()[0], torch.tensor(x))


def test_rate_rises_and_falls():
    settings = TrainSettings(learning_rate=1.0, warmup_share=0.2)
    rates = [learning_rate(step, 10, settings) for step in range(10)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_every_step_counts(steps, share):
    """No update is lost to a rate of 0, none is above the peak, however short the run."""
    settings = TrainSettings(learning_rate=2e-3, warmup_share=share)
    rates = [learning_rate(step, steps, settings) for step in range(steps)]
    assert all(0 < rate <= 2e-3 for rate in rates)
    assert max(rates) == pytest.approx(2e-3)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_rate_of_all_groups():
    optimizer = create_optimizer(Small(), TrainSettings())
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
