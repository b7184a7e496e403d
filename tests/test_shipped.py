"""Models that come with dokkai are found by name, and taken where none is named; without them it is said."""

import shutil

import pytest

from command_line import EXAMPLES, fails, make_home, works
from dokkai import shipped
from dokkai.errors import UserError
from dokkai.hub import resolve


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


@pytest.fixture
def models(tmp_path, monkeypatch):
    """An empty folder in place of the models of the package."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


@pytest.fixture
def full(models, home):
    shutil.copytree(home / "encoder", models / "encoder-en")
    shutil.copytree(home / "reader", models / "reader-en")


@pytest.mark.parametrize("name", shipped.NAMES)
def test_a_model_that_is_not_there(name, models):
    message = f"{name}: this installation of dokkai holds no such model .*; install a release that does"
    for look in (resolve, shipped.path_of):
        with pytest.raises(UserError, match=message):
            look(name)


def test_without_them_a_model_must_be_named(models):
    table, lighthouse = EXAMPLES / "topics-train.csv", EXAMPLES / "lighthouse.txt"
    lines = {
        "no model to read with; give --model RUN, a run of `dokkai finetune squad ...`": ["ask", "Who?", lighthouse],
        "no model to guess with; give --model RUN, a run of `dokkai pretrain ...`": ["fill-mask", "A [MASK]."],
        "no model to embed with; give RUN, a run of `dokkai pretrain ...`": ["embed"],
        "no model to start from; give --from RUN, a run of `dokkai pretrain ...`": [
            *["finetune", "my-classes", "--train", table, "--out", "run"]
        ],
    }
    for line, words in lines.items():
        assert fails(*words) == line


def test_with_them_none_need_be_named(full, models):
    assert works("ask", "Who?", EXAMPLES / "lighthouse.txt")
    assert works("fill-mask", "A [MASK].") == works("fill-mask", "A [MASK].", "--model", "encoder-en")
    assert works("embed", stdin="one\n") == works("embed", "encoder-en", stdin="one\n")
    short = ["--limit", 8, "--out", "run", "train.steps=1", "task.max_length=32"]
    works("finetune", "my-classes", "--train", EXAMPLES / "topics-train.csv", *short)
    assert works("embed", "run", stdin="one\n")
    assert resolve("reader-en") == models / "reader-en" == shipped.path_of("reader-en")


def test_a_directory_of_that_name_goes_before(full, home, tmp_path):
    shutil.copytree(home / "reader", tmp_path / "reader-en")
    assert str(resolve("reader-en")) == "reader-en"


@pytest.mark.parametrize("name", shipped.NAMES)
def test_what_ships_has_its_card(name):
    """The one that is kept beside the script that builds the models, and no other."""
    card = EXAMPLES.parent / "models" / f"{name}.md"
    assert (shipped.FOLDER / name / "README.md").read_text(encoding="utf-8") == card.read_text(encoding="utf-8")


def test_what_ships_is_small():
    """At most 45 MB together."""
    assert sum(file.stat().st_size for name in shipped.NAMES for file in (shipped.FOLDER / name).iterdir()) <= 45e6
