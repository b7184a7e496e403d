"""Weights between those of two models: python models/between.py A B OUT [--share 0.5]

B was tuned from A, and both have a use: here A still guesses masked words, and B compares two texts. What both have is
mixed, the share of B; a head that only A has stays, one that only B has is left out (Wortsman et al. 2022, "Robust
fine-tuning of zero-shot models", arXiv 2109.01903). OUT needs some more training.
"""

import argparse
from pathlib import Path

import torch

import dokkai
from dokkai.errors import UserError
from dokkai.files import replacing
from dokkai.hub import resolve
from dokkai.model.checkpoint import load_model


def mix(a: Path, b: Path, out: Path, share: float) -> None:
    """Write ``out``. UserError if it is there, or if the models are not of one shape."""
    if out.exists():
        raise UserError(f"{out} is there already; give the name of a new directory")
    pipeline = dokkai.load(a)
    other, report = load_model(resolve(b), tuple(pipeline.model.heads))
    theirs = {name: weight for name, weight in other.state_dict().items() if name not in report.new}
    with torch.no_grad():
        for name, parameter in pipeline.model.named_parameters():
            if name in theirs:
                if parameter.shape != theirs[name].shape:
                    raise UserError(f"{name}: {a} and {b} are not of one shape")
                parameter.lerp_(theirs[name], share)
    with replacing(out) as directory:
        pipeline.save(directory)


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
