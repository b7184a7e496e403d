"""What an example consists of, labels apart, and holding some examples out to measure on."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from dokkai.data.order import generator

_T = TypeVar("_T")
_CONTENT = ("text", "pair", "context", "question", "choices", "words")  # of examples of any kind
_SEED = 0  # not that of the run: runs with several seeds are measured on the same examples


def content_of(example: Any) -> tuple[Hashable, ...]:
    """All that a model reads of an example of any kind; two with the same content are the same to it."""
    values = (getattr(example, name, None) for name in _CONTENT)
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)


def hold_out(examples: Sequence[_T], share: float) -> tuple[list[_T], list[_T]]:
    """``(train, dev)``: about this share of the examples is held out, at least one, at random, both in their order.

    It is the same share whatever the seed of a run. Examples with the same content come to the same side, and so do
    questions about one context and sentences of one document if the share can be had so; ``dev`` is empty if all
    examples are the same.
    """
    num_wanted = max(1, round(share * len(examples)))
    held = _draw(examples, _surroundings_of, num_wanted)
    if len(held) < num_wanted / 2:  # one long document, or one context for all
        held = _draw(examples, content_of, num_wanted) or _smallest(examples)
    return (
        [example for number, example in enumerate(examples) if number not in held],
        [example for number, example in enumerate(examples) if number in held],
    )


def _draw(examples: Sequence[Any], group_of: Callable[[Any], Hashable], num_wanted: int) -> set[int]:
    """Numbers of at most so many examples, in whole groups."""
    found: set[int] = set()
    members = _members(examples, group_of)
    for place in generator(_SEED, "heldout").permutation(len(members)):
        if len(found) + len(members[place]) <= min(num_wanted, len(examples) - 1):
            found |= set(members[place])
    return found


def _smallest(examples: Sequence[Any]) -> set[int]:
    """Numbers of the examples with the rarest content; none if there is but one."""
    members = _members(examples, content_of)
    rarest = min(members, key=len)
    return set(rarest) if len(members) > 1 else set()


def _members(examples: Sequence[Any], group_of: Callable[[Any], Hashable]) -> list[list[int]]:
    """The numbers of the examples in each group, in the order of their first ones."""
    groups: dict[Hashable, list[int]] = {}
    for number, example in enumerate(examples):
        groups.setdefault(group_of(example), []).append(number)
    return list(groups.values())


def _surroundings_of(example: Any) -> Hashable:
    """The context of a question, the document of a sentence; the content of other examples."""
    for name in ("context", "document"):
        if (found := getattr(example, name, None)) is not None:
            surroundings: Hashable = found
            return surroundings
    return content_of(example)
