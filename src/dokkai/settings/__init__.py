"""Everything that can be set: defaults < recipe (TOML) < ``section.key=value``; strict, frozen, each with its line."""

from dokkai.settings.model import ModelSettings
from dokkai.settings.probe import ProbeSettings
from dokkai.settings.recipe import (
    Settings,
    describe_settings,
    grid_overrides,
    load_settings,
    parse_overrides,
    parse_settings,
    recipe_names,
)
from dokkai.settings.tasks import (
    TASK_KINDS,
    ClassificationSettings,
    MultiLabelSettings,
    MultipleChoiceSettings,
    PretrainingSettings,
    QuestionAnsweringSettings,
    RegressionSettings,
    SimilaritySettings,
    TaskSettings,
    TextSettings,
    TokenClassificationSettings,
)
from dokkai.settings.train import TrainSettings

__all__ = [
    "TASK_KINDS",
    "ClassificationSettings",
    "ModelSettings",
    "MultiLabelSettings",
    "MultipleChoiceSettings",
    "PretrainingSettings",
    "ProbeSettings",
    "QuestionAnsweringSettings",
    "RegressionSettings",
    "Settings",
    "SimilaritySettings",
    "TaskSettings",
    "TextSettings",
    "TokenClassificationSettings",
    "TrainSettings",
    "describe_settings",
    "grid_overrides",
    "load_settings",
    "parse_overrides",
    "parse_settings",
    "recipe_names",
]
