"""A tokenizer on disk: Hugging Face's ``vocab.txt``, ``tokenizer.json`` and ``tokenizer_config.json``."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from tokenizers import AddedToken, decoders, processors

from dokkai.errors import UserError
from dokkai.files import existing_file, fitted, read_json, write_json, write_text
from dokkai.hub import resolve
from dokkai.progress import say
from dokkai.tokenization.tokenizer import SpecialTokens, Tokenizer
from dokkai.tokenization.tokens import CONTINUATION
from dokkai.tokenization.wordpiece import HUGGINGFACE, AddedWord, WordPieceBackend, WordPieceSettings, build_engine

TOKENIZER_FILES = frozenset({"vocab.txt", "tokenizer.json", "tokenizer_config.json"})
"""What ``save_tokenizer`` writes."""
_UNLIMITED = 10**9  # Hugging Face writes 1e30 where a tokenizer has no limit
_PLAIN_CLASSES = frozenset(
    f"{name}{fast}"
    for name in ("Bert", "DistilBert", "Electra", "MobileBert", "ConvBert", "SqueezeBert", "LayoutLM", "PreTrained")
    for fast in ("Tokenizer", "TokenizerFast")
) | {"TokenizersBackend"}
_SETTINGS = {  # dokkai's setting: its name in tokenizer_config.json, its name in tokenizer.json's normalizer
    "lowercase": ("do_lower_case", "lowercase"),
    "strip_accents": ("strip_accents", "strip_accents"),
    "tokenize_chinese_chars": ("tokenize_chinese_chars", "handle_chinese_chars"),
    "clean_text": ("clean_text", "clean_text"),
}
_BEHAVIOUR = "dokkai_behaviour"  # a key of ours in tokenizer_config.json, which transformers ignores

_Id = Annotated[int, Field(strict=True, ge=0, le=1 << 24)]


def _content(token: Any) -> Any:
    """A token is written as a string, or as an object with its content and flags."""
    return token.get("content") if isinstance(token, dict) else token


def _listed(tokens: Any) -> Any:
    return list(tokens.values()) if isinstance(tokens, dict) else tokens


_Content = Annotated[str, BeforeValidator(_content)]
_Contents = Annotated[list[_Content] | None, BeforeValidator(_listed)]


class _Read(BaseModel):
    """What is read of an object in one of the files; null is as good as absent where the default is None."""

    model_config = ConfigDict(strict=True)


class _Added(_Read):
    content: str
    special: bool = False
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = True


class _AddedWithId(_Added):
    id: _Id


class _Config(_Read):
    """``tokenizer_config.json``; the last seven may be in ``special_tokens_map.json``, too."""

    added_tokens_decoder: dict[Annotated[_Id, Field(strict=False)], _Added] | None = None
    pad_token: _Content | None = None
    unk_token: _Content | None = None
    cls_token: _Content | None = None
    sep_token: _Content | None = None
    mask_token: _Content | None = None
    additional_special_tokens: _Contents = None
    extra_special_tokens: _Contents = None


class _Part(_Read):
    type: str = "nothing"


class _Model(_Part):
    type: str = "unknown"
    vocab: Any = None
    continuing_subword_prefix: str | None = CONTINUATION
    max_input_chars_per_word: int = Field(100, ge=1, le=1 << 24)


class _Normalizer(_Part):
    lowercase: bool = True
    strip_accents: bool | None = None
    handle_chinese_chars: bool = True
    clean_text: bool = True


class _Engine(_Read):
    """``tokenizer.json``."""

    model: _Model | None = None
    normalizer: _Normalizer | None = None
    pre_tokenizer: _Part | None = None
    post_processor: _Part | None = None
    added_tokens: list[_AddedWithId] | None = None


@dataclass
class _Found:
    """What a vocabulary file says, before special tokens are given their roles."""

    ids: dict[str, int]
    settings: dict[str, Any] = field(default_factory=dict)
    special: list[str] = field(default_factory=list)
    words: list[AddedWord] = field(default_factory=list)


def save_tokenizer(tokenizer: Tokenizer, directory: Path, model_max_length: int | None = None) -> None:
    """Write the three files so that ``transformers.AutoTokenizer`` opens them and gives the same ids.

    One of the original behaviour says so under a key that ``transformers`` ignores: there, its ids are Hugging Face's.
    ``model_max_length``: the longest input of the model, in tokens, if another than the tokenizer knows.
    """
    backend, special = tokenizer.backend, tokenizer.special
    if not isinstance(backend, WordPieceBackend):
        raise TypeError(f"{type(backend).__name__} is not the WordPiece backend; these files cannot hold it")
    directory = Path(directory)
    added = [_added_token(token, special=True) for token in special.all()]
    added += [{**asdict(word), "special": False} for word in backend.added]
    wordpiece = backend.wordpiece
    config: dict[str, Any] = {
        "tokenizer_class": "BertTokenizer",
        **{name: getattr(wordpiece, ours) for ours, (name, _) in _SETTINGS.items()},
        **{f"{role}_token": token for role, token in special.roles().items()},
        "added_tokens_decoder": {str(tokenizer.id(token["content"])): token for token in added},
    }
    if wordpiece.is_original:
        config[_BEHAVIOUR] = wordpiece.behaviour
    if special.extra:
        config["additional_special_tokens"] = list(special.extra)
    limit = model_max_length or tokenizer.model_max_length
    if limit is not None:
        config["model_max_length"] = limit
    # The longest first: where it does not fit on the disk, nothing is written.
    write_text(directory / "tokenizer.json", _engine_json(tokenizer, backend, added))
    write_text(directory / "vocab.txt", "".join(f"{token}\n" for token in backend.vocabulary))
    write_json(directory / "tokenizer_config.json", config)


def load_tokenizer(directory: str | Path, behaviour: str | None = None, lowercase: bool | None = None) -> Tokenizer:
    """Read a tokenizer that dokkai or Hugging Face wrote: ``tokenizer.json``, else ``vocab.txt``.

    What is no directory is a name on the Hugging Face hub, ``name@revision``.

    ``tokenizer_config.json`` is heeded if there is one; where it and ``tokenizer.json`` disagree it decides, as with
    Hugging Face, and that is said. A bare ``vocab.txt`` that has upper-case letters counts as cased; ``lowercase``
    decides it, whatever the files say.

    ``behaviour`` is "original" (the release of 2018) or "huggingface" (what ``transformers`` gives for the directory);
    None means what the directory was saved with, or "huggingface" if that says nothing. UserError: no such directory,
    no vocabulary in it, another kind of tokenizer, a required special token missing, no such behaviour, settings that
    the original has not.
    """
    directory = resolve(directory, weights=False)
    config = _optional_json(directory / "tokenizer_config.json", "tokenizer configuration")
    if lowercase is not None:
        config["do_lower_case"] = lowercase
    if (directory / "tokenizer.json").exists():
        found = _from_tokenizer_json(directory / "tokenizer.json")
    elif (directory / "vocab.txt").exists():
        found = _from_vocab_txt(directory, config)
    else:
        raise UserError(f"{directory} has no vocabulary: neither tokenizer.json nor vocab.txt is there")
    _apply_config(found, config, directory)
    _apply_behaviour(found, str(config.get(_BEHAVIOUR) or HUGGINGFACE), behaviour, directory)
    special = _special_tokens(found, config, directory)
    vocabulary = _by_id(found.ids, directory)
    try:
        wordpiece = WordPieceSettings(**found.settings)
    except UserError as error:
        raise UserError(f"{directory}: {error}") from error
    hidden = special.all()
    words = [word for word in found.words if word.content not in hidden]
    if words and wordpiece.is_original:
        say(f"{directory}: the original behaviour does not look for {_named(words)} in a text before it cuts words")
        words = []
    backend = WordPieceBackend(vocabulary, special.unk, hidden, wordpiece, words)
    limit = config.get("model_max_length")
    known = int(limit) if isinstance(limit, int | float) and 0 < limit < _UNLIMITED else None
    return Tokenizer(backend, special, known)


def _added_token(content: str, special: bool) -> dict[str, Any]:
    return {**asdict(AddedWord(content, normalized=not special)), "special": special}


def _engine_json(tokenizer: Tokenizer, backend: WordPieceBackend, added: list[dict[str, Any]]) -> str:
    special = tokenizer.special
    ids = {token: i for i, token in enumerate(backend.vocabulary)}
    engine = build_engine(ids, special.unk, backend.wordpiece)
    for token in added:
        engine.add_tokens([AddedToken(**token)])
    engine.post_processor = processors.TemplateProcessing(
        single=f"{special.cls}:0 $A:0 {special.sep}:0",
        pair=f"{special.cls}:0 $A:0 {special.sep}:0 $B:1 {special.sep}:1",
        special_tokens=[(special.cls, tokenizer.cls_id), (special.sep, tokenizer.sep_id)],
    )
    engine.decoder = decoders.WordPiece(prefix=CONTINUATION)
    return str(engine.to_str(pretty=True))


def _optional_json(path: Path, what: str) -> dict[str, Any]:
    if not path.exists():
        return {}
    value = read_json(path, what)
    if not isinstance(value, dict):
        raise UserError(f"{path}: the {what} must be a JSON object, not a {type(value).__name__}")
    return value


def _from_tokenizer_json(path: Path) -> _Found:
    content: _Engine = fitted(_Engine, _optional_json(path, "tokenizer"), str(path))
    model, normalizer = content.model or _Model(), content.normalizer or _Normalizer()
    if model.type != "WordPiece" or model.continuing_subword_prefix != CONTINUATION:
        raise UserError(f"{path} is not a BERT WordPiece tokenizer: its model is {model.type}; choose a BERT model")
    parts = {
        "normalizer": (normalizer, ("BertNormalizer",)),
        "pre_tokenizer": (content.pre_tokenizer or _Part(), ("BertPreTokenizer",)),
        "post_processor": (content.post_processor or _Part(), ("BertProcessing", "TemplateProcessing", "nothing")),
    }
    for name, (part, accepted) in parts.items():
        if part.type not in accepted:
            raise UserError(f"{path} is not a BERT WordPiece tokenizer: its {name} is {part.type}, not {accepted[0]}")
    if not isinstance(model.vocab, dict):
        raise UserError(f"{path}: no model.vocab in it, the ids of the tokens; the file is damaged, fetch it again")
    found = _Found(fitted(dict[str, _Id], model.vocab, f"{path}: model.vocab"))
    given = normalizer.model_dump(exclude_unset=True)
    found.settings = {ours: given[theirs] for ours, (_, theirs) in _SETTINGS.items() if theirs in given}
    found.settings["max_word_length"] = model.max_input_chars_per_word
    _take_added(found, {token.id: token for token in content.added_tokens or []})
    return found


def _from_vocab_txt(directory: Path, config: Mapping[str, Any]) -> _Found:
    # As with Hugging Face the model may say it in its place: older Japanese models do.
    model = _optional_json(directory / "config.json", "model configuration")
    kind = str(config.get("tokenizer_class") or model.get("tokenizer_class") or "BertTokenizer")
    if kind not in _PLAIN_CLASSES:
        raise UserError(f"{directory} is not a BERT WordPiece tokenizer: it says it is {kind}; choose a BERT model")
    path = existing_file(directory / "vocab.txt")
    try:
        # Not splitlines(): characters like U+2028 are entries of published vocabularies.
        lines = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; a vocabulary is one UTF-8 token a line") from error
    found = _Found({token: i for i, token in enumerate(lines)})  # twice in the file: the last counts, as of old
    cased = any(re.search("[A-Z]", token) and not token.startswith("[") for token in lines)
    if config.get("do_lower_case") is None:
        found.settings["lowercase"] = not cased
        say(
            f"{path}: nothing says do_lower_case; the vocabulary has {'' if cased else 'no '}upper-case letters, so "
            f"text is {'not ' if cased else ''}lower-cased"
        )
    path = directory / "added_tokens.json"
    added = fitted(dict[str, _Id], _optional_json(path, "list of added tokens"), str(path))
    _take_added(found, {i: _Added(content=token) for token, i in added.items()})
    _take_added(found, _named_tokens(directory, config).added_tokens_decoder or {})
    return found


def _take_added(found: _Found, added: Mapping[int, _Added]) -> None:
    for i, token in sorted(added.items()):
        word = AddedWord(**token.model_dump(include={item.name for item in fields(AddedWord)}))
        found.ids[word.content] = i
        found.words = [other for other in found.words if other.content != word.content]
        if token.special:
            found.special.append(word.content)
        else:
            found.words.append(word)


def _apply_config(found: _Found, config: Mapping[str, Any], directory: Path) -> None:
    for ours, (theirs, _) in _SETTINGS.items():
        if theirs not in config or (config[theirs] is None and ours != "strip_accents"):
            continue
        if not isinstance(config[theirs], bool | None):
            raise UserError(
                f"{directory}: tokenizer_config.json says {theirs}={config[theirs]!r}; it must be true or false"
            )
        if found.settings.get(ours, config[theirs]) != config[theirs]:
            say(
                f"{directory}: tokenizer_config.json says {theirs}={config[theirs]}, tokenizer.json "
                f"{found.settings[ours]}; the first counts"
            )
        found.settings[ours] = config[theirs]


def _apply_behaviour(found: _Found, saved: str, asked: str | None, directory: Path) -> None:
    behaviour = found.settings["behaviour"] = asked or saved
    if behaviour != HUGGINGFACE or saved != HUGGINGFACE:
        found.settings.pop("max_word_length", None)  # the longest word belongs to the behaviour
    if behaviour != saved and saved != HUGGINGFACE:
        say(f"{directory}: saved with the {saved} behaviour, opened with {behaviour}, as asked")


def _named(words: list[AddedWord]) -> str:
    rest = f" and {len(words) - 1} more added tokens" if len(words) > 1 else ""
    return f"'{words[0].content}'{rest}"


def _named_tokens(directory: Path, config: Mapping[str, Any]) -> _Config:
    apart = _optional_json(directory / "special_tokens_map.json", "list of special tokens")
    named: _Config = fitted(_Config, {**apart, **config}, f"{directory}: the tokenizer configuration")
    return named


def _special_tokens(found: _Found, config: Mapping[str, Any], directory: Path) -> SpecialTokens:
    named = _named_tokens(directory, config)
    roles = {role: getattr(named, f"{role}_token") or token for role, token in SpecialTokens().roles().items()}
    for role, token in roles.items():
        if token not in found.ids:
            raise UserError(f"{directory}: the vocabulary has no {token} (the {role} token), which BERT needs; add it")
    extra = [*found.special, *(named.additional_special_tokens or []), *(named.extra_special_tokens or [])]
    kept = [token for token in dict.fromkeys(extra) if token in found.ids and token not in roles.values()]
    kept.sort(key=found.ids.__getitem__)
    return SpecialTokens(**roles, extra=tuple(kept))


def _by_id(ids: Mapping[str, int], directory: Path) -> list[str]:
    tokens = {i: token for token, i in ids.items()}
    size = max(tokens) + 1
    if len(tokens) < size:  # entries that stood twice in a vocab.txt leave such holes
        say(f"{directory}: {size - len(tokens)} of {size} ids have no token; they stay unused")
    return [tokens.get(i, f"[no token {i}]") for i in range(size)]
