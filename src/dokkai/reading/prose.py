"""A passage as the model is shown it, one character for one; and where in it an answer may begin and end.

Readers have learned from paragraphs of prose, and a tokenizer drops the line ends that keep the rows of a list apart.
"""

import re
from unicodedata import east_asian_width

from dokkai.data.sentences import is_wrapped
from dokkai.reading.ranking import DENSE

_ENDED = re.compile(r"[.!?…:;,][\"'”’)\]]*$")
_MARKS = re.compile(  # of Markdown
    r"""
    ^[^\S\n]*[-*+](?=[^\S\n])         # an item
    | ^\ {0,3}\#{1,6}(?=\ )            # a heading
    | \*\*|~~|`+                       # strong, deleted, code
    | (?<![\w*])\*(?=\S)               # emphasis: its beginning
    | (?<=[^\s*])\*(?!\w)              # and its end
    | (?<=\])\([^()\s]*\)              # where a link leads
    | \[\^\w+\]                        # a footnote
    """,
    re.MULTILINE | re.VERBOSE,
)
_BLANK = re.compile(r"\n[^\S\n]*\n")
_WORD = re.compile(rf"(?:(?![{DENSE}])[^\W_])+(?:[.,]\d+)*")  # or a number, such as 3,480.50
_LONGEST_WORD = 50  # characters


def as_prose(text: str, is_markdown: bool = False) -> str:
    """A semicolon where a line ends that neither goes on below nor has punctuation of its own; no marks of Markdown.

    It goes on below if it was wrapped, and if the next begins with a small letter. Chinese and Japanese lines stay.
    """
    if is_markdown:
        text = _MARKS.sub(lambda match: " " * len(match.group()), text)
    lines = text.split("\n")
    out = []
    for number, line in enumerate(lines[:-1]):
        bare = line.rstrip()
        following = lines[number + 1]
        goes_on = following.lstrip()[:1].islower() or is_wrapped(line, following)
        is_row = bare and not goes_on and not _ENDED.search(bare) and east_asian_width(bare[-1]) not in "WF"
        out += [line, ";" if is_row else "\n"]
    return "".join([*out, lines[-1]])


def stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends: a semicolon of ``as_prose`` may be one in the text."""
    while start < end and text[end - 1].isspace():
        end -= 1
    while start < end and text[start].isspace():
        start += 1
    return start, end


def may_answer(text: str, start: int, end: int) -> bool:
    """Whether the span has a word, runs over no blank line, and cuts no word and no number apart.

    A reader chooses tokens, which are less than words. Scripts without spaces between words have none to cut.
    """
    if not any(character.isalnum() for character in text[start:end]) or _BLANK.search(text, start, end):
        return False
    around = max(0, start - _LONGEST_WORD), end + _LONGEST_WORD
    inside = [word.span() for word in _WORD.finditer(text, *around)]
    return not any(begin < place < stop for begin, stop in inside for place in (start, end))
