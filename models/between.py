"""Weights between those of two models: python models/between.py A B OUT [--share 0.5] [--base C]

B was tuned from A, and both have a use: here A still guesses masked words, and B compares two texts. What both have is
mixed, the share of B; a head that only A has stays, one that only B has is left out (Wortsman et al. 2022, "Robust
fine-tuning of zero-shot models", arXiv 2109.01903). OUT needs some more training.

With ``--base C`` A and B were both tuned from C, and A is moved by what B learned, ``A + share * (B - C)``: a reader
follows its encoder, which went on learning (Ilharco et al. 2023, "Editing models with task arithmetic", arXiv
2212.04089).
"""

import argparse
from pathlib import Path

import torch

import dokkai
from dokkai.errors import UserError
from dokkai.files import replacing
from dokkai.hub import resolve
from dokkai.model.checkpoint import load_model


def mix(a: Path, b: Path, out: Path, share: float, base: Path | None = None) -> None:
    """Write ``out``. UserError if it is there, or if the models are not of one shape."""
    if out.exists():
        raise UserError(f"{out} is there already; give the name of a new directory")
    pipeline = dokkai.load(a)
    heads = tuple(pipeline.model.heads)
    theirs = weights_of(b, heads)
    before = weights_of(base, heads) if base else dict(pipeline.model.named_parameters())
    with torch.no_grad():
        for name, parameter in pipeline.model.named_parameters():
            if name in theirs and name in before:
                if not parameter.shape == theirs[name].shape == before[name].shape:
                    raise UserError(f"{name}: {a} and {b if base is None else f'{b} or {base}'} are not of one shape")
                parameter += share * (theirs[name] - before[name])
    with replacing(out) as directory:
        pipeline.save(directory)


def weights_of(model: Path, heads: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """By name, those of these heads that it has among them."""
    found, report = load_model(resolve(model), heads)
    return {name: weight for name, weight in found.state_dict().items() if name not in report.new}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", type=Path, metavar="A")
    parser.add_argument("b", type=Path, metavar="B")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--share", type=float, default=0.5, help="of B, or of what it learned")
    parser.add_argument("--base", type=Path, metavar="C", help="what A and B were tuned from; A if unset")
    args = parser.parse_args()
    try:
        mix(args.a, args.b, args.out, args.share, args.base)
    except UserError as error:
        parser.exit(2, f"between.py: {error}\n")


if __name__ == "__main__":
    main()
