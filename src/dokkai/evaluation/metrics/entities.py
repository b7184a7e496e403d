"""Entities in the tags of words, and their scores."""

import re
from collections.abc import Iterable, Sequence

_OUTSIDE = "O"
_INSIDE = re.compile(r"[BIESLU]-.+")
_BIOES = {"L": "E", "U": "S"}  # seqeval does not know BILOU


def are_entity_tags(tags: Iterable[str]) -> bool:
    """Whether all tags are O or such as B-PER and I-PER (IOB1, IOB2, BIOES, BILOU): marks of entities, not of words."""
    return all(tag == _OUTSIDE or _INSIDE.fullmatch(tag) for tag in tags)


def find_entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """``(type, first word, last word + 1)`` of the entities in order, as seqeval and the script of CoNLL find them.

    An I- that follows no word of its type begins an entity too.
    """
    from seqeval.metrics.sequence_labeling import get_entities  # here, because the import takes seconds

    return [(str(name), int(first), int(last) + 1) for name, first, last in get_entities(_as_bioes(tags))]


def _as_bioes(tags: Iterable[str]) -> list[str]:
    return [_BIOES.get(tag[0], tag[0]) + tag[1:] for tag in tags]


def tag_scores(tags: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> dict[str, float]:
    """Score predicted tags, a sequence for each sentence; all in 0..1.

    ``accuracy`` counts words. Where the tags mark entities, ``f1``, ``precision`` and ``recall`` count whole ones with
    their type (seqeval), and ``f1_PER`` and the like those of one type that occurs. Where a score would divide by zero
    it is 0. ValueError if there is nothing to score or the lengths differ.
    """
    if [len(row) for row in tags] != [len(row) for row in predictions]:
        raise ValueError("there must be one predicted tag for each word")
    total = sum(map(len, tags))
    if not total:
        raise ValueError("no tags to score")
    pairs = [pair for row, guess in zip(tags, predictions, strict=True) for pair in zip(row, guess, strict=True)]
    scores = {"accuracy": sum(gold == guess for gold, guess in pairs) / total}
    if not are_entity_tags(tag for pair in pairs for tag in pair):
        return scores

    from seqeval.metrics import classification_report  # here, because the import takes seconds

    truth, guesses = [_as_bioes(row) for row in tags], [_as_bioes(row) for row in predictions]
    if not any(tag != _OUTSIDE for pair in pairs for tag in pair):  # nothing there, nothing found
        return scores | {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    report = classification_report(truth, guesses, output_dict=True, zero_division=0)
    scores |= {name: float(report["micro avg"][key]) for name, key in _KEYS.items()}
    types = sorted(name for name in report if not name.endswith(" avg"))
    return scores | {f"f1_{name}": float(report[name]["f1-score"]) for name in types}


_KEYS = {"f1": "f1-score", "precision": "precision", "recall": "recall"}
