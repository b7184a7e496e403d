"""Files and folders to documents: a text, and where in the file each part of it stands."""

import codecs
import io
import os
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dokkai.data.text import COMPRESSED, decode_lines, name_of, open_text
from dokkai.errors import UserError
from dokkai.progress import Progress, say
from dokkai.reading.formats import Marks, text_of_html, text_of_pdf, text_of_word

_FORMATS = (".html", ".htm", ".pdf", ".docx")
KINDS = (".txt", ".md", *_FORMATS)
"""File name endings that are read in a folder; one of ``COMPRESSED`` may follow them."""

_HIDDEN = (".", "~$")  # beginnings of names; the second is of what Word keeps of an open file
_HEAD = 8192  # bytes by which a file is judged: text has no zero byte
_PDF = b"%PDF-"
_HTML = re.compile(  # behind a mark of UTF-8, comments and what XML begins with
    rb"(?:\xef\xbb\xbf)?(?>\s|<\?xml[^>]*>|<!--.*?-->)*+<(?:!doctype html|html)\b", re.IGNORECASE | re.DOTALL
)
_WORD = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Document:
    """A text and its place: ``name`` is the path as it was given, with what leads to it in a folder.

    ``lines`` and ``pages`` tell the place of a code point in the file, by the offsets where the number changes. Without
    ``lines`` they are those of the text (of a Word file: its paragraphs). Only a PDF has ``pages``.
    """

    name: str
    text: str
    lines: Marks | None = None
    pages: Marks | None = None

    @property
    def title(self) -> str:
        """What the file is called, without folders and the endings of ``KINDS``; "" for standard input."""
        if self.name == name_of("-"):
            return ""
        path = _unpacked(self.name)
        return path.stem if path.suffix.lower() in KINDS else path.name

    @property
    def is_markdown(self) -> bool:
        """By the name."""
        return _kind(self.name) == ".md"

    def line(self, offset: int) -> int:
        """The line of the file, from 1."""
        return self.text.count("\n", 0, offset) + 1 if self.lines is None else _number(self.lines, offset)

    def page(self, offset: int) -> int | None:
        """The page, from 1."""
        return None if self.pages is None else _number(self.pages, offset)


def read_documents(paths: Sequence[str | Path]) -> list[Document]:
    """Read files, folders and standard input ("-"), each file once.

    Of a folder and the folders in it the files of ``KINDS`` are read, in the order of their names; hidden ones are not.
    Other kinds are counted, files that cannot be read are named, each once on standard error. A file that was named
    itself must be readable: UserError says what is wrong with it; a folder must hold one file that is.
    """
    documents: dict[str, Document] = {}
    others: Counter[str] = Counter()
    with Progress("reading files", unit="files") as progress:
        for path in paths:
            if not str(path):
                raise UserError("one of the paths is empty; name a file or folder")
            is_folder = str(path) != "-" and Path(path).is_dir()
            num_read = 0
            for file in _files_in(Path(path), others) if is_folder else [path]:
                key = str(file) if str(file) == "-" else os.path.realpath(file)
                try:
                    if key not in documents:
                        documents[key] = _read(file)
                    num_read += 1
                except UserError as error:
                    if not is_folder:
                        raise
                    say(f"left out: {error}")
                progress.advance()
            if is_folder and not num_read:
                raise UserError(f"{path}: no file in this folder can be read; it needs {_listed(KINDS)}")
    if others:
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in others.most_common(5))
        more = ", ..." if len(others) > 5 else ""
        say(f"left out: {_files(others.total())} of other kinds ({kinds}{more})")
    if not documents:
        raise UserError("no file to read; name at least one file or folder, or - for standard input")
    return list(documents.values())


def _files_in(folder: Path, others: Counter[str]) -> list[Path]:
    """Those of ``KINDS``, sorted; the endings of the rest are counted in ``others``, what cannot be opened is named.

    UserError if the folder itself is one of these.
    """

    def refuse(error: OSError) -> None:
        reason = f"{error.filename}: {error.strerror}"
        if os.fspath(error.filename) == os.fspath(folder):
            raise UserError(reason) from error
        say(f"left out: {reason}")

    found = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(place) / name for name in folders):
            if path.is_symlink():
                say(f"left out: {path}: a link to a folder; name it, to read it too")  # it may lead in a circle
        for name in sorted(names):
            if name.startswith(_HIDDEN):
                continue
            path = Path(place) / name
            if path.exists() and not path.is_file():
                say(f"left out: {path}: no regular file")  # a pipe would be waited for
            elif _kind(name) in KINDS:
                found.append(path)
            else:
                others[_kind(name) or "without an ending"] += 1
    return found


def _kind(name: str) -> str:
    """The ending that says what the file holds, in lower case."""
    return _unpacked(name).suffix.lower()


def _unpacked(name: str) -> Path:
    """The name without the ending of a compressed file."""
    path = Path(name)
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED else path


def _kind_of(path: str, head: bytes) -> str:
    """What a file holds, by its name; a PDF, and what has no name or another ending than ``KINDS``, by its head."""
    kind = _kind(path)
    if head.startswith(_PDF):
        return ".pdf"
    if kind in KINDS:
        return kind
    if path == "-" and head.startswith(_WORD):
        return ".docx"
    return ".html" if _HTML.match(head) else ".txt"


def _read(path: str | Path) -> Document:
    """One file. UserError if it cannot be read, or holds no text."""
    name = name_of(path)
    with open_text(path) as stream:
        head = stream.read(_HEAD)  # not `peek`, which has no more than what a slow pipe has brought by now
        kind = _kind_of(str(path), head)
        if kind not in _FORMATS:
            if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise UserError(f"{name}: text in UTF-16; convert it to UTF-8")
            if b"\0" in head:
                raise UserError(f"{name}: a binary file, not text; what can be read is text, {_listed(_FORMATS)}")
        content = head + stream.read()
    match kind:
        case ".pdf":
            document = Document(name, *text_of_pdf(content, name))
        case ".docx":
            document = Document(name, text_of_word(content, name))
        case ".html" | ".htm":
            document = Document(name, *text_of_html(content))
        case _:
            document = Document(name, "\n".join(decode_lines(io.BytesIO(content), name)))
    if not document.text.strip():
        raise UserError(f"{name}: there is no text in it")
    return document


def _number(marks: Marks, offset: int) -> int:
    return marks[max(0, bisect_right(marks, offset, key=lambda mark: mark[0]) - 1)][1] if marks else 1


def _files(number: int) -> str:
    return f"{number:,} file{'' if number == 1 else 's'}"


def _listed(kinds: Sequence[str]) -> str:
    return f"{', '.join(kinds[:-1])} or {kinds[-1]}"
