"""Layers with a short sight and rotary positions on a CPU: python benchmarks/near.py -> results/near-384.json

``encoder-en``, 2,048 tokens in sequences of ``--length``, one thread, in the precision that this machine is fastest in:
``dokkai`` attends in blocks and turns queries and keys in one function; ``pairs of all tokens`` masks the scores of
all pairs instead; ``and step by step`` turns them by PyTorch's products and sums too. ``learning`` is forward and
backward, ``reading`` forward alone.
"""

import argparse
import time

import torch
from measuring import ROOT, alternate, versions, write_result
from torch import Tensor

from dokkai.model import encoder
from dokkai.model.checkpoint import load_model
from dokkai.model.device import autocast, choose_precision
from dokkai.training.memory import keep_freed_memory

TOKENS, PASSES = 2048, 8
SIDES = {"dokkai": 0, "pairs of all tokens": 1, "and step by step": 2}
AS_IT_IS = (encoder.band, encoder.rotate)


def _steps(x_LHK: Tensor, rotation: tuple[Tensor, Tensor], count: int) -> Tensor:
    cos, sin = (part[:, None] for part in rotation)
    turning, others = x_LHK[..., :count, :], x_LHK[..., count:, :]
    first, second = turning.chunk(2, dim=-1)
    turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x_LHK.dtype)
    return torch.cat([turned, others], dim=-2)


def measure(side: str, length: int, is_reading: bool) -> dict:
    """Tokens per second."""
    encoder.band, encoder.rotate = AS_IT_IS
    if SIDES[side] > 0:
        encoder.band = lambda *_: None
    if SIDES[side] > 1:
        encoder.rotate = _steps
    torch.manual_seed(0)
    model, _ = load_model(ROOT / "src" / "dokkai" / "models" / "encoder-en", heads=())
    model.train(not is_reading)
    input_ids = torch.randint(5, 16000, (TOKENS // length, length))
    seen = torch.ones_like(input_ids)
    seen[0, length // 2 :] = 0  # padding, as there is in any batch
    device = torch.device("cpu")
    start = time.perf_counter()
    for _ in range(PASSES):
        with torch.set_grad_enabled(not is_reading), autocast(device, choose_precision("auto", device)):
            states = model.encoder(input_ids, torch.zeros_like(input_ids), seen)
        if not is_reading:
            states.float().square().mean().backward()
    return {"tokens_per_second": input_ids.numel() * PASSES / (time.perf_counter() - start)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=384)
    parser.add_argument("--reading", action="store_true", help="forward alone -> results/near-LENGTH-reading.json")
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as a training does
    runs = alternate(list(SIDES), args.repetitions, lambda side: measure(side, args.length, args.reading))
    write_result(
        f"near-{args.length}{'-reading' if args.reading else ''}",
        f"python benchmarks/near.py --length {args.length}{' --reading' if args.reading else ''}",
        runs,
        precision=choose_precision("auto", torch.device("cpu")),
        versions=versions("dokkai", "torch"),
        compare={"value": "tokens_per_second", "unit": "tokens/s"},
    )


if __name__ == "__main__":
    main()
