"""Weights in eight bits: how near they stay, that a second time changes nothing, what a damaged file says."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_bert import HEAD_SETS, NUM_LABELS, draw_wide, one_line_error, padded_batch, tiny_config

from dokkai.model.checkpoint import CONFIG, WEIGHTS, load_model, save_model
from dokkai.model.eight_bit import from_eight_bits, to_eight_bits
from dokkai.model.heads import Model


@pytest.fixture
def model():
    return draw_wide(Model(tiny_config(), HEAD_SETS["BertForMaskedLM"], NUM_LABELS), 0)


def test_every_number_is_within_half_a_step_of_its_row():
    matrix = torch.randn(5, 64) * torch.tensor([1.0, 10.0, 1e-4, 1e4, 0.0])[:, None]
    vector = torch.randn(64)
    packed = to_eight_bits({"m": matrix, "v": vector})
    assert packed["m"].dtype == torch.int8
    found = from_eight_bits(packed)
    step = matrix.abs().amax(1, keepdim=True) / 127
    assert (found["m"] - matrix).abs().le(step * 0.5001).all()
    assert torch.equal(found["v"], vector)
    assert set(found) == {"m", "v"}


def test_a_model_is_a_quarter_as_large_and_nearly_the_same(model, tmp_path):
    save_model(model, tmp_path / "whole")
    save_model(model, tmp_path / "small", torch.int8)
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("whole", "small")]
    assert sizes[1] < 0.4 * sizes[0], "the tiny model has short rows: a scale for each weighs something"
    found, report = load_model(tmp_path / "small")
    assert str(report) == ""
    batch = padded_batch(1)
    model.eval(), found.eval()
    with torch.inference_mode():
        logits, expected = found(batch)["masked_lm"], model(batch)["masked_lm"]
    assert torch.corrcoef(torch.stack([logits.flatten(), expected.flatten()]))[0, 1] > 0.99
    assert not torch.equal(logits, expected)


def test_a_second_time_changes_nothing(model, tmp_path):
    save_model(model, tmp_path / "once", torch.int8)
    save_model(load_model(tmp_path / "once")[0], tmp_path / "twice", torch.int8)
    first, second = (load_file(tmp_path / name / WEIGHTS) for name in ("once", "twice"))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]) or torch.allclose(tensor.float(), second[name].float(), rtol=1e-6)


def test_transformers_says_that_it_cannot(model, tmp_path):
    from transformers import AutoModelForMaskedLM

    save_model(model, tmp_path / "small", torch.int8)
    assert json.loads((tmp_path / "small" / CONFIG).read_text())["dtype"] == "int8"
    with pytest.raises(Exception, match=r"dokkai_int8_rows|int8"):
        AutoModelForMaskedLM.from_pretrained(tmp_path / "small")


def test_scales_of_another_matrix(model, tmp_path):
    save_model(model, tmp_path / "small", torch.int8)
    tensors = load_file(tmp_path / "small" / WEIGHTS)
    name = next(name for name in tensors if name.endswith("_scale"))
    save_file(tensors | {name: tensors[name][:-1]}, tmp_path / "small" / WEIGHTS)
    with one_line_error("scales of the shape"):
        load_model(tmp_path / "small")


def test_a_matrix_without_scales(model, tmp_path):
    save_model(model, tmp_path / "small", torch.int8)
    tensors = load_file(tmp_path / "small" / WEIGHTS)
    name = next(name for name in tensors if name.endswith("_scale"))
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, tmp_path / "small" / WEIGHTS)
    with one_line_error(r"model.safetensors: .* rows, but scales of the shape \(0,\)"):
        load_model(tmp_path / "small")
