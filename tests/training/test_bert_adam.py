"""The optimizer of 2018 beside a version in NumPy, written from the formulas of ``optimization.py``."""

from functools import lru_cache

import numpy as np
import pytest
import torch

from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.settings import TrainSettings
from dokkai.training.bert_adam import clip_gradients, is_decayed
from dokkai.training.optimizer import create_optimizers, set_learning_rate
from dokkai.training.schedule import learning_rate

STEPS = 1000
ROUNDING = 5 * (STEPS / 12) ** 0.5 * 2**-23  # five deviations of so many roundings of a float32 above 1
SETTINGS = TrainSettings(optimizer="bert-adam", learning_rate=1e-3)

# What the release decays: every kernel and embedding table. What it does not: the rest.
LAYER = ("attention.qkv", "attention.output", "intermediate", "output")
DECAYED = {
    *(f"encoder.embeddings.{kind}.weight" for kind in ("word", "position", "token_type")),
    *(f"encoder.layers.0.{part}.weight" for part in LAYER),
    "heads.masked_lm.transform.weight",
    "heads.next_sentence.pooler.weight",
    "heads.next_sentence.classifier.weight",
}


def small(dtype=torch.float64):
    config = shape_config("L1-H8", vocab_size=30, max_position_embeddings=16)
    return Model(config, ("masked_lm", "next_sentence"), seed=0).to(dtype)


@lru_cache(maxsize=STEPS)
def gradients_of(step, shapes):
    """Of many sizes: in two thirds of the steps they are longer than 1 together, and some numbers are tiny."""
    rng = np.random.default_rng(step)
    length = 10 ** rng.uniform(-0.5, 1)
    drawn = {name: rng.normal(size=shape) * 10 ** rng.uniform(-4, 0, shape) for name, shape in shapes}
    norm = np.sqrt(sum((part**2).sum() for part in drawn.values()))
    return {name: part * length / norm for name, part in drawn.items()}


def release_rate(step, init_lr, num_train_steps, num_warmup_steps):
    """``create_optimizer``: polynomial decay of power 1 to 0, and the warm-up that replaces it at first."""
    decayed = (init_lr - 0.0) * (1 - min(step, num_train_steps) / num_train_steps) ** 1.0 + 0.0
    is_warmup = float(step < num_warmup_steps)
    warmup = init_lr * (step / num_warmup_steps) if num_warmup_steps else 0.0
    return (1.0 - is_warmup) * decayed + is_warmup * warmup


def release_updates(start, steps, init_lr, num_warmup_steps):
    """The weights after ``steps`` updates of ``AdamWeightDecayOptimizer`` behind ``clip_by_global_norm``; float64."""
    x = {name: value.copy() for name, value in start.items()}
    m = {name: np.zeros_like(value) for name, value in start.items()}
    v = {name: np.zeros_like(value) for name, value in start.items()}
    shapes = tuple((name, value.shape) for name, value in start.items())
    for step in range(steps):
        rate = release_rate(step, init_lr, steps, num_warmup_steps)
        gradients = gradients_of(step, shapes)
        norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
        for name, g in gradients.items():
            g = g * (1.0 * min(1 / norm, 1 / 1.0))
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * g**2
            update = m[name] / (np.sqrt(v[name]) + 1e-6)
            if name in DECAYED:
                update = update + 0.01 * x[name]
            x[name] = x[name] - rate * update
    return x


def our_updates(model, steps, settings=SETTINGS):
    """The same with our parts, in the order of the loop."""
    optimizers = create_optimizers(model, settings)
    shapes = tuple((name, tuple(parameter.shape)) for name, parameter in model.named_parameters())
    for step in range(steps):
        gradients = gradients_of(step, shapes)
        for name, parameter in model.named_parameters():
            parameter.grad = torch.tensor(gradients[name], dtype=parameter.dtype)  # a copy: it is clipped in place
        set_learning_rate(optimizers, learning_rate(step, steps, settings))
        clip_gradients(model.parameters(), settings.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
    return {name: parameter.detach().double().numpy() for name, parameter in model.named_parameters()}


@pytest.fixture(scope="module")
def expected():
    start = {name: parameter.detach().numpy() for name, parameter in small().named_parameters()}
    return start, release_updates(start, STEPS, init_lr=1e-3, num_warmup_steps=100)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-13), (torch.float32, ROUNDING)])
def test_a_thousand_updates_are_those_of_the_release(expected, dtype, bound):
    """In float64 and float32 to the rounding (1e-13 and 5.4e-6), where the weights have moved by more than 0.1."""
    start, wanted = expected
    found = our_updates(small(dtype), STEPS)
    assert found.keys() == wanted.keys()
    moved = max(np.abs(wanted[name] - start[name]).max() for name in wanted)
    assert moved > 0.1
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=bound, err_msg=name)


@pytest.mark.parametrize(
    "change",
    [{"optimizer": "adamw"}, {"epsilon": 1e-8}, {"weight_decay": 0.0}, {"clip_norm": 0.0}, {"warmup_share": 0.09}],
)
def test_the_comparison_sees_every_detail(expected, change):
    """Were one of them wrong, the weights would be further off than any rounding."""
    found = our_updates(small(), STEPS, SETTINGS.model_copy(update=change))
    assert max(np.abs(found[name] - expected[1][name]).max() for name in found) > 1e-5


def test_decay_goes_by_names():
    model = small()
    names = {name for name, parameter in model.named_parameters() if is_decayed(name, parameter)}
    assert names == DECAYED
    [optimizer] = create_optimizers(model, SETTINGS)
    decayed, free = optimizer.param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.01, 0.0)
    assert {id(p) for p in decayed["params"]} == {id(p) for n, p in model.named_parameters() if n in DECAYED}
    assert len(free["params"]) == len(list(model.parameters())) - len(DECAYED)


def test_first_updates_are_longer_than_corrected_ones():
    """A gradient that stays the same: 3.2, 6.5, 3.2 and 1.3 times as long at 1, 10, 100 and 1000 updates."""
    settings = SETTINGS.model_copy(update={"weight_decay": 0.0, "learning_rate": 1.0})
    model = small()
    [optimizer] = create_optimizers(model, settings)
    weight = model.heads["next_sentence"].classifier.weight
    found = []
    for _ in range(1000):
        before = weight.detach().clone()
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        found.append((before - weight.detach()).mean().item())
    assert [round(found[step - 1], 2) for step in (1, 10, 100, 1000)] == [3.16, 6.53, 3.24, 1.26]


def test_rate_starts_at_zero_and_drops_behind_the_warm_up():
    settings = SETTINGS.model_copy(update={"learning_rate": 1.0, "warmup_share": 0.2})
    rates = [learning_rate(step, 10, settings) for step in range(10)]
    assert rates == pytest.approx([0, 0.5, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    rates = [learning_rate(step, 1000, settings) for step in range(1000)]
    assert (rates[0], rates[199], rates[200], rates[999]) == pytest.approx((0, 0.995, 0.8, 0.001))
    for steps, share in ((1, 0.1), (7, 0.5), (1000, 0.29), (1_000_000, 0.01)):
        settings = SETTINGS.model_copy(update={"warmup_share": share})
        for step in {0, 1, steps // 2, steps - 1} & set(range(steps)):
            wanted = release_rate(step, 1e-3, steps, int(steps * share))
            assert learning_rate(step, steps, settings) == pytest.approx(wanted, rel=1e-12)


def test_the_first_update_changes_no_weight_but_is_remembered():
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    [optimizer] = create_optimizers(model, SETTINGS)
    set_learning_rate([optimizer], learning_rate(0, 100, SETTINGS))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(state["exp_avg"].all() and state["exp_avg_sq"].all() for state in optimizer.state.values())


def test_gradients_are_clipped_together():
    parameters = [torch.zeros(3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    for longest, wanted in ((1.0, 1.0), (2.0, 2.0), (0.0, 5.0), (7.0, 5.0)):
        parameters[0].grad = torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64)
        parameters[1].grad = torch.tensor([0.0, 4.0, 0.0], dtype=torch.float64)
        assert clip_gradients(parameters, longest).item() == 5.0
        found = torch.cat([parameters[0].grad, parameters[1].grad])
        assert found.norm().item() == pytest.approx(wanted, rel=1e-15)
        assert found[4] / found[0] == pytest.approx(4 / 3, rel=1e-15)
