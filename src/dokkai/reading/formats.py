"""The text of HTML, PDF and Word files, as a person would read it, by kept libraries."""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from statistics import quantiles

from dokkai.errors import UserError

Marks = Sequence[tuple[int, int]]
"""Pairs of an offset in the text and the number, of a line or a page, that holds from there on; offsets never fall."""

_PARAGRAPHS = frozenset(
    """address article aside blockquote body caption center details dialog div dl fieldset figcaption figure footer form
    h1 h2 h3 h4 h5 h6 header hr main nav ol p pre section summary table title ul""".split()  # noqa: SIM905
)
_LINES = frozenset(["br", "dd", "dt", "li", "option", "tr"])
_CELLS = frozenset(["td", "th"])
_UNSEEN = frozenset(["iframe", "math", "noscript", "object", "script", "style", "svg", "template"])
_BREAKS = ("", " ", "\n", "\n\n")  # from the weakest; the strongest between two words stays
# What pypdf trips over in a damaged file, beside its own errors.
_DAMAGED_PDF = (
    AttributeError,
    IndexError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
    zlib.error,
)  # what pypdf trips over
_ENDS = tuple(".!?:;。！？…\"'”’)")


def text_of_html(data: bytes) -> tuple[str, Marks]:
    """The visible text, and the lines of the file that it stands in. A blank line parts paragraphs."""
    from lxml import etree

    parser = etree.HTMLParser(
        encoding="utf-8" if _is_utf8(data) else None,  # else as the page says
        remove_comments=True,
        remove_pis=True,
        huge_tree=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError:  # only if it is empty: the parser mends what browsers mend
        return "", []
    flow = _Flow()
    if root is None:
        return "", []
    walk = etree.iterwalk(root, events=("start", "end"))
    num_pre = 0
    for event, element in walk:
        tag = element.tag
        strength = 2 if tag in _LINES else 3 if tag in _PARAGRAPHS else 1 if tag in _CELLS else 0
        flow.part(strength)
        if event == "start":
            flow.line = max(flow.line, element.sourceline or 0)
            num_pre += tag == "pre"
            if tag in _UNSEEN:
                walk.skip_subtree()
            else:
                flow.write(element.text or "", num_pre > 0)
        else:
            num_pre -= tag == "pre"
            flow.write(element.tail or "", num_pre > 0)
    return "".join(flow.parts), flow.marks


class _Flow:
    """Text that grows, with one mark for each line of the file it comes from."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.marks: list[tuple[int, int]] = []
        self.line = 1
        self._length = self._strength = 0

    def part(self, strength: int) -> None:
        """Whatever is written next stands at least so far from what was written last."""
        self._strength = max(self._strength, strength)

    def write(self, raw: str, is_preformatted: bool) -> None:
        """White space counts as one space, or under <pre> as it is."""
        for number, line in enumerate(raw.split("\n")):
            if number:
                self.line += 1
                self.part(2 if is_preformatted else 1)
            shown = line.rstrip() if is_preformatted else " ".join(line.split())
            if shown:
                self.part(int(line[0].isspace()))
                between = _BREAKS[self._strength] if self.parts else ""
                self.marks.append((self._length + len(between), self.line))
                self.parts += [between, shown]
                self._length += len(between) + len(shown)
                self._strength = 0
            if line and line[-1].isspace():
                self.part(1)


def text_of_word(data: bytes, name: str) -> str:
    """The paragraphs of a .docx file, one a line; a row of a table is one too. UserError if it is none."""
    import docx
    from docx.opc.exceptions import OpcError
    from docx.table import Table
    from lxml import etree

    try:
        content = docx.Document(io.BytesIO(data)).iter_inner_content()
        lines: list[str] = []
        for item in content:
            if isinstance(item, Table):
                # A cell that spans several is given several times.
                lines += [
                    " ".join(dict.fromkeys(cell.text.replace("\n", " ") for cell in row.cells)) for row in item.rows
                ]
            else:
                lines.append(item.text.replace("\n", " "))
    except (OpcError, KeyError, ValueError, zipfile.BadZipFile, zlib.error, etree.XMLSyntaxError) as error:
        raise UserError(f"{name}: not a Word file (.docx), damaged, or with a password; save it anew") from error
    return "\n".join(lines)


def text_of_pdf(data: bytes, name: str) -> tuple[str, None, Marks]:
    """The text of a PDF with its lines joined to paragraphs, and where its pages begin.

    UserError if it is damaged, protected by a password, or pictures only (scanned).
    """
    import logging

    from pypdf import PdfReader
    from pypdf.errors import DependencyError, PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it talks of every blemish
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise UserError(f"{name}: protected by a password; save a copy without one")
        pages = [page.extract_text() for page in reader.pages]
    except DependencyError as error:
        raise UserError(f"{name}: an encrypted PDF; `pip install cryptography`, or save a copy without it") from error
    except (PyPdfError, *_DAMAGED_PDF) as error:
        raise UserError(f"{name}: a damaged PDF ({type(error).__name__}); fetch or save it again") from error
    if not any(page.strip() for page in pages):
        raise UserError(f"{name}: a PDF without text, perhaps scanned; run text recognition (OCR) on it first")
    return _join_pages(pages)


def _join_pages(pages: Sequence[str]) -> tuple[str, None, Marks]:
    parts: list[str] = []
    marks: list[tuple[int, int]] = []
    length = 0
    for number, page in enumerate(pages, start=1):
        lines = [" ".join(line.split()) for line in page.splitlines()]
        marks.append((length, number))
        for line, between in _unwrap(lines):
            joined = line[:-1] if between == "-" else line
            between = "" if between == "-" else between
            parts += [joined, between]
            length += len(joined) + len(between)
    return "".join(parts), None, marks


def _unwrap(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each line that has text, and what stands behind it: a space, or "-" for a word taken apart, or a line's end.

    A line ends a paragraph if it ends a sentence and stops short of the margin, or is short and ends none (a heading).
    """
    lengths = [len(line) for line in lines if line] or [0]
    width = quantiles(lengths, n=10)[-1] if len(lengths) > 1 else lengths[0]  # most lines of a page are full
    for number, line in enumerate(lines):
        if not line:
            continue
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if re.search(r"\w-$", line) and following[:1].islower():
            yield line, "-"
        elif not following and number + 1 < len(lines):
            yield line, "\n\n"
        elif (len(line) < 0.85 * width and line.endswith(_ENDS)) or len(line) < 0.6 * width:
            yield line, "\n"
        else:
            yield line, " "


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
