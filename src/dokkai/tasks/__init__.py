"""The only place where text, labels and heads meet: one file per kind of task, registered here."""

from dokkai.settings import (
    ClassificationSettings,
    MultiLabelSettings,
    MultipleChoiceSettings,
    PretrainingSettings,
    QuestionAnsweringSettings,
    RegressionSettings,
    SimilaritySettings,
    TaskSettings,
    TokenClassificationSettings,
)
from dokkai.tasks.base import Task
from dokkai.tasks.classification import Classification
from dokkai.tasks.multi_label import MultiLabel
from dokkai.tasks.multiple_choice import MultipleChoice
from dokkai.tasks.pretraining import Pretraining
from dokkai.tasks.question_answering import QuestionAnswering
from dokkai.tasks.regression import Regression
from dokkai.tasks.similarity import Similarity
from dokkai.tasks.token_classification import TokenClassification
from dokkai.tokenization import Tokenizer

__all__ = [
    "Classification",
    "MultiLabel",
    "MultipleChoice",
    "Pretraining",
    "QuestionAnswering",
    "Regression",
    "Similarity",
    "Task",
    "TokenClassification",
    "create_task",
]


def create_task(settings: TaskSettings, tokenizer: Tokenizer, labels: tuple[str, ...] = ()) -> Task:
    """The task that these settings describe; ``labels`` are its classes, in order (none: those of the settings)."""
    match settings:
        case PretrainingSettings():
            return Pretraining(settings, tokenizer)
        case ClassificationSettings():
            return Classification(settings, tokenizer, labels)
        case MultiLabelSettings():
            return MultiLabel(settings, tokenizer, labels)
        case RegressionSettings():
            return Regression(settings, tokenizer, labels)
        case MultipleChoiceSettings():
            return MultipleChoice(settings, tokenizer)
        case TokenClassificationSettings():
            return TokenClassification(settings, tokenizer, labels)
        case QuestionAnsweringSettings():
            return QuestionAnswering(settings, tokenizer)
        case SimilaritySettings():
            return Similarity(settings, tokenizer)
