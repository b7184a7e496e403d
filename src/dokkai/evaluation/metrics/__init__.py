"""Standard scores of predictions, by the standard libraries; no text, no model, nothing that loads torch."""

from dokkai.evaluation.metrics.answers import Scoring, best_null_threshold, exact_matches, squad_scores
from dokkai.evaluation.metrics.classes import classification_scores, multi_label_scores
from dokkai.evaluation.metrics.entities import are_entity_tags, find_entities, tag_scores
from dokkai.evaluation.metrics.numbers import regression_scores

__all__ = [
    "Scoring",
    "are_entity_tags",
    "best_null_threshold",
    "classification_scores",
    "exact_matches",
    "find_entities",
    "multi_label_scores",
    "regression_scores",
    "squad_scores",
    "tag_scores",
]
