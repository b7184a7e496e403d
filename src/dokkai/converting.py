"""Conversion of a model: Google's checkpoint of 2018 or a model directory to a model directory, and back."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dokkai.errors import UserError, did_you_mean
from dokkai.files import read_json, replacing
from dokkai.hub import resolve
from dokkai.model.checkpoint import CONFIG, load_model, save_model
from dokkai.model.config import read_labels
from dokkai.model.heads import Model
from dokkai.model.names import architecture
from dokkai.model.tf import checkpoint as google
from dokkai.pipeline import TASK, check_origin, check_vocabulary
from dokkai.progress import say
from dokkai.tokenization import Tokenizer, load_tokenizer, save_tokenizer

_FORMATS = ("dokkai", "tensorflow")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "int8": torch.int8}


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written: where, in which layout, which model (Hugging Face's class name), how many numbers."""

    directory: str
    format: str
    architecture: str
    dtype: str
    num_parameters: int
    vocab_size: int
    lowercase: bool
    behaviour: str | None


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Model
    tokenizer: Tokenizer
    labels: tuple[str, ...] = ()
    dtype: torch.dtype = torch.float32
    task: Path | None = None
    problem_type: str | None = None


def convert(
    source: str | Path,
    out: str | Path,
    *,
    format: str = "dokkai",
    dtype: str | None = None,
    base: str | Path | None = None,
    labels: Sequence[str] = (),
    lowercase: bool | None = None,
    gelu: str | None = None,
    behaviour: str | None = None,
) -> Conversion:
    """Write the model ``source`` to the new directory ``out``, whole or not at all.

    ``source`` is a model directory, its name on the hub, or a checkpoint of Google's release: its folder, its prefix or
    its ``.index`` file.
    ``format`` is ``dokkai`` (Hugging Face's layout) or ``tensorflow`` (the release's, weights in float32). ``dtype``
    (``float32``, ``bfloat16``, ``float16``, ``int8``) converts the weights; unset, a model directory keeps what the
    source has.

    The rest is for Google's checkpoints, which do not say it: ``base`` is the folder with ``bert_config.json`` and
    ``vocab.txt`` if they are not beside the checkpoint, ``labels`` names the classes, ``lowercase`` tells an uncased
    model, ``gelu`` (``erf`` or ``tanh``) what its configuration means by "gelu", ``behaviour`` how text is cut up:
    ``original`` (as by the release; unset, unless a tokenizer_config.json says more) or ``huggingface``.

    UserError for a source that is damaged or no BERT, for parts that do not belong together, and if ``out`` is there.
    """
    path, target = Path(source), Path(out)
    if format not in _FORMATS:
        raise UserError(f"unknown format '{format}'{did_you_mean(format, _FORMATS)}")
    if dtype is not None and dtype not in _DTYPES:
        raise UserError(f"unknown dtype '{dtype}'{did_you_mean(dtype, _DTYPES)}")
    if format == "tensorflow" and dtype not in (None, "float32"):
        raise UserError(f"the code of 2018 reads float32 only, not {dtype}; leave the dtype away")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"{target} is there already; give the name of a new directory")
    if (path / CONFIG).exists() or not google.is_checkpoint(path):
        if labels or any(value is not None for value in (base, lowercase, gelu, behaviour)):
            raise UserError(
                f"{path} is no checkpoint of TensorFlow: it says itself what base, labels, lowercase, gelu, behaviour "
                "would say"
            )
        path = resolve(source)
        loaded = _from_directory(path)
    else:
        folder = None if base is None else Path(base)
        loaded = _from_google(path, folder, tuple(labels), lowercase, gelu or "erf", behaviour)
    chosen = torch.float32 if format == "tensorflow" else _DTYPES[dtype] if dtype else loaded.dtype
    with replacing(target) as directory:
        directory.mkdir()
        save_tokenizer(loaded.tokenizer, directory, loaded.model.config.max_position_embeddings)
        if format == "tensorflow":
            for remark in google.save_checkpoint(loaded.model, directory, loaded.labels):
                say(f"{target}: {remark}")
        else:
            save_model(loaded.model, directory, chosen, loaded.labels, loaded.problem_type)
            if loaded.task is not None:
                shutil.copy(loaded.task, directory / TASK)
    return Conversion(
        str(target),
        format,
        architecture(tuple(loaded.model.heads), loaded.model.config.model_type),
        str(chosen).removeprefix("torch."),
        sum(parameter.numel() for parameter in loaded.model.parameters()),
        loaded.tokenizer.vocab_size,
        loaded.tokenizer.lowercase,
        loaded.tokenizer.behaviour,
    )


def _from_directory(path: Path) -> _Loaded:
    model, report = load_model(path)
    if report.new:
        raise UserError(f"{path}: {report}; a model that is not whole cannot be converted")
    if report.unused:
        say(f"{path}: {report}")
    if any(path.glob("*.index")):
        say(f"{path}: there is a checkpoint of TensorFlow in it too; give its prefix to convert that one")
    tokenizer = load_tokenizer(path)
    check_origin(path, tokenizer)
    check_vocabulary(tokenizer, model)
    values = read_json(path / CONFIG, "model configuration")
    dtype = _DTYPES.get(values.get("dtype") or values.get("torch_dtype") or "float32")
    if dtype is None:
        say(f"{path}: its weights are read as float32")
    is_labelled = not {"classification", "token_classification"}.isdisjoint(model.heads)
    labels = read_labels(values, str(path / CONFIG)) if is_labelled else ()
    task = path / TASK if (path / TASK).exists() else None
    return _Loaded(model, tokenizer, labels, dtype or torch.float32, task, values.get("problem_type"))


def _from_google(
    path: Path, base: Path | None, labels: tuple[str, ...], lowercase: bool | None, gelu: str, behaviour: str | None
) -> _Loaded:
    prefix = google.find_prefix(path)
    folder = base or prefix.parent
    if not folder.is_dir():
        raise UserError(f"{folder}: no such directory; it should hold {google.CONFIG} and vocab.txt")
    for name in (google.CONFIG, "vocab.txt"):
        if not (folder / name).exists():
            raise UserError(f"{folder / name}: no such file; give the folder that has it with --base DIR")
    model, report = google.load_checkpoint(prefix, folder / google.CONFIG, gelu)
    if "classification" not in model.heads:
        if labels:
            raise UserError(f"{prefix}: there is no classification in it, so it has no labels")
    else:
        values = read_json(folder / google.CONFIG, "model configuration")
        if not labels and "id2label" in values:
            labels = read_labels(values, str(folder / google.CONFIG))
        if labels and len(labels) != model.num_labels:
            raise UserError(f"{prefix}: {model.num_labels} labels, not {len(labels)} ({', '.join(labels)})")
    if behaviour is None and not (folder / "tokenizer_config.json").exists():
        behaviour = "original"
    tokenizer = load_tokenizer(folder, behaviour, _guess_lowercase(folder) if lowercase is None else lowercase)
    try:
        check_vocabulary(tokenizer, model)
    except UserError as error:
        raise UserError(f"{folder / 'vocab.txt'}: {error}") from None
    if str(report):
        say(f"{prefix}: {report}")
    return _Loaded(model, tokenizer, labels, model.encoder.embeddings.word.weight.dtype)


def _guess_lowercase(folder: Path) -> bool | None:
    """Casing by the name of the folder, as ``validate_case_matches_checkpoint`` of the release does; None: unknown."""
    if (folder / "tokenizer_config.json").exists():
        return None  # which says it
    name = folder.resolve().name
    if "cased" in name:
        lowercase = "uncased" in name
    elif name.startswith(("chinese_L-", "multilingual_L-")):
        lowercase = True
    else:
        return None  # left to the vocabulary
    say(f"{folder}: by its name text is {'' if lowercase else 'not '}lower-cased (else say --cased or --uncased)")
    return lowercase
