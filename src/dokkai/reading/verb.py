"""The verb ``ask``: documents read, one question or a conversation, answers shown."""

from collections.abc import Sequence
from pathlib import Path

from dokkai.errors import UserError
from dokkai.pipeline import load
from dokkai.reading.answers import PASSAGES, Collection, ask
from dokkai.reading.chat import converse
from dokkai.reading.documents import read_documents
from dokkai.reading.showing import print_answers, show_answers


def answer_from_files(
    model: str,
    question: str | None,
    paths: Sequence[str],
    n_best: int = 1,
    num_passages: int = PASSAGES,
    always_answer: bool = False,
    chat: bool = False,
    device: str | None = None,
    as_json: bool = False,
) -> None:
    """Print the answers to a question; with ``chat`` to all that follow, and ``question`` is the first path then.

    Arguments as for ``ask``. JSON is a list, in a conversation one in each line. UserError if a file that was named
    cannot be read, or the model is none for questions.
    """
    if question is None:
        what, words = ("read", "--chat FILE") if chat else ("answer", '"Who built it?" FILE')
        raise UserError(f"nothing to {what}; write for example: dokkai ask {words} (see dokkai ask --help)")
    files = [question, *paths] if chat else paths
    if chat and "-" in files:
        raise UserError("with --chat standard input holds the questions; give the text in a file")
    if not (chat or question.strip()):
        raise UserError("the question is empty")
    if not chat and not any(map(str.isalnum, question)):
        raise UserError(f"'{question}' is no question; the question comes first, then the files")
    if not chat and files and _is_there(question) and not _is_there(files[-1]):
        raise UserError(f"'{question}' is a file, not a question; the question comes first, then the files")
    reader = load(model, device)
    collection = Collection(read_documents(files))

    def answer(question: str, earlier: str = "", answered: str = "") -> str:
        found = ask(
            reader,
            question,
            collection,
            n_best=n_best if as_json else max(2, n_best),
            num_passages=num_passages,
            always_answer=always_answer,
            earlier=earlier,
            answered=answered,
        )
        if as_json:
            print_answers(found, indent=None if chat else 2)
        else:
            show_answers(found, n_best)
        return found[0].answer

    converse(answer) if chat else answer(question)


def _is_there(path: str) -> bool:
    try:
        return path == "-" or Path(path).exists()
    except OSError:  # longer than a name can be
        return False
