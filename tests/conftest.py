"""What all tests share: one thread, the rule for development data, a small tokenizer and a prepared corpus."""

import os
from pathlib import Path

import pytest
import torch

from dokkai.data.prepare import prepare
from dokkai.tokenization import train_tokenizer

os.environ["HF_HUB_OFFLINE"] = "1"  # a wrong path must not be looked for on the network
torch.set_num_threads(1)  # on a busy machine with two cores several times as fast as the default

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def pytest_collection_modifyitems(items):
    if not os.environ.get("DOKKAI_DATA"):
        for item in items:
            if item.get_closest_marker("data"):
                item.add_marker(pytest.mark.skip(reason="DOKKAI_DATA is not set"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Where the development data is said to be, a test that needs it must not pass by being skipped."""
    report = yield
    needs_data = os.environ.get("DOKKAI_DATA") and item.get_closest_marker("data")
    if needs_data and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"DOKKAI_DATA is set, but the test was skipped: {report.longrepr}"
    return report


@pytest.fixture
def data():
    """The directory of the development data."""
    return Path(os.environ["DOKKAI_DATA"])


@pytest.fixture(scope="session")
def examples():
    """The directory of the example data."""
    return EXAMPLES


@pytest.fixture(scope="session")
def tokenizer():
    """512 entries learned from the example passages."""
    return train_tokenizer((EXAMPLES / "passages.txt").read_text(encoding="utf-8").splitlines(), size=512)


@pytest.fixture(scope="session")
def prepared(tokenizer, tmp_path_factory):
    """The example passages as a prepared directory: every fifth held out, training shards of about 3,000 tokens."""
    out = tmp_path_factory.mktemp("prepared") / "data"
    prepare([EXAMPLES / "passages.txt"], tokenizer, out, num_processes=1, shard_tokens=3000, heldout_share=0.2)
    return out
