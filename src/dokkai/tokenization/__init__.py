"""Text to tokens that know their place in the original text; no torch here."""

from dokkai.tokenization.encoding import Encoding
from dokkai.tokenization.files import TOKENIZER_FILES, load_tokenizer, save_tokenizer
from dokkai.tokenization.tokenizer import Tokenizer
from dokkai.tokenization.tokens import Tokens
from dokkai.tokenization.vocabulary import train_tokenizer

__all__ = ["TOKENIZER_FILES", "Encoding", "Tokenizer", "Tokens", "load_tokenizer", "save_tokenizer", "train_tokenizer"]
