"""What does each layer do? python benchmarks/layers.py PREPARED MODEL... -> results/layers.json

Of encoders of ModernBERT's architecture with a masked-LM head:

- ``loss`` of masked words (15 %) in held-out pieces of 128 tokens, as the encoder is (layer null), and when the
  attention of one layer gives nothing;
- ``attention`` of each layer: mean entropy of the heads in nats, mean of their greatest weight, and the share of the
  weight that goes to [MASK], in such pieces with one token masked or with 15 %;
- ``likeness``: Spearman's correlation on the first 500 pairs of STS-B dev, in percent, of the cosines of mean vectors
  of each layer (0: the words themselves), each coordinate standardized over the sentences.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from masks import pieces
from measuring import versions, write_result

from dokkai.data.rows import Row
from dokkai.data.shards import Corpus
from dokkai.evaluation.metrics import regression_scores
from dokkai.pipeline import Pipeline, load
from dokkai.settings import PretrainingSettings, load_settings
from dokkai.tasks import create_task
from dokkai.tasks.pretraining import MaskedSequence, Pretraining

LENGTH = 128
PIECES = 40
PAIRS = 500
SHARES = {"one": 0.0, "15 %": 0.15}


def losses(pipeline: Pipeline, masked: Sequence[MaskedSequence]) -> Iterator[tuple[int | None, float]]:
    """As it is, and without the attention of each layer."""
    yield None, pipeline.evaluate(masked)["masked_lm_loss"]
    for number, layer in enumerate(pipeline.model.encoder.layers):
        weight = layer.attention.output.weight
        kept = weight.data.clone()
        weight.data.zero_()
        yield number, pipeline.evaluate(masked)["masked_lm_loss"]
        weight.data.copy_(kept)


@torch.inference_mode()
def attention(path: Path, ids_BL: torch.Tensor, mask_id: int) -> list[dict[str, float]]:
    """What the heads of each layer look at, by ``transformers``, which can tell their weights."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(path, attn_implementation="eager", dtype=torch.float32).eval()
    weights = model(input_ids=ids_BL, attention_mask=torch.ones_like(ids_BL), output_attentions=True).attentions
    is_mask = (ids_BL == mask_id).float()[:, None, None, :]
    return [
        {
            "entropy": float(torch.special.entr(weight).sum(-1).mean()),
            "greatest": float(weight.amax(-1).mean()),
            "to_mask": float((weight * is_mask).sum(-1).mean()),
        }
        for weight in weights
    ]


def likeness(pipeline: Pipeline, rows: Sequence[Row]) -> list[float]:
    """Of the words, and of every layer."""
    layers = range(pipeline.model.config.num_hidden_layers + 1)
    texts = [text for row in rows for text in (row.text, row.pair or "")]
    vectors_TND = np.stack(pipeline.embed(texts, layers, "mean")).reshape(len(texts), len(layers), -1)
    vectors_TND = (vectors_TND - vectors_TND.mean(0)) / vectors_TND.std(0)
    vectors_TND /= np.linalg.norm(vectors_TND, axis=-1, keepdims=True)
    cosines_RN = (vectors_TND[::2] * vectors_TND[1::2]).sum(-1)
    numbers = [float(row.label or "nan") for row in rows]
    return [100 * regression_scores(numbers, list(cosines_R))["spearman"] for cosines_R in cosines_RN.T]


def measure(path: Path, prepared: Path, file: Path) -> Iterator[dict[str, Any]]:
    """All of one encoder."""
    pipeline = load(path, precision="fp32")
    corpus = Corpus.open(prepared, "heldout", pipeline.tokenizer.fingerprint)
    task = Pretraining(PretrainingSettings(next_sentence=False), pipeline.tokenizer)
    masked = {name: pieces(task, corpus, LENGTH, share)[:PIECES] for name, share in SHARES.items()}
    pipeline.task = task
    for layer, loss in losses(pipeline, masked["15 %"]):
        yield {"what": "loss", "without": layer, "loss": loss}
    for name, items in masked.items():
        ids_BL = task.collate(items, LENGTH)["input_ids"]
        for layer, found in enumerate(attention(path, ids_BL, pipeline.tokenizer.mask_id)):
            yield {"what": "attention", "masks": name, "layer": layer, **found}
    rows = create_task(load_settings("sts-b", []).task, pipeline.tokenizer).read(file)[:PAIRS]
    yield {"what": "likeness", "layers": likeness(pipeline, rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path, help="what `dokkai prepare` wrote, with held-out documents")
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DOKKAI_DATA", ".")))
    args = parser.parse_args()
    file = args.data / "glue" / "STS-B-dev.csv"
    runs = [{"model": path.name, **run} for path in args.models for run in measure(path, args.prepared, file)]
    command = f"python benchmarks/layers.py PREPARED {' '.join(path.name for path in args.models)}"
    write_result("layers", command, runs, versions=versions("dokkai", "torch", "transformers"))


if __name__ == "__main__":
    main()
