"""Heads: what does not depend on where a text stands in its batch."""

import pytest
import torch

from dokkai.model.heads import OutputLayer


@pytest.mark.parametrize("num_labels", [1, 3])
@pytest.mark.parametrize("num_rows", [2, 7])
def test_equal_rows_have_equal_outputs(num_rows, num_labels):
    torch.manual_seed(0)
    for _ in range(20):
        layer = OutputLayer(256, num_labels)
        x_BD = torch.randn(1, 256).repeat(num_rows, 1)
        y_BY = layer(x_BD)
        assert torch.equal(y_BY, y_BY[:1].expand(num_rows, -1))
        torch.testing.assert_close(y_BY, torch.nn.functional.linear(x_BD, layer.weight, layer.bias))
