"""Questions about short texts, and logits that say what the test wants."""

import torch

from dokkai.data.squad import Answer, Question
from dokkai.settings import QuestionAnsweringSettings
from dokkai.tasks import QuestionAnswering

CONTEXT = "A bee has a queen. The queen may lay many eggs, and a queen lives long."


def create(tokenizer, **changes):
    return QuestionAnswering(QuestionAnsweringSettings(**changes), tokenizer)


def ask(context=CONTEXT, *answers, text="Who lays the eggs?", **fields):
    return Question("q1", text, context, tuple(Answer(a, context.index(a)) for a in answers), **fields)


def slice_of(question, window):
    """What the positions of the answer point at."""
    return question.context[window.offsets[window.start][0] : window.offsets[window.end][1]]


def logits_of(windows, plants=(), length=None, default=0.0):
    """``(B, L, 2)``; ``plants`` are (window, start, end, start logit, end logit)."""
    length = length or max(len(window.input_ids) for window in windows)
    logits = torch.full((len(windows), length, 2), default)
    for row, start, end, start_logit, end_logit in plants:
        logits[row, start, 0], logits[row, end, 1] = start_logit, end_logit
    return {"span": logits}


def merge(task, questions, windows, logits):
    return task.merge(questions, windows, task.decode(logits, {}, windows))


def best_views_of_the_release(num_tokens, room, stride):
    """For each window of the release's loop which of its tokens it shows best: ``_check_is_max_context``."""
    spans = []
    start = 0
    while start < num_tokens:
        length = min(num_tokens - start, room)
        spans.append((start, length))
        if start + length == num_tokens:
            break
        start += min(length, stride)
    out = []
    for number, (start, length) in enumerate(spans):
        flags = []
        for position in range(start, start + length):
            best_score, best_number = None, None
            for other, (begin, size) in enumerate(spans):
                end = begin + size - 1
                if begin <= position <= end:
                    score = min(position - begin, end - position) + 0.01 * size
                    if best_score is None or score > best_score:
                        best_score, best_number = score, other
            flags.append(best_number == number)
        out.append(flags)
    return out
