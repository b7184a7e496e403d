"""A model by name: fetched once, found in the cache, and what is said where it is in neither."""

import json
import os
import subprocess
import sys

import pytest

from command_line import dokkai, fails, works
from dokkai.errors import UserError
from dokkai.hub import resolve
from dokkai.model.checkpoint import save_model
from dokkai.model.config import ModelConfig
from dokkai.model.heads import Model
from dokkai.pipeline import load
from dokkai.tokenization import load_tokenizer, save_tokenizer
from hub_server import GATED, PRIVATE, TOKEN, Hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = "http://127.0.0.1:9"  # nobody listens there
PROGRAM = """
import json, sys
from dokkai.errors import UserError
from dokkai.hub import resolve
for name in sys.argv[1:]:
    try:
        print(json.dumps(str(resolve(name))))
    except UserError as error:
        print(json.dumps({"error": str(error)}))
"""


def ask(names, cache, **environment):
    """What ``resolve`` says to each name in a process of its own: a path, or the error."""
    values = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    values |= {"HF_HOME": str(cache), "NO_PROXY": "127.0.0.1", **environment}
    done = subprocess.run([sys.executable, "-c", PROGRAM, *names], env=values, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    errors = [answer["error"] for answer in answers if isinstance(answer, dict)]
    assert not any("\n" in error for error in errors)
    return answers


@pytest.fixture(scope="module")
def model(tokenizer, tmp_path_factory):
    """A tiny pre-trained model, as a directory."""
    directory = tmp_path_factory.mktemp("hub") / "tiny"
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    save_tokenizer(tokenizer, directory, 32)
    save_model(Model(config, ("masked_lm",)), directory)
    return directory


def in_cache(home, name, model, commit=COMMIT, **refs):
    """A copy in a cache, laid out by hand as ``huggingface_hub`` lays it out; returns the snapshot."""
    folder = home / "hub" / ("models--" + name.replace("/", "--"))
    snapshot = folder / "snapshots" / commit
    (folder / "blobs").mkdir(parents=True)
    (folder / "refs").mkdir()
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(model.iterdir())):
        (folder / "blobs" / str(number)).write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    for ref, value in ({"main": commit} | refs).items():
        (folder / "refs" / ref).write_text(value)
    return snapshot


def test_a_directory_is_itself(model):
    assert resolve(model) == model
    assert resolve(str(model), weights=False) == model


@pytest.mark.parametrize("environment", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": NOWHERE}])
def test_what_is_in_the_cache(environment, model, tmp_path):
    """By its branch, a tag and its commit; without a network and with one that is down."""
    snapshot = in_cache(tmp_path, "tiny-bert", model, v1=COMMIT)
    other = in_cache(tmp_path, "owner/tiny-bert", model)
    names = ["tiny-bert", "tiny-bert@v1", f"tiny-bert@{COMMIT}", "owner/tiny-bert"]
    assert ask(names, tmp_path, **environment) == [str(snapshot)] * 3 + [str(other)]


def test_offline_and_not_in_the_cache(model, tmp_path):
    in_cache(tmp_path, "tiny-bert", model)
    lacking = in_cache(tmp_path, "owner/half", model)
    (lacking / "model.safetensors").unlink()
    unknown, revision, half = ask(["bert-base-uncased", "tiny-bert@v2", "owner/half"], tmp_path, HF_HUB_OFFLINE="1")
    assert unknown["error"] == (
        f"bert-base-uncased: no such model directory, not whole in the cache of the Hugging Face hub ({tmp_path}/hub), "
        "and HF_HUB_OFFLINE forbids to ask the hub; check the name, or give the directory of a model, or unset "
        "HF_HUB_OFFLINE"
    )
    assert revision["error"].startswith("tiny-bert@v2: no such model directory, not whole in the cache")
    assert half["error"].startswith(
        f"owner/half: what the Hugging Face hub, or its copy in the cache ({lacking}), holds under this name has no "
        "model.safetensors and no pytorch_model.bin"
    )


def test_no_network_and_not_in_the_cache(tmp_path):
    (unknown,) = ask(["google/bert_uncased"], tmp_path, HF_ENDPOINT=NOWHERE)
    assert unknown["error"] == (
        "google/bert_uncased: no such model directory, not whole in the cache of the Hugging Face hub "
        f"({tmp_path}/hub), and the hub ({NOWHERE}) cannot be reached (ConnectError); check the name, or give the "
        "directory of a model, or mend the connection"
    )


def test_fetching(model, tmp_path):
    """Only what is needed, pickles only where there is nothing else, each file once; then the cache is enough."""
    full, old = tmp_path / "full", tmp_path / "old"
    for directory in (full, old):
        directory.mkdir()
        for file in model.iterdir():
            (directory / file.name).write_bytes(file.read_bytes())
        for name in ("README.md", "tf_model.h5", "pytorch_model.bin", "training_args.bin", "onnx/config.json"):
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_bytes(b"{}")
    (old / "model.safetensors").unlink()
    hub = Hub()
    commit, pinned = hub.add("tiny-bert", full), hub.add("tiny-bert", old, "v1")
    wanted = sorted(path.name for path in model.iterdir())
    with hub.running() as address:
        (path,) = ask(["tiny-bert"], tmp_path, HF_ENDPOINT=address, HF_TOKEN=TOKEN)
        assert path == str(tmp_path / "hub" / "models--tiny-bert" / "snapshots" / commit)
        assert sorted(hub.fetched) == wanted
        assert TOKEN in hub.tokens
        hub.fetched.clear()
        again, other = ask(["tiny-bert", "tiny-bert@v1"], tmp_path, HF_ENDPOINT=address)
        assert (again, other.rsplit("/", 1)[1]) == (path, pinned)
        assert sorted(set(hub.fetched)) in (
            ["pytorch_model.bin"],
            sorted({*wanted, "pytorch_model.bin"} - {"model.safetensors"}),
        )
        assert len(hub.fetched) == len(set(hub.fetched))
    assert ask(["tiny-bert", "tiny-bert@v1"], tmp_path, HF_HUB_OFFLINE="1") == [path, other]


def test_what_the_hub_refuses(model, tmp_path):
    hub = Hub()
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.json").write_text("{}")
    (empty / "tf_model.h5").write_text("x")
    hub.add("tiny-bert", model)
    hub.add("owner/gated", model, access=GATED)
    hub.add("owner/private", model, access=PRIVATE)
    hub.add("owner/tensorflow", empty)
    names = ["owner/none", "owner/private", "owner/gated", "tiny-bert@v9", "owner/tensorflow"]
    with hub.running() as address:
        none, private, gated, revision, foreign = ask(names, tmp_path, HF_ENDPOINT=address)
        opened = ask(names[1:3], tmp_path, HF_ENDPOINT=address, HF_TOKEN=TOKEN)
    for name, answer in (("owner/none", none), ("owner/private", private)):
        assert answer["error"] == (
            f"{name}: no such model directory, and the Hugging Face hub has no such model, or only a private one; "
            "check the name, or give the directory of a model, or set HF_TOKEN"
        )
    assert gated["error"].startswith("owner/gated: the Hugging Face hub gives this model only to those who accepted")
    assert revision["error"] == "tiny-bert@v9: the Hugging Face hub has tiny-bert, but no revision 'v9' of it"
    assert "owner/tensorflow: what the Hugging Face hub, or its copy" in foreign["error"]
    assert all("snapshots" in path for path in opened)


@pytest.mark.parametrize(
    "name", ["./reader", "/runs/reader", "~/reader", "runs/reader/", "a/b/c", "../reader", "my run"]
)
def test_what_can_only_be_a_path(name, tmp_path, monkeypatch):
    """The hub is not asked, and not spoken of."""
    (tmp_path / "w").mkdir()
    monkeypatch.chdir(tmp_path / "w")  # nothing else beside it that could be meant
    with pytest.raises(UserError) as caught:
        resolve(name)
    assert str(caught.value) == f"{name}: no such model directory"


def test_a_path_with_a_slip(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "reader").mkdir(parents=True)
    (tmp_path / "runs" / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"^\./runs/raeder: no such model directory \(did you mean 'runs/reader'\?\)$"):
        resolve("./runs/raeder")
    with pytest.raises(
        UserError, match=r"^runs/raeder: no such model directory \(did you mean 'runs/reader'\?\), not "
    ):
        resolve("runs/raeder")
    with pytest.raises(UserError, match=r"^runs/notes.txt: no such model directory; it is a file, give the directory"):
        resolve("runs/notes.txt")


@pytest.fixture
def cached(model, tmp_path, monkeypatch):
    """The name of a model in the cache of this process and of those it starts, which are all offline."""
    from huggingface_hub import constants

    in_cache(tmp_path / "home", "owner/tiny-bert", model)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return "owner/tiny-bert"


def test_in_python(cached, capsys):
    pipeline = load(cached)
    assert pipeline.fill_mask("A river is [MASK].", top=2)
    assert load_tokenizer(cached).fingerprint == pipeline.tokenizer.fingerprint
    assert capsys.readouterr().err.count(f"owner/tiny-bert: from the Hugging Face hub, revision {COMMIT}") == 2


def test_the_verbs_take_names(cached, examples, tmp_path):
    """Each way in which a model comes to a verb: --model, an argument, --tokenizer, --init, --from."""
    text, classes = examples / "passages.txt", examples / "topics-train.csv"
    data, out = tmp_path / "data", tmp_path / "classes"
    assert json.loads(works("fill-mask", "A [MASK].", "--model", cached, "--json"))
    assert "vector" in json.loads(works("embed", cached, stdin="A river.\n"))
    works("prepare", text, "--tokenizer", cached, "--out", data, "--processes", "1")
    small = ("train.steps=1", "task.lengths=[16]", "task.next_sentence=false", "model.sinusoidal_positions=false")
    works("pretrain", "demo-pretrain", "--data", data, "--init", cached, "--out", tmp_path / "encoder", *small)
    start = ("finetune", "my-classes", "--from", cached, "--train", classes, "--limit", "8", "--out", out)
    done = dokkai(*start, "train.steps=1", "task.max_length=16")
    assert done.code == 0, done.err
    for words in ("new (not in the file)", "unused (in the file only)", "from the Hugging Face hub"):
        assert done.err.count(words) == 1, done.err
    assert json.loads((out / "run.json").read_text())["sources"]["from"] == cached
    wrong = fails("evaluate", "owner/other", classes)
    assert wrong.startswith("owner/other: no such model directory, not whole in the cache of the Hugging Face hub")
