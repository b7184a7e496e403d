"""From text files and questions to an encoder and a reader like those that ship, in as many sittings as it takes.

    python models/build.py corpus/*.txt.xz --train train-v2.0.json.xz --dev dev-v2.0.json.xz --practice 3

Steps: ``vocab``, ``prepare``, ``pretrain``, pairs of sentences (``pairs.py``) and masked words together with them
(``paired.py``; ``--pairs 0`` leaves them out), ``finetune``, which goes on without dropout and once more with it
(``longer.toml``, ``again.toml``; ``--longer none`` leaves them out), all of it with ``--practice 3`` on questions about
texts of everyday life too, each text in three variants (``practice.py``), then both models are converted and laid into
``--ship``, the reader with the null threshold and the temperatures that fit it as converted (``evaluate``). Everything
but the result lies in ``--work``. The same command goes on where it was stopped, whatever stopped it; what other
options have made is refused. Ctrl-C, SIGTERM and a closed terminal let the verb that runs save itself first. The cards
(``models/*.md``) are copied to the result; those that are there tell of the models that ship now.

With ``--minutes 9`` it stops by itself, with all it has done saved, and says so by exit code 3: for machines that are
lent for a while. A sitting must be longer than ``--dev`` takes to read (five minutes of one core for SQuAD 2.0). Its
last minute (half of it, if it has fewer than two) is for the verb that runs, to save itself. With ``--pieces DIR`` it
leaves there, at the end of each sitting and in some seconds more, the newest model in bf16 and its curve, as a tar file
cut into pieces of at most 16 MiB; more than 64 MiB together are warned of. ``--join DIR OUT`` makes a model directory
of them again. With both, a sitting also ends where the encoder is finished: the pieces of the reader would take the
place of its last ones before anybody has them. From weights alone, without the state of the optimizer, ``--init OUT``
begins a new run, in another ``--work``.

Any recipe of pre-training and of questions will do: on a GPU give a larger one (``--encoder``, ``--reader``), for an
encoder wider than 384 with a lower rate to go on by (``--set-longer train.learning_rate=...``).
"""

import argparse
import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from dokkai.errors import UserError
from dokkai.files import read_json, replacing, write_json
from dokkai.progress import say
from dokkai.settings import load_settings

ROOT = Path(__file__).resolve().parent.parent
PIECE, MOST = 1 << 24, 1 << 26  # bytes of a piece, and of all together
WEIGHTS = "model.safetensors"
CHECKSUM = "sha256"
TARS = "*.tar.[0-9][0-9][0-9]"
DROPOUTS = ("embedding_dropout", "mlp_dropout", "hidden_dropout_prob")  # ModernBERT's names, and BERT's
RUNS = ("reader", "paired", "encoder")  # the newest first, but for the longer ones
LONGER = ("longer", *(f"longer-{number}" for number in range(2, 100)))  # those that learn on from it, in turn
MODELS = ROOT / "models"
KEPT = ("max_length", "stride", "no_answer", "null_slack")  # of the reader's task, by those that learn on from it
NONE = "none"
REFUSED, GO_ON = 2, 3  # exit codes: a verb's plain line of what is wrong; the time is over, the work is not
GRACE = 60  # seconds of a sitting that a verb gets to save itself
STOPS = (signal.SIGTERM, signal.SIGHUP)  # heeded as Ctrl-C is


class Sitting:
    """The time that is left, and the verbs that are started in it."""

    def __init__(self, minutes: float | None) -> None:
        self._end = time.monotonic() + 60 * minutes - min(GRACE, 30 * minutes) if minutes else None

    def verb(self, *words: object) -> None:
        """One verb of dokkai; ends as ``_run`` does."""
        say(" ".join(map(str, ("$ dokkai", *words))))
        self._run(["-m", "dokkai.cli", *map(str, words)])

    def script(self, name: str, *words: object) -> None:
        """One of the scripts beside this one; ends as ``_run`` does."""
        say(" ".join(map(str, (f"$ python models/{name}", *words))))
        self._run([str(MODELS / name), *map(str, words)])

    def _run(self, words: list[str]) -> None:
        """Python with these; SystemExit with GO_ON if the time is over before it ends, with its code if it fails."""
        if self._end is not None and time.monotonic() >= self._end:
            raise SystemExit(GO_ON)
        process = subprocess.Popen([sys.executable, *words], start_new_session=True)  # Ctrl-C comes by us, and once
        try:
            code = process.wait(None if self._end is None else self._end - time.monotonic())
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as end:
            ignore_stops()
            process.send_signal(signal.SIGINT)
            try:
                code = process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()  # its last checkpoint stays
                raise SystemExit(GO_ON) from None
            if code or isinstance(end, KeyboardInterrupt):  # else it was done before it heard of it
                raise SystemExit(GO_ON) from None
        if code:
            raise SystemExit(code)


def build(args: argparse.Namespace) -> None:
    """All steps that are not done yet."""
    sitting, work = Sitting(args.minutes), args.work
    tokenizer, data, encoder, reader = (work / name for name in ("vocab", "data", "encoder", "reader"))
    practice = ["--practice", args.practice, f"texts:{digest_of_practice()}"] if vars(args).get("practice") else []
    if practice and not load_settings(args.reader, args.set_reader).task.no_answer:
        raise UserError(f"--practice has questions without an answer; {args.reader} needs task.no_answer=true")
    init = ["--init", args.init] if args.init else []
    heed(tokenizer, args.vocab_size)
    heed(encoder, args.encoder, *init, *args.set)
    if args.pairs:
        heed(work / "pairs.csv", args.pairs)
        heed(work / "paired", *args.set_paired)
    questions = [args.reader, args.train, args.dev, *practice, *args.set_reader]
    heed(reader, *questions)
    recipes = [] if args.longer == [NONE] else args.longer
    longer = [work / name for name in LONGER[: len(recipes)]]
    names = [Path(recipe).name if Path(recipe).resolve().parent == MODELS else recipe for recipe in recipes]
    for number, run in enumerate(longer, 1):
        heed(run, *names[:number], *args.set_longer, *questions, args.pairs)
    for run in learned_on(work):
        if run not in longer:  # its weights would go for the newest
            raise UserError(f"{run} is there already; remove it, or give all recipes of --longer that it was made by")
    if args.init is None and not (tokenizer / "tokenizer.json").exists():
        sitting.verb("vocab", *args.texts, "--size", args.vocab_size, "--out", tokenizer)
    sitting.verb("prepare", *args.texts, "--tokenizer", args.init or tokenizer, "--out", data)  # refuses other texts
    if practice:
        args = with_practice(sitting, args, practice)
    was_finished = is_finished(work / "paired" if args.pairs else encoder)
    if not is_finished(encoder):
        if args.pairs:  # a text that no pairs can be made of is better found out before the hours of pre-training
            sitting.script("pairs.py", *args.texts, "--check")
        sitting.verb("pretrain", args.encoder, "--data", data, "--out", encoder, *init, *args.set)
    if args.pairs:
        encoder = pair(sitting, encoder, args)
    if args.minutes and args.pieces and not was_finished:
        raise SystemExit(GO_ON)
    if not is_finished(reader) or source_of(reader) != str(encoder):  # one of another encoder is refused by the verb
        refuse_stale(learned_on(work))
        files = ["--train", args.train, "--dev", args.dev]
        sitting.verb("finetune", args.reader, "--from", encoder, *files, "--out", reader, *args.set_reader)
    for recipe, run in zip(recipes, longer, strict=True):
        reader = read_on(sitting, recipe, reader, run, args)
    lay(sitting, encoder, args.ship / "encoder-en", args.dtype, args.dropout)
    lay(sitting, reader, args.ship / "reader-en", args.dtype, dev=args.dev)


def with_practice(sitting: Sitting, args: argparse.Namespace, practice: Sequence[object]) -> argparse.Namespace:
    """The same, to learn from the file of both; ``practice`` is what it is made by, beside the questions."""
    out = args.work / "questions.json.xz"
    heed(out, args.train, *practice)
    if not out.exists():
        sitting.script("practice.py", args.train, "--out", out, "--variants", args.practice)
    return argparse.Namespace(**vars(args) | {"train": out})


def digest_of_practice() -> str:
    """Another one once the texts, or ``practice.py``, are others."""
    files = [MODELS / "practice.py", *sorted((MODELS / "practice").glob("*.txt"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]


def pair(sitting: Sitting, encoder: Path, args: argparse.Namespace) -> Path:
    """The encoder after it has compared texts as well."""
    work: Path = args.work
    table, out = work / "pairs.csv", work / "paired"
    if not table.exists():
        sitting.script("pairs.py", *args.texts, "--from", encoder, "--out", table, "--number", args.pairs)
    if not is_finished(out):
        sitting.script("paired.py", work / "data", table, "--init", encoder, "--out", out, *args.set_paired)
    return out


def read_on(sitting: Sitting, recipe: str, reader: Path, out: Path, args: argparse.Namespace) -> Path:
    """The reader after it has learned on, with windows, "no answer" and its slack as it has them."""
    if not is_finished(out):
        refuse_stale(run for run in learned_on(args.work) if LONGER.index(run.name) > LONGER.index(out.name))
        task = record_of(reader)["settings"]["task"]
        kept = [f"task.{name}={json.dumps(task[name])}" for name in KEPT if name in task]  # an older one has no slack
        files = ["--train", args.train, "--dev", args.dev]
        sitting.verb("finetune", recipe, "--from", reader, *files, "--out", out, *kept, *args.set_longer)
    return out


def learned_on(work: Path) -> list[Path]:
    """What is there of runs that learned on from the reader, the oldest first."""
    return [work / name for name in LONGER if (work / name).exists()]


def refuse_stale(runs: Iterable[Path]) -> None:
    """UserError if there is one: what they went on from is made anew."""
    for run in runs:
        raise UserError(f"{run} has learned on from another reader; remove it")


def heed(made: Path, *options: object) -> None:
    """Note what it is made by beside it; UserError if it is there already, made by something else.

    What may change in a run that is not finished, such as the size of micro-batches, its verb knows.
    """
    file, asked = made.parent / "options.json", [*map(str, options)]
    noted = read_json(file, "record of options") if file.exists() else {}
    before = noted.get(made.name, asked)
    is_there = is_finished(made) if made.name in (*RUNS, *LONGER) else made.exists()
    if is_there and before != asked:
        raise UserError(f"{made} was made by {before}, not {asked}; give those, another --work, or remove it")
    write_json(file, noted | {made.name: asked})


def is_finished(run: Path) -> bool:
    """Whether ``run.json`` says so."""
    return (run / "run.json").exists() and bool(record_of(run)["state"] == "finished")


def source_of(run: Path) -> str:
    """What it was fine-tuned from."""
    return str(record_of(run)["sources"]["from"])


def record_of(run: Path) -> dict[str, Any]:
    """What ``run.json`` says; UserError if it is damaged."""
    record: dict[str, Any] = read_json(run / "run.json", "record of a run")
    return record


def lay(
    sitting: Sitting, run: Path, out: Path, dtype: str, dropout: float | None = None, dev: str | None = None
) -> None:
    """The files of the model without its curves and checkpoints; its card beside them, if there is one.

    ``dropout``, behind the embeddings and in the feed-forward, is what a fine-tuning finds in ``config.json``. To the
    questions of ``dev`` the null threshold and the temperatures are fitted again: those of eight bits are a little off.
    """
    with replacing(out) as model:
        sitting.verb("convert", run, "--dtype", dtype, "--out", model)
        if dev is not None:
            fit(sitting, model, dev)
        if dropout is not None:
            config = json.loads((model / "config.json").read_text())
            names = [name for name in DROPOUTS if name in config]
            write_json(model / "config.json", config | dict.fromkeys(names, dropout), indent=2)
        card = MODELS / f"{out.name}.md"
        if card.exists():
            shutil.copy(card, model / "README.md")
    say(f"{out}: {sum(file.stat().st_size for file in out.iterdir()) / 1e6:.1f} MB")


def fit(sitting: Sitting, reader: Path, dev: str) -> None:
    """Its temperatures, and its null threshold if it may give no answer and one is better than to refuse everything."""
    words = ("evaluate", reader, dev, "--calibrate")
    if read_json(reader / "task.json", "task")["task"]["no_answer"]:
        try:
            sitting.verb(*words, "--set-threshold")
        except SystemExit as end:
            if end.code != REFUSED:
                raise
        else:
            return
    sitting.verb(*words)  # if it was not for the threshold that the other was refused, this is refused too


def cut(work: Path, out: Path) -> None:
    """The directory of the newest model, its weights in bf16, with its curve, as a tar file in pieces."""
    runs = [*reversed(learned_on(work)), *(work / name for name in RUNS)]
    run = next((run for run in runs if (run / WEIGHTS).exists()), None)
    if run is None:
        return
    with tempfile.TemporaryDirectory(dir=work) as folder:
        model, tar = Path(folder, run.name), Path(folder, "tar")
        Sitting(None).verb("convert", run, "--dtype", "bfloat16", "--out", model)
        for name in ("metrics.jsonl", "run.json"):
            if (run / name).exists():  # no line may have been written yet
                shutil.copy(run / name, model)
        with tarfile.open(tar, "w") as file:
            file.add(model, ".")
        content = tar.read_bytes()
    if len(content) > MOST:
        say(f"{out}: {len(content) / 2**20:.0f} MiB, more than {MOST / 2**20:.0f} together")
    with replacing(out) as pieces:
        pieces.mkdir()
        for number, start in enumerate(range(0, len(content), PIECE)):
            (pieces / f"{run.name}.tar.{number:03}").write_bytes(content[start : start + PIECE])
        (pieces / CHECKSUM).write_text(hashlib.sha256(content).hexdigest() + "\n")


def join(pieces: Path, out: Path) -> None:
    """The directory that ``cut`` cut up; SystemExit if a piece is missing or damaged, UserError if ``out`` is there."""
    if out.exists():
        raise UserError(f"{out} is there already; give the name of a new directory")
    content = b"".join(file.read_bytes() for file in sorted(pieces.glob(TARS)))
    checksum = pieces / CHECKSUM
    if not checksum.exists() or hashlib.sha256(content).hexdigest() != checksum.read_text().strip():
        raise SystemExit(
            f"{pieces}: the pieces do not make the file that was cut; bring them over again, to an empty directory"
        )
    with replacing(out) as model, tarfile.open(fileobj=io.BytesIO(content)) as file:
        model.mkdir()
        for member in filter(tarfile.TarInfo.isfile, file):  # a model's files lie in no folder
            with file.extractfile(member) as source, (model / Path(member.name).name).open("wb") as target:
                shutil.copyfileobj(source, target)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="text files, .xz too")
    parser.add_argument("--train", help="questions to learn from, SQuAD's layout")
    parser.add_argument("--dev", help="questions to choose the null threshold by")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "ship")
    parser.add_argument("--ship", type=Path, default=ROOT / "src" / "dokkai" / "models")
    parser.add_argument("--minutes", type=float, help="of this sitting; unset: to the end")
    parser.add_argument("--vocab-size", type=int, default=16384)
    parser.add_argument("--encoder", default="encoder-en", help="recipe of the pre-training")
    parser.add_argument("--reader", default="reader-en", help="recipe of the questions")
    parser.add_argument("--init", type=Path, help="weights to begin with, as --join made them")
    parser.add_argument("--dropout", type=float, default=0.1, help="that a fine-tuning of the encoder begins with")
    parser.add_argument("--dtype", default="int8", help="of what ships: int8 or bfloat16")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the pre-training")
    parser.add_argument("--practice", type=int, default=0, help="variants of each text of models/practice; 0: none")
    parser.add_argument("--set-reader", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the questions")
    parser.add_argument("--pairs", type=int, default=30_000, help="of sentences that the encoder compares; 0: none")
    parser.add_argument("--set-paired", nargs="*", default=[], metavar="KEY=VALUE", help="settings of paired.toml")
    parser.add_argument(
        "--longer",
        nargs="+",
        metavar="RECIPE",
        help=f"to go on by, one after the other, or {NONE}",
        default=[str(MODELS / name) for name in ("longer.toml", "again.toml")],
    )
    parser.add_argument("--set-longer", nargs="*", default=[], metavar="KEY=VALUE", help="settings of all of them")
    parser.add_argument("--pieces", type=Path, help="leave the newest weights here, in pieces")
    parser.add_argument("--join", type=Path, nargs=2, metavar=("DIR", "OUT"), help="put pieces together, and no more")
    args = parser.parse_args(words)
    if args.practice < 0:
        parser.error("--practice must be 0 or more")
    if not args.join and not (args.texts and args.train and args.dev):
        parser.error("TEXT, --train and --dev are needed")
    try:
        if args.join:
            join(*args.join)
        else:
            sit(args)
    except UserError as error:
        parser.exit(2, f"build.py: {error}\n")


def sit(args: argparse.Namespace) -> None:
    """One sitting, and what it leaves."""
    if args.pieces and not holds_pieces(args.pieces):
        raise UserError(f"{args.pieces} holds something else than pieces, which take its place; give another directory")
    for number in STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as it is under nohup
            signal.signal(number, stop)
    try:
        build(args)
    finally:
        if args.pieces:
            cut(args.work, args.pieces)


def stop(number: int, frame: FrameType | None) -> None:
    """As Ctrl-C does; a closed terminal says it twice."""
    ignore_stops()
    raise KeyboardInterrupt


def ignore_stops() -> None:
    """From here on: what is left to do has an end."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


def holds_pieces(folder: Path) -> bool:
    """Whether there is nothing else in it, or nothing at all."""
    if not folder.is_dir():
        return not folder.exists()
    return all(file.match(TARS) or file.name == CHECKSUM for file in folder.iterdir())


if __name__ == "__main__":
    main()
