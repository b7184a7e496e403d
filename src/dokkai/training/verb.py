"""The verb ``finetune``: what its words mean, and then one run, or several."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dokkai.data.arrow import is_data_set
from dokkai.errors import UserError, did_you_mean
from dokkai.hub import resolve
from dokkai.model.checkpoint import load_config
from dokkai.pipeline import Pipeline
from dokkai.progress import say
from dokkai.settings import load_settings, recipe_names
from dokkai.training.finetune import finetune, guess
from dokkai.training.several import choose_points, find_low_rates, run_several

RUNS = Path("runs")
"""Where a run goes that was given no place."""


def fine_tune_by_words(
    recipe: str | None,
    start: str,
    train: Path | None,
    out: Path | None,
    overrides: Sequence[str],
    num_seeds: int | None = None,
    is_grid: bool = False,
    *,
    dev: Path | None = None,
    random_weights: bool = False,
    limit: int | None = None,
    device: str | None = None,
    cache: Path | None = None,
) -> tuple[Path, dict[str, Any] | None]:
    """Train as for ``finetune``; the directory of the run, and of several runs the record (``run_several``), else None.

    The first word may be a recipe, a setting (``train.seed=1``), or the examples, whose task is guessed then. A run
    without ``out`` goes to ``RUNS``, by the name of its examples. UserError if there are no examples.
    """
    if recipe is not None and "." in recipe.partition("=")[0] and "=" in recipe:  # the first of the settings
        overrides, recipe = [recipe, *overrides], None
    examples, recipe = _examples_and_recipe(train, recipe)
    directory = out or RUNS / _name_of(examples)
    if out is None:
        say(f"the run goes to {directory}; --out RUN names another place")

    def run(more: list[str], place: Path) -> Pipeline:
        words = [*overrides, *more]
        return finetune(recipe, start, examples, place, dev, words, random_weights, limit, device, cache)

    if num_seeds is None and not is_grid:
        run([], directory)
        return directory, None
    chosen = guess(examples, start, overrides) if recipe is None else recipe
    kind, points = choose_points(chosen, overrides, num_seeds, is_grid, dev is not None)
    if is_grid:
        is_classification = load_settings(chosen, overrides).task.kind == "classification"
        if line := find_low_rates(points, load_config(resolve(start)).hidden_size, is_classification):
            say(line)
    return directory, run_several(kind, points, directory, run)


def _examples_and_recipe(train: Path | None, recipe: str | None) -> tuple[Path, str | None]:
    """What to train on, and by which recipe: examples in the place of a recipe mean that it is guessed."""
    if train is not None:
        return train, recipe
    if recipe is None or recipe in recipe_names() or Path(recipe).suffix == ".toml":
        raise UserError("no examples to train on; give --train FILE, or the file alone: dokkai finetune my.csv")
    if not (Path(recipe).exists() or ({"/", "["} & set(recipe) and is_data_set(recipe))):
        raise UserError(f"{recipe}: no such file, and no recipe of this name{did_you_mean(recipe, recipe_names())}")
    return Path(recipe), None


def _name_of(examples: Path) -> str:
    """``a/reviews.v2.csv`` to ``reviews``, ``glue:mrpc[train]`` to ``glue-mrpc``; UserError if nothing is left."""
    name = re.split(r"[.\[]", examples.name.lstrip("."))[0].replace(":", "-")
    if not name:
        raise UserError(f"no name for the run is in '{examples}'; give --out RUN")
    return name
