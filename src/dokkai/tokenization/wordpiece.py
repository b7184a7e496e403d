"""WordPiece as in the 2018 release, run by the Rust package ``tokenizers``, with offsets into the original text."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from dokkai.tokenization.tokens import CONTINUATION, Backend, Span, Tokens

_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class WordPieceSettings:
    """What WordPiece ids depend on besides the vocabulary; the names are those of ``tokenizer_config.json``.

    ``strip_accents=None`` means: as ``lowercase``. ``max_word_length`` is in code points: a longer word is unknown (100
    as in Hugging Face's files; the code of 2018 has 200).
    """

    lowercase: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True
    clean_text: bool = True
    max_word_length: int = 100

    @property
    def strips_accents(self) -> bool:
        """Whether accents go, with None resolved."""
        return self.lowercase if self.strip_accents is None else self.strip_accents

    def normalizer(self) -> normalizers.Normalizer:
        """The Rust normalizer of these settings."""
        return normalizers.BertNormalizer(
            clean_text=self.clean_text,
            handle_chinese_chars=self.tokenize_chinese_chars,
            strip_accents=self.strip_accents,
            lowercase=self.lowercase,
        )


@dataclass(frozen=True, slots=True)
class AddedWord:
    """An ordinary (not special) token that Hugging Face finds in the text before words are cut."""

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = True


class WordPieceBackend(Backend):
    """Words at white space, punctuation and Chinese characters; pieces by greedy longest match, ``##`` inside a word.

    ``hidden`` are the special tokens: they keep their ids, but no text ever yields them. ``added`` are Hugging Face's
    added ordinary tokens. Can be pickled; copies share nothing. Offsets are the engine's own alignment, exact but for
    combining marks that the text holds out of canonical order: stripping accents sorts them, also across the words'
    borders, and a piece may then point to the mark beside its own.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        unk: str = "[UNK]",
        hidden: Collection[str] = (),
        wordpiece: WordPieceSettings | None = None,
        added: Sequence[AddedWord] = (),
    ) -> None:
        self.vocabulary = list(vocabulary)
        self.unk = unk
        self.hidden = frozenset(hidden)
        self.wordpiece = wordpiece or WordPieceSettings()
        self.added = tuple(added)
        self.lowercase = self.wordpiece.lowercase
        found = {token: i for i, token in enumerate(self.vocabulary) if token not in self.hidden or token == unk}
        # The engine knows no special tokens at all: "[SEP]" in a text is a bracket, a word and a bracket.
        self._engine = build_engine(found, unk, self.wordpiece)
        self._engine.add_tokens([AddedToken(**asdict(word)) for word in self.added])
        self._decoder = decoders.WordPiece(prefix=CONTINUATION, cleanup=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return WordPieceBackend, (self.vocabulary, self.unk, self.hidden, self.wordpiece, self.added)

    def settings(self) -> dict[str, object]:
        settings: dict[str, object] = {"type": "WordPiece", "unk": self.unk, **asdict(self.wordpiece)}
        settings["strip_accents"] = self.wordpiece.strips_accents
        settings["added"] = [asdict(word) for word in self.added]
        return settings

    def words(self, text: str) -> list[Span]:
        found = self.tokens(text)
        spans: list[Span] = []
        last = -1
        for (start, end), word_id in zip(found.offsets, found.word_ids, strict=True):
            if word_id != last:
                spans.append((start, end))
                last = word_id
            else:
                spans[-1] = (spans[-1][0], end)
        return spans

    def pieces(self, word: str) -> list[int]:
        return self.tokens(word).ids

    def tokens(self, text: str) -> Tokens:
        # Not a batch of one: a single text starts no threads, so that a process may still be forked afterwards.
        try:
            encoding = self._engine.encode(text, add_special_tokens=False)
        except TypeError:
            encoding = self._engine.encode(without_surrogates([text])[0], add_special_tokens=False)
        return self._tokens(text, encoding)

    def tokens_batch(self, texts: Sequence[str]) -> list[Tokens]:
        texts = texts if isinstance(texts, list) else list(texts)
        try:
            encodings = self._engine.encode_batch(texts, add_special_tokens=False)
        except TypeError:
            encodings = self._engine.encode_batch(without_surrogates(texts), add_special_tokens=False)
        return [self._tokens(text, encoding) for text, encoding in zip(texts, encodings, strict=True)]

    def token_ids_batch(self, texts: Sequence[str]) -> list[list[int]]:
        texts = texts if isinstance(texts, list) else list(texts)
        try:
            encodings = self._engine.encode_batch_fast(texts, add_special_tokens=False)
        except TypeError:
            encodings = self._engine.encode_batch_fast(without_surrogates(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def join(self, tokens: Sequence[str]) -> str:
        return str(self._decoder.decode(list(tokens)))

    def _tokens(self, text: str, encoding: tokenizers.Encoding) -> Tokens:
        offsets = encoding.offsets
        if self.wordpiece.strips_accents and not text.isascii():
            offsets = _with_marks(text, offsets)
        # Without special tokens every token has a word: none of the ids is None.
        return Tokens(encoding.ids, offsets, cast("list[int]", encoding.word_ids))


def build_engine(ids: dict[str, int], unk: str, wordpiece: WordPieceSettings) -> tokenizers.Tokenizer:
    """The Rust pipeline of BERT: normalizer, word cutter, WordPiece; no special tokens yet."""
    model = models.WordPiece(
        ids, unk_token=unk, max_input_chars_per_word=wordpiece.max_word_length, continuing_subword_prefix=CONTINUATION
    )
    engine = tokenizers.Tokenizer(model)
    engine.normalizer = wordpiece.normalizer()
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return engine


def without_surrogates(texts: list[str]) -> list[str]:
    """The texts with half surrogate pairs, which are no Unicode and which Rust refuses, as U+FFFD.

    JSON can bring them. U+FFFD is as long as what it replaces, so offsets hold, and normalization drops it.
    """
    return [text if text.isascii() else _SURROGATES.sub("\ufffd", text) for text in texts]


def _with_marks(text: str, offsets: list[Span]) -> list[Span]:
    # The engine leaves a stripped combining accent outside its token ("e" + U+0301 -> only the "e"): an answer cut out
    # of the text would lose the accent of its last letter. Give each token the marks that follow it directly.
    marks = {character for character in set(text) if unicodedata.category(character) == "Mn"}
    if not marks:
        return offsets
    extended = []
    for index, (start, end) in enumerate(offsets):
        limit = len(text) if index + 1 == len(offsets) else offsets[index + 1][0]
        while end < limit and text[end] in marks:
            end += 1
        extended.append((start, end))
    return extended
