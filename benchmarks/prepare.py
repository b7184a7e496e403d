"""`dokkai prepare` beside `datasets.map` with the fast tokenizer: python benchmarks/prepare.py -> results/prepare.json

The same text, vocabulary and number of processes. For dokkai the whole command counts: start, reading, cutting into
sentences, tokenizing, keeping documents out, writing shards. For the peer only the call of ``map`` counts, not its
start nor ``load_dataset``; ``all_seconds`` has them. ``map`` keeps lines: no sentences, no documents, no held-out
split, no shards. Memory is the sum over the process and its children (proportional set size), ten times a second.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from measuring import PICTURES, ROOT, alternate, bar_plot, environment, medians, versions, write_result

from dokkai.data.text import read_documents

SIDES = ("dokkai", "datasets.map", "datasets.map, ids only, batches of 10,000")
CORPUS = ("featured.txt.xz", "wiki-1.txt.xz", "wiki-2.txt.xz")
UNIT = 1_000_000


def write_text(path: Path, corpus: Path, size: int) -> int:
    """At least ``size`` bytes of text: the documents of the corpus, and again in another order as often as needed."""
    documents: list[str] = []
    written = 0
    with path.open("w") as file:
        for lines in read_documents([corpus / name for name in CORPUS]):
            documents.append("\n".join(lines) + "\n\n")
            written += file.write(documents[-1])
            if written >= size:
                break
        rng = random.Random(0)
        while written < size:
            for document in rng.sample(documents, len(documents)):
                written += file.write(document)
                if written >= size:
                    break
    return path.stat().st_size


def run_peer(side: str, text: Path, tokenizer_directory: Path, folder: Path, processes: int) -> None:
    """Tokenize every line."""
    from datasets import load_dataset
    from transformers import BertTokenizerFast

    tokenizer = BertTokenizerFast.from_pretrained(tokenizer_directory)
    start = time.perf_counter()
    lines = load_dataset("text", data_files=str(text), split="train", cache_dir=str(folder))
    loaded = time.perf_counter()
    is_plain = side == SIDES[1]
    more = {} if is_plain else {"return_attention_mask": False, "return_token_type_ids": False}

    def encode(batch: dict) -> dict:
        return dict(tokenizer(batch["text"], add_special_tokens=False, verbose=False, **more))

    made = lines.map(
        encode, batched=True, num_proc=processes, batch_size=1000 if is_plain else 10_000, remove_columns=["text"]
    )
    done = time.perf_counter()
    num_tokens = sum(len(column.flatten()) for column in made.data.column("input_ids").chunks)
    print(json.dumps({"load_seconds": loaded - start, "seconds": done - loaded, "num_tokens": num_tokens}))


def memory_of(process: int) -> int:
    """Bytes in use by a process and all below it, shared pages divided among those that share them."""
    import psutil

    total = 0
    try:
        root = psutil.Process(process)
        members = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in members:
        try:
            rollup = Path(f"/proc/{member.pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) * 1024
        except (OSError, StopIteration):
            continue  # it has ended in between
    return total


def watch(command: list[str], env: dict[str, str]) -> tuple[str, float, list[int]]:
    """What it prints, how long it took, and its memory every tenth of a second."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    samples: list[int] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.1):
            samples.append(memory_of(process.pid))

    thread = threading.Thread(target=sample)
    thread.start()
    out, errors = process.communicate()
    seconds = time.perf_counter() - start
    ended.set()
    thread.join()
    if process.returncode:
        sys.exit(errors)
    return out, seconds, samples


def measure(side: str, text: Path, args: argparse.Namespace) -> dict:
    """One side on one text, in fresh processes and a fresh folder."""
    size = text.stat().st_size
    with tempfile.TemporaryDirectory(dir=text.parent) as folder:
        if side == "dokkai":
            command = [sys.executable, "-m", "dokkai.cli", "prepare", str(text), "--tokenizer", str(args.vocabulary)]
            command += ["--out", f"{folder}/data", "--processes", str(args.processes), "--json"]
        else:
            command = [sys.executable, __file__, "--side", side, "--text", str(text), "--folder", folder]
            command += ["--vocabulary", str(args.vocabulary), "--processes", str(args.processes)]
        env = environment(1) | {"TOKENIZERS_PARALLELISM": "false"}  # the processes are the parallelism
        out, seconds, samples = watch(command, env)
        found = json.loads(out[out.index("{") :])
    facts = {"text_mb": size / UNIT, "all_seconds": seconds, "seconds": found.get("seconds", seconds)}
    facts |= {key: found[key] for key in ("num_tokens", "load_seconds", "num_documents", "num_shards") if key in found}
    half = len(samples) // 2
    facts |= {"peak_mb": max(samples) / UNIT, "peak_mb_of_first_half": max(samples[:half]) / UNIT}
    return facts | {"mb_per_second": size / UNIT / facts["seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=60, help="of text in the runs side by side")
    parser.add_argument("--memory", type=int, default=300, help="megabytes of text for dokkai's memory; 0: none")
    parser.add_argument("--large", action="store_true", help="also 1,200 MB by dokkai, and 300 MB by the peer")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--vocabulary", type=Path, default=ROOT / "runs" / "vocab-en")
    parser.add_argument("--corpus", type=Path, default=Path(os.environ.get("DOKKAI_DATA", ".")) / "corpus" / "en")
    parser.add_argument("--out", type=Path, help="another folder for the result and the picture")
    parser.add_argument("--side", choices=SIDES[1:], help=argparse.SUPPRESS)
    parser.add_argument("--text", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        run_peer(args.side, args.text, args.vocabulary, args.folder, args.processes)
        return
    memory: list[dict] = []
    with tempfile.TemporaryDirectory() as name:
        text = Path(name) / "text.txt"
        write_text(text, args.corpus, args.megabytes * UNIT)
        runs = alternate(SIDES, args.repetitions, lambda side: measure(side, text, args), warm_up=False)
        sizes = [(args.memory, "dokkai")] if args.memory else []
        if args.large:
            sizes = [(300, "dokkai"), (300, SIDES[2]), (1200, "dokkai")]
        for size, side in sizes:
            write_text(text, args.corpus, size * UNIT)
            memory.append({"side": side} | measure(side, text, args))
            print(json.dumps(memory[-1]), file=sys.stderr, flush=True)
    middle = medians(runs, ("seconds", "all_seconds", "mb_per_second", "peak_mb", "num_tokens"))
    options = f"--repetitions {args.repetitions} --megabytes {args.megabytes} --memory {args.memory}"
    write_result(
        "prepare",
        f"python benchmarks/prepare.py {options}{' --large' if args.large else ''}",
        runs,
        [
            "seconds: dokkai's whole command; of datasets map() alone (all_seconds: with start and loading)",
            "datasets.map keeps lines: no sentences, documents, held-out split or shards",
            "texts beyond the 318 MB of the corpus repeat its documents in another order",
        ],
        out=args.out and args.out / "prepare.json",
        versions=versions("dokkai", "numpy", "tokenizers", "sentencex", "transformers", "datasets"),
        processes=args.processes,
        compare={"value": "mb_per_second", "unit": "MB/s"},
        medians=middle,
        ratios={side: middle["dokkai"]["mb_per_second"] / middle[side]["mb_per_second"] for side in SIDES[1:]},
        memory=memory,
    )
    bars = {side: [run["mb_per_second"] for run in runs if run["side"] == side] for side in SIDES}
    title = f"Text to token ids, {args.processes} processes"
    bar_plot((args.out or PICTURES) / "prepare.png", title, "megabytes of text per second", bars)


if __name__ == "__main__":
    main()
