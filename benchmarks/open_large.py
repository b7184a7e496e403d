"""Time and memory of opening BERT-Large beside transformers: python benchmarks/open_large.py -> results/open-large.json

A checkpoint with random weights is made in a temporary folder by transformers (float32, heads for pre-training). Then
fresh processes open it in turn, with dokkai and with transformers, and run one short sequence through it, so that
weights that are only mapped are really read. Imports are timed apart; ``used_seconds`` is opening and the
sequence together, since what one side leaves for later is paid there. The peak is that of the whole process, imports
included; ``peak_growth_mb`` is what it grew after the imports. A process inherits the peak of the one that started it,
so this one stays small: the checkpoint is made in another.
"""

import argparse
import datetime
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import RESULTS, machine, versions

from dokkai.files import write_json

TOOLS = ("dokkai", "transformers")
SHAPE = {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096}
LENGTH = 16  # tokens of the sequence
VALUES = (
    *("import_seconds", "open_seconds", "forward_seconds", "all_seconds"),
    *("used_seconds", "used_cpu_seconds", "peak_mb", "peak_growth_mb"),
)


def peak_mb() -> float:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make(directory: Path, layers: int) -> None:
    """A checkpoint as transformers saves it."""
    import torch
    from transformers import BertConfig, BertForPreTraining

    torch.manual_seed(0)
    BertForPreTraining(BertConfig(**SHAPE, num_hidden_layers=layers)).save_pretrained(directory)


def measure(tool: str, directory: Path) -> dict:
    """Open the checkpoint in this process and use it once."""
    start = time.perf_counter()
    import torch

    if tool == "dokkai":
        from dokkai.model.checkpoint import load_model
    else:
        from transformers import BertForPreTraining
    imported, before, cpu = time.perf_counter(), peak_mb(), time.process_time()
    if tool == "dokkai":
        model, report = load_model(directory)
        assert str(report) == ""
    else:
        model = BertForPreTraining.from_pretrained(directory, dtype=torch.float32, local_files_only=True)
    model.eval()
    opened = time.perf_counter()
    input_ids = torch.arange(1, 1 + LENGTH)[None]
    batch = {"input_ids": input_ids, "token_type_ids": torch.zeros_like(input_ids)}
    with torch.inference_mode():
        if tool == "dokkai":
            logits = model(batch | {"masked_positions": torch.arange(LENGTH)})["masked_lm"]
        else:
            logits = model(**batch).prediction_logits[0]
    done, peak, cpu = time.perf_counter(), peak_mb(), time.process_time() - cpu
    times = {"import_seconds": imported - start, "open_seconds": opened - imported, "forward_seconds": done - opened}
    times |= {"used_seconds": done - imported, "used_cpu_seconds": cpu, "all_seconds": done - start}
    checks = {"sum": float(logits.double().sum()), "shape": list(logits.shape), "threads": torch.get_num_threads()}
    return times | {"peak_mb": peak, "peak_growth_mb": peak - before} | checks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--layers", type=int, default=24, help="fewer to try the script")
    parser.add_argument("--out", type=Path, default=RESULTS / "open-large.json")
    parser.add_argument("--part", choices=("make", *TOOLS), help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part == "make":
        make(args.directory, args.layers)
        return
    if args.part:
        print(json.dumps(measure(args.part, args.directory)))
        return
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    runs: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--layers", str(args.layers), "--directory", folder, "--part"]
        subprocess.run([*command, "make"], check=True)
        size = (Path(folder) / "model.safetensors").stat().st_size / 2**20
        for repetition in range(args.repetitions + 1):  # the first brings file and packages into memory: not counted
            for tool in TOOLS if repetition % 2 else TOOLS[::-1]:
                out = subprocess.run([*command, tool], capture_output=True, text=True, check=True).stdout
                if repetition:
                    runs.append({"tool": tool, "repetition": repetition} | json.loads(out.splitlines()[-1]))
                    print(runs[-1], file=sys.stderr)
    medians = {
        tool: {name: statistics.median(run[name] for run in runs if run["tool"] == tool) for name in VALUES}
        for tool in TOOLS
    }
    result = {
        "name": args.out.stem,
        "date": datetime.date.today().isoformat(),
        "commit": commit,
        "command": f"python benchmarks/open_large.py --repetitions {args.repetitions} --layers {args.layers}",
        "machine": machine(),
        "versions": versions("dokkai", "torch", "transformers", "safetensors"),
        "shape": SHAPE | {"num_hidden_layers": args.layers},
        "file_mb": size,
        "medians": medians,
        "runs": runs,
    }
    write_json(args.out, result, indent=1)
    print(json.dumps(medians, indent=1))


if __name__ == "__main__":
    main()
