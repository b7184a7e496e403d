"""What does each layer do? python benchmarks/layers.py PREPARED MODEL... -> results/layers.json

Of encoders of the modern face with a masked-LM head, layer by layer:

- ``attention``: mean entropy of the heads in nats, mean of their greatest weight, and the share of the weight that
  goes to [MASK], in held-out pieces of 128 tokens with one token masked or with 15 %;
- ``without``: the loss of masked words (15 %) when the attention of this layer gives nothing;
- ``softened``: the same when the queries of the first layer are multiplied by a number;
- ``likeness``: Spearman's correlation on the first 500 pairs of STS-B dev, in percent, of the cosines of mean vectors
  of this layer (0: the words themselves), each coordinate standardized over the sentences; for the softened ones too.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from masks import pieces
from measuring import versions, write_result
from scipy.stats import spearmanr
from torch.nn import functional as F

from dokkai.data.shards import Corpus
from dokkai.errors import UserError
from dokkai.settings import PretrainingSettings
from dokkai.tasks.pretraining import Pretraining
from dokkai.tokenization import load_tokenizer

LENGTH = 128
SOFTER = (1.0, 0.25, 0.12, 0.0)
PAIRS = 500  # of STS-B
SHARES = {"one": 0.0, "15 %": 0.15}


def open_encoder(path: Path, softer: float = 1.0, without: int | None = None) -> Any:
    """By ``transformers``, whose eager attention shows its weights."""
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(path, attn_implementation="eager", dtype=torch.float32).eval()
    width = model.config.hidden_size
    with torch.no_grad():
        model.model.layers[0].attn.Wqkv.weight[:width] *= softer
        if without is not None:
            model.model.layers[without].attn.Wo.weight.zero_()
    return model


@torch.no_grad()
def masked_loss(model: Any, batch: dict[str, torch.Tensor]) -> float:
    """Mean cross-entropy over the masked positions of one batch."""
    logits = model(input_ids=batch["input_ids"], attention_mask=torch.ones_like(batch["input_ids"])).logits
    logits = logits.flatten(0, 1)[batch["masked_positions"]]
    return float(F.cross_entropy(logits, batch["masked_labels"], ignore_index=-100))


@torch.no_grad()
def attention(model: Any, ids: torch.Tensor, mask_id: int) -> list[dict[str, float]]:
    """What the heads of each layer look at."""
    weights = model(input_ids=ids, attention_mask=torch.ones_like(ids), output_attentions=True).attentions
    is_mask = (ids == mask_id).float()[:, None, None, :]
    return [
        {
            "entropy": float(-(w * w.clamp_min(1e-12).log()).sum(-1).mean()),
            "greatest": float(w.max(-1).values.mean()),
            "to_mask": float((w * is_mask).sum(-1).mean()),
        }
        for w in weights
    ]


@torch.no_grad()
def likeness(model: Any, tokenizer: Any, rows: list[tuple[str, str, float]]) -> list[float]:
    """Spearman's correlation for the embeddings and every layer."""
    texts = [text for row in rows for text in row[:2]]
    states: list[list[torch.Tensor]] = []
    for start in range(0, len(texts), 50):
        found = [tokenizer.encode(text).input_ids for text in texts[start : start + 50]]
        longest = max(map(len, found))
        ids = torch.tensor([[*item, *[tokenizer.pad_id] * (longest - len(item))] for item in found])
        mask = torch.tensor([[1] * len(item) + [0] * (longest - len(item)) for item in found])
        hidden = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        states.append([(x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True) for x in hidden])
    scores = []
    for layer in zip(*states, strict=True):
        vectors = torch.cat(layer)
        vectors = F.normalize((vectors - vectors.mean(0)) / vectors.std(0), dim=-1)
        cosines = (vectors[::2] * vectors[1::2]).sum(-1)
        scores.append(float(spearmanr(cosines.numpy(), [row[2] for row in rows])[0]) * 100)
    return scores


def measure(path: Path, data: Path, rows: list[tuple[str, str, float]]) -> list[dict[str, Any]]:
    """All of one encoder."""
    tokenizer = load_tokenizer(path)
    corpus = Corpus.open(data, "heldout", tokenizer.fingerprint)
    task = Pretraining(PretrainingSettings(next_sentence=False, masked_share=0.15), tokenizer)
    batches = {name: task.collate(pieces(task, corpus, LENGTH, share)[:40], LENGTH) for name, share in SHARES.items()}
    model = open_encoder(path)
    runs: list[dict[str, Any]] = []
    for name, batch in batches.items():
        for layer, found in enumerate(attention(model, batch["input_ids"], tokenizer.mask_id)):
            runs.append({"model": path.name, "what": "attention", "masks": name, "layer": layer, **found})
    for layer in range(model.config.num_hidden_layers):
        loss = masked_loss(open_encoder(path, without=layer), batches["15 %"])
        runs.append({"model": path.name, "what": "without", "layer": layer, "loss": loss})
    for softer in SOFTER:
        model = open_encoder(path, softer)
        loss = masked_loss(model, batches["15 %"])
        runs.append({"model": path.name, "what": "softened", "queries": softer, "loss": loss})
        if rows:
            scores = likeness(model, tokenizer, rows)
            runs.append({"model": path.name, "what": "likeness", "queries": softer, "layers": scores})
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path, help="what `dokkai prepare` wrote, with held-out documents")
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DOKKAI_DATA", ".")))
    args = parser.parse_args()
    file = args.data / "glue" / "STS-B-dev.csv"
    if not file.exists():
        raise SystemExit(str(UserError(f"{file}: no such file; set DOKKAI_DATA")))
    fields = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
    rows = [(line[5], line[6], float(line[4])) for line in fields[:PAIRS]]
    torch.manual_seed(0)
    np.random.seed(0)
    runs = [run for path in args.models for run in measure(path, args.prepared, rows)]
    command = f"python benchmarks/layers.py PREPARED {' '.join(path.name for path in args.models)}"
    write_result("layers", command, runs, versions=versions("dokkai", "torch", "transformers"), length=LENGTH)


if __name__ == "__main__":
    main()
