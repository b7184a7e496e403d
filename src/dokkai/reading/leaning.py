"""Questions that say nothing without the one before, "and when?", "How old was she?": in English alone."""

from dokkai.reading.ranking import terms

_FEW = 4  # words: a longer question has mostly something to go by
_POINTING = set(terms("he him his she her hers it its they them their theirs this that these those there then"))
_ASKING = set(
    terms(
        "when where who whom whose why how what which long many much often far else since until and but or so then "
        "is was are were did does do has had can could will would in on at of for from to by with about"
    )
)


def leans(question: str) -> bool:
    """Whether a question of few words points at something, or holds nothing but words that ask and join."""
    words = set(terms(question))
    return len(question.split()) <= _FEW and (not words.isdisjoint(_POINTING) or words <= _ASKING)
