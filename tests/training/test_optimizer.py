"""The groups of AdamW and Muon, the course of the rate, and that an update is what the paper's rule says."""

import numpy as np
import pytest
import torch
from torch import nn

from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.settings import TrainSettings
from dokkai.training.muon import Muon, orthogonalize
from dokkai.training.optimizer import create_optimizers, set_learning_rate
from dokkai.training.schedule import learning_rate


def small():
    return Model(shape_config("L1-H64", vocab_size=50, max_position_embeddings=16), ("masked_lm",))


def names_in(model, groups):
    names = {parameter: name for name, parameter in model.named_parameters()}
    return sorted(names[parameter] for group in groups for parameter in group["params"])


def test_only_matrices_decay():
    model = small()
    [adamw] = create_optimizers(model, TrainSettings(weight_decay=0.3))
    decayed, free = adamw.param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    assert names_in(model, [decayed]) == sorted(name for name, p in model.named_parameters() if p.ndim == 2)
    assert names_in(model, [free]) == sorted(name for name, p in model.named_parameters() if p.ndim == 1)


def test_muon_takes_the_matrices_of_the_layers():
    model = small()
    adamw, muon = create_optimizers(model, TrainSettings(optimizer="muon", learning_rate=0.25, weight_decay=0.3))
    layer = "encoder.layers.0."
    wanted = [f"{layer}{part}.weight" for part in ("attention.output", "attention.qkv", "intermediate", "output")]
    assert names_in(model, muon.param_groups) == wanted
    assert names_in(model, adamw.param_groups) == sorted({name for name, _ in model.named_parameters()} - set(wanted))
    assert (muon.param_groups[0]["lr"], muon.param_groups[0]["weight_decay"]) == (0.25, 0.3)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_last_layer_of_a_head_has_a_rate_of_its_own(optimizer):
    model = Model(shape_config("L1-H64", vocab_size=50, max_position_embeddings=16), ("classification",))
    optimizers = create_optimizers(model, TrainSettings(optimizer=optimizer, head_rate=10))
    set_learning_rate(optimizers, 0.25)
    groups = [group for one in optimizers for group in one.param_groups]
    fast, slow = ([group for group in groups if group["lr"] == rate] for rate in (2.5, 0.25))
    assert names_in(model, fast) == ["heads.classification.classifier.bias", "heads.classification.classifier.weight"]
    assert len(fast) + len(slow) == len(groups)
    assert names_in(model, groups) == sorted(name for name, _ in model.named_parameters()), "each once"
    assert [group["weight_decay"] for group in fast] == [0.01, 0.0]


def test_the_optimizer_of_2018_has_one_rate():
    with pytest.raises(ValueError, match=r"leave train\.head_rate out"):
        TrainSettings(optimizer="bert-adam", head_rate=10)


def test_muon_is_that_of_pytorch():
    """In bf16, matrix by matrix, over several updates; query, key and value count as three."""
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(48, 16)), nn.Parameter(torch.randn(8, 32)), nn.Parameter(torch.randn(32, 8))]
    theirs = [nn.Parameter(part.detach().clone()) for part in (*ours[0].chunk(3), *ours[1:])]
    mine = Muon(zip(ours, (3, 1, 1), strict=True), 0.1, 0.2, momentum=0.9, dtype=torch.bfloat16)
    other = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.2, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for parameter in ours:
            parameter.grad = torch.randn_like(parameter)
        for parameter, part in zip(theirs, (*ours[0].grad.chunk(3), ours[1].grad, ours[2].grad), strict=True):
            parameter.grad = part.clone()
        mine.step()
        other.step()
    torch.testing.assert_close(torch.cat([p.detach() for p in theirs[:3]]), ours[0].detach(), rtol=0, atol=4e-3)
    for parameter, part in zip(theirs[3:], ours[1:], strict=True):
        torch.testing.assert_close(parameter.detach(), part.detach(), rtol=0, atol=4e-3)


def test_orthogonalized_keeps_directions():
    """Singular values near 1, singular vectors as they were (against the decomposition of NumPy)."""
    rng = np.random.default_rng(0)
    stack = rng.standard_normal((4, 6, 10))
    found = orthogonalize(torch.from_numpy(stack)).numpy()
    for matrix, result in zip(stack, found, strict=True):
        left, _, right = np.linalg.svd(matrix, full_matrices=False)
        values = left.T @ result @ right.T
        assert np.abs(values - np.diag(np.diag(values))).max() < 1e-9
        assert (np.diag(values) > 0.6).all() and (np.diag(values) < 1.3).all()


def test_first_updates_by_hand():
    """Decoupled decay, corrected moments, epsilon outside the root; written out again here."""
    settings = TrainSettings(learning_rate=0.1, weight_decay=0.2, beta1=0.8, beta2=0.9, epsilon=1e-3)
    model = small()
    weight = model.heads["masked_lm"].transform.weight
    with torch.no_grad():
        weight[0, :2] = torch.tensor([1.0, -2.0])
    [optimizer] = create_optimizers(model, settings)
    x, mean, square = [1.0, -2.0], [0.0, 0.0], [0.0, 0.0]
    for step, gradient in enumerate([[0.5, -1.0], [0.25, 3.0]], start=1):
        weight.grad = torch.zeros_like(weight)
        weight.grad[0, :2] = torch.tensor(gradient)
        optimizer.step()
        for i, g in enumerate(gradient):
            mean[i] = 0.8 * mean[i] + 0.2 * g
            square[i] = 0.9 * square[i] + 0.1 * g * g
            root = (square[i] / (1 - 0.9**step)) ** 0.5
            x[i] -= 0.1 * 0.2 * x[i] + 0.1 * mean[i] / (1 - 0.8**step) / (root + 1e-3)
        torch.testing.assert_close(weight.detach()[0, :2], torch.tensor(x))


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
    optimizers = create_optimizers(small(), TrainSettings(optimizer="muon"))
    set_learning_rate(optimizers, 0.25)
    assert [group["lr"] for optimizer in optimizers for group in optimizer.param_groups] == [0.25, 0.25, 0.25]
