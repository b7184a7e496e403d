"""WordPiece as in the 2018 release or as in Hugging Face, run by the Rust package ``tokenizers``, with offsets."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, cast

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from dokkai.errors import UserError, did_you_mean
from dokkai.tokenization.known_words import KnownWords
from dokkai.tokenization.normalization import NEVER, Forms, Normalizer, OriginalNormalizer, places
from dokkai.tokenization.tokens import CONTINUATION, Backend, Span, Tokens

_SURROGATES = re.compile("[\ud800-\udfff]")
ORIGINAL, HUGGINGFACE = "original", "huggingface"
_LONGEST_WORD = {ORIGINAL: 200, HUGGINGFACE: 100}


@dataclass(frozen=True, slots=True)
class WordPieceSettings:
    """What WordPiece ids depend on besides the vocabulary; the names are those of ``tokenizer_config.json``.

    ``behaviour`` is "original" (``tokenization.py`` of the release of 2018) or "huggingface" (``BertTokenizerFast``);
    docs/guide/vocab.md has the differences. ``strip_accents=None`` means: as ``lowercase``. ``max_word_length`` is in
    code points: a longer word is unknown; None means that of the behaviour, 200 or 100. The original has no choice but
    ``lowercase``: UserError for any other.
    """

    lowercase: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True
    clean_text: bool = True
    max_word_length: int | None = None
    behaviour: str = HUGGINGFACE

    def __post_init__(self) -> None:
        if self.behaviour not in _LONGEST_WORD:
            hint = did_you_mean(self.behaviour, _LONGEST_WORD)
            raise UserError(f"there is no tokenizer behaviour '{self.behaviour}'{hint}")
        fixed = {
            "strip_accents": (self.strips_accents, self.lowercase),
            "tokenize_chinese_chars": (self.tokenize_chinese_chars, True),
            "clean_text": (self.clean_text, True),
            "max_word_length": (self.longest_word, _LONGEST_WORD[ORIGINAL]),
        }
        for name, (value, only) in fixed.items():
            if self.is_original and value != only:
                raise UserError(
                    f"{name}={value}: the original behaviour has no such choice, it is always {only} there "
                    f"(with lowercase={self.lowercase}); take the behaviour huggingface"
                )

    @property
    def is_original(self) -> bool:
        """Whether the behaviour is that of the release of 2018."""
        return self.behaviour == ORIGINAL

    @property
    def strips_accents(self) -> bool:
        """Whether accents go, with None resolved."""
        return self.lowercase if self.strip_accents is None else self.strip_accents

    @property
    def longest_word(self) -> int:
        """The most code points of a word that is looked up, with None resolved."""
        return _LONGEST_WORD[self.behaviour] if self.max_word_length is None else self.max_word_length

    def normalizer(self) -> Normalizer:
        """What prepares a text before ``cutter`` cuts it into words."""
        return OriginalNormalizer(self.lowercase) if self.is_original else self.rust_normalizer()

    def cutter(self) -> pre_tokenizers.PreTokenizer:
        """What cuts a text that ``normalizer`` has prepared into words."""
        return pre_tokenizers.CharDelimiterSplit(" ") if self.is_original else pre_tokenizers.BertPreTokenizer()

    def rust_normalizer(self) -> normalizers.Normalizer:
        """Hugging Face's normalizer, which for ASCII does what the original does."""
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
    added ordinary tokens; the original knows none (UserError). Can be pickled; copies share nothing. Offsets are exact
    for any text, but for combining marks out of canonical order in a text of a backend that has ``added``.
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
        self.behaviour = self.wordpiece.behaviour
        if self.added and self.wordpiece.is_original:
            raise UserError(f"'{self.added[0].content}' is an added token; the original behaviour knows none")
        found = {token: i for i, token in enumerate(self.vocabulary) if token not in self.hidden or token == unk}
        if self.wordpiece.is_original:  # its load_vocab strips each entry
            found = {token.strip(): i for token, i in found.items() if NEVER not in token}
        # The engine knows no special tokens at all: "[SEP]" in a text is a bracket, a word and a bracket.
        self._engine = build_engine(found, unk, self.wordpiece)
        self._engine.add_tokens([AddedToken(**asdict(word)) for word in self.added])
        # The same for texts that our own code prepares, because of the behaviour or to know the place of each mark.
        self._normalizer = self.wordpiece.normalizer()
        self._forms = Forms(self._form)
        self._cut_engine = build_engine(found, unk, self.wordpiece, prepared=True)
        self._known = KnownWords(self._engine_ids, self.lowercase)
        self._decoder = decoders.WordPiece(prefix=CONTINUATION, cleanup=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return WordPieceBackend, (self.vocabulary, self.unk, self.hidden, self.wordpiece, self.added)

    def settings(self) -> dict[str, object]:
        settings: dict[str, object] = {"type": "WordPiece", "unk": self.unk, **asdict(self.wordpiece)}
        settings["strip_accents"] = self.wordpiece.strips_accents
        settings["max_word_length"] = self.wordpiece.longest_word
        settings["added"] = [asdict(word) for word in self.added]
        if not self.wordpiece.is_original:
            del settings["behaviour"]  # fingerprints are older than this setting
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
        engine, prepared = self._prepare(text)
        return self._tokens(text, engine, prepared, engine.encode(prepared, add_special_tokens=False))

    def tokens_batch(self, texts: Sequence[str]) -> list[Tokens]:
        batch = [self._prepare(text) for text in texts]
        encodings = self._encode_batch(batch, "encode_batch")
        return [
            self._tokens(text, *pair, encoding) for text, pair, encoding in zip(texts, batch, encodings, strict=True)
        ]

    def token_ids_batch(self, texts: Sequence[str]) -> list[list[int]]:
        ids, lengths = self.flat_ids(texts)
        flat, ends = ids.tolist(), np.cumsum(lengths)
        return [flat[begin:end] for begin, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True)]

    def flat_ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self.added:  # such a word may have spaces in it, and it may begin in the middle of another
            rows = self._engine_ids(texts)
            return np.fromiter(chain.from_iterable(rows), np.int64), np.fromiter(map(len, rows), np.int64, len(rows))
        return self._known.ids(texts)

    def _engine_ids(self, texts: Sequence[str]) -> list[list[int]]:
        batch = [self._prepare(text, has_places=False) for text in texts]
        return [encoding.ids for encoding in self._encode_batch(batch, "encode_batch_fast")]

    def join(self, tokens: Sequence[str]) -> str:
        return str(self._decoder.decode(list(tokens)))

    def _prepare(self, text: str, has_places: bool = True) -> tuple[tokenizers.Tokenizer, str]:
        """The engine for a text and what to give it: the text, or the text prepared by our own normalizer.

        Hugging Face's engine loses the place of marks that it sorts, so texts with marks are prepared if places matter.
        """
        if text.isascii():
            return self._engine, text
        if self.wordpiece.is_original:
            return self._cut_engine, self._normalizer.normalize_str(text)
        text = without_surrogates([text])[0]
        if has_places and self.wordpiece.strips_accents and not self.added and _has_marks(text):
            return self._cut_engine, self._normalizer.normalize_str(text)
        return self._engine, text

    def _encode_batch(self, batch: list[tuple[tokenizers.Tokenizer, str]], method: str) -> list[tokenizers.Encoding]:
        encodings: dict[int, tokenizers.Encoding] = {}
        for engine in (self._engine, self._cut_engine):
            chosen = [index for index, (own, _) in enumerate(batch) if own is engine]
            if chosen:
                found = getattr(engine, method)([batch[index][1] for index in chosen], add_special_tokens=False)
                encodings.update(zip(chosen, found, strict=True))
        return [encodings[index] for index in range(len(batch))]

    def _form(self, character: str) -> str:
        if not self.wordpiece.is_original:
            character = without_surrogates([character])[0]
        return self._normalizer.normalize_str(character)

    def _tokens(self, text: str, engine: tokenizers.Tokenizer, prepared: str, encoding: tokenizers.Encoding) -> Tokens:
        offsets = encoding.offsets
        if engine is self._cut_engine:
            starts, ends = places(text, prepared, self._forms)
            offsets = [(starts[start], ends[end - 1]) for start, end in offsets]
        if self.wordpiece.strips_accents and not text.isascii():
            offsets = _with_marks(text, offsets)
        # Without special tokens every token has a word: none of the ids is None.
        return Tokens(encoding.ids, offsets, cast("list[int]", encoding.word_ids))


def build_engine(
    ids: dict[str, int], unk: str, wordpiece: WordPieceSettings, prepared: bool = False
) -> tokenizers.Tokenizer:
    """The Rust pipeline of BERT: normalizer, word cutter, WordPiece; no special tokens yet.

    With ``prepared`` it takes texts that ``wordpiece.normalizer()`` has been over, else texts as they are: then for the
    original behaviour it is right for ASCII, and as near to it as Hugging Face comes for others.
    """
    model = models.WordPiece(
        ids, unk_token=unk, max_input_chars_per_word=wordpiece.longest_word, continuing_subword_prefix=CONTINUATION
    )
    engine = tokenizers.Tokenizer(model)
    if prepared:
        engine.pre_tokenizer = wordpiece.cutter()
    else:
        engine.normalizer = wordpiece.rust_normalizer()
        engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return engine


def without_surrogates(texts: list[str]) -> list[str]:
    """The texts with half surrogate pairs, which are no Unicode and which Rust refuses, as U+FFFD.

    JSON can bring them. U+FFFD is as long as what it replaces, so offsets hold, and normalization drops it.
    """
    return [text if text.isascii() else _SURROGATES.sub("\ufffd", text) for text in texts]


def _has_marks(text: str) -> bool:
    return any(unicodedata.category(character).startswith("M") for character in set(text))


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
