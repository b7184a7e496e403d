"""Beside real TensorFlow, in a process of its own: it reads what we write, and still writes our fixtures."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from tiny_bert import NUM_LABELS, draw_wide, tiny_config

from dokkai.model.heads import Model
from dokkai.model.names import to_google
from dokkai.model.tf.bundle import write_bundle
from dokkai.model.tf.checkpoint import save_checkpoint
from dokkai.model.tf.table import read_table, write_table
from released_files import GOLDEN, KINDS, REFERENCE, assert_bit_equal

DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint64, torch.uint32, torch.uint16, torch.uint8),
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def tensorflow():
    if find_spec("tensorflow") is None:
        assert not os.environ.get("DOKKAI_REFERENCE"), "TensorFlow should be here and is not"
        pytest.skip("TensorFlow is not installed; `make test-all` installs it")


def run(*words):
    done = subprocess.run([sys.executable, REFERENCE, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """What we wrote, and what TensorFlow reads in it, by the name of the checkpoint. It starts slowly: once for all."""
    folder, written = tmp_path_factory.mktemp("written"), {}
    for kind in KINDS:
        model = draw_wide(Model(tiny_config(), KINDS[kind], NUM_LABELS), 4)
        save_checkpoint(model, folder / kind)
        written[kind] = to_google(model.state_dict())
    random = torch.Generator().manual_seed(0)
    numbers = {str(dtype): torch.randint(0, 100, (3, 5), generator=random).to(dtype) for dtype in DTYPES}
    numbers |= {"scalar": torch.tensor(1.5), "empty": torch.zeros(0, 3), "日本": torch.ones(2)}
    half = torch.randn(7, generator=random).bfloat16()
    write_bundle(numbers | {"half": half}, folder / "kinds" / "x.ckpt")
    written["kinds"] = numbers | {"half": half.view(torch.uint16)}
    for block_size in (200, 262144):
        many = {f"layer_{i}/{'deep/' * (i % 7)}kernel": torch.tensor(float(i)) for i in range(500)}
        write_bundle(many, folder / f"blocks{block_size}" / "x.ckpt")
        path = folder / f"blocks{block_size}" / "x.ckpt.index"
        path.write_bytes(write_table(list(read_table(path)), block_size))
        written[f"blocks{block_size}"] = many
    run("read", folder)
    found = {path.parent.name: dict(np.load(path)) for path in folder.rglob("*.npz")}
    return {name: (tensors, found[name]) for name, tensors in written.items()}


@pytest.mark.parametrize("name", [*KINDS, "kinds", "blocks200", "blocks262144"])
def test_tensorflow_reads_what_we_wrote(name, pairs):
    """Models with each head, every kind of number, an index of many blocks and of one: bit for bit."""
    written, found = pairs[name]
    assert_bit_equal({key: torch.from_numpy(value) for key, value in found.items()}, written)


def test_the_fixtures_are_what_tensorflow_writes_today(tmp_path):
    run("make", tmp_path)
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(GOLDEN) for path in GOLDEN.rglob("*") if path.is_file() and path.suffix != ".py"}
    assert made == {path for path in kept if "__pycache__" not in path.parts}
    for path in made:
        if path.suffix == ".npz":
            left, right = dict(np.load(tmp_path / path)), dict(np.load(GOLDEN / path))
            assert left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left), path
        else:
            assert (tmp_path / path).read_bytes() == (GOLDEN / path).read_bytes(), path
