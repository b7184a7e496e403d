"""Vectors of texts from pairs: the verbs, what they leave behind, and sentence-transformers beside them."""

import json

import numpy as np
import pytest

import dokkai as package
from command_line import dokkai, make_home, works
from dokkai.model.sentence_files import read_sentence_files, write_sentence_files

TEXTS = ["A lighthouse stands on the rock.", "Who built it?", "A volcano " * 40, "", "The King's  crown"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


@pytest.fixture(scope="module", params=["mean", "cls", "max"])
def tuned(request, home, tmp_path_factory):
    """A directory tuned for three steps, and what the verb printed."""
    at = tmp_path_factory.mktemp("tuned")
    rows = [f"A river {i}.\tThe river {i} runs.\t{i % 6}" for i in range(24)]
    (at / "pairs.tsv").write_text("text\tpair\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    words = ["--from", home / "encoder", "--train", at / "pairs.tsv", "--dev", at / "pairs.tsv", "--out", at / "run"]
    settings = [
        "task.positive=2",
        "task.max_length=48",
        f"task.pooling={request.param}",
        "train.steps=3",
        "train.learning_rate=1e-3",
    ]
    done = dokkai("finetune", "sentence-vectors", *words, *settings, "train.batch_size=8", "--json")
    assert done.code == 0, done.err
    return at / "run", done, request.param


def test_before_and_after(tuned):
    directory, done, _ = tuned
    result = json.loads(done.out)
    assert {"spearman", "pearson", "before/spearman", "before/pearson"} <= result.keys()
    assert result["pearson"] != pytest.approx(result["before/pearson"], abs=1e-3)
    assert "before training: spearman" in done.err
    assert "16 of 24 pairs are alike; the others are not trained on" in done.err
    record = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    assert record["metrics"]["before/spearman"] == result["before/spearman"]


def test_embed_and_predict(tuned):
    """The pooling is that of the task, and nothing is said against its vectors; the cosine is that of the vectors."""
    directory, _, pooling = tuned
    done = dokkai("embed", directory, stdin="\n".join(TEXTS[:2]))
    assert "not tuned" not in done.err
    vectors = [np.array(json.loads(line)["vector"]) for line in done.out.splitlines()]
    given = works("embed", directory, "--pooling", pooling, stdin="\n".join(TEXTS[:2]))
    assert done.out == given
    record = json.dumps({"text": TEXTS[0], "pair": TEXTS[1], "id": "x"})
    found = json.loads(works("predict", directory, stdin=record))
    cosine = vectors[0] @ vectors[1] / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[1])
    assert found == {"id": "x", "text": TEXTS[0], "pair": TEXTS[1], "similarity": pytest.approx(cosine, abs=1e-4)}


def test_sentence_transformers_gives_the_same_vectors(tuned):
    from sentence_transformers import SentenceTransformer

    directory = tuned[0]
    theirs = SentenceTransformer(str(directory), device="cpu")
    assert theirs.max_seq_length == 48
    pipeline = package.load(directory, device="cpu", precision="fp32")
    ours = np.stack(pipeline.embed(TEXTS))
    np.testing.assert_allclose(theirs.encode(TEXTS), ours, atol=1e-5)
    lines = works("embed", directory, stdin="\n".join(TEXTS)).splitlines()
    np.testing.assert_allclose([json.loads(line)["vector"] for line in lines], ours, atol=2e-2)  # perhaps in bf16


def test_their_directory_opens_here(home, tmp_path):
    """Without a task.json: pooling and length are read from their files, as they write them today and did before."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = Transformer(str(home / "encoder"), max_seq_length=24)
    theirs = SentenceTransformer(modules=[transformer, Pooling(64, pooling_mode="max")], device="cpu")
    theirs.save(str(tmp_path / "theirs"))
    pipeline = package.load(tmp_path / "theirs", device="cpu", precision="fp32")
    assert (pipeline.task.kind, pipeline.pooling, pipeline.task.settings.max_length) == ("similarity", "max", 24)
    np.testing.assert_allclose(theirs.encode(TEXTS[:2]), np.stack(pipeline.embed(TEXTS[:2])), atol=1e-5)


def test_files(tmp_path):
    write_sentence_files(tmp_path, "cls", 99, 32)
    assert json.loads((tmp_path / "modules.json").read_text(encoding="utf-8")) == [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    assert json.loads((tmp_path / "1_Pooling" / "config.json").read_text(encoding="utf-8")) == {
        "word_embedding_dimension": 32,
        "pooling_mode_mean_tokens": False,
        "pooling_mode_cls_token": True,
        "pooling_mode_max_tokens": False,
    }
    assert read_sentence_files(tmp_path) == ("cls", 99)
    for unknown in (
        {"pooling_mode": "lasttoken"},
        {"pooling_mode": ["cls", "mean"]},
        {"pooling_mode": 3},
        {"pooling_mode": [{}]},
        {},
        [],
    ):
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(unknown), encoding="utf-8")
        assert read_sentence_files(tmp_path) is None
    several = {"pooling_mode_mean_tokens": True, "pooling_mode_weightedmean_tokens": True}
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(several), encoding="utf-8")
    assert read_sentence_files(tmp_path) is None
    assert read_sentence_files(tmp_path / "1_Pooling") is None


@pytest.mark.parametrize("name", ["models.Dense", "base.modules.dense.Dense"])
def test_another_layer_behind_the_pooling(tmp_path, name, capsys):
    """As in LaBSE: without it the vectors are others. What only makes them as long as each other does no harm."""
    write_sentence_files(tmp_path, "cls", 99, 32)
    modules = json.loads((tmp_path / "modules.json").read_text(encoding="utf-8"))
    normalize = {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}
    (tmp_path / "modules.json").write_text(json.dumps([*modules, normalize]), encoding="utf-8")
    assert read_sentence_files(tmp_path) == ("cls", 99)
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": f"sentence_transformers.{name}"}
    for others in ([*modules, dense], [*modules, dense, normalize], {"0": "Transformer"}):
        (tmp_path / "modules.json").write_text(json.dumps(others), encoding="utf-8")
        assert read_sentence_files(tmp_path) is None
    line = f"{tmp_path}/modules.json: Dense is not supported; the vectors are those of the encoder alone"
    assert capsys.readouterr().err.splitlines() == [line] * 2
