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


def print_json(value: Any) -> None:
    """Indented, in the characters of the text."""
    print(json.dumps(value, ensure_ascii=False, indent=2))
