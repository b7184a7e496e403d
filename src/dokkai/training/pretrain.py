"""Pre-training from a prepared directory."""

from collections.abc import Sequence
from pathlib import Path

from dokkai.data.shards import Corpus, read_index
from dokkai.errors import UserError
from dokkai.hub import resolve
from dokkai.model.checkpoint import load_config, load_model
from dokkai.model.config import count_parameters, shape_config
from dokkai.model.device import choose_device, choose_precision
from dokkai.model.heads import Model
from dokkai.model.initialization import start_at_frequencies, start_positions_as_waves
from dokkai.pipeline import Pipeline, check_length, check_origin, load
from dokkai.progress import say
from dokkai.settings import PretrainingSettings, Settings, TrainSettings, load_settings
from dokkai.tasks.pretraining import Pretraining, PretrainingBatches
from dokkai.tokenization import Tokenizer, load_tokenizer
from dokkai.training.freezing import freeze
from dokkai.training.loop import train
from dokkai.training.run_directory import RunDirectory


def pretrain(
    recipe: str,
    data: str | Path,
    out: str | Path,
    overrides: Sequence[str] = (),
    init: str | Path | None = None,
    device: str | None = None,
) -> Pipeline:
    """Train masked LM (and next sentence) on what ``prepare`` wrote; the same call continues a stopped run.

    ``init`` starts from the weights of a model (as for ``load``) instead of random ones. Returns the trained pipeline.
    """
    settings = load_settings(recipe, overrides)
    settings.refuse_probe()
    if not isinstance(settings.task, PretrainingSettings):
        raise UserError(f"recipe '{recipe}' is for {settings.task.kind}; use `dokkai finetune`")
    data, out = Path(data), Path(out)
    corpus = Corpus.open(data, "train")
    tokenizer = load_tokenizer(corpus.tokenizer_directory)
    if corpus.fingerprint != tokenizer.fingerprint:
        raise UserError(f"{data}: the shards were made with another tokenizer than the one beside them; prepare again")
    task = Pretraining(settings.task, tokenizer)
    origin = resolve(init) if init else None
    if origin:
        _check_start(origin, tokenizer, data)
    model = _create_model(settings, task, corpus, tokenizer.vocab_size, origin)
    check_length(task, model)
    if settings.train.frozen_layers is not None and init is None:
        raise UserError("train.frozen_layers keeps what a model has learned; give one by --init, or leave it out")
    freeze(model, settings.train.frozen_layers)
    chosen = choose_device(device)
    pipeline = Pipeline(model, tokenizer, task, chosen, choose_precision(settings.train.precision, chosen))
    sources = {
        "data": corpus.fingerprint,
        "num_tokens": corpus.num_tokens,
        "checksum": corpus.checksum,
        "init": str(Path(init)) if init else None,
    }
    run = RunDirectory(out, "pretrain", settings.model_dump(), sources, origin)
    if run.is_finished:
        say(f"{out}: this run is finished already")
        return load(out, device)
    has_heldout = bool(read_index(data)["splits"]["heldout"]["shards"])
    heldout = task.read(data) if has_heldout else []
    if not has_heldout:
        say(f"{data} has no held-out documents: the run is not evaluated")
    batches = PretrainingBatches(
        task,
        corpus,
        _num_steps(settings.train, task, corpus),
        settings.train.batch_size,
        settings.train.micro_batch_tokens,
        settings.train.seed,
    )
    tokens = settings.task.batch_tokens
    numbers = ", ".join(f"{number:,}" for number in (tokens if isinstance(tokens, list) else [tokens or 0]))
    size = f"{numbers} tokens" if tokens else f"{settings.train.batch_size} sequences"
    length = f"{batches.steps:,} steps" if batches.steps else f"{settings.train.budget} of steps"
    shape = f"{model.config.num_hidden_layers} layers of {model.config.hidden_size}"
    say(
        f"pre-training {shape} ({count_parameters(model.config) / 1e6:.2f}M parameters) on "
        f"{corpus.num_tokens:,} tokens, {length} of {size}, "
        f"{chosen.type} in {pipeline.precision}"
    )
    with run:
        metrics = train(
            pipeline, task, batches, settings.train, run, (lambda: pipeline.evaluate(heldout)) if heldout else None
        )
        run.finish(metrics=metrics)
    return pipeline


def _num_steps(settings: TrainSettings, task: Pretraining, corpus: Corpus) -> int | None:
    """Updates of a run: as set, or so many that their instances make ``epochs``, over all phases; None by a clock."""
    if settings.steps or settings.budget:
        return settings.steps
    sizes = task.batch_sizes(settings.batch_size)
    phases = zip(task.settings.lengths, task.settings.length_shares, sizes, strict=True)
    epochs_per_step = sum(share * size / len(task.instances(corpus, length)) for length, share, size in phases)
    return max(1, round(settings.epochs / epochs_per_step))


def _check_start(init: Path, tokenizer: Tokenizer, data: Path) -> None:
    """UserError unless the weights to start from know the tokens of the data by the same numbers."""
    own = load_tokenizer(init)
    check_origin(init, own)
    if own.fingerprint != tokenizer.fingerprint:
        raise UserError(f"{init}: its vocabulary is not that of {data}; prepare the text with --tokenizer {init}")


def _create_model(settings: Settings, task: Pretraining, corpus: Corpus, vocab_size: int, init: Path | None) -> Model:
    if init is None:
        config = shape_config(settings.model.shape, vocab_size=vocab_size, **settings.model.changes())
        model = Model(config, task.heads, seed=settings.train.seed)
        if settings.model.sinusoidal_positions:
            start_positions_as_waves(model.encoder)
        if settings.model.frequency_bias:
            start_at_frequencies(model.heads["masked_lm"].get_parameter("bias"), corpus.token_counts(vocab_size))
        return model
    changes = settings.model.changes()
    wanted, found = changes.pop("model_type", None), load_config(init).model_type
    if wanted not in (None, found):
        raise UserError(f"{init}: is a {found}, but model.model_type is {wanted}; take another recipe")
    model, report = load_model(init, task.heads, seed=settings.train.seed, **changes)
    say(f"starting from {init}" + (f" ({report})" if str(report) else ""))
    return model
