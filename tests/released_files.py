"""The small checkpoints that real TensorFlow wrote (``golden/tf``), and ways to copy and to damage them."""

import lzma
import shutil
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).resolve().parent / "golden" / "tf"
REFERENCE = GOLDEN / "reference.py"
PUBLISHED = GOLDEN / "uncased_L-2_H-8_A-2"
KINDS = {  # Hugging Face's classes whose heads the release has, and those heads
    "BertModel": (),
    "BertForPreTraining": ("masked_lm", "next_sentence"),
    "BertForMaskedLM": ("masked_lm",),
    "BertForNextSentencePrediction": ("next_sentence",),
    "BertForSequenceClassification": ("classification",),
    "BertForQuestionAnswering": ("span",),
}
PREFIXES = {
    "published": PUBLISHED / "bert_model.ckpt",
    "sharded": GOLDEN / "sharded" / "bert_model.ckpt",
    "classifier": GOLDEN / "classifier" / "model.ckpt-1234",
    "squad": GOLDEN / "squad" / "model.ckpt-77",
    "kinds": GOLDEN / "kinds" / "kinds.ckpt",
}


def expected(name):
    """The tensors of a checkpoint as TensorFlow was given them."""
    found = dict(np.load(PREFIXES[name].parent / "expected.npz"))
    tensors = {key: torch.from_numpy(np.ascontiguousarray(value).reshape(value.shape)) for key, value in found.items()}
    return {key: value.view(torch.bfloat16) if key == "bfloat16" else value for key, value in tensors.items()}


def assert_bit_equal(found, wanted):
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        assert bits(found[name]) == bits(tensor), name


def bits(tensor):
    """The bytes of a tensor: two NaN of the same bits are equal, 0 and -0 are not."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def copy(name, folder):
    """A folder of its own with a checkpoint of the table above and what lies beside it; returns its prefix."""
    shutil.copytree(PREFIXES[name].parent, folder)
    return folder / PREFIXES[name].name


def unpack_many_blocks(folder):
    """The checkpoint whose index has several blocks; returns its prefix."""
    shutil.copytree(GOLDEN / "blocks", folder)
    packed = folder / "blocks.ckpt.index.xz"
    packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
    return folder / "blocks.ckpt"


def flip(path, at):
    """Change one bit of one byte."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
