"""What the tokenization tests share."""

import os
from pathlib import Path

import pytest
from small_vocabulary import build

from dokkai.tokenization import Tokenizer


@pytest.fixture
def tokenizer() -> Tokenizer:
    return build()


@pytest.fixture
def data() -> Path:
    if "DOKKAI_DATA" not in os.environ:
        pytest.skip("DOKKAI_DATA is not set")
    return Path(os.environ["DOKKAI_DATA"])
