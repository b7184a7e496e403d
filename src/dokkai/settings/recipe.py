"""A recipe (TOML) with ``section.key=value`` on top, checked; and what can be set, for people to read."""

import copy
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from dokkai.errors import UserError, did_you_mean
from dokkai.files import existing_file
from dokkai.settings.fields import Section
from dokkai.settings.model import ModelSettings
from dokkai.settings.probe import ProbeSettings
from dokkai.settings.tasks import TASK_KINDS, PretrainingSettings, TaskSettings
from dokkai.settings.train import TrainSettings


def _as_names(table: Any) -> Any:
    """``{"train": {"seed": [0, 1]}}``, which TOML makes of ``train.seed = [0, 1]``, to ``{"train.seed": [0, 1]}``."""
    if not isinstance(table, dict):
        return table
    parts = (value.items() if isinstance(value, dict) else [("", value)] for value in table.values())
    return {f"{name}.{key}".rstrip("."): item for name, part in zip(table, parts, strict=True) for key, item in part}


class Settings(Section):
    """A recipe with its overrides."""

    description: str = Field("", description="what the recipe is for")
    model: ModelSettings = ModelSettings()
    task: TaskSettings = PretrainingSettings()
    train: TrainSettings = TrainSettings()
    probe: ProbeSettings = Field(ProbeSettings(), exclude=True)  # only a probe's own record holds it
    grid: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], BeforeValidator(_as_names)] = Field(
        {}, exclude=True, description="values to try for a setting, as in train.batch_size = [16, 32]"
    )  # of no run, so it stands in no record of one

    def refuse_probe(self) -> None:
        """UserError if settings of a probe are given to a verb that trains the encoder itself."""
        if "probe" in self.model_fields_set:
            raise UserError("[probe] and probe.* are for `dokkai probe`; leave them out, or take another recipe")


def load_settings(recipe: str | Mapping[str, Any], overrides: Sequence[str] = ()) -> Settings:
    """Settings of a recipe with ``section.key=value`` on top.

    The recipe is a name from ``dokkai recipes``, a TOML file, or what would stand in one. A ``train.budget`` on top
    takes the place of the ``train.steps`` of the recipe, and the other way round.
    """
    values = _read_recipe(recipe) if isinstance(recipe, str) else copy.deepcopy(dict(recipe))
    names = {override.partition("=")[0].strip() for override in overrides}
    for key, other in (("steps", "budget"), ("budget", "steps")):
        if f"train.{key}" in names and isinstance(values.get("train"), dict):
            values["train"].pop(other, None)
    for override in overrides:
        _apply(values, override)
    return parse_settings(values, recipe if isinstance(recipe, str) else str(recipe.get("description", "the settings")))


def parse_overrides(overrides: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``["task.label=stars"]`` to ``{"task": {"label": "stars"}}``, not checked."""
    values: dict[str, dict[str, Any]] = {}
    for override in overrides:
        _apply(values, override)
    return values


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
    parts: list[tuple[str, type[Section]]] = [
        ("model", ModelSettings),
        ("train", TrainSettings),
        ("probe", ProbeSettings),
    ]
    parts += [(f"task ({name})", kind) for name, kind in TASK_KINDS.items()]
    rows = [
        (f"{name.split()[0]}.{key}" + name.removeprefix(name.split()[0]), item)
        for name, part in parts
        for key, item in part.model_fields.items()
        if key != "kind"
    ]
    found = [(name, _toml(item.default), item.description or "") for name, item in rows]
    line = "values to try for a setting of a recipe; `finetune --grid` runs through them"
    found.append(("grid.SECTION.KEY", "unset", line))
    if section is None:
        return found
    chosen = [row for row in found if row[0].startswith(section) or f"({section})" in row[0]]
    if not chosen:
        raise UserError(f"no settings '{section}'{did_you_mean(section, _section_names())}")
    return chosen


def _section_names() -> list[str]:
    return ["model", "train", "task", "probe", "grid", *TASK_KINDS]


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
    place = [str(part) for part in first["loc"] if part not in TASK_KINDS]
    name = ".".join(place)
    if first["type"] == "extra_forbidden":
        sections = ("model", "task", "train", "probe", "grid")
        known = [row[0].split()[0] for part in sections for row in describe_settings(part) if _is_of(row[0], values)]
        beside = [other for other in known if other.startswith(f"{place[0]}.")]
        return f"unknown setting '{name}'{did_you_mean(name, known if len(place) > 1 else sections, beside or None)}"
    if first["type"] in ("union_tag_not_found", "union_tag_invalid"):
        kind = values["task"].get("kind")
        found = "task.kind is not set" if kind is None else f"unknown task.kind {_toml(kind)}"
        return f"{found}{did_you_mean(str(kind), TASK_KINDS)}"
    message = first["msg"].removeprefix("Value error, ")
    if name in ("", "model", "task", "train", "probe"):
        return message
    return f"{name} = {_toml(first['input'])}: {message[0].lower()}{message[1:]}"


def _is_of(setting: str, values: dict[str, Any]) -> bool:
    """Is a setting as described one of these values' kind of task, or of no task?"""
    task = values.get("task")
    kind = task.get("kind") if isinstance(task, dict) else None
    return not setting.startswith("task.") or f"({kind or 'pretraining'})" in setting


def _toml(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
