"""What a user can get wrong ends as one plain line, code 2 and nothing half-written."""

import json
import shutil
import subprocess
import sys

import pytest

from command_line import EXAMPLES, SMALL, dokkai, external, fails, make_home, tree, works


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


# ---- words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrian"], "no verb 'pretrian'; did you mean 'pretrain'? (see dokkai --help)"),
        (["vocab"], "Missing argument 'TEXT' (see dokkai vocab --help)"),
        (["recipes", "--jsn"], "No such option: --jsn"),
        (["vocab", "a.txt", "--out", "v", "--size", "many"], "Invalid value for '--size'"),
        (
            ["vocab", str(EXAMPLES / "passages.txt"), "--out", "v", "--behaviour", "2018"],
            "there is: huggingface, original",
        ),
        (["settings", "trian"], "no settings 'trian'; did you mean 'train'?"),
        (["ask"], 'nothing to answer; write for example: dokkai ask "Who built it?" FILE (see dokkai ask --help)'),
        (["ask", "--chat"], "nothing to read; write for example: dokkai ask --chat FILE (see dokkai ask --help)"),
        (["ask", "Who?", "a.txt", "--model", ""], "the name of the model is empty; give a directory or a name"),
        (["fill-mask", "A [MASK].", "--model", ""], "the name of the model is empty; give a directory or a name"),
        (["ask", "Who?", "a.txt", "--model", "nowhere"], "nowhere: no such model directory"),
        (["pretrain", "demo-pretrian", "--data", "d", "--out", "o"], "did you mean 'demo-pretrain'?"),
        (["pretrain", "squad", "--data", "d", "--out", "o"], "use `dokkai finetune`"),
        (["pretrain", "demo-pretrain", "--data", "d", "--out", "o"], "d"),
        (["finetune", "mini-en", "--from", "m", "--train", "t", "--out", "o"], "use `dokkai pretrain`"),
        (["pretrain", "demo-pretrain", "--data", "d", "--out", "o", "train.stpes=3"], "did you mean 'train.steps'?"),
        (["pretrain", "demo-pretrain", "--data", "d", "--out", "o", "train.steps=x"], "train.steps"),
        (["pretrain", "demo-pretrain", "--data", "d", "--out", "o", "description.x=1"], "description.x"),
        (["pretrain", "demo-pretrain", "--data", "d", "--out", "o", "train=1"], "write section.key=value"),
    ],
)
def test_wrong_words(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in fails(*words)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_the_name_of_a_recipe_does_not_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo-pretrain").mkdir()
    assert "is a directory" not in fails("pretrain", "demo-pretrain", "--data", "d", "--out", "o")


# ---- files


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no such file"),
        ("empty", "is empty"),
        ("blank", "no text in"),
        ("latin", "not UTF-8 at byte 10 "),
        ("folder", "is a directory; give the name of a file"),
    ],
)
@pytest.mark.parametrize("verb", ["vocab", "prepare", "ask"])
def test_texts_that_cannot_be_read(verb, kind, message, home, tmp_path):
    text = tmp_path / "in" / "text.txt"
    text.parent.mkdir()
    match kind:
        case "empty":
            text.touch()
        case "blank":
            text.write_text("\n \n")
        case "latin":
            text.write_bytes(b"one\ntwo ca\xe9\n")
        case "folder":
            text.mkdir()
    if verb == "ask":
        line = fails("ask", "Who?", text, "--model", home / "reader")
        message = {"blank": "there is no text", "folder": "no file in this folder can be read"}.get(kind, message)
    else:
        extra = ["--tokenizer", home / "vocab", "--processes", 1] if verb == "prepare" else ["--size", 320]
        line = fails(verb, text, "--out", tmp_path / "out", *extra)
    assert message in line and "text.txt" in line
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


@pytest.mark.parametrize("damage", ["flipped", "truncated", "foreign"])
def test_a_damaged_shard(damage, home, tmp_path):
    shutil.copytree(home / "data", tmp_path / "data")
    shard = tmp_path / "data" / "train-00000.shard"
    content = bytearray(shard.read_bytes())
    match damage:
        case "flipped":
            content[len(content) // 2] ^= 1
        case "truncated":
            content = content[:-100]
        case "foreign":
            content = bytearray(b"not a shard " * 30)
    shard.write_bytes(content)
    line = fails("pretrain", "demo-pretrain", "--data", tmp_path / "data", "--out", tmp_path / "run", *SMALL)
    assert "train-00000.shard" in line
    assert not (tmp_path / "run").exists()


def test_damaged_and_foreign_models(home, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(home / "sorter", model)
    weights = (model / "model.safetensors").read_bytes()
    predict = ["predict", model, "-"]
    for content in (weights[:-50], b"\xff" * 500):
        (model / "model.safetensors").write_bytes(content)
        assert "model.safetensors: corrupt or not a safetensors file" in fails(*predict)
    (model / "model.safetensors").write_bytes(b"")
    assert "is empty" in fails(*predict)
    (model / "model.safetensors").unlink()
    assert "model.safetensors: no such file" in fails(*predict)
    (model / "model.safetensors").write_bytes(weights)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    assert "gpt2" in fails(*predict)
    (model / "config.json").write_text("{")
    assert "config.json: the model configuration is not JSON" in fails(*predict)


def test_a_vocabulary_does_not_replace_that_of_a_model(home, tmp_path):
    shutil.copytree(home / "encoder", tmp_path / "model")
    before = (tmp_path / "model" / "vocab.txt").read_bytes()
    said = fails("vocab", EXAMPLES / "passages.txt", "--size", 512, "--out", tmp_path / "model")
    assert "holds other files (" in said and "give --out a new directory" in said
    assert (tmp_path / "model" / "vocab.txt").read_bytes() == before
    for _ in range(2):  # the same place again is fine
        works("vocab", EXAMPLES / "passages.txt", "--size", 512, "--out", tmp_path / "fresh")


def test_a_vocabulary_of_another_model(home, tmp_path):
    model, other = tmp_path / "model", tmp_path / "vocab"
    shutil.copytree(home / "encoder", model)
    works("vocab", EXAMPLES / "passages.txt", "--size", 1024, "--out", other)
    for path in other.iterdir():
        shutil.copy(path, model / path.name)
    (model / "task.json").unlink()
    assert "the vocabulary has 1024 entries, the model 512 embeddings" in fails("embed", model, stdin="a\n")


@pytest.mark.parametrize("verb", ["embed", "finetune", "pretrain"])
def test_a_vocabulary_of_the_same_size_in_another_order(verb, home, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(home / "encoder", model)
    tokens = (model / "vocab.txt").read_text(encoding="utf-8").splitlines()
    tokens[100], tokens[101] = tokens[101], tokens[100]
    (model / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (model / "tokenizer.json").unlink()
    table, out = EXAMPLES / "topics-train.csv", tmp_path / "run"
    words = {
        "embed": ["embed", model],
        "finetune": ["finetune", "my-classes", "--from", model, "--train", table, "--out", out, "task.max_length=32"],
        "pretrain": ["pretrain", "demo-pretrain", "--data", home / "data", "--init", model, "--out", out, *SMALL[3:]],
    }
    assert "vocabulary is not the one" in fails(*words[verb], stdin="a\n")
    assert not out.exists()


def test_weights_that_know_the_tokens_by_other_numbers(home, tmp_path):
    words = [EXAMPLES / "volcano.txt", EXAMPLES / "lighthouse.txt", "--tokenizer", tmp_path / "v", "--processes", 1]
    works("vocab", *words[:2], "--size", 512, "--out", tmp_path / "v")
    works("prepare", *words, "--out", tmp_path / "data")
    start = ["--data", tmp_path / "data", "--init", home / "encoder", "--out", tmp_path / "run"]
    assert "encoder: its vocabulary is not that of" in fails("pretrain", "demo-pretrain", *start)
    assert not (tmp_path / "run").exists()


def test_questions_whose_answers_lie_elsewhere(home, tmp_path):
    content = json.loads((home / "dev.json").read_text(encoding="utf-8"))
    asked = [q for article in content["data"] for p in article["paragraphs"] for q in p["qas"] if q["answers"]]
    for question in asked[1:4]:
        question["answers"] = [{"text": "nowhere to be found", "answer_start": 3}]
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(content), encoding="utf-8")
    start = ["--from", home / "encoder", "--out", tmp_path / "run", "task.max_length=64"]
    line = fails("finetune", "squad2", "--train", bad, *start)
    assert "bad.json: 3 answers do not lie where they say" in line and f"id {asked[1]['id']}" in line
    assert "bad.json: 3 answers" in fails("finetune", "squad2", "--train", home / "dev.json", "--dev", bad, *start)
    assert not (tmp_path / "run").exists()


def test_labels(home, tmp_path):
    train, dev = tmp_path / "train.csv", tmp_path / "dev.csv"
    words = ["finetune", "my-classes", "--from", home / "encoder", "--train", train, "--dev", dev]
    words += ["--out", tmp_path / "run", "task.max_length=32", "train.steps=1"]
    train.write_text("text,label\na,yes\nb,yes\n")
    dev.write_text("text,label\na,maybe\n")
    assert "train.csv: only one label ('yes') in it" in fails(*words)
    train.write_text("text,label\na,yes\nb,no\n")
    assert "dev.csv line 2: unknown label 'maybe'; there is: no, yes" in fails(*words)
    train.write_text("words,label\na,yes\n")
    assert "'text'" in fails(*words)
    assert not (tmp_path / "run").exists()


def test_sequences_longer_than_the_model(home, tmp_path):
    out = ["--out", tmp_path / "run"]
    line = fails("finetune", "squad2", "--from", home / "encoder", "--train", EXAMPLES / "train.json", *out)
    assert "task.max_length is 384, but the model has 64 positions" in line
    line = fails("pretrain", "demo-pretrain", "--data", home / "data", *out, *SMALL[:2])
    assert "task.lengths is 128, but the model has 64 positions" in line
    assert not (tmp_path / "run").exists()
    text = "[MASK] " + "one two three " * 100
    assert "64 positions" in fails("fill-mask", text, "--model", home / "encoder")


def test_a_model_without_a_task(home, tmp_path):
    """As a pre-trained encoder of others, or the directory of a run without its task.json."""
    bare = tmp_path / "bare"
    shutil.copytree(home / "encoder", bare)
    (bare / "task.json").unlink()
    line = fails("predict", bare, stdin='{"text": "a"}\n')
    assert line == f"{bare}: a model without a task cannot predict; fine-tune it first"
    line = fails("evaluate", bare, EXAMPLES / "topics-dev.csv")
    assert line == f"{bare}: a model without a task cannot be evaluated; fine-tune it first"


def test_records_and_texts_that_do_not_fit_the_model(home, tmp_path):
    assert "line 2: not JSON" in fails("predict", home / "sorter", stdin='\n{"text": \n')
    assert "not a JSON object" in fails("predict", home / "sorter", stdin="[1]\n")
    assert "no text under 'text'; found: body" in fails("predict", home / "sorter", stdin='{"body": "a"}\n')
    table = tmp_path / "a.csv"
    table.write_text("text,body\na,b\nc\n", encoding="utf-8")
    assert "a.csv line 3: 1 field where the header has 2" in fails("predict", home / "sorter", table)
    table.write_text("body\na\n", encoding="utf-8")
    assert f"{table} line 2: no text under 'text'; found: body" in fails("predict", home / "sorter", table)
    table.unlink()
    assert "there is no [MASK] in the text" in fails("fill-mask", "no mask", "--model", home / "encoder")
    assert "no masked-LM head" in fails("fill-mask", "A [MASK].", "--model", home / "sorter")
    lighthouse = EXAMPLES / "lighthouse.txt"
    assert "not fine-tuned to answer questions" in fails("ask", "Who?", lighthouse, "--model", home / "sorter")
    assert "the question is empty" in fails("ask", " ", lighthouse, "--model", home / "reader")
    assert "unknown pooling 'maen'; did you mean 'mean'?" in fails("embed", home / "encoder", "--pooling", "maen")
    assert "--layers takes whole numbers" in fails("embed", home / "encoder", "--layers", "last")
    assert "layers go from -3 to 2" in fails("embed", home / "encoder", "--layers", "9", stdin="a\n")
    assert "no lines" in fails("embed", home / "encoder", "--out", tmp_path / "v.npy", stdin="")
    assert "is a directory" in fails("embed", home / "encoder", "--out", tmp_path, stdin="a\n")
    assert list(tmp_path.iterdir()) == []
    table = tmp_path / "unlabelled.jsonl"
    table.write_text('{"text": "a"}\n{"text": "b"}\n')
    assert "line 1: no column 'label'; there is: text" in fails("evaluate", home / "sorter", table)


def test_a_run_with_other_settings_is_not_overwritten(home, tmp_path):
    run = tmp_path / "encoder"
    shutil.copytree(home / "encoder", run)
    before = tree(run)
    words = ["pretrain", "demo-pretrain", "--data", home / "data", "--out", run, *SMALL]
    line = fails(*words, "train.steps=4")
    assert "holds a run with other settings (train.steps was 3, is 4)" in line
    assert "finished already" in dokkai(*words, "train.steps=3").err
    assert tree(run) == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    words[words.index(run)] = tmp_path / "notes"
    assert "holds something that is no run" in fails(*words)
    words[words.index(tmp_path / "notes")] = tmp_path / "notes" / "a.txt"
    assert "is a file" in fails(*words)
    assert (tmp_path / "notes" / "a.txt").read_text() == "mine"


def test_the_folder_at_hand_is_no_file(home):
    message = "cannot write .: it is a directory; give the name of a file"
    assert fails("embed", home / "encoder", EXAMPLES / "lighthouse.txt", "--out", ".") == message


# ---- streams that are closed or full


def asked_in_shell(home, words, streams):
    """`dokkai ask` of the lighthouse, with these redirections of the shell."""
    files = f"{EXAMPLES / 'lighthouse.txt'} --model {home / 'reader'}"
    line = f"{sys.executable} -m dokkai.cli ask {words} {files} {streams}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    return done.returncode, done.stderr


def test_a_full_disk_behind_standard_output(home):
    assert asked_in_shell(home, "Who?", "> /dev/full") == (2, "dokkai: No space left on device\n")


def test_a_pipe_that_nobody_reads(home):
    assert asked_in_shell(home, "Who?", "| true") == (0, "")


def test_closed_streams(home):
    assert asked_in_shell(home, "Who?", ">&-") == asked_in_shell(home, "--chat", "<&-") == (0, "")
    assert asked_in_shell(home, "Who? -", "<&-") == (2, "dokkai: standard input: there is no text in it\n")


# ---- a full disk


def full_disk(size):
    """Code for a process in which no file can grow beyond ``size`` bytes: writing fails as on a full disk."""
    return (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"
    )


@pytest.mark.parametrize(
    ("text", "message"), [("passages.txt", "cannot copy the text"), ("volcano.txt", "cannot write ")]
)
def test_a_full_disk_leaves_no_vocabulary(text, message, tmp_path):
    words = ["vocab", EXAMPLES / text, "--size", 256, "--out", tmp_path / "v"]
    done = external(*words, code=full_disk(2500))  # room for the copy of the short text, not for its tokenizer
    assert (done.returncode, done.stdout) == (2, "")
    *notes, last = done.stderr.splitlines()  # the short text has too few words for a vocabulary, which is said
    assert last.startswith(f"dokkai: {message}") and len(notes) == (text == "volcano.txt"), done.stderr
    assert not tree(tmp_path)


def test_a_full_disk_leaves_no_checkpoint_and_the_run_goes_on(home, tmp_path):
    run = tmp_path / "run"
    words = ["pretrain", "demo-pretrain", "--data", home / "data", "--out", run, *SMALL, "train.steps=2"]
    done = external(*words, code=full_disk(200_000))
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("dokkai: cannot write ") and "Traceback" not in done.stderr
    assert not list(run.rglob("*.safetensors")) and not list(run.rglob(".*"))
    works(*words)
    assert (run / "model.safetensors").read_bytes()
