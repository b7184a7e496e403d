"""A BERT in the files of the 2018 release: ``bert_model.ckpt`` (index and data files) and ``bert_config.json``."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from dokkai.errors import UserError, did_you_mean
from dokkai.files import existing_file, read_json, write_json, write_text
from dokkai.model.checkpoint import LoadReport
from dokkai.model.config import ModelConfig, read_config
from dokkai.model.heads import Model
from dokkai.model.names import architecture, from_google, google_names, is_kernel, to_google
from dokkai.model.tf.bundle import Bundle, write_bundle

CONFIG = "bert_config.json"
PREFIX = "bert_model.ckpt"
GELUS = {"erf": "gelu", "tanh": "gelu_new"}
_NEWEST = "checkpoint"  # the file in which TensorFlow names the newest of a folder
_STEP = "global_step"
_HEADS = {  # a tensor by which a head is known
    "masked_lm": "cls/predictions/output_bias",
    "next_sentence": "cls/seq_relationship/output_bias",
    "span": "cls/squad/output_bias",
    "classification": "output_bias",
}
_RELEASED = (  # the fields of the release's BertConfig
    "attention_probs_dropout_prob",
    "hidden_act",
    "hidden_dropout_prob",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "type_vocab_size",
    "vocab_size",
)


@dataclass(frozen=True, slots=True)
class GoogleReport:
    """What was left in the checkpoint: the optimizer's memory and its step, and tensors that no head wants."""

    num_slots: int = 0
    step: int | None = None
    unused: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line, or empty if nothing was left."""
        parts = [] if self.step is None else [f"{_STEP} {self.step}"]
        if self.num_slots:
            parts.append(f"{self.num_slots} tensors of the optimizer (adam_m, adam_v)")
        out = [f"left out: {' and '.join(parts)}"] if parts else []
        return "; ".join([*out, str(LoadReport(unused=self.unused))] if self.unused else out)


def is_checkpoint(source: Path) -> bool:
    """Whether these are files of the release: a folder of them, a prefix, or one of the files that begin with it."""
    if source.is_dir():
        return any(source.glob("*.index")) or any((source / name).exists() for name in (CONFIG, _NEWEST))
    return _index(source).exists() or _prefix(source) != source


def find_prefix(source: Path) -> Path:
    """The prefix of a checkpoint: given itself or by one of its files, or the newest or only one of a folder.

    UserError if there is none, or if nothing says which one.
    """
    if not source.is_dir():
        prefix = _prefix(source)
        if not _index(prefix).exists():
            raise UserError(f"{_index(prefix)}: no such file; a checkpoint has an .index and at least one .data file")
        return prefix
    if (source / _NEWEST).exists():
        text = existing_file(source / _NEWEST).read_text(encoding="utf-8", errors="replace")
        if match := re.search(r'^model_checkpoint_path:\s*"(?:.*[/\\])?([^/\\"]+)"', text, flags=re.MULTILINE):
            prefix = source / match[1]  # the folder may have moved since
            if not _index(prefix).exists():
                raise UserError(
                    f"{source / _NEWEST} names {match[1]}, but there is no {_index(prefix).name}; copy it there, or "
                    "give the prefix of another checkpoint"
                )
            return prefix
    found = sorted(source.glob("*.index"))
    if len(found) == 1:
        return _prefix(found[0])
    if not found:
        raise UserError(f"{source}: no checkpoint in it (no .index file)")
    names = ", ".join(path.stem for path in found[:4])
    raise UserError(f"{source}: {len(found)} checkpoints in it and nothing says which; give one as prefix: {names}")


def load_checkpoint(prefix: Path, config_path: Path, gelu: str = "erf") -> tuple[Model, GoogleReport]:
    """The model in a checkpoint, with the heads that are in it; weights keep their precision.

    ``gelu`` says what "gelu" in the configuration means: ``erf`` as in the initial release and in Hugging Face's ports,
    or ``tanh``, its approximation, as in the release since 2019-02-07. Of the data files only what is used is read.
    Raises UserError for files that are damaged, missing or foreign, and for a checkpoint and a configuration that do
    not belong together.
    """
    if gelu not in GELUS:
        raise UserError(f"unknown gelu '{gelu}'{did_you_mean(gelu, GELUS)}")
    config = _read(config_path)
    if config.hidden_act == "gelu":
        config = replace(config, hidden_act=GELUS[gelu])
    bundle = Bundle(prefix)
    heads = _heads(bundle)
    num_labels = _size(bundle, _HEADS["classification"]) if "classification" in heads else 2
    with torch.device("meta"):  # shapes alone: every weight comes from the file
        model = Model(config, heads, num_labels)
    state: dict[str, Tensor] = {}
    used: set[str] = set()
    for ours, wanted in model.state_dict().items():
        names = google_names(ours)
        part = [wanted.shape[0] // len(names), *wanted.shape[1:]]
        found = {name: _tensor(bundle, name, part, config_path) for name in names}
        state[ours] = from_google(ours, found)
        used |= set(names)
    model.load_state_dict(state, assign=True)
    rest = [name for name in bundle.entries if name not in used]
    slots = [name for name in rest if name.endswith(("/adam_m", "/adam_v"))]
    step = int(bundle.tensor(_STEP)) if _STEP in rest else None
    unused = sorted(set(rest) - set(slots) - {_STEP})
    for name in unused:
        if name.startswith("bert/encoder/"):
            raise UserError(
                f"{bundle.index}: {name} has no place in a model of {config.num_hidden_layers} layers, which "
                f"{config_path} describes; use the {CONFIG} of this checkpoint"
            )
    return model, GoogleReport(len(slots), step, unused)


def save_checkpoint(model: Model, directory: Path, labels: tuple[str, ...] = ()) -> list[str]:
    """Write ``bert_model.ckpt``, the file ``checkpoint`` that names it, and ``bert_config.json``; weights in float32.

    Returns what the release cannot know about this model, a sentence each. ``labels``, the names of the classes, and
    numbers that are constants in the release go into ``bert_config.json`` under names of their own. UserError for a
    head that the release does not have.
    """
    tensors = to_google({name: tensor.detach().float() for name, tensor in model.state_dict().items()})
    remarks = []
    if not any(name.startswith("bert/pooler/") for name in tensors):
        remarks.append("there is no pooler in this model, so TensorFlow will draw one at random where it wants one")
    values = model.config.to_dict()
    config = {name: values.pop(name) for name in _RELEASED}
    defaults = ModelConfig().to_dict()
    extra = {name: value for name, value in values.items() if value != defaults[name]}
    if extra:
        remarks.append(f"the release does not heed {', '.join(f'{name} {value}' for name, value in extra.items())}")
    if config["hidden_act"] in ("gelu_new", "gelu_pytorch_tanh"):
        config["hidden_act"] = "gelu"
        remarks.append('hidden_act is written as "gelu"; to convert it back as it is, say --gelu tanh')
    elif config["hidden_act"] == "gelu":
        remarks.append("the release computes gelu by tanh since 2019-02-07; this model has the exact one (erf)")
    if labels:
        extra["id2label"] = {str(i): label for i, label in enumerate(labels)}
    write_bundle(tensors, directory / PREFIX)
    lines = [f'{key}: "{PREFIX}"\n' for key in ("model_checkpoint_path", "all_model_checkpoint_paths")]
    write_text(directory / _NEWEST, "".join(lines))
    write_json(directory / CONFIG, config | extra)
    return remarks


def _read(path: Path) -> ModelConfig:
    values = read_json(path, "model configuration")
    if not isinstance(values, dict):
        raise UserError(f"{path}: not the configuration of a BERT model")
    return read_config({"type_vocab_size": 16, **values}, str(path))  # 16: the release's default


def _heads(bundle: Bundle) -> tuple[str, ...]:
    (words,) = google_names("encoder.embeddings.word.weight")
    if "_CHECKPOINTABLE_OBJECT_GRAPH" in bundle.entries:
        raise UserError(
            f"{bundle.index}: saved by TensorFlow 2 as a graph of objects; dokkai reads the checkpoints that the code "
            "of 2018 writes (tf.train.Saver)"
        )
    if words not in bundle.entries:
        names = ", ".join(list(bundle.entries)[:4]) or "nothing"
        raise UserError(f"{bundle.index}: not a BERT, there is no {words} in it, but {names}, ...")
    heads = tuple(head for head, mark in _HEADS.items() if mark in bundle.entries)
    try:
        architecture(heads)
    except ValueError:
        raise UserError(f"{bundle.index}: output layers of several tasks in it: {', '.join(heads)}") from None
    return heads


def _tensor(bundle: Bundle, name: str, ours: list[int], config_path: Path) -> Tensor:
    if name not in bundle.entries:
        raise UserError(f"{bundle.index}: not a whole BERT, there is no {name} in it")
    shape = tuple(reversed(ours) if is_kernel(name) else ours)
    if bundle.entries[name].shape != shape:
        raise UserError(
            f"{bundle.index}: {name} has shape {bundle.entries[name].shape}, {config_path} asks for {shape}"
        )
    tensor = bundle.tensor(name)
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise UserError(f"{bundle.index}: {name} is {kind}; weights must be floating point")
    return tensor


def _size(bundle: Bundle, name: str) -> int:
    shape = bundle.entries[name].shape
    if len(shape) != 1 or not shape[0]:
        raise UserError(f"{bundle.index}: {name} has shape {shape}, not one number per label")
    return shape[0]


def _prefix(path: Path) -> Path:
    return path.with_name(re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path.name))


def _index(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.index")
