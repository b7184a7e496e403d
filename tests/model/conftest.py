"""What all tests of the model share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    """Small products are fastest on one thread, and on a busy machine by far."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
