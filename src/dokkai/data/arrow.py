"""Records of Arrow tables: Parquet files, and data sets of the Hugging Face hub through the package ``datasets``."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dokkai.errors import UserError
from dokkai.files import existing_file
from dokkai.hub import network_errors

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset, DatasetDict, Features

_SAVED = ("dataset_dict.json", "state.json")  # that ``save_to_disk`` writes
_SHOWN = 300  # characters that an error shows of what a library says
_NAME = r"(?P<name>\w[\w-]*(?:/\w[\w.-]*)?)"  # on the hub
_PART = r"(?::(?P<config>[^:@\[\]]+))?(?:@(?P<revision>[^:@\[\]]+))?(?:\[(?P<split>.+)\])?"


def is_data_set(name: str | Path) -> bool:
    """Whether this names a folder or a data set of the hub: ``name[:config][@revision]``, and ``[split]`` behind it.

    What could be either is a file: what lies on this machine, and a name with a dot in it and nothing behind it.
    """
    text = str(name)
    if Path(text).exists():
        return Path(text).is_dir()
    found = re.fullmatch(_NAME + _PART, text, re.ASCII)
    if found is not None and ("." not in text or found["name"] != text):
        return True
    return Path(_parts(text)["name"]).is_dir()


def read_parquet(path: str | Path) -> Iterator[dict[str, object]]:
    """The records of a Parquet file; numbers of labels become their names if the file has them (``datasets``)."""
    from datasets import Features
    from pyarrow import ArrowException, parquet

    file = existing_file(Path(path))
    try:
        table = parquet.read_table(file)
        features = Features.from_arrow_schema(table.schema)
    except (ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file, or a damaged one ({_line(error)}); write it again") from error
    except ValueError as error:  # of ``datasets``, which knows no maps
        raise UserError(f"{path}: a column is of a kind that is not read ({_line(error)}); leave it out") from error
    return _records(table, features)


def read_data_set(name: str | Path) -> Iterator[dict[str, object]]:
    """The records of ``glue:mrpc[train]`` or ``owner/name@revision[test]`` of the hub, or of the files in a folder.

    The split is needed if there are several. The package ``datasets`` fetches and reads, with its cache, its token and
    its offline mode (``HF_HOME``, ``HF_TOKEN``, ``HF_HUB_OFFLINE``); numbers of labels become their names. A folder
    that its ``save_to_disk`` wrote is read, too. UserError if there is no such data set, configuration or split, or
    none without a network.
    """
    found = _load(str(name))
    table = found.with_format("arrow")[:]
    return _records(table, found.features)


def _load(text: str) -> "Dataset":
    import datasets
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    datasets.logging.set_verbosity_error()
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    part = _parts(text)
    saved = Path(part["name"])
    if any((saved / name).is_file() for name in _SAVED):
        return _load_saved(saved, part, text)
    tried = f"{text}: no such file, and the Hugging Face hub"
    try:
        found = datasets.load_dataset(part["name"], part["config"], split=part["split"], revision=part["revision"])
    except DatasetNotFoundError as error:
        raise UserError(
            f"{tried} has no such data set, or only a private one ({_line(error)}); check the name, or set HF_TOKEN"
        ) from error
    except (DatasetsError, ValueError, RuntimeError, FileNotFoundError) as error:
        advice = "give the name of a file" if saved.is_dir() else "a name is NAME:CONFIG@REVISION[SPLIT]"
        raise UserError(f"{text}: the data set cannot be read: {_line(error)} ({advice})") from error
    except network_errors() as error:
        raise UserError(
            f"{tried} cannot be reached for a data set of this name ({_line(error)}); check the name or the connection"
        ) from error
    return _only(found, text)


def _load_saved(folder: Path, part: dict[str, Any], text: str) -> "Dataset":
    """What ``save_to_disk`` wrote: one split, or several by name."""
    import datasets
    from pyarrow import ArrowException

    try:
        found = datasets.load_from_disk(folder)
    except (OSError, ValueError, KeyError, ArrowException) as error:
        raise UserError(f"{text}: damaged, or not whole ({_line(error)}); save the data set again") from error
    if part["config"] or part["revision"]:
        raise UserError(f"{text}: a data set on the disk has neither configuration nor revision; write '{folder}'")
    if part["split"] is None:
        return _only(found, text)
    splits = {} if isinstance(found, datasets.Dataset) else dict(found)
    if part["split"] not in splits:
        there_is = f"the splits {', '.join(splits)}" if splits else f"no splits; write '{folder}'"
        raise UserError(f"{text}: '{part['split']}' is not in this data set; it has {there_is}")
    return splits[part["split"]]


def _only(found: "Dataset | DatasetDict", text: str) -> "Dataset":
    """The one split there is."""
    import datasets

    if isinstance(found, datasets.Dataset):
        return found
    if len(found) > 1:
        splits = list(found)
        raise UserError(
            f"{text}: the data set has the splits {', '.join(splits)}; choose one, as in '{text}[{splits[0]}]'"
        )
    (only,) = found.values()
    return only


def _parts(text: str) -> dict[str, Any]:
    found = re.fullmatch(r"(?P<name>.+?)" + _PART, text)
    assert found is not None  # whatever it is, the name may be all of it
    return found.groupdict()


def _records(table: "pyarrow.Table", features: "Features") -> Iterator[dict[str, object]]:
    columns = [_named(table[name].to_pylist(), features[name]) for name in table.column_names]
    for values in zip(*columns, strict=True):
        yield dict(zip(table.column_names, values, strict=True))


def _named(values: list[Any], feature: Any) -> list[Any]:
    """Numbers of labels as their names, in lists too; -1, by which ``datasets`` marks a missing label, as None."""
    from datasets import ClassLabel, LargeList, List

    if isinstance(feature, ClassLabel):
        return [None if value is None or value < 0 else feature.names[value] for value in values]
    if isinstance(feature, List | LargeList):
        return [value if value is None else _named(value, feature.feature) for value in values]
    return values


def _line(error: BaseException) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= _SHOWN else words[:_SHOWN] + "..."
