"""The tokenizer that the rest of dokkai sees: one class over any backend."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dokkai.errors import UserError
from dokkai.tokenization.encoding import Encoding, assemble, assemble_windows
from dokkai.tokenization.tokens import CONTINUATION, Backend, Span, Tokens


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The five tokens BERT needs, by role, and any others that text must never yield."""

    pad: str = "[PAD]"
    unk: str = "[UNK]"
    cls: str = "[CLS]"
    sep: str = "[SEP]"
    mask: str = "[MASK]"
    extra: tuple[str, ...] = ()

    def roles(self) -> dict[str, str]:
        """``{"pad": "[PAD]", ...}``, without the extra ones."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "extra"}

    def all(self) -> list[str]:
        """The five and the extra ones, each once."""
        return list(dict.fromkeys([*self.roles().values(), *self.extra]))


class Tokenizer:
    """Text to token ids and back, every token with its place in the original text. Can be pickled.

    ``model_max_length`` is the longest input of the model it belongs to, in tokens, or None; it changes no result here.
    UserError if the vocabulary lacks a special token.
    """

    def __init__(
        self, backend: Backend, special: SpecialTokens | None = None, model_max_length: int | None = None
    ) -> None:
        self.backend = backend
        self.special = special or SpecialTokens()
        self.model_max_length = model_max_length
        self._ids = {token: i for i, token in enumerate(backend.vocabulary)}
        for token in self.special.all():
            if token not in self._ids:
                raise UserError(f"the vocabulary has no {token}, which BERT needs; add a line {token} to it")

    @property
    def vocab_size(self) -> int:
        """How many ids there are: the rows of the embedding table."""
        return len(self.backend.vocabulary)

    @property
    def lowercase(self) -> bool:
        """Whether upper and lower case give the same ids."""
        return self.backend.lowercase

    @property
    def behaviour(self) -> str | None:
        """Whose WordPiece this is: "original" (the release of 2018), "huggingface", or None for another kind."""
        return self.backend.behaviour

    @property
    def mask_token(self) -> str:
        """What stands for a missing word in ``mask_tokens``."""
        return self.special.mask

    @property
    def pad_id(self) -> int:
        """The id that fills batches."""
        return self._ids[self.special.pad]

    @property
    def unk_id(self) -> int:
        """The id of a word that cannot be spelt with the vocabulary."""
        return self._ids[self.special.unk]

    @property
    def cls_id(self) -> int:
        """The id at the beginning of every input."""
        return self._ids[self.special.cls]

    @property
    def sep_id(self) -> int:
        """The id at the end of each text of an input."""
        return self._ids[self.special.sep]

    @property
    def mask_id(self) -> int:
        """The id of a hidden word."""
        return self._ids[self.special.mask]

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids of all special tokens, the one for unknown words included."""
        return frozenset(self._ids[token] for token in self.special.all())

    @cached_property
    def is_continuation(self) -> NDArray[np.bool_]:
        """For each id, shape (V,), whether it is a ``##`` piece: continues the word before it."""
        return np.array([len(t) > 2 and t.startswith(CONTINUATION) for t in self.backend.vocabulary], dtype=np.bool_)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal of all that decides the ids: vocabulary, settings, special tokens."""
        content = [list(self.backend.vocabulary), self.backend.settings(), asdict(self.special)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def words(self, text: str) -> list[Span]:
        """The words of the text, as spans of the text."""
        return self.backend.words(text)

    def pieces(self, word: str) -> list[int]:
        """The ids of one word."""
        return self.backend.pieces(word)

    def tokens(self, text: str) -> Tokens:
        """The whole text. A text that happens to contain ``[SEP]`` is plain text: it never yields a special token."""
        return self.backend.tokens(text)

    def tokens_batch(self, texts: Sequence[str]) -> list[Tokens]:
        """``tokens`` for many texts, faster than one by one (on several cores, where the backend can)."""
        return self.backend.tokens_batch(texts)

    def token_ids_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Only the ids, for many texts."""
        return self.backend.token_ids_batch(texts)

    def flat_ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The same ids in one array ``(num_tokens,)``, and how many each text has ``(len(texts),)``: the fast way."""
        return self.backend.flat_ids(texts)

    def mask_tokens(self, text: str) -> Tokens:
        """Like ``tokens``, but each literal ``[MASK]`` in the text becomes the mask id, a word of its own."""
        ids: list[int] = []
        offsets: list[Span] = []
        word_ids: list[int] = []
        start = 0
        for index, part in enumerate(text.split(self.mask_token)):
            if index > 0:
                ids.append(self.mask_id)
                offsets.append((start - len(self.mask_token), start))
                word_ids.append(word_ids[-1] + 1 if word_ids else 0)
            tokens = self.tokens(part)
            first_word = word_ids[-1] + 1 if word_ids else 0
            ids += tokens.ids
            offsets += [(begin + start, end + start) for begin, end in tokens.offsets]
            word_ids += [word + first_word for word in tokens.word_ids]
            start += len(part) + len(self.mask_token)
        return Tokens(ids, offsets, word_ids)

    def encode(self, text: str, pair: str | None = None, max_length: int | None = None) -> Encoding:
        """One input from one text or two; ``max_length`` counts special tokens too. See ``assemble``."""
        return self.assemble(self.tokens(text), None if pair is None else self.tokens(pair), max_length)

    def assemble(self, first: Tokens, second: Tokens | None = None, max_length: int | None = None) -> Encoding:
        """``encode`` for texts that are tokens already (from ``tokens_batch`` or ``mask_tokens``).

        Too long: the longer text loses its last token until all fits, the second one at a tie.
        """
        return assemble(first, second, self.cls_id, self.sep_id, max_length)

    def windows(
        self, question: str, context: str, max_length: int, stride: int, max_question_length: int = 64
    ) -> list[Encoding]:
        """A question with each of the overlapping windows that cover the context. See ``assemble_windows``."""
        return self.assemble_windows(
            self.tokens(question), self.tokens(context), max_length, stride, max_question_length
        )

    def assemble_windows(
        self, question: Tokens, context: Tokens, max_length: int, stride: int, max_question_length: int = 64
    ) -> list[Encoding]:
        """``windows`` for texts that are tokens already: a context with many questions is cut only once.

        ``stride`` is the distance between window starts in tokens; Hugging Face's word means the overlap.
        """
        return assemble_windows(question, context, self.cls_id, self.sep_id, max_length, stride, max_question_length)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """Readable text from ids. What normalization took (case, accents, spacing) does not come back."""
        kept = [i for i in ids if not (skip_special_tokens and i in self.special_ids)]
        return self.backend.join([self.token(i) for i in kept])

    def token(self, id: int) -> str:
        """The token of an id; UserError if there is none."""
        if not 0 <= id < self.vocab_size:
            raise UserError(f"there is no token {id}: this vocabulary has the ids 0 to {self.vocab_size - 1}")
        return self.backend.vocabulary[id]

    def id(self, token: str) -> int:
        """The id of a token as it stands in the vocabulary; UserError if there is none."""
        if token not in self._ids:
            raise UserError(f"'{token}' is not a token of this vocabulary of {self.vocab_size}; is it a longer word?")
        return self._ids[token]
