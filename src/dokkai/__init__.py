"""dokkai: BERT, complete. Raw text in, a reading model out.

The public names are loaded when they are first used, so that ``import dokkai`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dokkai.converting import convert
    from dokkai.data.prepare import prepare
    from dokkai.errors import UserError
    from dokkai.pipeline import Answer, Pipeline, load
    from dokkai.reading.answers import Collection, FoundAnswer, ask
    from dokkai.reading.documents import Document, read_documents
    from dokkai.tokenization import Tokenizer, load_tokenizer, save_tokenizer, train_tokenizer
    from dokkai.training.finetune import finetune
    from dokkai.training.pretrain import pretrain
    from dokkai.training.probing import probe

_HOMES = {
    "Answer": "dokkai.pipeline",
    "Collection": "dokkai.reading.answers",
    "Document": "dokkai.reading.documents",
    "FoundAnswer": "dokkai.reading.answers",
    "Pipeline": "dokkai.pipeline",
    "Tokenizer": "dokkai.tokenization",
    "UserError": "dokkai.errors",
    "ask": "dokkai.reading.answers",
    "convert": "dokkai.converting",
    "finetune": "dokkai.training.finetune",
    "load": "dokkai.pipeline",
    "load_tokenizer": "dokkai.tokenization",
    "prepare": "dokkai.data.prepare",
    "pretrain": "dokkai.training.pretrain",
    "probe": "dokkai.training.probing",
    "read_documents": "dokkai.reading.documents",
    "save_tokenizer": "dokkai.tokenization",
    "train_tokenizer": "dokkai.tokenization",
}

__all__ = [
    "Answer",
    "Collection",
    "Document",
    "FoundAnswer",
    "Pipeline",
    "Tokenizer",
    "UserError",
    "ask",
    "convert",
    "finetune",
    "load",
    "load_tokenizer",
    "prepare",
    "pretrain",
    "probe",
    "read_documents",
    "save_tokenizer",
    "train_tokenizer",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dokkai' has no attribute '{name}'")
