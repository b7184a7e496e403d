"""Guessing a task from the columns of a table: by their names, and by what they hold."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from dokkai.data.choices import place_of_letter
from dokkai.data.columns import TAGS, WORDS
from dokkai.errors import UserError
from dokkai.tasks.guessing_values import (
    MANY,
    Columns,
    are_flags,
    are_lists,
    are_tags,
    are_texts,
    as_filled,
    as_text,
    full_columns,
    lie_in,
    look_like_texts,
    num_runs,
    number_of,
)

_TEXTS = ("text", "sentence", "review", "content", "body", "comment", "message", "tweet", "utterance", "document")
_PAIRS = [  # and names that differ in 1 and 2, or in a and b, alone
    ("text", "pair"),  # as the settings are called
    ("premise", "hypothesis"),  # MNLI, SNLI
    ("question", "sentence"),  # QNLI
    ("question", "passage"),  # BoolQ
    ("paragraph", "question"),  # MultiRC
    ("query", "passage"),
    ("query", "document"),
    ("query", "title"),  # of a product: ESCI, Crowdflower
    ("search term", "title"),  # Home Depot
    ("query", "text"),
    ("query", "answer"),
    ("reference answer", "student answer"),
    ("question", "context"),
    ("question", "answer"),  # WikiQA
    ("claim", "evidence"),  # FEVER
    ("context", "response"),
    ("prompt", "response"),
    ("headline", "body"),  # FNC-1
    ("parent comment", "comment"),
    ("original", "translation"),  # MLQE
    ("sentence", "aspect term"),  # SemEval-2014
    ("sentence", "aspect"),
    ("text", "aspect"),
]
_WORD_COLUMNS = (*WORDS, "word", "token")
_TAG_COLUMNS = ("tag", "tags", "ner", "ner tag", "ner tags", "pos", "pos tag", "upos")
_SENTENCE_COLUMNS = ("sentence", "sentence id", "sentence idx", "sentence no", "sentence number", "sent", "sent id")
_LABELS = ("label", "labels", "class", "category", "target", "sentiment", "score", "rating", "quality", "stars", "gold")
_SURE_LABELS = _LABELS[:5]  # beside other columns of 0 and 1
_MORE_LABELS = ("topic", "intent", "emotion", "genre", "polarity", "similarity", "relevance", "stance", "tags")
_CHOICES = ("choices", "endings", "options", "candidates")
_CHOICE = r"(choice|ending|option|answer|alternative)[0-9a-h]|[a-h]"
_RIGHT = ("label", "answer", "answerkey", "correct", "gold", "target")
_CONTEXTS = ("context", "passage", "article", "story", "paragraph", "sent1", "premise", "text")
_QUESTIONS = ("question", "query", "sent2", "stem")
_IDS = ("id", "idx", "index", "guid", "uid", "uuid", "key")
_SIDES = [
    *{name.replace(" ", "") for pair in _PAIRS for name in pair},
    *(f"{name}{n}" for name in _TEXTS for n in "12ab"),
]
_USUAL = {*_TEXTS, *_LABELS, *_MORE_LABELS, *_CHOICES, *_QUESTIONS, *_CONTEXTS, *_IDS, *_SIDES}
_ROLES = ("text", "pair", "label", "label_columns", "context", "question", "choices", "answer", "words", "tags", "id")
_OF_QUESTIONS = {
    "question": _QUESTIONS[:2],
    "context": ("context", "passage", "paragraph", "article", "document"),
    "answer": ("answer", "answer text", "answers"),
}
_READ_OF_QUESTIONS = ("question", "context", "answers", "answer", "title", "id")
_SEPARATORS = ("|", ";", ",")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Guess:
    """``[task]`` of a recipe, and what speaks for it; ``unused`` are columns of texts that it does not read."""

    task: dict[str, Any]
    reason: str
    unused: tuple[str, ...] = ()


def guess_from_columns(columns: Columns, given: Mapping[str, Any]) -> Guess | None:
    """The task that fits the columns, around the settings that are ``given``; None if there is none.

    UserError for what would be taken for something else: numbers with a decimal comma, choices without a right one,
    tags of single words where nothing tells the sentences apart.
    """
    kinds = [given["kind"]] if "kind" in given else list(_LOOKS)
    found = next((guess for kind in kinds if (guess := _LOOKS[kind](columns, given))), None)
    return found and replace(found, unused=_unused(columns, found.task))


def _unused(columns: Columns, task: Mapping[str, Any]) -> tuple[str, ...]:
    used = set(_READ_OF_QUESTIONS if task["kind"] == "question-answering" else ())
    for role in _ROLES:
        used.update([task[role]] if isinstance(task.get(role), str) else task.get(role, ()))
    return tuple(name for name, values in columns.items() if name not in used and look_like_texts(values))


def _guess_questions(columns: Columns, given: Mapping[str, Any]) -> Guess | None:
    """Questions as on the hub, or with one answer each in a column of its own: one that lies in the context."""
    if {"question", "context", "answers"} <= columns.keys() and not any(map(as_filled, columns["answers"])):
        return Guess({"kind": "question-answering"}, "each record has a question, a context and answers")
    if {"text", "label"} & given.keys() or _named(columns, _SURE_LABELS, whole=True) or _choice_columns(columns):
        return None
    found = {role: given.get(role) or _named(columns, names, whole=True) for role, names in _OF_QUESTIONS.items()}
    task = {role: name for role, name in found.items() if name is not None}
    if len(task) < len(found) or not lie_in(columns[task["answer"]], columns[task["context"]]):
        return None
    task |= {name: given[name] for name in ("answer_start", "id") if name in given}
    named = {role: name for role, name in task.items() if role != name}
    reason = "each record has a question, a context and an answer that lies in it"
    return Guess({"kind": "question-answering"} | named, reason)


def _guess_sentences(columns: Columns, given: Mapping[str, Any]) -> Guess | None:
    words = given.get("words") or _named(columns, WORDS)
    tags = given.get("tags") or _named(columns, TAGS)
    if words is None or tags is None or not (are_lists(columns[words]) and are_lists(columns[tags])):
        return _guess_words(columns, given)
    reason = f"columns '{words}' and '{tags}' hold a list each"
    return Guess({"kind": "token-classification", "words": words, "tags": tags}, reason)


def _guess_words(columns: Columns, given: Mapping[str, Any]) -> Guess | None:
    """Rows of one word each, with its tag, and a column that tells the sentences apart.

    UserError for tags such as B-PER if one of the other two columns is not found.
    """
    if {"text", "label"} & given.keys():
        return None
    words = given.get("words") or _named(columns, _WORD_COLUMNS, whole=True)
    sentences = given.get("id") or _sentence_column(columns)
    tags = given.get("tags") or next((name for name, values in columns.items() if are_tags(values)), None)
    if tags is None and words is not None and _sentence_column(columns) is not None:
        tags = _named(columns, _TAG_COLUMNS, without=[words], whole=True)
    if tags is None:
        return None
    if words is None or sentences is None:
        raise UserError(
            f"column '{tags}' looks like tags of single words, one in each row; name the column of the words and the "
            "one that tells the sentences apart, task.words=COLUMN task.id=COLUMN, or write a word a line, and a blank "
            "line between two sentences (CoNLL)"
        )
    num_tags = len(set(map(as_text, columns[tags])))
    task = {"kind": "token-classification", "words": words, "tags": tags, "id": sentences}
    return Guess(task, f"each row holds a word and one of {num_tags} tags, and column '{sentences}' the sentence")


def _sentence_column(columns: Columns) -> str | None:
    """One that is filled where a sentence begins, or says the same in all its rows."""
    names = {name: values for name, values in columns.items() if num_runs(values) < len(values)}
    return _named(names, _SENTENCE_COLUMNS, whole=True) or _named(names, _SENTENCE_COLUMNS[:1])


# ---- choices


def _guess_choices(columns: Columns, given: Mapping[str, Any]) -> Guess | None:
    choices: list[str] = given.get("choices") or _choice_columns(columns)
    label = given.get("label") or _named(columns, _RIGHT, without=choices)
    if not choices or label is None:
        return None
    rows = [columns[choices[0]]] if len(choices) == 1 else [columns[choice] for choice in choices]
    options = [
        list(row[0]) if len(choices) == 1 else [as_text(value) for value in row] for row in zip(*rows, strict=True)
    ]
    label_is = given.get("label_is") or _label_is([as_text(value) for value in columns[label]], options)
    context = given.get("context") or _named(columns, _CONTEXTS, without=[*choices, label])
    question = given.get("question") or _named(columns, _QUESTIONS, without=[*choices, label])
    if context is None and question is None:
        return None
    if label_is is None:
        if given.get("kind") is None and len(choices) == 2:
            return None  # two texts and a label may be a pair
        raise UserError(
            f"columns {list_names(choices)} look like choices, but '{label}' is not always the number, the letter or "
            "the text of one; name the columns, as in task.label=COLUMN, or set task.kind"
        )
    texts = {name: column for name, column in (("context", context), ("question", question)) if column is not None}
    task = {"kind": "multiple-choice", **texts, "choices": choices, "label": label, "label_is": label_is}
    shown = f"column '{choices[0]}' holds lists" if len(choices) == 1 else f"columns {list_names(choices)} hold choices"
    return Guess(task, f"{shown} and column '{label}' the {label_is} of the right one")


def _choice_columns(columns: Columns) -> list[str]:
    """One column of lists, or the columns of one family such as ``choice0``, ``choice1``."""
    for name, values in columns.items():
        if _plain(name) in _CHOICES and are_lists(values) and all(len(value) > 1 for value in values):
            return [name]
    families: dict[str, list[str]] = {}
    for name in columns:
        if found := re.fullmatch(_CHOICE, _plain(name)):
            families.setdefault(found[1] or "", []).append(name)
    found_all = [names for family, names in families.items() if len(names) >= (2 if family else 3)]
    return max(found_all, key=len, default=[])


def _label_is(labels: Sequence[str], options: Sequence[Sequence[str]]) -> str | None:
    """How the right choice is named: by its number from 0 or 1, its letter or its text."""
    pairs = list(zip(labels, options, strict=True))
    if all(label.isascii() and label.isdigit() and int(label) < len(row) for label, row in pairs):
        return "number"
    if all(label.isascii() and label.isdigit() and 1 <= int(label) <= len(row) for label, row in pairs):
        return "number-from-1"
    if all(0 <= place_of_letter(label) < len(row) for label, row in pairs):
        return "letter"
    return "text" if all(label in row for label, row in pairs) else None


# ---- one text or two, and a label


def _guess_texts(columns: Columns, given: Mapping[str, Any]) -> Guess | None:
    label, text, pair = given.get("label"), given.get("text"), given.get("pair")
    texts = [name for name, values in columns.items() if name not in (label, pair) and are_texts(values)]
    if text is None and pair is None and (two := _pair(texts)):
        found = _guess_label(columns, given, *two)
        if found is not None:
            return found  # else one of the two may be the label
    if text is None:
        text = _named(columns, _TEXTS, without=set(columns) - set(texts)) or _longest(columns, texts)
    return None if text is None else _guess_label(columns, given, text, pair)


def _guess_label(columns: Columns, given: Mapping[str, Any], text: str, pair: str | None) -> Guess | None:
    label, kind = given.get("label"), given.get("kind")
    task = {"text": text} | ({} if pair is None else {"pair": pair})
    rest = {name: values for name, values in columns.items() if name not in (text, pair)}
    flags = given.get("label_columns") or [name for name, values in rest.items() if are_flags(values)]
    label = label or _named(rest, _LABELS if len(flags) < 2 else _SURE_LABELS, whole=True)
    if label is None and len(flags) > 1 and kind in (None, "multi-label"):
        return Guess(
            {"kind": "multi-label", **task, "label_columns": flags}, f"columns {list_names(flags)} hold 0 or 1"
        )
    label = label or _named(_labelled(rest), (*_LABELS, *_MORE_LABELS)) or _fewest(rest)
    if label is None:
        return None
    found = _kind_of(columns[label], kind)
    return found and Guess(
        {"kind": found.task.pop("kind"), **task, "label": label, **found.task}, f"column '{label}' {found.reason}"
    )


def _kind_of(values: Sequence[Any], kind: str | None) -> Guess | None:
    """The kind that the values of a label column speak for, unless it is known, with its settings.

    Missing ones say nothing here; whoever reads the file names the line.
    """
    values = [value for value in values if value is not None]
    if are_lists(values):
        return Guess({"kind": "multi-label"}, "holds lists")
    labels = [as_text(value) for value in values]
    different = set(labels)
    separator = _separator(labels)
    example = next((label for label in labels if "," in label), None)
    if kind is None and example is not None and all(map(_DECIMAL_COMMA.fullmatch, labels)):
        raise UserError(
            f"a label such as '{example}' may be a number or two labels; write numbers with a point, "
            "or set task.kind=multi-label"
        )
    if kind == "multi-label" or (kind is None and separator is not None):
        separator = separator or ","
        return Guess(
            {"kind": "multi-label", "label_separator": separator}, f"holds labels with '{separator}' between them"
        )
    numbers = [number_of(label) for label in labels]
    whole = {int(number) for number in numbers if number is not None and number == int(number)}
    are_numbers = None not in numbers and not any(isinstance(value, bool) for value in values)
    are_classes = whole in ({*range(len(whole))}, {*range(1, len(whole) + 1)}) or len(whole) <= MANY
    if kind == "regression" or (kind is None and are_numbers and (len(whole) < len(set(numbers)) or not are_classes)):
        return Guess({"kind": "regression"}, f"holds {len(different)} different numbers")
    if kind is None and len(labels) > MANY and len(different) > len(labels) / 2:
        return None  # a text rather than a class
    return Guess({"kind": "classification"}, f"holds {len(different)} different value{'s' * (len(different) > 1)}")


def _pair(texts: Sequence[str]) -> tuple[str, str] | None:
    """Two columns whose names belong together: whole ones, those that differ in a digit or a letter, last words."""
    return _known_pair(texts, _PAIRS, _plain) or _twins(texts) or _known_pair(texts, _PAIRS[1:], _last_word)


def _known_pair(
    texts: Sequence[str], pairs: Sequence[tuple[str, str]], end: Callable[[str], str]
) -> tuple[str, str] | None:
    """Of names that are those of a pair, or of which the ``end`` is."""
    for pair in pairs:
        first, second = (
            next((name for of in (_plain, end) for name in texts if of(name) == _plain(wanted)), None)
            for wanted in pair
        )
        if first is not None and second is not None and first != second:
            return first, second
    return None


def _twins(texts: Sequence[str]) -> tuple[str, str] | None:
    """Those with the shortest names: beside sentence1 and sentence2 there may be sentence1_parse and its like."""
    found = []
    for first, second in combinations([name for name in texts if not _plain(name).strip("12ab").endswith("id")], 2):
        one, other = _plain(first), _plain(second)
        differing = [(x, y) for x, y in zip(one, other, strict=False) if x != y]
        if len(one) == len(other) and differing in ([("1", "2")], [("a", "b")]):
            found.append((first, second))
    return min(found, key=lambda names: len(names[0]), default=None)


def _last_word(name: str) -> str:
    """ "product_title", and "title_text", to "title"."""
    words = re.findall("[a-z0-9]+", name.lower())
    return next((word for word in reversed(words) if word not in ("text", "string")), "")


def _separator(labels: Sequence[str]) -> str | None:
    """What parts several labels at once, if they look like that."""
    return next((mark for mark in _SEPARATORS if _has_separator(labels, mark)), None)


def _has_separator(labels: Sequence[str], mark: str) -> bool:
    """Whether parted labels are fewer than whole ones."""
    parts = {part.strip() for label in labels for part in label.split(mark)}
    return any(mark in label for label in labels) and len(parts - {""}) < len(set(labels))


def is_usual_name(name: str) -> bool:
    """Whether it is a name that people give to columns."""
    return _plain(name) in _USUAL


def _longest(columns: Columns, names: Sequence[str]) -> str | None:
    return max(names, key=lambda name: sum(map(len, columns[name])), default=None)


def _fewest(columns: Columns) -> str | None:
    """The column with the fewest different values, if they are few beside the rows."""
    num_different = {name: len({as_text(value) for value in values}) for name, values in full_columns(columns).items()}
    few = {
        name: number
        for name, number in num_different.items()
        if 1 < number <= max(2, len(columns[name]) / 2) and _plain(name) not in _IDS
    }
    return min(few, key=lambda name: few[name], default=None)


def _labelled(columns: Columns) -> Columns:
    """Columns with a value in each row, or with several labels in some: those may have none in others."""
    several = [name for name, values in columns.items() if _separator([as_text(value) for value in values])]
    return {name: columns[name] for name in columns if name in several or name in full_columns(columns)}


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _named(columns: Columns, names: Iterable[str], without: Iterable[str] = (), whole: bool = False) -> str | None:
    """The first column with one of these names, else (not ``whole``) with one of them as a word of its name."""
    there = [name for name in columns if name not in set(without)]
    words = {name: {_plain(name)} for name in there}
    more = {name: set(re.split("[^a-z0-9]+", name.lower())) for name in there}
    for of in [words] if whole else [words, more]:
        for wanted in names:
            for name in there:
                if _plain(wanted) in of[name]:
                    return name
    return None


def list_names(names: Sequence[str]) -> str:
    """Five of them at most, in quotes."""
    return ", ".join(f"'{name}'" for name in names[:5]) + (" ..." if len(names) > 5 else "")


_LOOKS: dict[str, Callable[[Columns, Mapping[str, Any]], Guess | None]] = {
    "question-answering": _guess_questions,
    "token-classification": _guess_sentences,
    "multiple-choice": _guess_choices,
    "multi-label": _guess_texts,
    "regression": _guess_texts,
    "classification": _guess_texts,
}
KINDS = tuple(_LOOKS)
"""The kinds that a guess may come to."""
