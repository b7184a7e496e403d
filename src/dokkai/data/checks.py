"""A look at the examples before a fine-tuning: the order of the labels, their balance, rows that stand twice."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from dokkai.data.heldout import content_of

_FEW = 50  # examples: one of them is two points of accuracy
_UNEVEN = 3  # times as often as the rarest label: worth a word
_NUM_LABELS, _NUM_PLACES = 20, 5  # shown


def check_examples(
    train: Sequence[Any], dev: Sequence[Any], labels: Sequence[str], setting: str | None = "task.labels"
) -> list[str]:
    """What there is to say of the examples of a task and its ``labels``, the names of classes, a line each.

    Examples of any kind: the balance is that of the ``label`` or the ``labels`` of each, if the task has classes; what
    is the same in two examples is their content. ``setting`` named the labels; None: they are those of the file.
    """
    lines = [show_labels(labels), find_spellings(labels), find_repeats(train, dev), find_few(dev)]
    if labels:
        lines.insert(1, find_missing(chain.from_iterable(map(_labels_of, train)), labels, setting))
    if labels and hasattr(train[0], "label"):
        lines.insert(1, find_imbalance([example.label for example in train]))
    elif labels and hasattr(train[0], "labels"):
        lines.insert(1, find_rare_labels([example.labels for example in train], labels))
    return [line for line in lines if line]


def show_labels(labels: Sequence[str]) -> str | None:
    """The labels in the order of the logits; None if there are none."""
    if not labels:
        return None
    more = f", ... ({len(labels)} in all)" if len(labels) > _NUM_LABELS else ""
    return f"labels, in the order of the logits: {', '.join(labels[:_NUM_LABELS])}{more}"


def find_spellings(labels: Sequence[str]) -> str | None:
    """Labels that differ in nothing but their case."""
    spellings: dict[str, list[str]] = {}
    for label in labels:
        spellings.setdefault(label.casefold(), []).append(label)
    found = next((same for same in spellings.values() if len(same) > 1), None)
    if found is None:
        return None
    return f"{', '.join(map(repr, found))} are different labels; if they mean the same, write them alike"


def _labels_of(example: Any) -> Sequence[str]:
    """The label of an example, its labels, or the tags of its words."""
    if hasattr(example, "label"):
        return [example.label]
    return getattr(example, "labels", None) or getattr(example, "tags", None) or ()


def find_missing(found: Iterable[str], labels: Sequence[str], setting: str | None = "task.labels") -> str | None:
    """The ``labels`` that the examples to train on have none of.

    A ``setting`` may name more than a file holds; without, what the file holds is not trained on.
    """
    there = set(found)
    missing = [label for label in labels if label not in there]
    if not missing:
        return None
    shown = ", ".join(map(repr, missing[:_NUM_LABELS])) + (", ..." if len(missing) > _NUM_LABELS else "")
    if setting is None:
        return f"no example of {shown} to train on, as all are held out to measure on, or cut off by --limit; add some"
    return f"no example of {shown} to train on; add some, or leave out of {setting} what has none"


def find_imbalance(labels: Sequence[str]) -> str | None:
    """The largest class beside the smallest, if it has more than three times as many examples."""
    counts = Counter(labels).most_common()
    if not counts or counts[0][1] <= _UNEVEN * counts[-1][1]:
        return None
    (most, num_most), (least, num_least) = counts[0], counts[-1]
    return (
        f"the classes are uneven: {num_most:,} of {len(labels):,} examples are '{most}', {num_least:,} '{least}'; "
        f"'{most}' alone would reach an accuracy of {num_most / len(labels):.1%}, so look at f1_macro too"
    )


def find_rare_labels(label_sets: Sequence[Sequence[str]], labels: Sequence[str]) -> str | None:
    """The commonest of labels that texts may have several of, beside the rarest, as ``find_imbalance``."""
    counts = Counter(dict.fromkeys(labels, 0))  # a label of the settings may be in no example
    counts.update(chain.from_iterable(label_sets))
    (most, num_most), *_, (least, num_least) = [*counts.most_common(), *counts.most_common()[-1:]]
    if num_most <= _UNEVEN * num_least:
        return None
    return (
        f"the labels are uneven: {num_most:,} of {len(label_sets):,} texts have '{most}', {num_least:,} '{least}'; "
        "look at f1_macro too"
    )


def find_few(dev: Sequence[Any]) -> str | None:
    """A warning if the examples to measure on are so few that chance decides."""
    if not 0 < len(dev) < _FEW:
        return None
    return (
        f"only {len(dev)} examples to measure on: much of a score, and of the choice of the best weights, is chance; "
        "give more with --dev, or a larger train.dev_share"
    )


def find_repeats(train: Sequence[Any], dev: Sequence[Any]) -> str | None:
    """How many examples to measure on stand among those to train on too, and where the first ones stand."""
    known = {content_of(example) for example in train}
    found = [example for example in dev if content_of(example) in known]
    if not found:
        return None
    shown = ", ".join(getattr(example, "place", f"id {example.id}") for example in found[:_NUM_PLACES])
    more = ", ..." if len(found) > _NUM_PLACES else ""
    return (
        f"{len(found):,} of {len(dev):,} examples to measure on are among those to train on too "
        f"({shown}{more}); the scores flatter the model"
    )
