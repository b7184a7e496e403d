"""A reader that finds what the test wants: words with the margin they shall have over "no answer"."""

from types import SimpleNamespace

from dokkai.settings import QuestionAnsweringSettings


def reader(*, null=0.0, no_answer=True, behind="", more=0.0, **margins):
    """``null`` is the score of no answer in every passage; a word not in a passage is not found there.

    A question that begins with ``behind`` has ``more`` on every margin.
    """
    settings = QuestionAnsweringSettings(no_answer=no_answer)
    calls = []

    def read(question, texts):
        calls.append((question, list(texts)))
        bonus = more if behind and question.startswith(behind) else 0.0
        found = {word: margin + bonus for word, margin in margins.items()}
        return [{"nbest": list(_entries(text, found, null, no_answer))} for text in texts]

    tokenizer = SimpleNamespace(tokens=str.split)
    return SimpleNamespace(read=read, task=SimpleNamespace(settings=settings), tokenizer=tokenizer, calls=calls)


def _entries(text, margins, null, no_answer):
    found = {word: margin for word, margin in margins.items() if word in text}
    for word, margin in sorted(found.items(), key=lambda item: -item[1]):
        start = text.index(word)
        yield {"answer": word, "start": start, "end": start + len(word), "start_logit": margin + null, "end_logit": 0.0}
    if no_answer:
        yield {"answer": "", "start": 0, "end": 0, "start_logit": null / 2, "end_logit": null / 2}


def with_settings(planted, **changes):
    planted.task.settings = planted.task.settings.model_copy(update=changes)
    return planted
