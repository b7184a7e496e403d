"""Does an encoder need many masks to work? python benchmarks/masks.py DATA MODEL... -> results/masks.json

The loss of masked words in held-out pieces of a prepared directory, by the length of the piece and by how many of its
tokens are masked: one alone, 15 %, 30 %. Whoever fine-tunes shows an encoder no mask at all, and short texts too. One
that was only ever shown many masks may have made a use of them that it then misses. The pieces and masks are the same
for all models of one vocabulary.
"""

import argparse
from pathlib import Path

import numpy as np
from measuring import versions, write_result

from dokkai.data.masking import mask
from dokkai.data.shards import Corpus
from dokkai.pipeline import Pipeline, load
from dokkai.settings import PretrainingSettings
from dokkai.tasks.pretraining import MaskedSequence, Pretraining

LENGTHS = (24, 48, 128, 256)
SHARES = {"one": 0.0, "15 %": 0.15, "30 %": 0.3}
WANTED = 1200  # masked tokens in each cell


def pieces(task: Pretraining, corpus: Corpus, length: int, share: float) -> list[MaskedSequence]:
    """So many that about WANTED tokens are masked, each a random place of the text."""
    each = max(1, round(length * share))
    instances = task.instances(corpus, length)
    found = []
    for number in range(-(-WANTED // each)):
        rng = np.random.default_rng([number, length])
        item = instances.instance(int(rng.integers(len(instances))), rng)
        changed = mask(item.input_ids, task.vocabulary, share, each, False, rng)
        found.append(MaskedSequence(changed[0], item.token_type_ids, changed[1], changed[2], False))
    return found


def measure(model: Pipeline, task: Pretraining, corpus: Corpus) -> list[dict]:
    """Loss and accuracy of every cell."""
    rows = []
    for length in LENGTHS:
        for name, share in SHARES.items():
            model.task = task
            scores = model.evaluate(pieces(task, corpus, length, share))
            rows.append({"length": length, "masks": name, **scores})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="what `dokkai prepare` wrote, with held-out documents")
    parser.add_argument("models", nargs="+", type=Path, help="encoders with a masked-LM head")
    parser.add_argument("--name", default="masks")
    args = parser.parse_args()
    runs = []
    for path in args.models:
        model = load(path)
        corpus = Corpus.open(args.data, "heldout", model.tokenizer.fingerprint)
        settings = {"next_sentence": False, "masked_share": max(SHARES.values())}
        task = Pretraining(PretrainingSettings(**settings), model.tokenizer)
        runs += [{"model": path.name, **row} for row in measure(model, task, corpus)]
    command = f"python benchmarks/masks.py DATA {' '.join(path.name for path in args.models)} --name {args.name}"
    write_result(args.name, command, runs, versions=versions("dokkai", "torch"))


if __name__ == "__main__":
    main()
