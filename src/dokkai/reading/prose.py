"""A passage as the model is shown it, one character for one; and where in it an answer may begin and end.

Readers have learned from paragraphs of prose, and a tokenizer drops the line ends that keep the rows of a list apart.
"""

import re

from dokkai.data.sentences import is_wrapped
from dokkai.reading.passages import BLANK
from dokkai.reading.ranking import DENSE

_ENDED = re.compile(r"[.!?…:;,؟،؛।][\"'”’“»«)\]]*$")
_UNSPACED = re.compile("[\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")  # Chinese characters and kana
_MARKS = re.compile(  # of Markdown
    r"""
    ^[^\S\n]*[-*+](?=[^\S\n])                   # an item
    | ^\ {0,3}\#{1,6}(?=\ )                      # a heading
    | \*{2,3}|~~|`+                              # strong, deleted, code
    | (?<![\w*])\*(?=\S)(?P<inner>[^*\n]+)(?<=\S)\*(?![\w*])  # emphasis
    | (?<=\])\((?!mailto:)(?:[^()\s]|\([^()\s]*\))*(?:\ "[^"\n]*")?\)  # where a link leads
    | \[\^[\w-]+\]                               # a footnote
    """,
    re.MULTILINE | re.VERBOSE,
)
_WORD = re.compile(  # or a number, such as 3,480.50 or 1'000
    rf"(?:(?![{DENSE}])[^\W_][\u0300-\u036f]*)+(?:(?<=\d)(?:\.\d+|[,'’\u00a0\u202f]\d{{1,3}}(?!\d)))*"
)
_LONGEST_WORD = 50  # characters


def as_prose(text: str, is_markdown: bool = False) -> str:
    """A semicolon where a line ends that neither goes on below nor has punctuation of its own; no marks of Markdown.

    It goes on below if it was wrapped, or if the next begins with a small letter. Chinese and Japanese lines stay.
    """
    lines = text.split("\n")
    shown = _MARKS.sub(_without_marks, text).split("\n") if is_markdown else lines
    out = []
    for number, line in enumerate(lines[:-1]):
        following, bare = lines[number + 1], shown[number].rstrip()
        goes_on = following.lstrip()[:1].islower() or is_wrapped(line, following)
        is_row = bare and not goes_on and not _ENDED.search(bare) and not _UNSPACED.search(bare)
        out += [shown[number], ";" if is_row else "\n"]
    return "".join([*out, shown[-1]])


def _without_marks(match: re.Match[str]) -> str:
    return f" {match['inner']} " if match["inner"] else " " * len(match.group())


def may_answer(text: str, start: int, end: int) -> bool:
    """Whether the span has a word, runs over no blank line, and cuts no word and no number apart.

    A reader chooses tokens, which are less than words. Scripts without spaces between words have none to cut.
    """
    if not any(character.isalnum() for character in text[start:end]) or BLANK.search(text, start, end):
        return False
    around = max(0, start - _LONGEST_WORD), end + _LONGEST_WORD
    inside = [word.span() for word in _WORD.finditer(text, *around)]
    return not any(begin < place < stop for begin, stop in inside for place in (start, end))
