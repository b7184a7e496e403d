"""What the tokenization tests share."""

import pytest
from small_vocabulary import build

from dokkai.tokenization import Tokenizer


@pytest.fixture
def tokenizer() -> Tokenizer:
    return build()
