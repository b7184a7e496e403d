"""Token lists to one model input: special tokens, truncation and overlapping windows, as in the 2018 release."""

from dataclasses import dataclass

from dokkai.errors import UserError
from dokkai.tokenization.tokens import Span, Tokens

_NO_SPAN = (0, 0)


@dataclass(frozen=True, slots=True)
class Encoding:
    """One model input, not padded: ``[CLS] first [SEP]`` or ``[CLS] first [SEP] second [SEP]``; lists of equal length.

    ``sequence_ids`` is 0 in the first text and 1 in the second; ``offsets`` and ``word_ids`` are those of that text.
    Special tokens have offset (0, 0), word None and sequence None. ``num_truncated`` counts the tokens cut away.
    """

    input_ids: list[int]
    token_type_ids: list[int]
    offsets: list[Span]
    word_ids: list[int | None]
    sequence_ids: list[int | None]
    num_truncated: int = 0

    def __len__(self) -> int:
        return len(self.input_ids)


def assemble(first: Tokens, second: Tokens | None, cls_id: int, sep_id: int, max_length: int | None) -> Encoding:
    """Put one or two texts into one input of at most ``max_length`` tokens, special tokens included.

    What is too long loses its end, one token at a time: the longer text first, the second at a tie (the original's
    ``_truncate_seq_pair``). UserError if there is no room for the special tokens.
    """
    lengths = [len(first)] if second is None else [len(first), len(second)]
    num_truncated = 0
    if max_length is not None:
        room = max_length - 1 - len(lengths)
        if room < 0:
            raise UserError(f"max_length={max_length} has no room for the {1 + len(lengths)} special tokens; raise it")
        num_truncated = max(0, sum(lengths) - room)
        lengths = _truncate(lengths, room)
    parts = [_part(first, 0, lengths[0])]
    if second is not None:
        parts.append(_part(second, 0, lengths[1]))
    return _build(parts, cls_id, sep_id, num_truncated)


def assemble_windows(
    question: Tokens,
    context: Tokens,
    cls_id: int,
    sep_id: int,
    max_length: int,
    stride: int,
    max_question_length: int = 64,
) -> list[Encoding]:
    """Cut a context into overlapping windows ``[CLS] question [SEP] window [SEP]`` (the original's ``run_squad.py``).

    ``stride`` is the distance between window starts in tokens (Hugging Face's word means the overlap). Offsets and word
    ids stay those of the whole context. Each window's ``num_truncated`` is what its question lost: the same in all.
    UserError if ``max_length`` leaves no room for the context or ``stride`` is below 1.
    """
    num_question = min(len(question), max_question_length)
    room = max_length - num_question - 3
    if room < 1:
        raise UserError(
            f"max_length={max_length} leaves no room for the context beside a question of {num_question} tokens "
            "and 3 special tokens; raise it or lower max_question_length"
        )
    if stride < 1:
        raise UserError(f"stride={stride}: windows must start at least 1 token apart")
    asked = _part(question, 0, num_question)
    windows = []
    start = 0
    while True:
        length = min(len(context) - start, room)
        parts = [asked, _part(context, start, start + length)]
        windows.append(_build(parts, cls_id, sep_id, len(question) - num_question))
        if start + length == len(context):
            return windows
        start += min(length, stride)


def _truncate(lengths: list[int], room: int) -> list[int]:
    if sum(lengths) <= room:
        return lengths
    if len(lengths) == 1:
        return [room]
    first, second = lengths
    half = room // 2  # popping the longer ends with halves, the first text keeping the odd token
    if first <= room - half:
        return [first, room - first]
    if second <= half:
        return [room - second, second]
    return [room - half, half]


def _part(tokens: Tokens, start: int, end: int) -> Tokens:
    return Tokens(tokens.ids[start:end], tokens.offsets[start:end], tokens.word_ids[start:end])


def _build(parts: list[Tokens], cls_id: int, sep_id: int, num_truncated: int) -> Encoding:
    input_ids, token_type_ids = [cls_id], [0]
    offsets: list[Span] = [_NO_SPAN]
    word_ids: list[int | None] = [None]
    sequence_ids: list[int | None] = [None]
    for sequence, part in enumerate(parts):
        input_ids += [*part.ids, sep_id]
        token_type_ids += [sequence] * (len(part) + 1)
        offsets += [*part.offsets, _NO_SPAN]
        word_ids += [*part.word_ids, None]
        sequence_ids += [*([sequence] * len(part)), None]
    return Encoding(input_ids, token_type_ids, offsets, word_ids, sequence_ids, num_truncated)
