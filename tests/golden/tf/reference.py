"""Real TensorFlow, for fixtures and comparisons: ``make FOLDER`` writes small checkpoints, ``read FOLDER`` reads some.

Run as a program of its own, by a Python that has TensorFlow (the extra ``reference``):

    python tests/golden/tf/reference.py make tests/golden/tf

The variables have the names and shapes that ``modeling.py``, ``run_pretraining.py``, ``run_classifier.py``,
``run_squad.py`` and ``optimization.py`` of the 2018 release give them; they are written out here once more, so that the
table under test is not its own witness. Beside each checkpoint lies ``expected.npz`` with the same tensors (bfloat16 as
16-bit numbers). The same TensorFlow gives the same bytes.
"""

import json
import lzma
import os
import struct
import sys
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

import cramjam
import google_crc32c
import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
CONFIG = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 8,
    "initializer_range": 0.02,
    "intermediate_size": 12,
    "max_position_embeddings": 24,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "type_vocab_size": 2,
    "vocab_size": 40,
}
WORDS = [
    "the",
    "a",
    "tower",
    "was",
    "built",
    "by",
    "ann",
    "in",
    "river",
    "light",
    "who",
    "where",
    "##s",
    "##ed",
    "##er",
    ".",
    ",",
    "?",
]
VOCABULARY = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]


def bert_shapes(layers=CONFIG["num_hidden_layers"]):
    D, F = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    shapes = {
        "bert/embeddings/word_embeddings": (CONFIG["vocab_size"], D),
        "bert/embeddings/token_type_embeddings": (CONFIG["type_vocab_size"], D),
        "bert/embeddings/position_embeddings": (CONFIG["max_position_embeddings"], D),
        "bert/pooler/dense/kernel": (D, D),
        "bert/pooler/dense/bias": (D,),
    }
    norms = ["bert/embeddings"]
    for number in range(layers):
        layer = f"bert/encoder/layer_{number}"
        for name in ("attention/self/query", "attention/self/key", "attention/self/value", "attention/output/dense"):
            shapes |= {f"{layer}/{name}/kernel": (D, D), f"{layer}/{name}/bias": (D,)}
        shapes |= {f"{layer}/intermediate/dense/kernel": (D, F), f"{layer}/intermediate/dense/bias": (F,)}
        shapes |= {f"{layer}/output/dense/kernel": (F, D), f"{layer}/output/dense/bias": (D,)}
        norms += [f"{layer}/attention/output", f"{layer}/output"]
    for name in norms:
        shapes |= {f"{name}/LayerNorm/{part}": (D,) for part in ("gamma", "beta")}
    return shapes


def pretraining_shapes():
    D, V = CONFIG["hidden_size"], CONFIG["vocab_size"]
    transform = "cls/predictions/transform"
    return bert_shapes() | {
        f"{transform}/dense/kernel": (D, D),
        f"{transform}/dense/bias": (D,),
        f"{transform}/LayerNorm/gamma": (D,),
        f"{transform}/LayerNorm/beta": (D,),
        "cls/predictions/output_bias": (V,),
        "cls/seq_relationship/output_weights": (2, D),
        "cls/seq_relationship/output_bias": (2,),
    }


def with_slots(shapes):
    """What the optimizer of the release adds to a checkpoint."""
    return shapes | {f"{name}/{slot}": shape for name, shape in shapes.items() for slot in ("adam_m", "adam_v")}


def draw(shapes, seed):
    random = np.random.RandomState(seed)
    return {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in sorted(shapes.items())}


def save(values, prefix, steps=(None,), num_devices=1):
    """``tf.train.Saver`` in a graph of its own; with several devices each writes a data file."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default():
        for number, (name, value) in enumerate(values.items()):
            with tf.device(f"/cpu:{number % num_devices}"):
                tf1.get_variable(name, initializer=value)
        saver = tf1.train.Saver(sharded=num_devices > 1, save_relative_paths=True)
        with tf1.Session(config=tf1.ConfigProto(device_count={"CPU": num_devices})) as session:
            session.run(tf1.global_variables_initializer())
            for step in steps:
                saver.save(session, str(prefix), global_step=step, write_meta_graph=False)
    if steps == (None,):
        (prefix.parent / "checkpoint").unlink()  # the published archives have none
    expect(values, prefix.parent)


def expect(values, folder):
    bits = {name: value.view(np.uint16) if value.dtype == tf.bfloat16 else value for name, value in values.items()}
    np.savez_compressed(folder / "expected.npz", **bits)


def describe(folder, **changes):
    (folder / "bert_config.json").write_text(json.dumps(CONFIG | changes, indent=2) + "\n")
    tokens = VOCABULARY + [f"[unused{i}]" for i in range(1, CONFIG["vocab_size"] - len(VOCABULARY) + 1)]
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))


def make(at):
    D = CONFIG["hidden_size"]
    published = at / "uncased_L-2_H-8_A-2"
    save(draw(pretraining_shapes(), 1), published / "bert_model.ckpt")
    describe(published)

    save(draw(pretraining_shapes(), 2), at / "sharded" / "bert_model.ckpt", num_devices=3)
    describe(at / "sharded")

    values = draw(with_slots(bert_shapes() | {"output_weights": (3, D), "output_bias": (3,)}), 3)
    save(values | {"global_step": np.int64(1234)}, at / "classifier" / "model.ckpt", steps=(1000, 1234))

    values = draw(
        with_slots(bert_shapes(layers=1) | {"cls/squad/output_weights": (2, D), "cls/squad/output_bias": (2,)}), 4
    )
    save(values | {"global_step": np.int64(77)}, at / "squad" / "model.ckpt", steps=(77,))
    describe(at / "squad", num_hidden_layers=1)

    kinds(at / "kinds")
    many_blocks(at / "blocks")
    objects(at / "objects")
    snappy(published / "bert_model.ckpt.index", at / "snappy" / "bert_model.ckpt.index")


def kinds(folder):
    """Every kind of number, a scalar, an empty tensor, text, and a variable in slices."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.RandomState(5)
    names = [
        "float32",
        "float64",
        "float16",
        "int32",
        "int64",
        "int16",
        "int8",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "bool",
    ]
    values = {name: random.uniform(-100, 100, (3, 5)).astype(np.int64).astype(name) for name in names}
    values["bfloat16"] = random.normal(size=(7,)).astype(tf.bfloat16.as_numpy_dtype)
    values["scalar"] = np.float32(0.25)
    values["empty"] = np.zeros((0, 4), np.float32)
    values["a/byte/before/float32"] = np.arange(3, dtype=np.int8)  # then the next tensor begins at an odd place
    values["a/byte/before/the"] = np.arange(5, dtype=np.float32)
    text = {"text": np.array([b"one", b"two"], object), "quantized": np.zeros(2, np.int8)}
    with tf.Graph().as_default(), tf1.Session() as session:
        prefix = tf.constant(str(folder / "kinds.ckpt"))
        tensors = [tf.constant(value) for value in [*values.values(), text["text"]]]
        tensors += [tf.bitcast(tf.constant(text["quantized"]), tf.qint8), tf.ones((2, 4)), tf.ones((2, 4))]
        slices = ["", "", "4 4 0,2:-", "4 4 2,2:-"]
        names = [*values, "text", "quantized", "sliced", "sliced"]
        session.run(
            tf.raw_ops.SaveV2(
                prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(values) + slices, tensors=tensors
            )
        )
    expect(values, folder)


def many_blocks(folder):
    """More names than one block of the index has room for; the index packed, because it is long and hollow."""
    values = {f"{number:03d}/{'long name ' * 110}": np.float32(number) for number in range(600)}
    folder.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default(), tf1.Session() as session:
        tensors = [tf.constant(value) for value in values.values()]
        session.run(
            tf.raw_ops.SaveV2(
                prefix=str(folder / "blocks.ckpt"),
                tensor_names=list(values),
                shape_and_slices=[""] * len(values),
                tensors=tensors,
            )
        )
    index = folder / "blocks.ckpt.index"
    (folder / "blocks.ckpt.index.xz").write_bytes(lzma.compress(index.read_bytes()))
    index.unlink()


def objects(folder):
    """What TensorFlow 2 saves instead: a graph of objects."""
    folder.mkdir(parents=True, exist_ok=True)
    tf.train.Checkpoint(model=tf.Module(), kernel=tf.Variable([1.0, 2.0])).write(str(folder / "ckpt-1"))


def snappy(source, target):
    """The same index with its blocks compressed, as TensorFlow reads but, by its own setting, never writes it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    content = source.read_bytes()

    def varints(data, at, count):
        numbers = []
        for _ in range(count):
            number = shift = 0
            while True:
                number |= (data[at] & 127) << shift
                at, shift = at + 1, shift + 7
                if data[at - 1] < 128:
                    break
            numbers.append(number)
        return numbers

    def varint(number):
        return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)

    def append(block):
        packed = bytes(cramjam.snappy.compress_raw(block))
        handle = varint(len(out)) + varint(len(packed))
        crc = google_crc32c.value(packed + b"\1")
        out.extend(packed + b"\1" + struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF))
        return handle

    out = bytearray()
    *_, index_at, index_size = varints(content, len(content) - 48, 4)
    index = content[index_at : index_at + index_size]
    key_size = index[1]
    start, size = varints(index, 3 + key_size, 2)
    data = append(content[start : start + size])
    assert index[0] == 0 and len(index) == 3 + key_size + index[2] + 8, "one block of data"
    meta = append(struct.pack("<II", 0, 1))
    entry = bytes([0, key_size, len(data)]) + index[3 : 3 + key_size] + data
    footer = meta + append(entry + struct.pack("<II", 0, 1))
    target.write_bytes(bytes(out) + footer.ljust(40, b"\0") + content[-8:])
    for name in source.parent.glob("*.data-*"):  # TensorFlow itself must agree that this is a checkpoint
        (target.parent / name.name).write_bytes(name.read_bytes())
    prefix = str(target.with_suffix(""))
    expected = np.load(source.parent / "expected.npz")
    assert {name for name, _ in tf.train.list_variables(prefix)} == set(expected.files)
    for name in expected.files:
        assert np.array_equal(tf.train.load_variable(prefix, name), expected[name])
    for name in target.parent.glob("*.data-*"):
        name.unlink()


def read(folder):
    """Beside each checkpoint below the folder a ``PREFIX.npz`` with all its tensors as TensorFlow reads them."""
    for index in sorted(folder.rglob("*.index")):
        prefix = str(index.with_suffix(""))
        reader = tf.train.load_checkpoint(prefix)
        values = {name: reader.get_tensor(name) for name, _ in tf.train.list_variables(prefix)}
        bits = {name: value.view(np.uint16) if value.dtype == tf.bfloat16 else value for name, value in values.items()}
        np.savez(f"{prefix}.npz", **bits)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder]:
            make(Path(folder))
        case ["read", folder]:
            read(Path(folder))
        case _:
            sys.exit(__doc__)
