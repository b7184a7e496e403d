"""Heads: what does not depend on where a text stands in its batch."""

import pytest
import torch

from dokkai.model.heads import OutputLayer


@pytest.mark.parametrize("num_rows", [2, 7])
def test_equal_rows_have_equal_numbers(num_rows):
    torch.manual_seed(0)
    for _ in range(20):
        x_BD = torch.randn(1, 256).repeat(num_rows, 1)
        y_B1 = OutputLayer(256, 1)(x_BD)
        assert torch.equal(y_B1, y_B1[:1].expand(num_rows, -1))


@pytest.mark.parametrize("num_labels", [1, 3])
def test_the_last_layer_is_a_linear_one(num_labels):
    torch.manual_seed(0)
    layer, x_BD = OutputLayer(256, num_labels), torch.randn(7, 256)
    torch.testing.assert_close(layer(x_BD), torch.nn.functional.linear(x_BD, layer.weight, layer.bias))
