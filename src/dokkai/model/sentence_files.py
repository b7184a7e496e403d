"""The files by which the package ``sentence-transformers`` knows how a model directory makes vectors of texts."""

from pathlib import Path

from dokkai.files import read_json, write_json
from dokkai.progress import say

_MODULES = "modules.json"
_POOLING = "1_Pooling/config.json"
_LENGTH = "sentence_bert_config.json"
_KNOWN = {"Transformer", "Pooling", "Normalize"}
_MODES = {  # ours, and the switches of theirs, which every version reads
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
}


def write_sentence_files(directory: Path, pooling: str, max_length: int, hidden_size: int) -> None:
    """Write them into a model directory: its encoder, then a pooling ("mean", "cls" or "max") of the last layer."""
    switches = {theirs: ours == pooling for ours, theirs in _MODES.items()}
    write_json(directory / _POOLING, {"word_embedding_dimension": hidden_size, **switches})
    write_json(directory / _LENGTH, {"max_seq_length": max_length, "do_lower_case": False})
    parts = (("", "Transformer"), ("1_Pooling", "Pooling"))
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{name}"}
        for number, (path, name) in enumerate(parts)
    ]
    write_json(directory / _MODULES, modules)


def read_sentence_files(directory: Path) -> tuple[str, int | None] | None:
    """Pooling and longest text of a directory of theirs; None if it is none, or pools as we do not, or if more than
    their lengths is changed behind the pooling (LaBSE has one more layer), which is said.
    """
    if not all((directory / name).is_file() for name in (_MODULES, _POOLING)):
        return None
    modules = read_json(directory / _MODULES, "list of the modules of a model")
    if not isinstance(modules, list) or not all(isinstance(part, dict) for part in modules):
        return None
    if others := sorted({str(part.get("type")).rpartition(".")[2] for part in modules} - _KNOWN):
        say(f"{directory / _MODULES}: {', '.join(others)} is not supported; the vectors are those of the encoder alone")
        return None
    values = read_json(directory / _POOLING, "pooling of a model")
    if not isinstance(values, dict):
        return None
    modes = values.get("pooling_mode", [ours for ours, theirs in _MODES.items() if values.get(theirs)])
    found = [modes] if isinstance(modes, str) else modes
    others = [name for name in values if name.startswith("pooling_mode_") and name not in _MODES.values()]
    if found not in [[ours] for ours in _MODES] or any(values[name] for name in others):
        return None
    return str(found[0]), _longest(directory)


def _longest(directory: Path) -> int | None:
    """In tokens: newer versions leave it to the tokenizer."""
    for name, key in ((_LENGTH, "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        values = read_json(directory / name, "length of texts") if (directory / name).is_file() else None
        if isinstance(values, dict) and isinstance(values.get(key), int):
            return int(values[key])
    return None
