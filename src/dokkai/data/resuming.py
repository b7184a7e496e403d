"""Where a preparation stands: what it leaves in its directory so that the same command goes on after a kill.

``state.json`` says how many documents are done and which shards are finished; what waits for the next shard of a split
lies beside it as ``SPLIT.N.pending``, in the format of a shard. Both are written between two blocks of text, after a
shard has been closed: at most the work of one shard is done twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dokkai.data.shards import Shard, ShardWriter
from dokkai.errors import UserError
from dokkai.files import read_json, remove, write_json

STATE_NAME = "state.json"
PENDING = ".pending"


@dataclass(slots=True)
class Counts:
    """What was met so far: parts of the text as ``read_parts`` yields them, their bytes, and what became of them."""

    num_parts: int = 0
    num_bytes: int = 0
    num_documents: int = 0
    num_cuts: int = 0
    num_empty_sentences: int = 0
    num_empty_documents: int = 0


@dataclass(frozen=True, slots=True)
class _Writer:
    """A split: its finished shards, what they hold, and the file with what waits."""

    names: list[str]
    counts: dict[str, int]
    pending: str | None


@dataclass(frozen=True, slots=True)
class State:
    """``made_from`` and ``modified`` (nanoseconds, one per source) say what was prepared; a change begins it anew."""

    made_from: dict[str, Any]
    modified: list[int]
    counts: Counts
    writers: dict[str, _Writer]

    def files(self) -> set[str]:
        """The names of the files that belong to it."""
        names = {name for writer in self.writers.values() for name in (*writer.names, writer.pending) if name}
        return names | {STATE_NAME}

    def restore(self, out: Path, writers: Mapping[str, ShardWriter]) -> None:
        """Bring new writers to where the saved ones were."""
        for split, saved in self.writers.items():
            pending = Shard.open(out / saved.pending) if saved.pending else None
            writers[split].restore(saved.names, saved.counts, pending)


def modified(paths: Sequence[str | Path]) -> list[int] | None:
    """When each source was last changed, or None if one is a stream: it cannot be read again."""
    if any(not Path(path).is_file() for path in paths):
        return None
    return [Path(path).stat().st_mtime_ns for path in paths]


def save_state(
    out: Path, made_from: dict[str, Any], modified: list[int], counts: Counts, writers: Mapping[str, ShardWriter]
) -> None:
    """Write down where these writers stand. UserError if it cannot be written."""
    saved = {}
    for split, writer in writers.items():
        name = f"{split}.{counts.num_parts}{PENDING}"
        is_pending = writer.save_pending(out / name)
        saved[split] = _Writer(writer.names, writer.counts, name if is_pending else None)
    state = State(made_from, modified, counts, saved)
    write_json(out / STATE_NAME, asdict(state))
    for path in out.iterdir():
        if path.suffix == PENDING and path.name not in state.files():
            remove(path)


def load_state(out: Path, made_from: dict[str, Any], modified: list[int] | None) -> State | None:
    """The state that was saved here, or None if there is none, if it is of other sources or settings, or is damaged."""
    if modified is None or not (out / STATE_NAME).exists():
        return None
    try:
        state = TypeAdapter(State).validate_python(read_json(out / STATE_NAME, "state of a preparation"))
        for name in state.files() - {STATE_NAME}:
            Shard.open(out / name, fingerprint=made_from["fingerprint"])
    except (UserError, ValidationError):
        return None
    return state if (state.made_from, state.modified) == (made_from, modified) else None
