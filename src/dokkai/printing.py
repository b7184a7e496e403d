"""Results on standard output: facts with their names, or JSON."""

import json
from pathlib import Path
from typing import Any


def print_run(out: Path, as_json: bool) -> None:
    """The metrics of a run directory."""
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    print_facts({"run": str(out), **record["metrics"]}, as_json)


def print_facts(facts: dict[str, Any], as_json: bool) -> None:
    """A line for each, or one JSON object."""
    if as_json:
        print_json(facts)
        return
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        print(f"{name:{width}}  {f'{value:.4f}' if isinstance(value, float) else value}")


def print_masks(masks: list[list[tuple[str, float]]], as_json: bool) -> None:
    """For each mask its words, the likeliest first; with several masks the number of the mask stands before them."""
    if as_json:
        print_json([[{"token": token, "probability": value} for token, value in mask] for mask in masks])
        return
    for number, mask in enumerate(masks, start=1):
        for token, value in mask:
            print(f"{f'mask {number}  ' if len(masks) > 1 else ''}{value:7.2%}  {token}")


def print_json(value: Any) -> None:
    """Indented, in the characters of the text."""
    print(json.dumps(value, ensure_ascii=False, indent=2))
