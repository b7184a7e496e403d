"""Made with transformers 4.57, which can do what 5 cannot: distances in attention, pickles. python make.py

Two directories as that version saves them, with wide random weights, in shards; and what it computes from them in
float64, in ``expected.json``: input ids, token types, mask, logits.
"""

import copy
import json
from pathlib import Path

import torch
import transformers

assert transformers.__version__.startswith("4."), "version 5 has no position_embedding_type"
HERE = Path(__file__).parent
NUMBERS = {"vocab_size": 12, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
NUMBERS |= {"intermediate_size": 12, "max_position_embeddings": 10, "classifier_dropout": 0.3}
NAMES = {0: "O", 1: "B", 2: "I"}


def differs(logits: torch.Tensor, mask: torch.Tensor) -> bool:
    """Whether the tokens get different logits: with so small a model not every seed tells something."""
    return bool(logits[mask.bool()].std(0).min() > 0.5)


def save(positions: str, safe: bool, seed: int) -> bool:
    """Save the model of this seed if it tells something."""
    config = transformers.BertConfig(**NUMBERS, position_embedding_type=positions, id2label=NAMES)
    config._attn_implementation = "eager"
    model = transformers.BertForTokenClassification(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.normal_(0, 1, generator=generator)
    length = torch.tensor([[10], [6], [1]])
    mask = (torch.arange(10)[None] < length).long()
    batch = {
        "input_ids": torch.randint(1, 12, (3, 10), generator=generator) * mask,
        "token_type_ids": (torch.arange(10)[None] >= length // 2).long() * mask,
        "attention_mask": mask,
    }
    with torch.inference_mode():
        logits = copy.deepcopy(model).double()(**batch).logits
    if not differs(logits, mask):
        return False
    model.save_pretrained(HERE / positions, max_shard_size="4KB", safe_serialization=safe)
    values = {name: tensor.tolist() for name, tensor in (batch | {"logits": logits}).items()}
    (HERE / positions / "expected.json").write_text(json.dumps(values) + "\n")
    return True


for kind, is_safe in {"relative_key": False, "relative_key_query": True}.items():
    assert any(save(kind, is_safe, number) for number in range(100))
