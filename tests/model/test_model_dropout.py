"""Dropout on a CPU: its statistics, its gradient, the same zeros from the same seed, and attention with it."""

import pytest
import torch
from torch.nn import functional as F

from dokkai.model.device import has_compiler
from dokkai.model.dropout import Dropout, attention, dropout


@pytest.mark.parametrize("prob", [0.1, 0.5, 1 / 3])
def test_share_of_zeros_and_mean(prob):
    torch.manual_seed(0)
    size = 400_000
    y = dropout(torch.ones(size), prob)
    deviation = (prob * (1 - prob) / size) ** 0.5
    assert abs(float((y == 0).float().mean()) - prob) < 4 * deviation + 2**-17
    assert torch.allclose(y[y > 0], torch.tensor(1 / (1 - prob)), rtol=1e-4)
    assert abs(float(y.mean()) - 1) < 4 * deviation / (1 - prob)


def test_neighbours_are_independent():
    """Values that share a word of 64 bits, and two calls in a row."""
    torch.manual_seed(0)
    first, second = (dropout(torch.ones(400_000), 0.3) == 0 for _ in range(2))
    for one, other in [(first[:-k], first[k:]) for k in range(1, 6)] + [(first, second)]:
        both = float((one & other).float().mean())
        assert abs(both - 0.09) < 4 * (0.09 * 0.91 / 400_000) ** 0.5


def test_the_seed_decides():
    x = torch.ones(1001)
    draws = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        draws.append((dropout(x, 0.1), dropout(x, 0.1)))
    assert torch.equal(draws[0][0], draws[1][0])
    assert torch.equal(draws[0][1], draws[1][1])
    assert not torch.equal(draws[0][0], draws[0][1])
    assert not torch.equal(draws[0][0], draws[2][0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_gradient_has_the_same_zeros(dtype):
    x = torch.full((3, 5, 7), 2.0, dtype=dtype, requires_grad=True)
    y = dropout(x.transpose(0, 1), 0.4)
    y.sum().backward()
    assert y.dtype == dtype
    assert torch.equal(x.grad * 2, y.detach().transpose(0, 1))
    assert {0.0} < set(x.grad.flatten().tolist())


def test_nothing_happens_without_it_or_out_of_training():
    x = torch.randn(3, 4)
    state = torch.get_rng_state()
    part = Dropout(0.5)
    assert part.eval()(x) is x
    assert dropout(x, 0.0) is x
    assert torch.equal(torch.get_rng_state(), state)  # nothing is drawn
    assert not torch.equal(part.train()(x), x)


def test_empty_and_nearly_everything():
    assert dropout(torch.ones(0, 3), 0.5).shape == (0, 3)
    assert float((dropout(torch.ones(10_000), 0.9999999) == 0).float().mean()) > 0.99


@pytest.mark.parametrize("kind", ["none", "seen", "added"])
def test_attention_is_that_of_pytorch_on_average(kind):
    """With no more than a rounded 0 nothing is dropped; else the mean of many draws is the undropped one."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 6, 8, dtype=torch.float64).unbind(0)
    masks = {"none": None, "seen": torch.rand(2, 1, 1, 6) < 0.7, "added": torch.randn(2, 4, 6, 6, dtype=torch.float64)}
    masks["seen"][..., 0] = True
    expected = F.scaled_dot_product_attention(q, k, v, masks[kind])
    assert torch.allclose(attention(q, k, v, masks[kind], 1e-9), expected, atol=1e-12)
    many = [part.repeat(4000, 1, 1, 1) for part in (q, k, v)]
    mask = None if masks[kind] is None else masks[kind].repeat(4000, 1, 1, 1)
    draws = attention(*many, mask, 0.25).view(4000, *expected.shape)
    error = draws.std(0) / 4000**0.5
    assert ((draws.mean(0) - expected).abs() < 5 * error + 1e-4).all()
    assert draws.std(0).min() > 0


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(torch.device("cpu")), reason="needs a C++ compiler")
def test_compiled_it_has_the_same_zeros_forward_and_backward():
    @torch.compile
    def twice(x):
        return dropout(x, 0.3), dropout(x, 0.3)

    x = torch.ones(64, 64, requires_grad=True)
    one, other = twice(x)
    assert not torch.equal(one, other)
    assert abs(float((one == 0).float().mean()) - 0.3) < 0.05
    (one * 3 + other).sum().backward()
    assert torch.allclose(x.grad, one.detach() * 3 + other.detach())
