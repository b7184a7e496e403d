"""Weights between those of two models: python models/between.py A B OUT [--share 0.5]

B was tuned from A, and both have a use: here A still guesses masked words, and B compares two texts. What both have is
mixed, the share of B; a head that only A has stays, one that only B has is left out (Wortsman et al. 2022, "Robust
fine-tuning of zero-shot models", arXiv 2109.01903). OUT is a directory like A, and needs some more training.
"""

import argparse
import shutil
from pathlib import Path

from dokkai.errors import UserError
from dokkai.files import replacing
from dokkai.model.checkpoint import WEIGHTS, save_tensors
from dokkai.model.weights import load_tensors


def mix(a: Path, b: Path, out: Path, share: float) -> None:
    """Write ``out``. UserError if it is there, or if the models are not of one shape, in float32."""
    if out.exists():
        raise UserError(f"{out} is there already; give the name of a new directory")
    first, second = (load_tensors(directory / WEIGHTS) for directory in (a, b))
    both = {name for name in first if name in second}
    if not both:
        raise UserError(f"{a} and {b} have no weights in common")
    for name in both:
        if first[name].shape != second[name].shape or not first[name].is_floating_point():
            raise UserError(f"{name}: {a} and {b} are not of one shape, or not in float32")
    mixed = {
        name: ((1 - share) * tensor.float() + share * second[name].float()).to(tensor.dtype) if name in both else tensor
        for name, tensor in first.items()
    }
    with replacing(out) as directory:
        shutil.copytree(a, directory, ignore=shutil.ignore_patterns(WEIGHTS, "checkpoints"))
        save_tensors(mixed, directory / WEIGHTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", type=Path, metavar="A")
    parser.add_argument("b", type=Path, metavar="B")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--share", type=float, default=0.5, help="of B")
    args = parser.parse_args()
    try:
        mix(args.a, args.b, args.out, args.share)
    except UserError as error:
        parser.exit(2, f"between.py: {error}\n")


if __name__ == "__main__":
    main()
