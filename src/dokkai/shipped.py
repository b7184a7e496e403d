"""The models that come with dokkai, inside the package, by name."""

from pathlib import Path

from dokkai.errors import UserError

READER, ENCODER = "reader-en", "encoder-en"
NAMES = (ENCODER, READER)
FOLDER = Path(__file__).parent / "models"


def is_shipped(name: str) -> bool:
    """Whether the model is inside this installation."""
    return name in NAMES and (FOLDER / name / "config.json").is_file()


def path_of(name: str) -> Path:
    """The directory of a model that comes with dokkai; UserError if this installation lacks it."""
    if not is_shipped(name):
        raise UserError(
            f"{name}: this installation of dokkai holds no such model ({FOLDER / name}); install a release that does, "
            "or give a model directory"
        )
    return FOLDER / name


def model_or_default(chosen: str | None, name: str, words: str) -> str:
    """What was ``chosen``; if None the name of a model that is there, else UserError: ``no model to {words}``."""
    if chosen is not None:
        return chosen
    if not is_shipped(name):
        verb = "finetune squad" if name == READER else "pretrain"
        raise UserError(f"no model to {words}, a run of `dokkai {verb} ...`")
    return name
