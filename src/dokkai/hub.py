"""A model by name: a directory, a model that comes with dokkai, or one of the Hugging Face hub, fetched once."""

import importlib
import re
from pathlib import Path

from dokkai.errors import UserError, did_you_mean
from dokkai.files import read_json
from dokkai.progress import say
from dokkai.shipped import NAMES, path_of

_TEXTS = (  # what is read of a model, weights aside
    "config.json",
    "task.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "modules.json",  # of sentence-transformers
    "sentence_bert_config.json",
    "1_Pooling/config.json",
)
_VOCABULARIES = ("tokenizer.json", "vocab.txt")
_WEIGHTS = (  # the second kind is fetched only where the first is not there
    ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"),
)


def resolve(name: str | Path, weights: bool = True) -> Path:
    """The directory of a model: ``name`` itself if it is one, else a model that comes with dokkai (``shipped.NAMES``),
    else what the hub holds under it, ``name@revision``.

    The package ``huggingface_hub`` fetches, with its cache, its token and its offline mode (``HF_HOME``, ``HF_TOKEN``,
    ``HF_HUB_OFFLINE``). Only files that dokkai reads are fetched; ``weights=False`` leaves the weights out. UserError
    says what was tried: the directory, the cache, the hub; and that the run of a probe is no model.
    """
    path, text = Path(name), str(name)
    if not text:
        raise UserError("the name of the model is empty; give a directory or a name")
    if path.is_dir():
        _refuse_probe(path)
        return path
    if text in NAMES and not path.exists():
        return path_of(text)
    if path.exists():
        raise UserError(f"{text}: no such model directory; it is a file, give the directory that holds it")
    if text.startswith((".", "/", "~")) or text.endswith("/") or not _is_name(text):
        raise UserError(f"{text}: no such model directory{_neighbour(path)}")
    kinds = _WEIGHTS if weights else (_VOCABULARIES,)
    for look in (_cached, _fetch):
        for kind in kinds:
            found = look(text, kind)
            if found and (_holds(found, kind) or not weights):
                say(f"{text}: from the Hugging Face hub, revision {found.name}")
                return found
    raise UserError(
        f"{text}: what the Hugging Face hub, or its copy in the cache ({found}), holds under this name has no "
        f"{_WEIGHTS[0][0]} and no {_WEIGHTS[1][0]}; choose a model with PyTorch weights"
    )


def _refuse_probe(path: Path) -> None:
    record = path / "run.json"
    if (path / "config.json").exists() or not record.is_file():
        return
    values = read_json(record, "record of a run")
    if isinstance(values, dict) and values.get("command") == "probe":
        raise UserError(
            f"{path}: the run of a probe holds no model; give the encoder that it read, or make a model with "
            "`dokkai finetune RECIPE --from ENCODER --train FILE --out RUN train.frozen_layers=N --cache DIR`"
        )


def _holds(directory: Path, patterns: tuple[str, ...]) -> bool:
    return any(file for pattern in patterns for file in directory.glob(pattern))


def _cached(text: str, kind: tuple[str, ...]) -> Path | None:
    """A commit that is in the cache, without asking the hub: it cannot have changed."""
    from huggingface_hub import errors, snapshot_download

    repository, _, revision = text.partition("@")
    if not re.fullmatch("[0-9a-f]{40}", revision):
        return None
    try:
        found = Path(
            snapshot_download(repository, revision=revision, allow_patterns=[*_TEXTS, *kind], local_files_only=True)
        )
    except (errors.LocalEntryNotFoundError, errors.HFValidationError):
        return None
    return found if _holds(found, kind) else None


def _fetch(text: str, kind: tuple[str, ...]) -> Path:
    """The snapshot in the cache, filled up from the hub if that answers."""
    from huggingface_hub import constants, errors, snapshot_download

    repository, _, revision = text.partition("@")
    tried = f"{text}: no such model directory{_neighbour(Path(text))}"
    advice = "check the name, or give the directory of a model"
    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=[*_TEXTS, *kind],
                ignore_patterns=["*/*.safetensors", "*/*.bin"],
            )
        )
    except errors.GatedRepoError:
        raise UserError(
            f"{text}: the Hugging Face hub gives this model only to those who accepted its conditions; accept them on "
            "its page, then set HF_TOKEN to your token"
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{text}: the Hugging Face hub has {repository}, but no revision '{revision}' of it") from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{tried}, and the Hugging Face hub has no such model, or only a private one; {advice}, or set HF_TOKEN"
        ) from None
    except errors.LocalEntryNotFoundError as error:
        cache = f"not whole in the cache of the Hugging Face hub ({constants.HF_HUB_CACHE})"
        if constants.HF_HUB_OFFLINE:
            raise UserError(
                f"{tried}, {cache}, and HF_HUB_OFFLINE forbids to ask the hub; {advice}, or unset HF_HUB_OFFLINE"
            ) from None
        reason = type(error.__cause__ or error).__name__
        raise UserError(
            f"{tried}, {cache}, and the hub ({constants.ENDPOINT}) cannot be reached ({reason}); {advice}, or mend the "
            "connection"
        ) from None
    except errors.HFValidationError:
        raise UserError(tried) from None
    except network_errors() as error:
        first = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"{tried}, and fetching it from the Hugging Face hub failed ({type(error).__name__}: {first}); try again"
        ) from error


def _is_name(text: str) -> bool:
    """Whether it has the form of a name on the hub: ``model`` or ``owner/model``, and perhaps ``@revision``."""
    return re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?(@[^@]+)?", text, re.ASCII) is not None


def _neighbour(path: Path) -> str:
    """The directory beside it that was perhaps meant."""
    if not path.parent.is_dir():
        return ""
    beside = {str(item) for item in path.parent.iterdir() if item.is_dir()}
    words = did_you_mean(str(path), beside)
    return words.rstrip("?").replace("; did you mean", " (did you mean") + "?)" if "did you mean" in words else ""


def network_errors() -> tuple[type[Exception], ...]:
    """What the library under ``huggingface_hub`` raises when a connection breaks; it has changed its name."""
    found: list[type[Exception]] = [OSError]
    for name in ("httpx2", "httpx"):
        try:
            found.append(importlib.import_module(name).HTTPError)
        except ImportError:
            continue
    return tuple(found)
