"""The command line: one verb per function. Results go to standard output, progress to standard error.

A mistake that the user can fix ends with one plain line and exit code 2 (``exits.py``). Heavy imports wait inside the
verbs.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from dokkai.errors import UserError
from dokkai.exits import quick_imports, run_app
from dokkai.printing import print_facts, print_json, print_masks, print_run
from dokkai.shipped import ENCODER, READER, model_or_default

app = typer.Typer(
    name="dokkai",
    help="BERT, complete: raw text in, a reading model out.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PART = 1 << 23  # characters of a document that are held at a time

AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of text")]
JsonLines = Annotated[bool, typer.Option("--json", help="JSON lines: what this verb prints anyway", show_default=False)]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="SECTION.KEY=VALUE", help="settings to change")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; unset: the best there is")]
Texts = Annotated[list[str], typer.Argument(metavar="TEXT", help="text files (.gz .xz .zst too), or - for stdin")]


@app.command(epilog='Example: dokkai ask "Who built it?" notes/ paper.pdf --n-best 3')
def ask(
    question: Annotated[str | None, typer.Argument(help="the question; with --chat the first path")] = None,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH...", help="files (.txt .md .html .pdf .docx ...), folders, or - for stdin"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="a run fine-tuned for questions, or a name; unset: reader-en")
    ] = None,
    n_best: Annotated[int, typer.Option("--n-best", min=1, help="how many answers to show")] = 1,
    passages: Annotated[int, typer.Option(min=1, help="how many passages to read, those that fit best")] = 20,
    always_answer: Annotated[bool, typer.Option("--always-answer", help="never say that there is no answer")] = False,
    chat: Annotated[bool, typer.Option("--chat", help="read once, then ask as often as you like")] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Read text and answer a question with the span that answers it."""
    with quick_imports():
        from dokkai.reading.verb import answer_from_files

    chosen = model_or_default(model, READER, "read with; give --model RUN")
    answer_from_files(chosen, question, paths or [], n_best, passages, always_answer, chat, device, as_json)


@app.command("fill-mask", epilog='Example: dokkai fill-mask "Paris is the [MASK] of France." --model runs/mini-en')
def fill_mask(
    text: Annotated[str, typer.Argument(help="a text with [MASK] where a word is missing")],
    model: Annotated[str | None, typer.Option(help="a pre-trained run, or a name; unset: encoder-en")] = None,
    top: Annotated[int, typer.Option(min=1, help="how many words to show for each mask")] = 5,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Guess the words behind [MASK]."""
    with quick_imports():
        from dokkai.pipeline import load

    masks = load(model_or_default(model, ENCODER, "guess with; give --model RUN"), device).fill_mask(text, top)
    print_masks(masks, as_json)


@app.command(epilog="Example: dokkai vocab corpus/*.txt.xz --size 30000 --out runs/vocab")
def vocab(
    texts: Texts,
    out: Annotated[Path, typer.Option(help="directory to write the tokenizer to")],
    size: Annotated[int, typer.Option(min=1, help="entries; rounded up to a multiple of 64")] = 30000,
    cased: Annotated[bool, typer.Option("--cased", help="keep upper case and accents")] = False,
    min_frequency: Annotated[int, typer.Option(min=1, help="pairs seen less often are not joined")] = 2,
    special: Annotated[list[str] | None, typer.Option(help="an additional special token; may be repeated")] = None,
    behaviour: Annotated[
        str, typer.Option(help="cut text as the release of 2018 does (original), or as Hugging Face (huggingface)")
    ] = "huggingface",
    as_json: AsJson = False,
) -> None:
    """Learn a WordPiece vocabulary from text."""
    from dokkai.data.text import estimate_size, read_parts
    from dokkai.files import replacing
    from dokkai.tokenization import TOKENIZER_FILES, save_tokenizer, train_tokenizer

    if out.is_dir() and (others := sorted({path.name for path in out.iterdir()} - TOKENIZER_FILES)):
        raise UserError(f"{out} holds other files ({others[0]}); give --out a new directory")
    lines = (line for part, _ in read_parts(texts, _PART) for line in part)
    expected = estimate_size(texts)
    tokenizer = train_tokenizer(
        lines,
        size,
        not cased,
        min_frequency,
        tuple(special or ()),
        behaviour=behaviour,
        num_characters=expected.num_characters if expected else None,
    )
    with replacing(out) as directory:  # all files or none
        save_tokenizer(tokenizer, directory)
    facts = {
        "directory": str(out),
        "vocab_size": tokenizer.vocab_size,
        "lowercase": tokenizer.lowercase,
        "behaviour": tokenizer.behaviour,
    }
    print_facts(facts, as_json)


@app.command(epilog="Example: dokkai prepare corpus/*.txt.xz --tokenizer runs/vocab --out runs/data")
def prepare(
    texts: Texts,
    tokenizer: Annotated[str, typer.Option(help="directory with the vocabulary, or a name on the hub")],
    out: Annotated[Path, typer.Option(help="directory to write the shards to")],
    processes: Annotated[int | None, typer.Option(min=1, help="worker processes; unset: one per core")] = None,
    heldout: Annotated[float, typer.Option(help="share of the documents kept out for evaluation")] = 0.01,
    language: Annotated[str, typer.Option(help="language code for the sentence splitter")] = "en",
    as_json: AsJson = False,
) -> None:
    """Turn text into memory-mapped token shards. Blank lines separate documents."""
    from dataclasses import asdict

    from dokkai.data.prepare import prepare as run_prepare
    from dokkai.tokenization import load_tokenizer

    made = run_prepare(
        texts, load_tokenizer(tokenizer), out, num_processes=processes, heldout_share=heldout, language=language
    )
    facts = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(made).items()}
    print_facts(facts, as_json)


@app.command(epilog="Example: dokkai pretrain mini-en --data runs/data --out runs/mini train.steps=20000")
def pretrain(
    recipe: Annotated[str, typer.Argument(help="a recipe (see `dokkai recipes`) or a TOML file")],
    data: Annotated[Path, typer.Option(help="what `dokkai prepare` wrote")],
    out: Annotated[Path, typer.Option(help="run directory; the same command continues a stopped run")],
    overrides: Overrides = None,
    init: Annotated[
        str | None, typer.Option(help="start from these weights: a directory, or a name on the hub")
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Pre-train an encoder: masked words, and sentence pairs."""
    from dokkai.training.pretrain import pretrain as run_pretrain

    run_pretrain(recipe, data, out, overrides or (), init, device)
    print_run(out, as_json)


@app.command(
    epilog="Example: dokkai finetune squad --from runs/mini --train train.json --dev dev.json --out runs/reader"
)
def finetune(
    recipe: Annotated[
        str | None,
        typer.Argument(help="a recipe (see `dokkai recipes`) or a TOML file; none, or the examples: guessed from them"),
    ] = None,
    train: Annotated[Path | None, typer.Option(help="examples to train on: a file, or a data set of the hub")] = None,
    out: Annotated[
        Path | None, typer.Option(help="run directory; the same command continues a stopped run; unset: runs/NAME")
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option("--from", help="model to start from: a directory or a name; unset: encoder-en"),
    ] = None,
    overrides: Overrides = None,
    dev: Annotated[Path | None, typer.Option(help="examples to evaluate on")] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="forget what the model learned: the baseline")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="train on the first so many examples only")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="train so many, each with a seed; keep the best")] = None,
    grid: Annotated[bool, typer.Option("--grid", help="train every point of the recipe's grid; keep the best")] = False,
    cache: Annotated[
        Path | None, typer.Option(help="folder for what frozen layers give (train.frozen_layers), computed once")
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a model on a task. Without a recipe the task is guessed from the examples."""
    from dokkai.training.several import show_table
    from dokkai.training.verb import fine_tune_by_words

    start = model_or_default(origin, ENCODER, "start from; give --from RUN")
    directory, record = fine_tune_by_words(
        *(recipe, start, train, out, overrides or (), seeds, grid),
        dev=dev,
        random_weights=random_weights,
        limit=limit,
        device=device,
        cache=cache,
    )
    if record is None:
        print_run(directory, as_json)
    else:
        print_json(record) if as_json else print(show_table(record))


@app.command(epilog="Example: dokkai evaluate runs/reader dev.json --squad-files answers")
def evaluate(
    run: Annotated[str, typer.Argument(help="a model directory with a task, or a name on the Hugging Face hub")],
    file: Annotated[Path, typer.Argument(help="labelled examples, or what `dokkai prepare` wrote")],
    predictions: Annotated[Path | None, typer.Option(help="write the predictions to this JSON file")] = None,
    squad_files: Annotated[
        Path | None, typer.Option(metavar="DIR", help="write the files that SQuAD's official scripts read")
    ] = None,
    set_threshold: Annotated[
        bool, typer.Option("--set-threshold", help="keep the null threshold with the best F1 in the model")
    ] = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="fit the temperature of the probabilities, and keep it in the model")
    ] = False,
    always_answer: Annotated[bool, typer.Option("--always-answer", help="refuse no question")] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Score a model with the standard metrics of its task."""
    from dokkai.evaluating import evaluate_file

    options = (set_threshold, calibrate, always_answer, device)
    print_facts(evaluate_file(run, file, predictions, squad_files, *options), as_json)


@app.command(epilog="Example: dokkai predict runs/reader < questions.jsonl > answers.jsonl")
def predict(
    run: Annotated[str, typer.Argument(help="a model directory with a task, or a name on the Hugging Face hub")],
    file: Annotated[str, typer.Argument(help="JSON lines, or a file as for training; - is stdin")] = "-",
    device: Device = None,
    as_json: JsonLines = True,
) -> None:
    """Predict: JSON lines or a table in, JSON lines out. They keep the order and the ids."""
    from dokkai.predicting import predict_lines

    predict_lines(run, file, device)


@app.command(epilog="Example: dokkai embed runs/mini --layers -1,-2 < texts.txt > vectors.jsonl")
def embed(
    run: Annotated[str | None, typer.Argument(help="a model directory, or a name; none: encoder-en")] = None,
    file: Annotated[str, typer.Argument(help="one text per line; - is stdin")] = "-",
    layers: Annotated[str, typer.Option(help="layers to concatenate: -1 is the last, 0 the embeddings")] = "-1",
    pooling: Annotated[
        str | None,
        typer.Option(help="mean, cls or max: a vector per text; none: one per token; unset: mean, or as tuned"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write an .npy array instead of JSON lines")] = None,
    form: Annotated[
        str, typer.Option("--format", help="dokkai, or google: the lines of extract_features.py")
    ] = "dokkai",
    max_length: Annotated[
        int | None, typer.Option(min=3, help="tokens to keep of a line; unset: all it reads, or as tuned; google: 128")
    ] = None,
    device: Device = None,
    as_json: JsonLines = True,
) -> None:
    """Turn each line of text into a vector."""
    from dokkai.embedding import embed_lines

    run = model_or_default(run, ENCODER, "embed with; give RUN")
    embed_lines(run, file, _numbers(layers, "--layers"), pooling, out, device, form, max_length)


@app.command(epilog="Example: dokkai probe my-classes --from runs/mini --train a.csv --dev b.csv --out runs/probe")
def probe(
    recipe: Annotated[str, typer.Argument(help="a recipe (see `dokkai recipes`) or a TOML file")],
    start: Annotated[str, typer.Option("--from", help="the encoder: a model directory, or a name on the hub")],
    train: Annotated[Path, typer.Option(help="examples to train on")],
    dev: Annotated[Path, typer.Option(help="examples to score on")],
    out: Annotated[Path, typer.Option(help="run directory")],
    overrides: Overrides = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="folder for the features, kept for the next call; unset: `features` beside --out"),
    ] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="an encoder that has learned nothing: the baseline")
    ] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Train and score a small model on features of an encoder. The encoder stays as it is."""
    from dokkai.training.probing import probe as run_probe

    run_probe(recipe, start, train, dev, out, overrides or (), cache, random_weights, device)
    print_run(out, as_json)


@app.command(epilog="Example: dokkai convert uncased_L-12_H-768_A-12 --out models/base")
def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="model directory, or checkpoint of TensorFlow")],
    out: Annotated[Path, typer.Option(help="the new directory")],
    format: Annotated[str, typer.Option(help="dokkai (opens in transformers too), or tensorflow")] = "dokkai",
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16, float16, int8; unset: as in the source")] = None,
    base: Annotated[Path | None, typer.Option(help="folder with bert_config.json and vocab.txt")] = None,
    labels: Annotated[str | None, typer.Option(help="names of the classes, with commas between them")] = None,
    cased: Annotated[bool | None, typer.Option("--cased/--uncased", help="unset: a guess, which is said")] = None,
    gelu: Annotated[str | None, typer.Option(help='what "gelu" means: erf, or tanh; unset: erf')] = None,
    behaviour: Annotated[str | None, typer.Option(help="original, or huggingface; unset: original")] = None,
    as_json: AsJson = False,
) -> None:
    """Convert Google's checkpoints to model directories, and back. It changes the precision, too."""
    from dataclasses import asdict

    from dokkai.converting import convert as run_convert

    made = run_convert(
        source,
        out,
        format=format,
        dtype=dtype,
        base=base,
        labels=tuple(label.strip() for label in labels.split(",")) if labels else (),
        lowercase=None if cased is None else not cased,
        gelu=gelu,
        behaviour=behaviour,
    )
    print_facts(asdict(made), as_json)


@app.command(epilog="Example: dokkai recipes --json")
def recipes(
    shapes: Annotated[bool, typer.Option("--shapes", help="list the published model shapes instead")] = False,
    as_json: AsJson = False,
) -> None:
    """List the recipes, or the published shapes with their sizes."""
    from dokkai.model.config import count_parameters, published_shapes
    from dokkai.settings import load_settings, recipe_names

    if shapes:
        sizes = {name: count_parameters(config) for name, config in published_shapes().items()}
        print_facts(sizes if as_json else {name: f"{size:>11,} parameters" for name, size in sizes.items()}, as_json)
        return
    print_facts({name: load_settings(name).description for name in recipe_names()}, as_json)


@app.command(epilog="Example: dokkai settings train")
def settings(
    section: Annotated[
        str | None, typer.Argument(help="model, task, train, probe, a kind of task, or how a name begins")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what can be set, with defaults."""
    from dokkai.settings import describe_settings

    rows = describe_settings(section)
    if as_json:
        print_json([{"name": name, "default": default, "description": line} for name, default, line in rows])
        return
    width, space = max(len(name) for name, _, _ in rows), max(len(default) for _, default, _ in rows)
    for name, default, line in rows:
        print(f"{name:{width}}  {default:{space}}  {line}")


@app.command(epilog="Example: dokkai doctor")
def doctor(as_json: AsJson = False) -> None:
    """Show what this machine offers, and how to get what is missing."""
    from dataclasses import asdict

    from dokkai.doctor import examine

    findings = examine()
    if as_json:
        print_json([asdict(item) for item in findings])
        return
    for item in findings:
        print(f"{'ok     ' if item.is_good else 'missing'}  {item.name:14} {item.value}")
        if item.install:
            print(f"{'':9}{'':14} to get it: {item.install}")


def main() -> None:
    """Run the verb that the command line names, and leave with its exit code."""
    run_app(app)


def _numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} takes whole numbers with commas between them, such as -1,-2, not '{text}'") from None


os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # no warning when a worker process is started

if __name__ == "__main__":
    main()
