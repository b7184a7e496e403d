"""A document cut into passages: neighbouring paragraphs, about as long as what readers are trained on."""

import re
from collections.abc import Iterator

from dokkai.reading.ranking import share_without_spaces

Span = tuple[int, int]

BLANK = re.compile(r"\n[^\S\n]*\n\s*")
"""What parts paragraphs: lines with nothing in them."""

_STOP = re.compile(r"[.!?…][\"'”’)\]]*\s+|[。！？][”’)\]」』）]*\s*|\n\s*")
_SIZE = 1000  # characters; the contexts of SQuAD have 735 in the mean
_DENSE = 2.5  # a language without spaces says as much in so many times fewer
_LONGEST = 1.5  # of a paragraph, or a text, that stays whole, in passages


def cut_into_passages(text: str) -> list[Span]:
    """``[start, end)`` of the passages in order, without the white space around them.

    Blank lines part paragraphs. Short ones, such as a heading, are joined with the next as long as both fit; long ones
    are cut behind a sentence or a line. A text that is hardly longer than a passage is one.
    """
    size = int(_SIZE / (_DENSE if share_without_spaces(text[:100_000]) > 0.5 else 1))
    whole = stripped(text, 0, len(text))
    if 0 < whole[1] - whole[0] <= _LONGEST * size:
        return [whole]
    passages: list[Span] = []
    for part in _parts(text, size):
        start, end = stripped(text, *part)
        if start == end:
            continue
        if passages and end - passages[-1][0] <= size:
            passages[-1] = (passages[-1][0], end)
        else:
            passages.append((start, end))
    return passages


def _parts(text: str, size: int) -> Iterator[Span]:
    """Paragraphs, the long ones in parts."""
    start = 0
    for blank in [*BLANK.finditer(text), None]:
        end = len(text) if blank is None else blank.start()
        while end - start > _LONGEST * size:
            stop, following = _best_stop(text, start, start + size)
            yield start, stop
            start = following
        yield start, end
        start = end if blank is None else blank.end()


def _best_stop(text: str, start: int, most: int) -> Span:
    """Where a passage from ``start`` ends, and where the next begins: behind a sentence, or a word, or anywhere."""
    least = start + (most - start) // 3
    last = max(_STOP.finditer(text, least, most), key=re.Match.end, default=None)
    if last is not None:
        return last.start() + len(last.group().rstrip()), last.end()
    space = max(text.rfind(mark, least, most) for mark in " \t")
    return (space, space + 1) if space > start else (most, most)


def stripped(text: str, start: int, end: int) -> Span:
    """The span without white space at its ends; an empty one where nothing is left."""
    part = text[start:end]
    bare = part.strip()
    begin = start + part.index(bare[0]) if bare else start
    return begin, begin + len(bare)
