"""The only place where text, labels and heads meet: one file per kind of task, registered here."""

from dokkai.settings import ClassificationSettings, PretrainingSettings, QuestionAnsweringSettings, TaskSettings
from dokkai.tasks.base import Task
from dokkai.tasks.classification import Classification
from dokkai.tasks.pretraining import Pretraining
from dokkai.tasks.question_answering import QuestionAnswering
from dokkai.tokenization import Tokenizer

__all__ = ["Classification", "Pretraining", "QuestionAnswering", "Task", "create_task"]


def create_task(settings: TaskSettings, tokenizer: Tokenizer, labels: tuple[str, ...] = ()) -> Task:
    """The task that these settings describe; ``labels`` are the classes of a classification, in order."""
    match settings:
        case PretrainingSettings():
            return Pretraining(settings, tokenizer)
        case ClassificationSettings():
            return Classification(settings, tokenizer, labels)
        case QuestionAnsweringSettings():
            return QuestionAnswering(settings, tokenizer)
