"""Defaults < recipe < overrides; strict, with suggestions; every recipe builds."""

from itertools import product
from pathlib import Path

import pytest
import torch

from dokkai.errors import UserError
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.settings import describe_settings, grid_overrides, load_settings, recipe_names
from dokkai.tasks import create_task
from dokkai.training.schedule import learning_rate


def test_an_override_beats_the_recipe_and_the_recipe_the_default(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('[task]\nkind = "classification"\ntext = "body"\n[train]\nseed = 3\nepochs = 2\n')
    settings = load_settings(str(recipe), ["train.seed=4", "task.label=class", "model.hidden_dropout_prob=0"])
    assert (settings.train.seed, settings.train.epochs, settings.train.batch_size) == (4, 2, 32)
    assert (settings.task.text, settings.task.label) == ("body", "class")
    assert settings.model.changes() == {"hidden_dropout_prob": 0}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.sed=1", r"unknown setting 'train.sed'; did you mean 'train.seed'\?"),
        ("task.max_lenght=1", r"unknown setting 'task.max_lenght'; did you mean 'task.max_length'\?"),
        ("trian.seed=1", r"unknown setting 'trian'; did you mean 'train'\?"),
        ("train.max_length=1", r"unknown setting 'train.max_length'; did you mean 'task.max_length'\?"),
        (
            "model.pool_by_mean=1",
            r"'model.pool_by_mean'; there is: model.attention_probs_dropout_prob, (model[a-z_.]*(, )?)*$",
        ),
        ("task.xyz=1", r"'task.xyz'; there is: task.answer, task.answer_start, (task[a-z_.]*, )*task.temperature$"),
        ("train.seed=-1", "train.seed = -1"),
        ("train.seed=1.5", "train.seed = 1.5: input should be a valid integer"),
        ("train.precision=fp8", "train.precision"),
        ("train.seed", "write section.key=value"),
        ("seed=1", "write section.key=value"),
    ],
)
def test_mistakes_are_named(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_settings("squad", [override])
    assert "\n" not in str(caught.value)


def test_unknown_recipe() -> None:
    with pytest.raises(UserError, match=r"unknown recipe 'sqad'; did you mean 'squad'\?"):
        load_settings("sqad")


def test_recipe_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_settings(str(tmp_path / "none.toml"))
    bad = tmp_path / "bad.toml"
    bad.write_text("[train\n")
    with pytest.raises(UserError, match="not TOML"):
        load_settings(str(bad))
    bad.write_bytes(b"# caf\xe9\n")
    with pytest.raises(UserError, match="not UTF-8 at byte 5"):
        load_settings(str(bad))


def test_phases_must_fit() -> None:
    with pytest.raises(UserError, match="one share for each"):
        load_settings("mini-en", ["task.lengths=[128]"])
    with pytest.raises(UserError, match="one share for each"):
        load_settings("mini-en", ["task.length_shares=[1.5, -0.5]"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task.static_duplicates=2", "task.next_sentence=false"], "it needs task.next_sentence=true"),
        (["task.static_duplicates=0"], "task.static_duplicates = 0: input should be greater than or equal to 1"),
        (["task.max_predictions=[20]"], "task.max_predictions must hold one number, at least 1, for each of"),
        (["task.max_predictions=[20, 0]"], "task.max_predictions must hold one number, at least 1, for each of"),
    ],
)
def test_static_instances_must_fit(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_settings("mini-en", overrides)
    assert "\n" not in str(caught.value)


def test_a_modern_encoder_has_no_positions_to_start() -> None:
    with pytest.raises(UserError, match=r"model\.sinusoidal_positions starts learned positions; a modernbert has none"):
        load_settings("mini-en", ["model.model_type=modernbert"])


TIMES = {"2h": 7200, "90m": 5400, "45s": 45, "1h30m": 5400, "1h1s": 3601, "120s": 120}


@pytest.mark.parametrize("text", TIMES)
def test_a_budget_takes_the_place_of_steps(text: str) -> None:
    """The later of the two counts, recipe before command line; each way round."""
    train = load_settings("mini-en", [f"train.budget={text}"]).train
    assert (train.steps, train.budget, train.budget_seconds) == (None, text, TIMES[text])
    assert load_settings("mini-en").train.budget_seconds == 0


def test_steps_take_the_place_of_a_budget(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('[train]\nbudget = "2h"\n')
    assert load_settings(str(recipe)).train.budget_seconds == 7200
    train = load_settings(str(recipe), ["train.steps=5"]).train
    assert (train.steps, train.budget) == (5, None)
    recipe.write_text('[train]\nbudget = "2h"\nsteps = 5\n')
    with pytest.raises(UserError, match=r"train\.steps and train\.budget are both set"):
        load_settings(str(recipe))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.budget=2x"], 'train.budget = "2x": write a time such as "2h", "90m", "45s" or "1h30m"'),
        (["train.budget=30m1h"], 'train.budget = "30m1h": write a time'),
        (["train.budget=0h"], 'train.budget = "0h": write a time'),
        (['train.budget=""'], 'train.budget = "": write a time'),
        (["train.budget=90"], "train.budget = 90: write a time"),
        (["train.budget=1h", "train.steps=5"], "train.steps and train.budget are both set; .* leave one out"),
        (["train.schedule=cosine"], "train.schedule = \"cosine\": input should be 'linear', 'trapezoid' or 'constant'"),
        (["train.schedule=constant", "train.optimizer=bert-adam"], "bert-adam has the course of 2018; leave train.sch"),
        (["train.schedule=trapezoid", "train.cooldown_share=0.96"], "more than the run together; lower one"),
    ],
)
def test_courses_must_fit(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_settings("mini-en", overrides)
    assert "\n" not in str(caught.value)


GRIDS = {
    "paper-classes": ([16, 32], [5e-5, 3e-5, 2e-5], [2, 3, 4]),
    "paper-squad": ([16, 32], [5e-5, 3e-5, 2e-5], [2, 3, 4]),
    "paper-squad2": ([16, 32], [5e-5, 3e-5, 2e-5], [2, 3, 4]),
    "paper-classes-small": ([8, 16, 32, 64, 128], [3e-4, 1e-4, 5e-5, 3e-5], [4]),
}


@pytest.mark.parametrize("name", GRIDS)
def test_grids_of_2018_and_2020(name: str) -> None:
    """Every combination once, each a run of its own with no grid in its record."""
    points = [load_settings(name, overrides).train for overrides in grid_overrides(load_settings(name))]
    found = [(point.batch_size, point.learning_rate, point.epochs) for point in points]
    assert found == list(product(*GRIDS[name]))
    assert all(
        (point.optimizer, point.warmup_share, point.weight_decay) == ("bert-adam", 0.1, 0.01) for point in points
    )
    assert "grid" not in load_settings(name).model_dump()


def test_a_grid_of_ones_own(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('[task]\nkind = "classification"\n[grid]\ntask.text = ["a b", "c"]\n"train.compile" = ["on"]\n')
    settings = load_settings(str(recipe), ["grid.train.seed=[1]"])
    overrides = list(grid_overrides(settings))
    assert overrides == [
        ['task.text="a b"', 'train.compile="on"', "train.seed=1"],
        ['task.text="c"', 'train.compile="on"', "train.seed=1"],
    ]
    assert load_settings(str(recipe), overrides[0]).task.text == "a b"
    assert list(grid_overrides(load_settings("squad"))) == [[]]


def test_a_grid_of_any_words() -> None:
    """Each value comes back as it was: quotes, backslashes and line ends too."""
    words = ["\\", '"', "\t", "a\nb", "ä", "unset"]
    recipe = {"task": {"kind": "multi-label"}, "grid": {"task": {"label_separator": words}}}
    points = [load_settings(recipe, overrides).task for overrides in grid_overrides(load_settings(recipe))]
    assert [point.model_dump()["label_separator"] for point in points] == words


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("grid.train.sed=[1]", r"squad: in its grid: unknown setting 'train.sed'; did you mean 'train.seed'\?"),
        ("grid.train.seed=[1, 1.5]", "squad: in its grid: train.seed = 1.5: input should be a valid integer"),
        ("grid.seed=[1]", "squad: in its grid: unknown setting 'seed"),
        ("grid.train.seed=1", "squad: grid.train.seed = 1: input should be a valid list"),
        ("grid.train.seed=[]", "squad: grid.train.seed = .*: list should have at least 1 item"),
        ("grid=[1]", "write section.key=value"),
    ],
)
def test_a_grid_is_as_strict_as_a_setting(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_settings("squad", [override])
    assert "\n" not in str(caught.value)


def test_pretraining_recipes_of_the_paper() -> None:
    """1M steps of 256 sequences, nine tenths at 128; 131,072 tokens at 512 are 40 epochs of 3.3 billion words."""
    for name, layers, hidden in (("paper-base", 12, 768), ("paper-large", 24, 1024)):
        settings = load_settings(name)
        config = shape_config(settings.model.shape, **settings.model.changes())
        assert config == shape_config(name.removeprefix("paper-"))
        assert (config.num_hidden_layers, config.hidden_size, config.hidden_act) == (layers, hidden, "gelu")
        assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.1, 0.1)
        task, train = settings.task, settings.train
        assert (task.lengths, task.length_shares) == ([128, 512], [0.9, 0.1])
        assert (task.static_duplicates, task.max_predictions, task.next_sentence) == (10, [20, 77], True)
        assert (train.steps, train.batch_size, train.learning_rate) == (1_000_000, 256, 1e-4)
        assert (train.optimizer, train.weight_decay, train.clip_norm) == ("bert-adam", 0.01, 1.0)
        assert (train.beta1, train.beta2, train.epsilon) == (0.9, 0.999, 1e-6)
        rates = [learning_rate(step, train.steps, train) for step in (0, 9_999, 10_000)]
        assert rates == pytest.approx([0, 0.9999e-4, 0.99e-4])  # 10,000 steps of warm-up
        assert round(train.steps * train.batch_size * task.lengths[-1] / 3.3e9) == 40


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_builds(name: str, tokenizer) -> None:
    settings = load_settings(name)
    assert settings.description
    task = create_task(settings.task, tokenizer, ("no", "yes"))
    with torch.device("meta"):
        config = shape_config(settings.model.shape, vocab_size=tokenizer.vocab_size, **settings.model.changes())
        assert Model(config, task.heads).config.num_hidden_layers > 0


def test_every_setting_has_its_line() -> None:
    rows = describe_settings()
    assert all(line for _, _, line in rows)
    assert len({name for name, _, _ in rows}) == len(rows)
    assert describe_settings("train")
    with pytest.raises(UserError, match="no settings 'trian'"):
        describe_settings("trian")
