"""The choice of layers, what is made of them, and a tagger that does not read padding."""

import numpy as np
import pytest
import torch
from torch import nn

from dokkai.errors import UserError
from dokkai.model.tagger import LayerChoice, LayerMix, Tagger, choose_layers


@pytest.mark.parametrize(
    ("name", "layers", "way"),
    [
        ("embeddings", [0], "concat"),
        ("last", [12], "concat"),
        ("second-to-last", [11], "concat"),
        ("sum-last-4", [9, 10, 11, 12], "sum"),
        ("sum-all", list(range(1, 13)), "sum"),
        ("weighted-last-4", [9, 10, 11, 12], "weighted"),
        ("weighted-all", list(range(1, 13)), "weighted"),
        ("concat-last-4", [9, 10, 11, 12], "concat"),
        ("-1,-2,0", [12, 11, 0], "concat"),
        ("-13,5", [0, 5], "concat"),
    ],
)
def test_choices_of_table_7(name, layers, way):
    assert choose_layers(name, 12) == LayerChoice(tuple(layers), way)


def test_a_model_of_few_layers():
    assert choose_layers("concat-last-4", 2).layers == choose_layers("sum-all", 2).layers == (1, 2)


def test_mistakes():
    with pytest.raises(UserError, match=r"unknown probe.layers 'concat-last-5'; did you mean 'concat-last-4'\?"):
        choose_layers("concat-last-5", 12)
    for name in ("13", "-1,-14"):
        with pytest.raises(UserError, match=f"probe.layers go from -13 to 12 in this model, not {name}"):
            choose_layers(name, 12)


def test_mixes():
    x_BLND = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    choices = {way: LayerChoice((9, 10, 11, 12), way) for way in ("concat", "sum", "weighted")}
    concat, total, weighted = (LayerMix(choice, 5) for choice in choices.values())
    assert (concat.width, total.width, weighted.width) == (20, 5, 5)
    assert torch.equal(concat(x_BLND), torch.cat(x_BLND.unbind(2), dim=-1))
    assert torch.equal(total(x_BLND), sum(x_BLND.unbind(2)))
    torch.testing.assert_close(weighted(x_BLND), x_BLND.mean(2))  # before it has learned
    with torch.no_grad():
        weighted.weights.copy_(torch.tensor([0.0, 1.0, 2.0, -1.0]))
        weighted.scale.fill_(3.0)
    shares = np.exp([0.0, 1.0, 2.0, -1.0]) / np.exp([0.0, 1.0, 2.0, -1.0]).sum()
    expected = 3.0 * sum(share * part for share, part in zip(shares, x_BLND.unbind(2), strict=True))
    torch.testing.assert_close(weighted(x_BLND), expected.float())
    assert [list(mix.parameters()) for mix in (concat, total)] == [[], []]


def test_layers_are_standardized_one_by_one():
    """Numbers that grow from layer to layer, as where layers norm only what they read, reach the LSTM alike."""
    torch.manual_seed(0)
    mean, deviation = torch.randn(2, 5) * 100, torch.rand(2, 5) * 50 + 1
    z_BLND = torch.randn(2, 3, 2, 5)
    for way, expected in (("concat", z_BLND.flatten(-2)), ("sum", z_BLND.sum(-2)), ("weighted", z_BLND.mean(-2))):
        mix = LayerMix(LayerChoice((1, 2), way), 5)
        mix.standardize(mean, deviation)
        torch.testing.assert_close(mix(z_BLND * deviation + mean), expected, rtol=1e-4, atol=1e-4)
        assert {"mean", "deviation"} <= mix.state_dict().keys(), "the weights are nothing without them"


def test_each_sequence_is_read_alone():
    """Batched and padded as one by one, by PyTorch's LSTM without padding."""
    tagger = Tagger(LayerChoice((1, 2), "concat"), 6, 3, lstm_size=5, lstm_layers=2, seed=3).eval()
    torch.manual_seed(0)
    lengths = [4, 9, 1]
    states = torch.randn(3, 12, 2, 6).half()  # rubbish behind the ends as well
    mask = (torch.arange(12) < torch.tensor(lengths)[:, None]).long()
    found = tagger({"states": states, "attention_mask": mask})["token_classification"]
    assert found.shape == (3, 12, 3)
    for row, length in enumerate(lengths):
        alone, _ = tagger.lstm(states[row, :length].float().flatten(-2))
        torch.testing.assert_close(found[row, :length], tagger.classifier(alone), rtol=1e-5, atol=1e-5)


def test_the_paper_sizes_and_the_seed():
    choice = LayerChoice((12,), "concat")
    tagger = Tagger(choice, 768, 9)
    assert (tagger.lstm.hidden_size, tagger.lstm.num_layers, tagger.lstm.bidirectional) == (768, 2, True)
    assert isinstance(tagger.classifier, nn.Linear) and tagger.classifier.in_features == 2 * 768
    torch.manual_seed(5)
    first, second, other = (Tagger(choice, 8, 3, 4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.classifier.weight, second.classifier.weight)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))  # what else is random is left alone
