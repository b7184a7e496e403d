"""Attention in bf16 on a CPU, there and back: python benchmarks/attention.py --length 128 -> results/attention-128.json

``dokkai.model.dropout.attention`` without dropout beside ``F.scaled_dot_product_attention``: 4,096 tokens in 4 heads of
64, one thread, half of the passes with a window of 16 tokens and half without, as the layers of the modern face.
"""

import argparse
import time
from collections.abc import Callable

import torch
from measuring import alternate, versions, write_result
from torch.nn import functional as F

from dokkai.model.dropout import attention
from dokkai.model.positions import neighbours

TOKENS, HEADS, SIZE, DISTANCE, PASSES = 4096, 4, 64, 8, 20
SIDES: dict[str, Callable[..., torch.Tensor]] = {
    "dokkai": lambda q, k, v, mask: attention(q, k, v, mask, 0.0),
    "scaled_dot_product_attention": F.scaled_dot_product_attention,
}


def measure(side: str, length: int) -> dict:
    """Tokens per second of forward and backward."""
    torch.manual_seed(0)
    qkv = torch.randn(TOKENS // length, length, 3, HEADS, SIZE, dtype=torch.bfloat16)
    q, k, v = (part.detach().requires_grad_() for part in qkv.permute(2, 0, 3, 1, 4).unbind(0))
    masks = (None, neighbours(torch.arange(length), DISTANCE)[None, None])
    start = time.perf_counter()
    for number in range(PASSES):
        SIDES[side](q, k, v, masks[number % 2]).sum().backward()
    return {"tokens_per_second": TOKENS // length * length * PASSES / (time.perf_counter() - start)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs = alternate(list(SIDES), args.repetitions, lambda side: measure(side, args.length))
    write_result(
        f"attention-{args.length}",
        f"python benchmarks/attention.py --length {args.length}",
        runs,
        versions=versions("dokkai", "torch"),
        compare={"value": "tokens_per_second", "unit": "tokens/s"},
    )


if __name__ == "__main__":
    main()
