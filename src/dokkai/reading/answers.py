"""A question put to documents: the best answers in the passages that fit it, with their places."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dokkai.data.sentences import sentence_around
from dokkai.errors import UserError
from dokkai.pipeline import Answer, Pipeline
from dokkai.progress import Progress, say
from dokkai.reading.documents import Document
from dokkai.reading.leaning import has_unknown_name, leans
from dokkai.reading.passages import Span, cut_into_passages, stripped
from dokkai.reading.prose import as_prose, may_answer
from dokkai.reading.ranking import Ranking, query_terms
from dokkai.settings import QuestionAnsweringSettings
from dokkai.tasks.spans import margins, weigh

PASSAGES = 20
"""How many passages are read for a question, if nothing else is said."""

_EARLIER = 0.5  # what a word of the question before counts in the ranking, beside 1 for a word of this one
PRIOR = 1.0  # log-odds that a point of BM25 is worth, as measured by benchmarks/passages.py
FOLLOW_UP = 3.0  # that the score of an answer to a follow-up is lowered by, as measured by benchmarks/follow_ups.py


@dataclass(frozen=True, slots=True)
class FoundAnswer(Answer):
    """An answer and the document it stands in. Of no answer ``file`` is "", ``line`` and ``page`` are None.

    ``line`` and ``page`` count from 1; only a PDF has pages. ``rank_score`` is the BM25 score of the passage, with half
    of that for the question before in a conversation.
    """

    question: str
    file: str
    line: int | None
    page: int | None
    sentence_text: str
    rank_score: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the names stay from version to version."""
        return {
            "question": self.question,
            "answer": self.answer,
            "file": self.file or None,
            "line": self.line,
            "page": self.page,
            "start": self.start,
            "end": self.end,
            "sentence": self.sentence_text,
            "sentence_start": self.sentence[0],
            "confidence": round(self.confidence, 4),
            "rank_score": round(self.rank_score, 4),
        }


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document, ``document.text[start:end]``, and how well it fits the question."""

    document: Document
    start: int
    end: int
    rank_score: float = 0.0

    @property
    def text(self) -> str:
        """Its text."""
        return self.document.text[self.start : self.end]

    @property
    def prose(self) -> str:
        """Its text as the reader is shown it, one character for one."""
        return as_prose(self.text, self.document.is_markdown)


class Collection:
    """Documents cut into passages, which can be ranked; made once for any number of questions.

    A passage of one of several documents is found by the words of its file's name too.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        self._passages: list[tuple[Document, Span]] = []
        texts = []  # what each is found by
        with Progress("cutting documents into passages", len(documents), "documents") as progress:
            for document in documents:
                title = f"{document.title}\n" if len(documents) > 1 else ""  # alone it tells no passage from another
                spans = cut_into_passages(document.text)
                self._passages += [(document, span) for span in spans]
                texts += [title + document.text[start:end] for start, end in spans]
                progress.advance()
        self._ranking = Ranking(texts)

    def __len__(self) -> int:
        """The number of passages."""
        return len(self._passages)

    def best(self, question: str, num_passages: int = PASSAGES, earlier: str = "") -> list[Passage]:
        """The passages that fit the question best, best first; of equals the earlier.

        The words of ``earlier``, the question before, count half as much as those of the question.
        """
        scores = self._ranking.scores(query_terms(question)) + _EARLIER * self._ranking.scores(query_terms(earlier))
        order = (-scores).argsort(kind="stable")[:num_passages]
        found = [(*self._passages[i], float(scores[i])) for i in order.tolist()]
        return [Passage(document, start, end, score) for document, (start, end), score in found]


def ask(
    reader: Pipeline,
    question: str,
    documents: Collection | Sequence[Document],
    *,
    n_best: int = 1,
    num_passages: int = PASSAGES,
    always_answer: bool = False,
    earlier: str = "",
    answered: str = "",
) -> list[FoundAnswer]:
    """The ``n_best`` answers to a question, the best first, from the passages of all documents that fit it best.

    If there is none, the list begins with one whose ``answer`` is "", and those that come closest follow;
    ``always_answer`` leaves that one out, which makes the others no surer. Answers that share a place or a text with a
    better one are left out. ``earlier``, the question before in a conversation, helps to find passages. Behind
    ``answered``, the last answer in it, a question is read once more that has none alone, or leans on it ("John Smeaton
    and when?"), unless it names what no passage has. The list is that of the reading with the better answer. UserError
    if the question is empty, if no answer is asked for, or if the model was not fine-tuned for questions.
    """
    if not question.strip():
        raise UserError("the question is empty")
    if n_best < 1:
        raise UserError(f"n_best={n_best}: at least one answer is shown; give 1 or more")
    collection = documents if isinstance(documents, Collection) else Collection(documents)
    passages = collection.best(question, num_passages, earlier)
    texts = [passage.prose for passage in passages]
    predictions = reader.read(question, texts)
    assert reader.task is not None
    settings: QuestionAnsweringSettings = reader.task.settings
    number = n_best + always_answer  # "no answer" may be the first
    found = choose_answers(question, passages, predictions, settings, number)
    whole = follow_up(reader, question, answered, found[0], texts)
    if whole:
        again = choose_answers(question, passages, reader.read(whole, texts), settings, number, handicap=FOLLOW_UP)
        if is_better(again[0], found[0]):
            say(f"read as: {whole}")
            found = again
    if always_answer and not found[0].answer:
        found = found[1:] or found  # a text without a word has none
    return found[:n_best]


def follow_up(reader: Pipeline, question: str, answered: str, alone: Answer, texts: Sequence[str]) -> str:
    """The question behind the last answer, on one line; "" if it is not to be read so.

    It is if it has no answer alone, or may have one by chance, as it leans on another question; if it has no name that
    the texts do not have, which would be a topic of its own; and if both fit.
    """
    assert reader.task is not None
    settings: QuestionAnsweringSettings = reader.task.settings
    # without the score of "no answer" those of two questions cannot be compared
    if not answered or (alone.answer and not (settings.no_answer and leans(question))):
        return ""
    if has_unknown_name(question, texts):
        return ""
    whole = " ".join(f"{answered} {question}".split())
    return whole if len(reader.tokenizer.tokens(whole)) <= settings.max_question_length else ""


def is_better(behind: Answer, alone: Answer) -> bool:
    """Whether what is found behind the last answer, its score lowered, goes before what is found alone."""
    return bool(behind.answer) and (not alone.answer or behind.score > alone.score)


def choose_answers(
    question: str,
    passages: Sequence[Passage],
    predictions: Sequence[dict[str, Any]],
    settings: QuestionAnsweringSettings,
    n_best: int = 1,
    prior: float = PRIOR,
    handicap: float = 0.0,
) -> list[FoundAnswer]:
    """The list that ``ask`` returns, from what the reader found in each passage; the first fits the question best.

    ``prior`` is what a point of BM25 is worth in log-odds; ``handicap`` is taken off every score.
    """
    candidates = _candidates(passages, predictions, settings, prior, handicap)
    probabilities, null_prob = weigh([item.score for item in candidates], settings) if candidates else ([], 1.0)
    found = []
    if not candidates or (settings.no_answer and candidates[0].score < -settings.null_threshold):
        found.append(_no_answer(question, null_prob))
    shown: list[_Candidate] = []
    for item, probability in zip(candidates, probabilities, strict=True):
        if len(found) == n_best:
            break
        if not any(item.overlaps(other) for other in shown):
            shown.append(item)
            found.append(_place(question, item, probability))
    return found


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A span of a document that may be the answer.

    ``score`` is that of ``Answer``, less what its passage fits the question worse than the best passage does, less the
    handicap.
    """

    passage: Passage
    start: int
    end: int
    score: float

    def overlaps(self, other: "_Candidate") -> bool:
        return self.passage.document is other.passage.document and self.start < other.end and other.start < self.end


def _candidates(
    passages: Sequence[Passage],
    predictions: Sequence[dict[str, Any]],
    settings: QuestionAnsweringSettings,
    prior: float,
    handicap: float,
) -> list[_Candidate]:
    """Those of all passages, the best first; a text that occurs twice counts once."""
    found: list[_Candidate] = []
    unsound: list[_Candidate] = []  # taken if there are no others
    apart = settings.null_temperature if settings.no_answer else None
    across = apart or settings.temperature  # a point of BM25 is worth as much as log-odds that there is an answer
    for passage, prediction in zip(passages, predictions, strict=True):
        lag = across * prior * (passages[0].rank_score - passage.rank_score) + handicap
        entries = [entry for entry in prediction["nbest"] if entry["answer"]]
        for entry, margin in zip(entries, margins(prediction["nbest"], settings), strict=True):
            text = passage.document.text
            start, end = stripped(text, passage.start + entry["start"], passage.start + entry["end"])
            item = _Candidate(passage, start, end, margin - lag)
            (found if may_answer(text, start, end) else unsound).append(item)
    unlike: dict[str, _Candidate] = {}
    for item in sorted(found or unsound, key=lambda item: -item.score):
        unlike.setdefault(item.passage.document.text[item.start : item.end].casefold(), item)
    return list(unlike.values())


def _no_answer(question: str, probability: float) -> FoundAnswer:
    return FoundAnswer("", 0, 0, (0, 0), probability, 0.0, question, "", None, None, "", 0.0)


def _place(question: str, item: _Candidate, probability: float) -> FoundAnswer:
    document = item.passage.document
    begin, end = sentence_around(document.text, (item.start, item.end))
    return FoundAnswer(
        answer=document.text[item.start : item.end],
        start=item.start,
        end=item.end,
        sentence=(begin, end),
        confidence=probability,
        score=item.score,
        question=question,
        file=document.name,
        line=document.line(item.start),
        page=document.page(item.start),
        sentence_text=document.text[begin:end],
        rank_score=item.passage.rank_score,
    )
