"""Defaults < recipe < overrides; strict, with suggestions; every recipe builds."""

from pathlib import Path

import pytest
import torch

from dokkai.errors import UserError
from dokkai.model.config import shape_config
from dokkai.model.heads import Model
from dokkai.settings import describe_settings, load_settings, recipe_names
from dokkai.tasks import create_task


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
