"""Everything that can be set: defaults < recipe (TOML) < ``section.key=value``; strict, frozen, each with its line."""

import copy
import re
import tomllib
from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, ValidationError, model_validator

from dokkai.errors import UserError, did_you_mean
from dokkai.files import existing_file


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _as_column(value: Any) -> Any:
    return str(value) if type(value) is int else value  # task.text=0 is a number in TOML


def _as_names(table: Any) -> Any:
    """``{"train": {"seed": [0, 1]}}``, which TOML makes of ``train.seed = [0, 1]``, to ``{"train.seed": [0, 1]}``."""
    if not isinstance(table, dict):
        return table
    parts = (value.items() if isinstance(value, dict) else [("", value)] for value in table.values())
    return {f"{name}.{key}".rstrip("."): item for name, part in zip(table, parts, strict=True) for key, item in part}


def _as_tokens(value: Any) -> Any:
    if value is not None and not all(type(item) is int for item in (value if isinstance(value, list) else [value])):
        raise ValueError("write a whole number, or a list of them")
    return value


def _as_time(value: Any) -> Any:
    if value is not None and not (isinstance(value, str) and _seconds(value)):
        raise ValueError('write a time such as "2h", "90m", "45s" or "1h30m"')
    return value


def _seconds(text: str) -> int:
    """``1h30m`` -> 5400; 0 if it is no time."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text, re.ASCII)
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return 3600 * hours + 60 * minutes + seconds


_Column = Annotated[str, BeforeValidator(_as_column)]
_Tokens = Annotated[int | list[int] | None, BeforeValidator(_as_tokens)]
_Time = Annotated[str | None, BeforeValidator(_as_time)]


class ModelSettings(_Section):
    """The encoder: a published shape, and what is changed in it."""

    shape: str = Field("base", description="tiny, mini, small, medium, base, large, or L<layers>-H<hidden size>")
    model_type: Literal["bert", "modernbert"] | None = Field(
        None, description="bert, or modernbert: pre-norm, rotary positions, gated, local attention; unset: bert"
    )
    num_attention_heads: int | None = Field(None, ge=1, description="attention heads; unset: hidden size / 64")
    intermediate_size: int | None = Field(None, ge=1, description="width of the feed-forward; unset: 4 x hidden size")
    max_position_embeddings: int | None = Field(None, ge=8, description="longest sequence; unset: 512")
    hidden_act: str | None = Field(None, description="gelu (erf), gelu_new (tanh), relu, silu ...; unset: gelu")
    local_attention: int | None = Field(None, ge=2, description="modernbert: tokens seen by a local layer; unset: 128")
    global_attn_every_n_layers: int | None = Field(
        None, ge=1, description="modernbert: one of so many layers sees all; unset: 3"
    )
    global_rope_theta: float | None = Field(None, gt=0, description="modernbert: slowest turn, global; unset: 160000")
    local_rope_theta: float | None = Field(None, gt=0, description="modernbert: slowest turn, local; unset: 10000")
    initializer_range: float | None = Field(None, gt=0, description="deviation of random weights; unset: 0.02")
    frequency_bias: bool = Field(
        False, description="start the output bias at the words' log frequencies in the text; false: at 0, as released"
    )
    sinusoidal_positions: bool = Field(False, description="start positions as sine waves; false: random, as released")
    hidden_dropout_prob: float | None = Field(None, ge=0, lt=1, description="dropout after sub-layers; unset: 0.1")
    attention_probs_dropout_prob: float | None = Field(None, ge=0, lt=1, description="dropout in attention; unset: 0.1")

    @model_validator(mode="after")
    def _face(self) -> Self:
        if self.model_type == "modernbert" and self.sinusoidal_positions:
            raise ValueError("model.sinusoidal_positions starts learned positions; a modernbert has none: leave it out")
        return self

    def changes(self) -> dict[str, Any]:
        """The fields of ``config.json`` that are set."""
        values = self.model_dump(exclude={"shape", "frequency_bias", "sinusoidal_positions"})
        return {name: value for name, value in values.items() if value is not None}


class PretrainingSettings(_Section):
    """Masked words, and sentence pairs (paper, section 3.1)."""

    kind: Literal["pretraining"] = "pretraining"
    next_sentence: bool = Field(True, description="A/B pairs and their loss; false: masked LM on full sequences")
    masked_share: float = Field(0.15, gt=0, lt=1, description="share of the tokens to predict")
    masked_share_end: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="that share at the end of the run, straight from one to the other; unset: the same",
    )
    whole_word: bool = Field(False, description="mask all pieces of a word together")
    short_share: float = Field(0.1, ge=0, le=1, description="share of sequences cut to a random shorter length")
    random_next_share: float = Field(0.5, ge=0, le=1, description="share of pairs whose B comes from another document")
    lengths: list[int] = Field(
        [128], min_length=1, description="sequence length of each phase, [128, 512] in the paper"
    )
    length_shares: list[float] = Field([1.0], min_length=1, description="share of the run of each phase, [0.9, 0.1]")
    batch_tokens: _Tokens = Field(
        None, description="tokens per update, one number or one for each of lengths; unset: train.batch_size sequences"
    )
    heldout_length: int | None = Field(None, ge=8, description="length of held-out sequences; unset: the first phase's")
    static_duplicates: int | None = Field(
        None, ge=1, description="instances of 2018, made so many times over and kept; unset: drawn anew in each epoch"
    )
    max_predictions: list[int] | None = Field(
        None, description="most masked tokens in a sequence, one number for each of lengths; unset: their share"
    )
    heldout_sequences: int = Field(2000, ge=1, description="most held-out sequences used by an evaluation")

    @model_validator(mode="after")
    def _phases(self) -> Self:
        shares = self.length_shares
        if len(self.lengths) != len(shares) or abs(sum(shares) - 1) > 1e-6 or min(shares) < 0:
            raise ValueError("task.length_shares must hold one share for each of task.lengths and add up to 1")
        if min(self.lengths) < 8:
            raise ValueError("task.lengths must be at least 8")
        tokens = self.batch_tokens
        if isinstance(tokens, int) and tokens < max(self.lengths):
            raise ValueError(f"task.batch_tokens must be at least the longest of task.lengths, {max(self.lengths)}")
        if isinstance(tokens, list) and not (
            len(tokens) == len(self.lengths) and all(map(int.__ge__, tokens, self.lengths))
        ):
            raise ValueError("task.batch_tokens must hold one number for each of task.lengths, no smaller than that")
        most = self.max_predictions
        if most is not None and (len(most) != len(self.lengths) or min(most) < 1):
            raise ValueError("task.max_predictions must hold one number, at least 1, for each of task.lengths")
        if self.static_duplicates and not self.next_sentence:
            raise ValueError("task.static_duplicates makes sentence pairs; it needs task.next_sentence=true")
        if self.static_duplicates and self.masked_share_end is not None:
            raise ValueError("task.static_duplicates makes masks that stay; leave task.masked_share_end out")
        return self


class ClassificationSettings(_Section):
    """One label for one text or a pair of texts."""

    kind: Literal["classification"] = "classification"
    text: _Column = Field("text", description="column of the text (a number counts columns from 0)")
    pair: _Column | None = Field(None, description="column of the second text; unset: there is none")
    label: _Column = Field("label", description="column of the label")
    id: _Column | None = Field(None, description="column of the id; unset: the number of the row")
    header: bool = Field(True, description="the first line of a table names its columns")
    max_length: int = Field(128, ge=4, description="longest sequence in tokens; longer ones are cut and counted")


class QuestionAnsweringSettings(_Section):
    """The span of a text that answers a question (SQuAD 1.1 and 2.0)."""

    kind: Literal["question-answering"] = "question-answering"
    max_length: int = Field(384, ge=16, description="longest window: question and part of the context, in tokens")
    stride: int = Field(128, ge=1, description="tokens between the starts of two windows (not their overlap)")
    max_question_length: int = Field(64, ge=1, description="longer questions are cut, in tokens")
    n_best_size: int = Field(20, ge=1, description="candidate starts and ends per window, and answers kept")
    max_answer_length: int = Field(30, ge=1, description="longest answer in tokens")
    no_answer: bool = Field(False, description="questions may have no answer (SQuAD 2.0)")
    null_threshold: float = Field(0.0, description="no answer if null score - best score is above this")


TaskSettings = Annotated[
    PretrainingSettings | ClassificationSettings | QuestionAnsweringSettings, Discriminator("kind")
]


class TrainSettings(_Section):
    """The loop: how long, how fast, how often."""

    steps: int | None = Field(None, ge=1, description="updates; unset: from epochs")
    epochs: float = Field(3.0, gt=0, description="passes over the examples, if steps and budget are unset")
    budget: _Time = Field(
        None, description='time in place of steps, as in "1h30m": all but evaluations, over all starts; unset: steps'
    )
    batch_size: int = Field(32, ge=1, description="sequences per update, over all devices")
    micro_batch_tokens: int = Field(
        16384, ge=1, description="most tokens, padding included, in memory at a time (fine-tuning on a CPU: 2,048)"
    )
    optimizer: Literal["adamw", "muon", "bert-adam"] = Field(
        "adamw", description="muon: for the layers' matrices; bert-adam: that of 2018, with its course of the rate"
    )
    learning_rate: float = Field(5e-5, gt=0, description="highest learning rate")
    warmup_share: float = Field(0.1, ge=0, lt=1, description="share of the run in which the rate rises from 0")
    schedule: Literal["linear", "trapezoid", "constant"] = Field(
        "linear", description="then the rate falls straight; or stays, and falls at the end (1 - sqrt); or stays"
    )
    cooldown_share: float = Field(0.2, ge=0, le=1, description="trapezoid: share of the run in which the rate falls")
    weight_decay: float = Field(0.01, ge=0, description="decoupled decay; norms and biases are left out")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW: memory of the mean")
    beta2: float = Field(0.999, ge=0, lt=1, description="AdamW: memory of the square")
    epsilon: float = Field(1e-6, gt=0, description="AdamW: added to the root")
    average: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description="the model is a mean of weights of this age, as a share of the run; unset: the last",
    )
    clip_norm: float = Field(1.0, ge=0, description="longest gradient; 0: no clipping")
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order, masks and dropout")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="auto: bf16 where the machine is faster in it"
    )
    compile: Literal["auto", "on", "off"] = Field("auto", description="torch.compile; auto: where it pays")
    evaluate_every: int = Field(0, ge=0, description="steps between evaluations; 0: ten in the run")
    log_every: int = Field(0, ge=0, description="steps between lines of metrics.jsonl; 0: about 500 in the run")
    save_every: int = Field(0, ge=0, description="steps between checkpoints; 0: by time alone")
    save_minutes: float = Field(10.0, gt=0, description="minutes between checkpoints")
    keep_checkpoints: int = Field(2, ge=1, description="how many of the last checkpoints stay")
    workers: int = Field(0, ge=0, description="processes that prepare batches; 0: a thread of this one")

    @property
    def budget_seconds(self) -> int:
        """``budget`` in seconds; 0: the run is counted in steps."""
        return _seconds(self.budget or "")

    @model_validator(mode="after")
    def _course(self) -> Self:
        if self.steps and self.budget:
            raise ValueError("train.steps and train.budget are both set; a run ends by one of them: leave one out")
        if self.optimizer == "bert-adam" and self.schedule != "linear":
            raise ValueError("train.optimizer=bert-adam has the course of 2018; leave train.schedule out")
        if self.schedule == "trapezoid" and self.warmup_share + self.cooldown_share > 1 + 1e-9:
            raise ValueError("train.warmup_share and train.cooldown_share are more than the run together; lower one")
        return self


class Settings(_Section):
    """A recipe with its overrides."""

    description: str = Field("", description="what the recipe is for")
    model: ModelSettings = ModelSettings()
    task: TaskSettings = PretrainingSettings()
    train: TrainSettings = TrainSettings()
    grid: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], BeforeValidator(_as_names)] = Field(
        {}, exclude=True, description="values to try for a setting, as in train.batch_size = [16, 32]"
    )  # of no run, so it stands in no record of one


def load_settings(recipe: str, overrides: Sequence[str] = ()) -> Settings:
    """Settings of a recipe (a name from ``dokkai recipes``, or a TOML file) with ``section.key=value`` on top.

    A ``train.budget`` on top takes the place of the ``train.steps`` of the recipe, and the other way round.
    """
    values = _read_recipe(recipe)
    names = {override.partition("=")[0].strip() for override in overrides}
    for key, other in (("steps", "budget"), ("budget", "steps")):
        if f"train.{key}" in names and isinstance(values.get("train"), dict):
            values["train"].pop(other, None)
    for override in overrides:
        _apply(values, override)
    return parse_settings(values, recipe)


def parse_settings(values: dict[str, Any], where: str) -> Settings:
    """Check parsed TOML or JSON; UserError names the first setting that does not fit."""
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(error, values)}") from error
    for name, choices in settings.grid.items():
        for value in choices:
            changed = {key: copy.copy(item) for key, item in values.items() if key != "grid"}
            _place(changed, name, value, f"grid.{name}")
            try:
                Settings.model_validate(changed)
            except ValidationError as error:
                raise UserError(f"{where}: in its grid: {_explain(error, changed)}") from error
    return settings


def grid_overrides(settings: Settings) -> Iterator[list[str]]:
    """Each point of the grid as overrides for ``load_settings``, the last name fastest; without a grid one, empty."""
    for values in product(*settings.grid.values()):
        yield [f"{name}={_toml(value)}" for name, value in zip(settings.grid, values, strict=True)]


def recipe_names() -> list[str]:
    """Names of the recipes that come with dokkai."""
    folder = resources.files("dokkai.recipes")
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def describe_settings(section: str | None = None) -> list[tuple[str, str, str]]:
    """``(name, default, line)`` of every setting, or of those whose name starts with ``section``."""
    kinds: tuple[type[_Section], ...] = (PretrainingSettings, ClassificationSettings, QuestionAnsweringSettings)
    parts: list[tuple[str, type[_Section]]] = [("model", ModelSettings), ("train", TrainSettings)]
    parts += [(f"task ({kind.model_fields['kind'].default})", kind) for kind in kinds]
    rows = [
        (f"{name.split()[0]}.{key}" + name.removeprefix("task").removeprefix("model").removeprefix("train"), item)
        for name, part in parts
        for key, item in part.model_fields.items()
        if key != "kind"
    ]
    found = [(name, _toml(item.default), item.description or "") for name, item in rows]
    line = "values to try for a setting of a recipe; no verb runs through them yet, give one by hand"
    found.append(("grid.SECTION.KEY", "unset", line))
    if section is None:
        return found
    chosen = [row for row in found if row[0].startswith(section) or f"({section})" in row[0]]
    if not chosen:
        raise UserError(f"no settings '{section}'{did_you_mean(section, _section_names())}")
    return chosen


def _section_names() -> list[str]:
    return ["model", "train", "task", "grid", "pretraining", "classification", "question-answering"]


def _read_recipe(recipe: str) -> dict[str, Any]:
    path = Path(recipe)
    if recipe in recipe_names():  # whatever else has this name in the current folder
        text = (resources.files("dokkai.recipes") / f"{recipe}.toml").read_bytes()
    elif path.suffix == ".toml" or path.exists():
        text = existing_file(path).read_bytes()
    else:
        raise UserError(f"unknown recipe '{recipe}'{did_you_mean(recipe, recipe_names())}")
    try:
        return tomllib.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{recipe}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{recipe}: not TOML: {error}") from error


def _apply(values: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not (equals and "." in name.strip(". ")):
        raise UserError(f"'{override}' is no setting; write section.key=value, for example train.seed=1")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string: task.text=sentence
    _place(values, name.strip(), value, name.strip())


def _place(values: dict[str, Any], name: str, value: Any, shown: str) -> None:
    section, _, key = name.partition(".")
    place = values.setdefault(section, {})
    if not isinstance(place, dict):
        raise UserError(f"unknown setting '{shown}'; '{section}' is no section")
    place[key] = value


def _explain(error: ValidationError, values: dict[str, Any]) -> str:
    first = error.errors()[0]
    kinds = {"pretraining", "classification", "question-answering"}
    place = [str(part) for part in first["loc"] if part not in kinds]
    name = ".".join(place)
    if first["type"] == "extra_forbidden":
        known = (
            [row[0].split()[0] for row in describe_settings()] if len(place) > 1 else ["model", "task", "train", "grid"]
        )
        if place[0] == "task":
            kind = values.get("task", {}).get("kind", "pretraining")
            known = [row[0].split()[0] for row in describe_settings(kind)]
        return f"unknown setting '{name}'{did_you_mean(name, known)}"
    if first["type"] in ("union_tag_not_found", "union_tag_invalid"):
        kind = values["task"].get("kind")
        found = "task.kind is not set" if kind is None else f"unknown task.kind {_toml(kind)}"
        return f"{found}{did_you_mean(str(kind), kinds)}"
    message = first["msg"].removeprefix("Value error, ")
    if name in ("", "model", "task", "train"):
        return message
    return f"{name} = {_toml(first['input'])}: {message[0].lower()}{message[1:]}"


def _toml(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
