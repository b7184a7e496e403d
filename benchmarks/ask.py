"""How long does a person wait? python benchmarks/ask.py -> results/ask.json

From starting `dokkai ask` to its end, with the reader that ships: about one passage, and a file of 300 paragraphs
that is made here (they are ranked first, and 20 passages read). Whole processes with two threads, one after the other;
and `import torch` alone, the part that no program with PyTorch is spared.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import ROOT, environment, medians, versions, write_result

QUESTION = "Who built a lighthouse on the Eddystone rocks?"


def seconds(command: list[str]) -> float:
    """Wall time of a process that succeeds."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment(2))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=11)
    args = parser.parse_args()
    passage = ROOT / "examples" / "lighthouse.txt"
    paragraphs = [line for line in (ROOT / "examples" / "passages.txt").read_text("utf-8").splitlines() if line]
    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder, "long.txt")
        long.write_text("\n\n".join(f"Number {i}. {paragraphs[i % len(paragraphs)]}" for i in range(300)), "utf-8")
        ask = [sys.executable, "-m", "dokkai.cli", "ask", QUESTION]
        sides = {
            "one passage": [*ask, str(passage)],
            "300 paragraphs": [*ask, str(long)],
            "import torch": [sys.executable, "-c", "import torch"],
        }
        runs = [
            {"side": side, "repetition": repetition, "seconds": seconds(command)}
            for repetition in range(args.repetitions + 1)
            for side, command in sides.items()
        ]
    runs = [run for run in runs if run["repetition"]]  # the first round brings files into memory
    write_result(
        "ask",
        f"python benchmarks/ask.py --repetitions {args.repetitions}",
        runs,
        versions=versions("dokkai", "torch"),
        medians=medians(runs, ["seconds"]),
    )


if __name__ == "__main__":
    main()
