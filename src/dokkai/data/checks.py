"""A look at the examples before a fine-tuning: the order of the labels, their balance, rows that stand twice."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from dokkai.data.heldout import content_of

_UNEVEN = 3  # times as often as the rarest label: worth a word
_NUM_LABELS, _NUM_LINES = 20, 5  # shown


def check_examples(train: Sequence[Any], dev: Sequence[Any], labels: Sequence[str]) -> list[str]:
    """What there is to say of the examples of a task and its labels, a line each.

    Examples of any kind: the balance is that of their ``label`` where it is a text; what is the same in two examples
    is their content.
    """
    given = [example.label for example in train if isinstance(getattr(example, "label", None), str)]
    lines = [show_labels(labels), find_imbalance(given), find_repeats(train, dev)]
    return [line for line in lines if line]


def show_labels(labels: Sequence[str]) -> str | None:
    """The labels in the order of the logits; None if there are none."""
    if not labels:
        return None
    more = f", ... ({len(labels)} in all)" if len(labels) > _NUM_LABELS else ""
    return f"labels, in the order of the logits: {', '.join(labels[:_NUM_LABELS])}{more}"


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


def find_repeats(train: Sequence[Any], dev: Sequence[Any]) -> str | None:
    """How many examples to measure on stand among those to train on too, and where the first ones stand."""
    known = {content_of(example) for example in train}
    found = [example for example in dev if content_of(example) in known]
    if not found:
        return None
    place = "line" if hasattr(found[0], "line") else "id"  # questions have no line
    shown = ", ".join(str(getattr(example, place)) for example in found[:_NUM_LINES])
    more = ", ..." if len(found) > _NUM_LINES else ""
    return (
        f"{len(found):,} of {len(dev):,} examples to measure on are among those to train on too "
        f"({place}{'s' * (len(found) > 1)} {shown}{more}); the scores flatter the model"
    )
