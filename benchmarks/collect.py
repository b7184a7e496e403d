"""Copy what run directories recorded into one file: python benchmarks/collect.py NAME RUN... -> results/NAME.json

The file holds the commit, the machine, versions, settings, every held-out evaluation, the calibration (temperature,
errors before and after) and about a hundred training lines, the last among them.
"""

import argparse
import datetime
import json
import subprocess
from pathlib import Path

from measuring import RESULTS, machine

from dokkai.files import write_json


def run_record(directory: Path) -> dict:
    """What a run directory says of itself."""
    record = json.loads((directory / "run.json").read_text())
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    heldout = [line for line in lines if any(name.startswith("heldout/") for name in line)]
    training = [line for line in lines if "tokens" in line]
    kept = training[: -1 : max(1, len(training) // 100)] + training[-1:]
    keys = ["command", "settings", "sources", "versions", "metrics"]
    keys += ["calibration"] * ("calibration" in record)  # what was trained without labels to measure on has none
    for key in ("from", "train", "dev"):  # where the data lie on this machine is nobody's business
        if record["sources"].get(key):
            record["sources"][key] = "/".join(Path(record["sources"][key]).parts[-2:])
    return {"run": directory.name, **{key: record[key] for key in keys}, "heldout": heldout, "training": kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--command", action="append", default=[], help="a command that made them; may be repeated")
    parser.add_argument("--machine", help="where they ran, if not here")
    parser.add_argument("--note", action="append", default=[])
    args = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    result = {
        "name": args.name,
        "date": datetime.date.today().isoformat(),
        "commit": commit,
        "commands": args.command,
        "notes": args.note,
        "machine": args.machine or machine(),
        "runs": [run_record(run) for run in args.runs],
    }
    write_json(RESULTS / f"{args.name}.json", result, indent=1)
    print(RESULTS / f"{args.name}.json")


if __name__ == "__main__":
    main()
