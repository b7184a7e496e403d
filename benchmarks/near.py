"""Layers with a short sight and rotary positions on a CPU: python benchmarks/near.py -> results/near-384-bf16.json

``encoder-en``, about 2,048 tokens in sequences of ``--length``, one thread. Each side learns (forward and backward) and
reads (forward alone, as a pipeline does). ``dokkai`` attends in blocks and turns queries and keys in one function;
``masked pairs`` masks the scores of all pairs instead; ``masked pairs, turned step by step`` turns by PyTorch's own
products and sums too, as dokkai once did. Where sequences are short for blocks the first two are the same.
"""

import argparse
import time
from collections.abc import Callable

import torch
from measuring import ROOT, alternate, versions, write_result

from dokkai.model import encoder
from dokkai.model.checkpoint import load_model
from dokkai.model.device import autocast, choose_precision
from dokkai.model.positions import rotate_by_steps
from dokkai.training.memory import keep_freed_memory

TOKENS, PASSES, CPU = 2048, 4, torch.device("cpu")


def _no_band(*_: object) -> None:
    return None


SIDES: dict[str, tuple[Callable, Callable]] = {
    "dokkai": (encoder.make_band, encoder.rotate),
    "masked pairs": (_no_band, encoder.rotate),
    "masked pairs, turned step by step": (_no_band, rotate_by_steps),
}


def measure(side: str, length: int, precision: str) -> dict:
    """Tokens per second of both, after a pass that is not counted."""
    encoder.make_band, encoder.rotate = SIDES[side]
    model, _ = load_model(ROOT / "src" / "dokkai" / "models" / "encoder-en", heads=())
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(5, 16000, (TOKENS // length, length), generator=generator)
    segments, seen = torch.zeros_like(input_ids), torch.ones_like(input_ids)
    seen[0, length // 2 :] = 0  # padding, as there is in any batch

    def learn() -> None:
        with autocast(CPU, precision):
            states = model.encoder(input_ids, segments, seen)
        states.float().square().mean().backward()

    @torch.inference_mode()
    def read() -> None:
        with autocast(CPU, precision):
            model.encoder(input_ids, segments, seen)

    found = {}
    for name, step in (("learning", learn), ("reading", read)):
        model.train(name == "learning")
        step()
        start = time.perf_counter()
        for _ in range(PASSES):
            step()
        found[f"{name}_tokens_per_second"] = input_ids.numel() * PASSES / (time.perf_counter() - start)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=384)
    parser.add_argument("--precision", default="auto", choices=("auto", "bf16", "fp32"))
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as a training does
    precision = choose_precision(args.precision, CPU)
    runs = alternate(list(SIDES), args.repetitions, lambda side: measure(side, args.length, precision))
    write_result(
        f"near-{args.length}-{precision}",
        f"python benchmarks/near.py --length {args.length} --precision {precision}",
        runs,
        versions=versions("dokkai", "torch"),
    )


if __name__ == "__main__":
    main()
