"""Soften what the first layer looks at: python models/soften.py RUN OUT [--queries 0.12]

In the first layer of ModernBERT's architecture nothing is normalized before attention, and Muon lets its weights grow:
each head of `encoder-en` came to look at a single token, a [MASK] if there is one, with nearly all of its weight. What
it brings back is a bias, which the layers have not got, and the rest disturbs. With queries multiplied by 0.12 most of
the bias stays (docs/experiments.md; `benchmarks/layers.py` shows it).
"""

import argparse
from pathlib import Path

import torch

import dokkai
from dokkai.errors import UserError
from dokkai.files import replacing


def soften(run: Path, out: Path, queries: float) -> None:
    """Write the run's model to the new directory ``out``, the queries of the first layer multiplied.

    UserError if ``run`` is no such model, or ``out`` is there.
    """
    if out.exists():
        raise UserError(f"{out} is there already; give the name of a new directory")
    pipeline = dokkai.load(run)
    config = pipeline.model.config
    if not config.is_modern:
        raise UserError(f"{run}: a first layer of BERT's own architecture is normalized; there is nothing to soften")
    with torch.no_grad():
        pipeline.model.encoder.layers[0].attention.qkv.weight[: config.hidden_size].mul_(queries)
    with replacing(out) as directory:
        pipeline.save(directory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--queries", type=float, default=0.12)
    args = parser.parse_args()
    try:
        soften(args.run, args.out, args.queries)
    except UserError as error:
        parser.exit(2, f"soften.py: {error}\n")


if __name__ == "__main__":
    main()
