"""Learning a WordPiece vocabulary from text, the same text always giving the same vocabulary."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray
from tokenizers import trainers

from dokkai.errors import UserError
from dokkai.progress import Progress, say
from dokkai.tokenization.tokenizer import SpecialTokens, Tokenizer
from dokkai.tokenization.tokens import CONTINUATION
from dokkai.tokenization.wordpiece import (
    HUGGINGFACE,
    WordPieceBackend,
    WordPieceSettings,
    build_engine,
    without_surrogates,
)

_MULTIPLE = 64  # an embedding table of this many rows is fast on every device
_BATCH = 1 << 20  # characters handed on at a time
_ALPHABET = 1000  # characters, if they cover the text
_COVERED = 0.9995  # of a text, where more are needed: what SentencePiece advises for Japanese and Chinese


def train_tokenizer(
    texts: Iterable[str],
    size: int = 30000,
    lowercase: bool = True,
    min_frequency: int = 2,
    special_tokens: Sequence[str] = (),
    limit_alphabet: int | None = None,
    behaviour: str = HUGGINGFACE,
    num_characters: int | None = None,
) -> Tokenizer:
    """Learn ``size`` entries, rounded up to a multiple of 64, from lines of text.

    Pieces are joined by falling frequency (byte-pair encoding with ``##``: Google's own trainer was never published).
    The ids 0 to 4 are [PAD] [UNK] [CLS] [SEP] [MASK], then come ``special_tokens``, the ``limit_alphabet`` most
    frequent characters (None: 1,000, or as many as make up 99.95 % of the text, as in Japanese and Chinese, up to a
    quarter of ``size``), the same as ``##`` pieces where a word can go on with them, and the pieces learned; a pair
    seen less than ``min_frequency`` times is not joined. Too little text fills the last places up to a multiple of 64
    with [unused0], [unused1], ... The texts are read twice: a generator is copied to a temporary file meanwhile.
    ``num_characters``: about how many there are, for the time left that is shown.
    ``behaviour``: text is cut and prepared as by the release of 2018 ("original") or by Hugging Face ("huggingface").
    UserError: no text, an empty special token, a ``size`` too small for special tokens and alphabet, no such behaviour.
    """
    wordpiece = WordPieceSettings(lowercase=lowercase, behaviour=behaviour)
    special = _special(special_tokens)
    rounded = _round_up(size)
    if rounded != size:
        say(f"vocabulary size {size} rounded up to {rounded}, a multiple of {_MULTIPLE}")
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as copy:
        again = copy if iter(texts) is texts else None
        counts, total = _count_characters(texts, wordpiece, again, num_characters)
        limit = _usual_limit(counts, rounded) if limit_alphabet is None else limit_alphabet
        fixed = [*special.all(), *_alphabet(counts, wordpiece, limit)]
        if len(fixed) > rounded:
            raise UserError(
                f"a vocabulary of {rounded} is too small: special tokens and the characters of the text alone are "
                f"{len(fixed)} entries; raise size or lower limit_alphabet"
            )
        source = texts if again is None else _rewound(again)
        vocabulary = _learn(source, fixed, rounded, min_frequency, wordpiece, total)
    if len(vocabulary) < rounded:
        target = _round_up(len(vocabulary))
        say(f"the text yields {len(vocabulary)} entries of the {rounded} asked for; the vocabulary has {target}")
        vocabulary += _unused(vocabulary, target - len(vocabulary))
    return Tokenizer(WordPieceBackend(vocabulary, special.unk, special.all(), wordpiece), special)


def _special(extra: Sequence[str]) -> SpecialTokens:
    for token in extra:
        if not token or token != "".join(token.split()):
            raise UserError(f"the special token {token!r} is empty or has white space in it; write it as in [NAME]")
    roles = SpecialTokens().all()
    return SpecialTokens(extra=tuple(token for token in dict.fromkeys(extra) if token not in roles))


def _round_up(size: int) -> int:
    return -(-size // _MULTIPLE) * _MULTIPLE


def _unused(vocabulary: Sequence[str], count: int) -> list[str]:
    taken = set(vocabulary)
    names = (f"[unused{number}]" for number in range(count + len(taken)))
    return [name for name in names if name not in taken][:count]


def _batches(texts: Iterable[str], wordpiece: WordPieceSettings) -> Iterator[list[str]]:
    """The texts a million characters at a time; for the original behaviour prepared: the engine cannot do that."""
    normalize = wordpiece.normalizer().normalize_str if wordpiece.is_original else None
    batch: list[str] = []
    length = 0
    for text in texts:
        batch.append(text)
        length += len(text)
        if length >= _BATCH:
            yield _prepared(batch, normalize)
            batch, length = [], 0
    if batch:
        yield _prepared(batch, normalize)


def _prepared(batch: list[str], normalize: Callable[[str], str] | None) -> list[str]:
    batch = without_surrogates(batch)
    return [normalize(text) for text in batch] if normalize else batch


def _count_characters(
    texts: Iterable[str], wordpiece: WordPieceSettings, copy: IO[str] | None, expected: int | None
) -> tuple[Counter[str], int]:
    """How often each character occurs, and how many there are in all."""
    # Counted by code point in bulk, then normalized once per distinct character: WordPiece's normalization looks at
    # one character at a time (but for the order of combining marks, which changes no count). What the original does
    # with a capital sigma depends on its neighbours, but there the texts are prepared already.
    totals: NDArray[np.int64] = np.zeros(0x110000, dtype=np.int64)
    with Progress("counting characters", expected, "characters") as progress:
        for batch in _batches(texts, wordpiece):
            joined = "\n".join(batch)
            counts = np.bincount(np.frombuffer(joined.encode("utf-32-le"), dtype=np.uint32))
            totals[: len(counts)] += counts
            if copy is not None:
                _copy(joined, copy)
            progress.advance(len(joined))
    normalizer = wordpiece.normalizer()
    result: Counter[str] = Counter()
    for code in np.flatnonzero(totals).tolist():
        for character in normalizer.normalize_str(chr(code)):
            if not character.isspace():
                result[character] += int(totals[code])
    if not result:
        raise UserError("there is no text to learn a vocabulary from: the files hold only white space, or nothing")
    return result, int(totals.sum())


def _copy(text: str, copy: IO[str]) -> None:
    try:
        copy.write(text)
        copy.write("\n")
    except OSError as error:
        raise UserError(
            f"cannot copy the text to a temporary file in {tempfile.gettempdir()} ({error.strerror}); "
            "free space there, set TMPDIR, or give the texts as a list"
        ) from error


def _rewound(copy: IO[str]) -> IO[str]:
    copy.seek(0)
    return copy


def _usual_limit(counts: Counter[str], size: int) -> int:
    covered = np.cumsum(sorted(counts.values(), reverse=True)) / counts.total()
    return max(_ALPHABET, min(int(np.searchsorted(covered, _COVERED)) + 1, size // 4))


def _alphabet(counts: Counter[str], wordpiece: WordPieceSettings, limit: int) -> list[str]:
    by_frequency = sorted(counts, key=lambda character: (-counts[character], character))
    kept = sorted(by_frequency[:limit])
    left_out = sum(counts[character] for character in by_frequency[limit:])
    if left_out:
        share = left_out / counts.total()
        say(
            f"{len(by_frequency) - limit} of {len(by_frequency)} characters are too rare for the alphabet of {limit}; "
            f"their words ({share:.3%} of the characters) become [UNK]"
        )
    normalizer, cutter = wordpiece.normalizer(), wordpiece.cutter()
    continuing = [c for c in kept if len(cutter.pre_tokenize_str(normalizer.normalize_str("a" + c))) == 1]
    return kept + [CONTINUATION + character for character in continuing]


def _learn(
    texts: Iterable[str], fixed: list[str], size: int, min_frequency: int, wordpiece: WordPieceSettings, total: int
) -> list[str]:
    # The trainer of `tokenizers` numbers "##" characters, and breaks ties between characters, in the order of a hash
    # table that changes from run to run, and so learns other pieces each time. Given all single characters in a fixed
    # order as "special" tokens, and none to choose itself (limit_alphabet=0), it is deterministic.
    engine = build_engine({"[UNK]": 0}, "[UNK]", wordpiece, prepared=wordpiece.is_original)
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=fixed,
        limit_alphabet=0,
        continuing_subword_prefix=CONTINUATION,
        show_progress=False,
    )
    with Progress("learning the vocabulary", total, "characters") as progress:
        engine.train_from_iterator(_counted(texts, wordpiece, progress), trainer)
    ids = engine.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def _counted(texts: Iterable[str], wordpiece: WordPieceSettings, progress: Progress) -> Iterator[list[str]]:
    for batch in _batches(texts, wordpiece):
        yield batch
        progress.advance(sum(map(len, batch)))
