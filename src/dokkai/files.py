"""Writing so that nothing is ever half-written: a temporary name, synced, then renamed."""

import errno
import json
import os
import re
import reprlib
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dokkai.errors import UserError
from dokkai.progress import say_once

_BLOCK = 1 << 24  # bytes read at once for a checksum
_WANTED = {  # by the names of pydantic's errors
    **dict.fromkeys(("int_type", "int_from_float", "int_parsing"), "a whole number"),
    **dict.fromkeys(("float_type", "finite_number"), "a number"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "an object with names"),
    **{"string_type": "a word", "bool_type": "true or false", "list_type": "a list"},
    **{"greater_than_equal": "at least {ge}", "less_than_equal": "at most {le}"},
}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to (a file or a new directory); it takes the name at the end.

    A failure, a full disk included, leaves what was there before untouched and raises UserError. A file never takes
    the place of a directory.
    """
    path = Path(path)
    if not path.name:
        raise UserError(f"cannot write {path}: it is a directory; give the name of a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(temporary)
        yield temporary
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError(errno.EINVAL, "it is a device or a pipe; give the name of a file")
        if path.is_dir() and not temporary.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a directory; give the name of a file")
        _sync(temporary)
        _rename(temporary, path)
    except OSError as error:
        remove(temporary)
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; what was there before is untouched"
        ) from error
    except BaseException:
        remove(temporary)
        raise


def link(source: Path, target: Path) -> None:
    """Give a file a second name; it costs nothing. Whoever replaces the file under one name leaves the other."""
    if target.exists() and target.samefile(source):
        return  # to rename one name of a file to another of its names would do nothing
    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by a UTF-8 file with this text; half a surrogate pair is escaped, as JSON does."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Replace ``path`` by a JSON file with this value."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=indent) + "\n")


def parse_json(text: str) -> Any:
    """As ``json.loads``; numbers of thousands of digits and nesting without end are JSONDecodeErrors too."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError("a number too long, or nested too deep", text, 0) from error


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file; ``what`` names it in the error ("model configuration")."""
    try:
        return parse_json(existing_file(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; the {what} must be UTF-8 JSON") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: the {what} is not JSON (line {error.lineno}: {error.msg})") from error


def fitted(kind: Any, value: Any, where: str, names: Mapping[str, str] | None = None) -> Any:
    """A parsed JSON value as ``kind``, a type that pydantic knows, which says how strictly.

    UserError names ``where`` and the first part that does not fit; ``names`` are what the file calls some of the parts.
    """
    from pydantic import TypeAdapter, ValidationError  # here, because most verbs need it later, or never

    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
    name = ".".join((names or {}).get(str(part), str(part)) for part in first["loc"] if part != "[key]")
    if first["type"] in _WANTED:
        wanted = _WANTED[first["type"]].format(**first.get("ctx", {}))
        raise UserError(f"{where}: {name or 'it'} must be {wanted}, not {reprlib.repr(first['input'])}")
    raise UserError(f"{where}: {name}{': ' if name else ''}{first['msg'].removeprefix('Value error, ')}")


def existing_file(path: Path) -> Path:
    """The path itself if it is a readable, non-empty file; else UserError."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a directory; give the name of a file")
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: no permission to read it")
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"{path} is empty")
    return path


def checksum(path: Path) -> int:
    """CRC-32 of a file: notices accidents, not intent."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            value = zlib.crc32(block, value)
    return value


def remove(path: Path) -> None:
    """Delete a file or a directory tree if it is there. After a kill all of a tree is there, or what is unfinished."""
    if path.is_dir() and not path.is_symlink():
        aside = path.with_name(f".{path.name}.{os.getpid()}.old")
        if aside.exists():  # of an earlier process with this number
            shutil.rmtree(aside)
        path.rename(aside)
        shutil.rmtree(aside)
    else:
        with suppress(NotADirectoryError):  # below a file there is nothing
            path.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Delete what ``replacing`` left in ``folder`` when its process was killed; no other process may write there."""
    for path in folder.glob(".*"):
        if is_unfinished(path):
            remove(path)


def is_unfinished(path: Path) -> bool:
    """Whether this is a temporary path of ``replacing``."""
    return re.fullmatch(r"\..+\.\d+\.(tmp|old)", path.name) is not None


def lock(handle: int, path: Path, wait: bool = False) -> None:
    """Keep other processes out of ``path``, open as ``handle``; the system frees it when this process ends.

    BlockingIOError if another one is in it, unless this one is to wait. A file system without locks (some network file
    systems of clusters) is said, and trusted.
    """
    import fcntl  # here, because Windows has none, and most verbs lock nothing

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
            raise
        say_once(f"note: {path} is on a file system without locks; see to it that no other process writes there")


def _sync(path: Path) -> None:
    """Bring it to the disk, readable for whoever may read new files (safetensors makes files private)."""
    mask = os.umask(0)
    os.umask(mask)
    for item in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if item.is_file():
            item.chmod(0o666 & ~mask)
        handle = os.open(item, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _rename(temporary: Path, path: Path) -> None:
    if path.is_dir():  # a directory cannot replace another in one step: the old one steps aside first
        aside = path.with_name(f".{path.name}.{os.getpid()}.old")
        remove(aside)
        path.rename(aside)
        try:
            temporary.rename(path)
        except OSError:
            aside.rename(path)  # as it was before
            raise
        remove(aside)
    else:
        temporary.replace(path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
