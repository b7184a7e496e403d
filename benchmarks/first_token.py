"""What a head that reads [CLS] saves: python benchmarks/first_token.py -> results/first-token.json

For such a head a layer computes only what later layers see of it on the way to [CLS]. Beside it the same model that
computes every token of every layer: 16 texts of 128 random words, one class of two, one thread; a pass as for a
prediction, and an update (there, back, AdamW; with the dropout of the model).
"""

import argparse
import time
from functools import partial

import torch
from measuring import ROOT, alternate, versions, write_result

from dokkai.model.checkpoint import load_model
from dokkai.model.config import ModelConfig
from dokkai.model.heads import Model

HEADS, TEXTS, LENGTH = ("classification",), 16, 128
SIDES = ("what [CLS] sees", "every token")
DIRECTORIES = {"mini-en": ROOT / "models" / "mini-en", "encoder-en": ROOT / "src" / "dokkai" / "models" / "encoder-en"}
PASSES = {"mini-en": 20, "encoder-en": 5, "bert-base": 2}


def create(name: str) -> Model:
    """A model with a new head; BERT-Base from random weights."""
    return Model(ModelConfig(), HEADS) if name == "bert-base" else load_model(DIRECTORIES[name], HEADS, 2)[0]


def measure(model: Model, is_update: bool, passes: int, side: str) -> dict:
    """Tokens per second."""
    model._reads_first_only = side == SIDES[0]
    model.train(is_update)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.vocab_size, (TEXTS, LENGTH), generator=generator)
    batch = {"input_ids": ids, "token_type_ids": torch.zeros_like(ids)}
    labels = torch.arange(TEXTS) % 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    start = time.perf_counter()
    for _ in range(passes):
        with torch.set_grad_enabled(is_update):
            loss = torch.nn.functional.cross_entropy(model(batch)["classification"], labels)
        if is_update:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return {"tokens_per_second": passes * TEXTS * LENGTH / (time.perf_counter() - start)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs = []
    for name, passes in PASSES.items():
        model = create(name)
        for what in ("pass", "update"):
            found = alternate(SIDES, args.repetitions, partial(measure, model, what == "update", passes))
            runs += [run | {"model": name, "what": what} for run in found]
    write_result("first-token", "python benchmarks/first_token.py", runs, versions=versions("dokkai", "torch"))


if __name__ == "__main__":
    main()
