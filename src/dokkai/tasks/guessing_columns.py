"""Guessing a task from the columns of a table: by their names, and by what they hold."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from dokkai.data.choices import named_choices, place_of_letter
from dokkai.data.columns import TAGS, WORDS
from dokkai.errors import UserError
from dokkai.settings import (
    ClassificationSettings,
    MultiLabelSettings,
    MultipleChoiceSettings,
    QuestionAnsweringSettings,
    RegressionSettings,
    TokenClassificationSettings,
)
from dokkai.tasks.guessing_names import (
    CHOICE,
    CHOICES,
    CONTEXTS,
    IDS,
    LABELS,
    MORE_LABELS,
    QUESTIONS,
    RIGHT,
    SENTENCE_COLUMNS,
    SURE_LABELS,
    TAG_COLUMNS,
    TEXTS,
    WORD_COLUMNS,
    find_named,
    find_pair,
    is_sure_pair,
    list_names,
    plain,
)
from dokkai.tasks.guessing_values import (
    MANY,
    Columns,
    are_filled,
    are_flags,
    are_lists,
    are_tags,
    are_texts,
    as_filled,
    as_text,
    full_columns,
    has_words,
    lie_in,
    look_like_texts,
    num_runs,
    number_of,
)

_ROLES = ("text", "pair", "label", "label_columns", "context", "question", "choices", "answer", "words", "tags", "id")
_DECIDING = {*_ROLES, "labels", "label_separator", "label_is", "answer_start"} - {"id"}
_OF_QUESTIONS = {
    "question": QUESTIONS[:2],
    "context": ("context", "passage", "paragraph", "article", "document", "text"),
    "answer": ("answer", "answer text", "answers"),
}
_READ_OF_QUESTIONS = ("question", "context", "answers", "answer", "answer_start", "is_impossible", "title", "id")
_BESIDE_ANSWERS = (*LABELS, *MORE_LABELS, "correct", "is correct")  # names of labels in a table of questions
_SEPARATORS = ("|", ";", ",")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Guess:
    """``[task]`` of a recipe, and what speaks for it.

    ``unused`` are columns of texts that it does not read; ``classes`` those, in a table of questions, of a few values.
    """

    task: dict[str, Any]
    reason: str
    unused: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def guess_from_columns(columns: Columns, given: Mapping[str, Any]) -> Guess | None:
    """The task that fits the columns, around the settings that are ``given``; None if there is none.

    UserError for what would be taken for something else: numbers with a decimal comma, choices without a right one,
    tags of single words where nothing tells the sentences apart.
    """
    kinds = [given["kind"]] if "kind" in given else _kinds_with(given)
    around = given if len(kinds) != 1 else {**given, "kind": kinds[0]}
    guesses = (guess for kind in kinds if (guess := _LOOKS[kind][0](columns, around)))
    found = next((guess for guess in guesses if "kind" in given or guess.task["kind"] in kinds), None)
    if found is None:
        return None
    unused = _unused(columns, found.task)
    texts = tuple(name for name in unused if look_like_texts(columns[name]))
    is_of_questions = found.task["kind"] == "question-answering"
    few = tuple(name for name in unused if is_of_questions and name not in texts and _are_few(columns[name]))
    return replace(found, unused=texts, classes=few)


def _kinds_with(given: Mapping[str, Any]) -> list[str]:
    """Those that have the settings that are given, as far as these say what the task consists of."""
    needed = _DECIDING & given.keys()
    return [kind for kind, (_, settings) in _LOOKS.items() if needed <= settings.model_fields.keys()]


def _unused(columns: Columns, task: Mapping[str, Any]) -> list[str]:
    used = set(_READ_OF_QUESTIONS if task["kind"] == "question-answering" else ())
    for role in _ROLES:
        used.update([task[role]] if isinstance(task.get(role), str) else task.get(role, ()))
    return [name for name in columns if name not in used]


def _guess_questions(columns: Columns, given: Mapping[str, Any]) -> Guess | None:
    """Questions as on the hub, or with one answer each in a column of its own: one that lies in the context."""
    as_on_hub = {"question", "context", "answers"} <= columns.keys() and given.get("answer", "answers") == "answers"
    if as_on_hub and not any(map(as_filled, columns["answers"])):
        return Guess({"kind": "question-answering"}, "each record has a question, a context and answers")
    found = {role: given.get(role) or find_named(columns, names, whole=True) for role, names in _OF_QUESTIONS.items()}
    task = {role: name for role, name in found.items() if name is not None}
    if len(task) < len(found) or (given.get("kind") is None and not _are_answers(columns, task)):
        return None
    task |= {name: given[name] for name in ("answer_start", "id") if name in given}
    named = {role: name for role, name in task.items() if role != name}
    reason = "each record has a question, a context and an answer that lies in it"
    return Guess({"kind": "question-answering"} | named, reason)


def _are_answers(columns: Columns, task: Mapping[str, str]) -> bool:
    """Whether answers lie in their contexts, and there is nothing else to learn: no choices, no column of labels.

    UserError if they should, as they are many and nothing else is a label, and do not.
    """
    rest = {name: columns[name] for name in _unused(columns, {"kind": "question-answering", **task})}
    has_label = find_named(rest, _BESIDE_ANSWERS, whole=True) is not None or any(map(are_flags, rest.values()))
    if has_label or _choice_columns(columns):
        return False
    answers = columns[task["answer"]]
    if lie_in(answers, columns[task["context"]]):
        return True
    num_different = len(set(map(as_text, answers)))
    are_many = look_like_texts(answers) or num_different > max(MANY, len(answers) / 2)
    if are_many and not any(_are_few(values) for values in rest.values()):
        raise UserError(
            f"columns {list_names([task['question'], task['context'], task['answer']])} look like questions, but most "
            f"answers do not occur in their contexts; write one answer a row in '{task['answer']}', as it stands "
            "there, and save several as JSON lines or Parquet; or name the columns, as in task.text=COLUMN"
        )
    return False


def _guess_sentences(columns: Columns, given: Mapping[str, Any]) -> Guess | None:
    words = given.get("words") or find_named(columns, WORDS)
    tags = given.get("tags") or find_named(columns, TAGS)
    if words is None or tags is None or not (are_lists(columns[words]) and are_lists(columns[tags])):
        return _guess_words(columns, given)
    reason = f"columns '{words}' and '{tags}' hold a list each"
    return Guess({"kind": "token-classification", "words": words, "tags": tags}, reason)


def _guess_words(columns: Columns, given: Mapping[str, Any]) -> Guess | None:
    """Rows of one word each, with its tag, and a column that tells the sentences apart.

    UserError for tags such as B-PER if one of the other two columns is not found.
    """
    words = given.get("words") or find_named(columns, WORD_COLUMNS, whole=True)
    sentences = given.get("id") or _sentence_column(columns)
    tags = given.get("tags") or next((name for name, values in columns.items() if are_tags(values)), None)
    if tags is None and words is not None and _are_parts(columns, given):
        tags = find_named(columns, TAG_COLUMNS, without=[words], whole=True)
    if tags is None or any(isinstance(value, list) for value in columns[tags]):
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


def _are_parts(columns: Columns, given: Mapping[str, Any]) -> bool:
    """Whether rows are parts of sentences, where no tag says so: no texts to look at a word in, and no label of it."""
    sentences = _sentence_column(columns)
    if sentences is None:
        return False
    is_judged = find_named(columns, SURE_LABELS, whole=True) is not None or has_words(columns[sentences])
    return given.get("kind") is not None or not is_judged


def _sentence_column(columns: Columns) -> str | None:
    """One that is filled where a sentence begins, or says the same in all its rows; not one of several."""
    names = {name: values for name, values in columns.items() if num_runs(values) < len(values)}
    single = {name: values for name, values in names.items() if not re.search(r"\d$|[^a-z0-9][a-z]$", name.lower())}
    return find_named(names, SENTENCE_COLUMNS, whole=True) or find_named(single, SENTENCE_COLUMNS[:1])


# ---- choices


def _guess_choices(columns: Columns, given: Mapping[str, Any]) -> Guess | None:
    choices: list[str] = given.get("choices") or _choice_columns(columns)
    label = given.get("label") or find_named(columns, RIGHT, without=choices)
    if not choices or label is None:
        return None
    named: list[tuple[list[str], list[str]]] | None = None
    if len(choices) == 1:
        found = [named_choices(value) for value in columns[choices[0]]]
        named = [pair for pair in found if pair is not None] if None not in found else None
        options = [texts for texts, _ in named or ()] or columns[choices[0]]
        if not are_lists(options):
            return None
    else:
        options = [list(map(as_text, row)) for row in zip(*(columns[choice] for choice in choices), strict=True)]
    labels = list(map(as_text, columns[label]))
    are_names = named is not None and all(text in names for text, (_, names) in zip(labels, named, strict=True))
    label_is = given.get("label_is") or ("name" if are_names else _label_is(labels, options))
    context = given.get("context") or find_named(columns, CONTEXTS, without=[*choices, label])
    question = given.get("question") or find_named(columns, QUESTIONS, without=[*choices, label])
    if context is None and question is None:
        return None
    if label_is is None:
        if given.get("kind") is None and len(choices) == 2:
            return None  # two texts and a label may be a pair
        raise UserError(
            f"columns {list_names(choices)} look like choices, but '{label}' is not always the number, the letter, the "
            "name or the text of one; name the columns, as in task.label=COLUMN, or set task.kind"
        )
    texts = {name: column for name, column in (("context", context), ("question", question)) if column is not None}
    task = {"kind": "multiple-choice", **texts, "choices": choices, "label": label, "label_is": label_is}
    shown = f"column '{choices[0]}' holds lists" if len(choices) == 1 else f"columns {list_names(choices)} hold choices"
    return Guess(task, f"{shown} and column '{label}' the {label_is} of the right one")


def _choice_columns(columns: Columns) -> list[str]:
    """One column of lists, or the columns of one family such as ``choice0``, ``choice1``."""
    for name, values in columns.items():
        if plain(name) not in CHOICES:
            continue
        lists = [value if (named := named_choices(value)) is None else named[0] for value in values]
        if are_lists(lists) and all(len(value) > 1 for value in lists):
            return [name]
    families: dict[str, list[str]] = {}
    for name in columns:
        if found := re.fullmatch(CHOICE, plain(name)):
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
    texts = _texts_among({name: values for name, values in columns.items() if name not in (label, pair)})
    if text is None and pair is None and (two := find_pair(texts)) and _are_two_texts(columns, given, *two):
        found = _guess_label(columns, given, *two)
        if found is not None:
            return found  # else one of the two may be the label
    if text is None:
        text = find_named(columns, TEXTS, without=set(columns) - set(texts)) or _longest(columns, texts)
    return None if text is None else _guess_label(columns, given, text, pair)


def _texts_among(columns: Columns) -> list[str]:
    """Columns of texts; of those that are mostly empty none if there is another."""
    texts = [name for name, values in columns.items() if are_texts(values)]
    full = [name for name in texts if are_filled(columns[name])]
    others = [name for name in full if plain(name) not in LABELS]
    return full if any(plain(name) in TEXTS or not _are_classes(columns[name]) for name in others) else texts


def _are_two_texts(columns: Columns, given: Mapping[str, Any], first: str, second: str) -> bool:
    """Whether the second column called as one of a pair is no label of the first."""
    rest = {name: values for name, values in columns.items() if name not in (first, second)}
    label = find_named(rest, LABELS, whole=True) or find_named(_labelled(rest), (*LABELS, *MORE_LABELS))
    has_label = label is not None or not given.keys().isdisjoint(("label", "label_columns"))
    return has_label or is_sure_pair(first, second) or not _are_classes(columns[second])


def _are_classes(values: Sequence[Any]) -> bool:
    return _are_few(values) and not look_like_texts(values)


def _guess_label(columns: Columns, given: Mapping[str, Any], text: str, pair: str | None) -> Guess | None:
    label, kind = given.get("label"), given.get("kind")
    task = {"text": text} | ({} if pair is None else {"pair": pair})
    rest = {name: values for name, values in columns.items() if name not in (text, pair)}
    flags = given.get("label_columns") or [name for name, values in rest.items() if are_flags(values)]
    label = label or find_named(rest, LABELS if len(flags) < 2 else SURE_LABELS, whole=True)
    if label is None and len(flags) > 1 and kind in (None, "multi-label"):
        return Guess(
            {"kind": "multi-label", **task, "label_columns": flags}, f"columns {list_names(flags)} hold 0 or 1"
        )
    label = label or find_named(_labelled(rest), (*LABELS, *MORE_LABELS)) or _fewest(rest)
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


def _separator(labels: Sequence[str]) -> str | None:
    """What parts several labels at once, if they look like that."""
    return next((mark for mark in _SEPARATORS if _has_separator(labels, mark)), None)


def _has_separator(labels: Sequence[str], mark: str) -> bool:
    """Whether parted labels are fewer than whole ones."""
    parts = {part.strip() for label in labels for part in label.split(mark)}
    return any(mark in label for label in labels) and len(parts - {""}) < len(set(labels))


def _longest(columns: Columns, names: Sequence[str]) -> str | None:
    return max(names, key=lambda name: sum(map(len, columns[name])), default=None)


def _fewest(columns: Columns) -> str | None:
    """The column with the fewest different values, if they are few beside the rows."""
    few = {
        name: len({as_text(value) for value in values})
        for name, values in full_columns(columns).items()
        if _are_few(values) and plain(name) not in IDS
    }
    return min(few, key=lambda name: few[name], default=None)


def _are_few(values: Sequence[Any]) -> bool:
    """Whether values are different, but few beside the rows, as classes are."""
    return 1 < len({as_text(value) for value in values}) <= max(2, len(values) / 2)


def _labelled(columns: Columns) -> Columns:
    """Columns with a value in each row, or with several labels in some: those may have none in others."""
    several = [name for name, values in columns.items() if _separator([as_text(value) for value in values])]
    return {name: columns[name] for name in columns if name in several or name in full_columns(columns)}


_LOOKS: dict[str, tuple[Callable[[Columns, Mapping[str, Any]], Guess | None], type[BaseModel]]] = {
    "question-answering": (_guess_questions, QuestionAnsweringSettings),
    "token-classification": (_guess_sentences, TokenClassificationSettings),
    "multiple-choice": (_guess_choices, MultipleChoiceSettings),
    "multi-label": (_guess_texts, MultiLabelSettings),
    "regression": (_guess_texts, RegressionSettings),
    "classification": (_guess_texts, ClassificationSettings),
}
KINDS = tuple(_LOOKS)
"""The kinds that a guess may come to."""
