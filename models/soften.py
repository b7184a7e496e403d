"""Soften what the first layer looks at: python models/soften.py RUN OUT [--queries 0.12]

In the first layer of ModernBERT's architecture nothing is normalized before attention, and Muon lets its weights grow:
each head of `encoder-en` came to look at a single token, a [MASK] if there is one, with 95 % of its weight. What it
brings back is nearly the same for every token, a bias that the layers have not got; the rest is noise. Queries times
0.12 leave the bias and take the noise away (docs/experiments.md; `benchmarks/layers.py` shows it).
"""

import argparse
import shutil
from pathlib import Path

import torch

from dokkai.files import replacing
from dokkai.model.checkpoint import load_model, save_model
from dokkai.tokenization import load_tokenizer, save_tokenizer


def soften(run: Path, out: Path, queries: float) -> None:
    """Write the run's model and tokenizer to ``out``, the queries of the first layer multiplied."""
    model, _ = load_model(run)
    with torch.no_grad():
        weight = model.encoder.layers[0].attention.qkv.weight
        weight[: model.config.hidden_size].mul_(queries)
    with replacing(out) as temporary:
        temporary.mkdir()
        save_model(model, temporary)
        save_tokenizer(load_tokenizer(run), temporary)
        for name in ("task.json", "run.json"):
            if (run / name).exists():
                shutil.copy(run / name, temporary / name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--queries", type=float, default=0.12)
    args = parser.parse_args()
    soften(args.run, args.out, args.queries)
