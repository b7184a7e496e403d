"""The text of HTML, PDF and Word files, as a person would read it, by kept libraries."""

import codecs
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from statistics import quantiles
from typing import Any

from dokkai.errors import UserError

Marks = Sequence[tuple[int, int]]
"""Pairs of an offset in the text and the number, of a line or a page, that holds from there on; offsets never fall."""

_PARAGRAPHS = frozenset(
    """address article aside blockquote body caption center details dialog div dl fieldset figcaption figure footer form
    h1 h2 h3 h4 h5 h6 header hr legend main menu nav ol p pre search section summary table title ul""".split()  # noqa: SIM905
)
_LINES = frozenset(["br", "dd", "dt", "li", "option", "tr"])
_CELLS = frozenset(["td", "th"])
_CONTROLS = frozenset(["button", "input", "label", "select", "textarea"])
_UNSEEN = frozenset(  # or of no use in a sentence: rt and rp say above a word how it sounds
    """audio canvas datalist iframe math noscript object rp rt script style svg template video""".split()  # noqa: SIM905
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_CHARSET = re.compile(rb"<meta\b[^>]*\bcharset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)
_NUMBER = re.compile(r"[+\-−–]?\d+([.,]\d+)*")
_HYPHENATED = re.compile(r"[^\W\d_]{2}-$")
_NOTE = re.compile(r"\[?(\d+|[a-z*†‡])\]?")
_LATIN = "cp1252"
_WIDER = {  # what browsers read in the place of what a page says: it holds all of that, and what people write besides
    "ascii": _LATIN,
    "iso8859-1": _LATIN,
    "iso8859-9": "cp1254",
    "shift_jis": "cp932",
    "euc_jp": "euc_jis_2004",
    "iso2022_jp": "iso2022_jp_ext",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
}
_BREAKS = ("", " ", "\n", "\n\n")  # from the weakest; the strongest between two words stays
_ENDS = tuple(".!?:;。！？…\"'”’)」』）")


def text_of_html(data: bytes) -> tuple[str, Marks]:
    """The visible text, and the lines of the file that it stands in. A blank line parts paragraphs."""
    from lxml import etree

    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True)
    try:
        root = etree.fromstring(_decoded(data).encode(errors="replace"), parser)
    except etree.XMLSyntaxError:  # only if it is empty: the parser mends what browsers mend
        return "", []
    flow = _Flow()
    if root is None:
        return "", []
    num_pre = num_unseen = 0
    for event, element in etree.iterwalk(root, events=("start", "end", "comment", "pi")):
        tag = element.tag
        strength = 2 if tag in _LINES else 3 if tag in _PARAGRAPHS else 1 if tag in _CELLS else 0
        if event == "start" and (tag in _CONTROLS or _is_next_link(element)):
            strength = 1
        flow.part(strength)
        if event != "end":
            flow.line = max(flow.line, element.sourceline or 0)  # where its tag ends; of a comment, where that ends
        if event == "start":
            num_pre += tag == "pre"
            num_unseen += _is_unseen(element)
        elif event == "end":
            num_pre -= tag == "pre"
            num_unseen -= _is_unseen(element)
        raw = (element.text if event == "start" else element.tail) or ""
        if event == "start" and tag == "sup" and flow.is_in_word and _is_power(element):
            raw = f"^{raw.lstrip()}"  # 10 to the power of 30 is not 1030
        if num_unseen:
            flow.pass_by(raw)
        else:
            flow.write(raw, num_pre > 0)
    return "".join(flow.parts), flow.marks


def _decoded(data: bytes) -> str:
    """The page in UTF-8, or as it says itself, read as browsers do; bytes that are nothing are U+FFFD.

    One that says nothing, Latin-1, or what nobody knows, is Windows-1252.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    said = _CHARSET.search(data[:4096])
    label = said[1].decode("ascii").lower().removeprefix("x-") if said else "ascii"
    try:
        name = codecs.lookup("cp932" if label == "windows-31j" else label).name
        is_utf8 = name.startswith("utf") or (_is_utf8(data) and not name.startswith("iso2022"))  # that has 7 bits too
        return data.decode("utf-8" if is_utf8 else _WIDER.get(name, name), errors="replace")
    except (LookupError, UnicodeError):  # also of what Python knows, but is no encoding of text
        return data.decode("utf-8" if _is_utf8(data) else _LATIN, errors="replace")


def _is_unseen(element: Any) -> bool:
    """Whether neither it nor what is in it belongs to the text."""
    return (
        element.tag in _UNSEEN
        or _is_footnote(element)
        or (element.tag == "dialog" and "open" not in element.attrib)
        or "hidden" in element.attrib
        or _HIDDEN.search(element.get("style", "")) is not None
    )


def _is_power(element: Any) -> bool:
    """Whether a raised part is a number, and no numerator."""
    return _NUMBER.fullmatch(_text_in(element)) is not None and not (element.tail or "").startswith(("/", "⁄"))


def _is_footnote(element: Any) -> bool:
    """Whether it is a raised number that leads to a place in the page, [1]: a sentence is read without."""
    if element.tag == "sup":
        links = element.findall(".//a")
    else:  # or the link round one
        links = [element] if element.tag == "a" and [part.tag for part in element] == ["sup"] else []
    return any("#" in link.get("href", "") for link in links) and _NOTE.fullmatch(_text_in(element)) is not None


def _is_next_link(element: Any) -> bool:
    """Whether it is a link right behind another, as menus have them; in Chinese and Japanese text a word goes on."""
    before = element.getprevious() if element.tag == "a" else None
    if before is None or before.tag != "a" or before.tail:
        return False
    last, first = _text_in(before)[-1:], _text_in(element)[:1]
    return last != "" and first.isalnum() and not (_is_unspaced(last) and _is_unspaced(first))


def _text_in(element: Any) -> str:
    return "".join(element.itertext()).strip()


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

    @property
    def is_in_word(self) -> bool:
        """Whether what is written next would join a word, a number or a bracket."""
        last = self.parts[-1][-1:] if self.parts and not self._strength else ""
        return last.isalnum() or last == ")"

    def pass_by(self, raw: str) -> None:
        """What is not shown has lines all the same."""
        self.line += raw.count("\n")

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
    """The paragraphs of a .docx file, one a line; a row of a table is one too. UserError if it is none.

    What was deleted under "track changes" is left out, and so are headers, footers, notes and comments.
    """
    import docx

    message = f"{name}: not a Word file (.docx), damaged, or with a password; save it anew"
    try:
        body = docx.Document(io.BytesIO(data)).element.body
    except MemoryError:
        raise
    except Exception as error:  # of this call alone: zipfile, zlib, lxml and python-docx have no error in common
        raise UserError(message) from error
    if body is None:
        raise UserError(message)
    return "\n".join(_lines_of_word(body))


def _lines_of_word(block: Any) -> Iterator[str]:
    """Those of a body, a cell, or whatever else holds paragraphs and tables (ISO 29500-1, section 17)."""
    for element in block:
        match _word_name(element):
            case "p":
                yield "".join(_runs_of_word(element)).strip("\n").replace("\n", " ")
            case "tbl":
                for row in element.iter(element.tag.replace("tbl", "tr")):
                    if next(row.iterancestors(element.tag)) is element:  # not of a table in it
                        yield " ".join(filter(None, _cells_of_word(row)))
            case "sdt" | "sdtContent" | "customXml" | "ins" | "moveTo":
                yield from _lines_of_word(element)


def _cells_of_word(row: Any) -> Iterator[str]:
    for element in row:
        match _word_name(element):
            case "tc":
                yield " ".join(line for line in _lines_of_word(element) if line)
            case "sdt" | "sdtContent" | "customXml":
                yield from _cells_of_word(element)


def _runs_of_word(element: Any) -> Iterator[str]:
    """The text in a paragraph."""
    for part in element:
        match _word_name(part):
            case "t":
                yield part.text or ""
            case "tab" | "ptab":
                yield "\t"
            case "br" | "cr":
                yield "\n"
            case "noBreakHyphen":
                yield "-"
            case "txbxContent":
                yield from (f" {line}" for line in _lines_of_word(part))
            case "del" | "moveFrom" | "Fallback" | "pPr" | "rPr" | "instrText" | "rt":  # rt: how to say what is below
                pass
            case _:
                yield from _runs_of_word(part)


def _word_name(element: Any) -> str:
    """Without its namespace; "" of a comment."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def text_of_pdf(data: bytes, name: str) -> tuple[str, None, Marks]:
    """The text of a PDF with its lines joined to paragraphs, and where its pages begin.

    UserError if it is damaged, protected by a password, or pictures only (scanned).
    """
    import logging

    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it talks of every blemish
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise UserError(f"{name}: protected by a password; save a copy without one")
        pages = [page.extract_text() for page in reader.pages]
    except DependencyError as error:
        raise UserError(f"{name}: an encrypted PDF; `pip install cryptography`, or save a copy without it") from error
    except (UserError, MemoryError):
        raise
    except Exception as error:  # of pypdf's calls alone, which raise whatever they trip over; its name is shown
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
        elif _HYPHENATED.search(line) and following[:1].isalnum():  # of a name, Velasquez-Ortega, or GX-440
            yield line, ""
        elif not following and number + 1 < len(lines):
            yield line, "\n\n"
        elif (len(line) < 0.85 * width and line.endswith(_ENDS)) or len(line) < 0.6 * width:
            yield line, "\n"
        else:
            yield line, "" if following and _is_unspaced(line[-1]) and _is_unspaced(following[0]) else " "


def _is_unspaced(character: str) -> bool:
    """Whether it is of Chinese or Japanese text, whose lines break inside words."""
    return unicodedata.east_asian_width(character) in "WF" and "HANGUL" not in unicodedata.name(character, "")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
