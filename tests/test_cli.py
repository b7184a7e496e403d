"""Every verb works, with results alone on standard output; the help shows examples and loads nothing heavy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_runs import EXAMPLES, SMALL, Runs, build_runs, call, good

from dokkai.cli import app

VERBS = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return build_runs(tmp_path_factory.mktemp("cli"))


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_each_verb_shows_an_example(verb: str) -> None:
    text = " ".join(good(verb, "--help").split())
    assert f"Example: dokkai {verb}" in text
    assert text.startswith(f"Usage: dokkai {verb}")


def test_the_help_names_every_verb_with_or_without_being_asked() -> None:
    text = good("--help")
    assert all(f"\n  {verb} " in text for verb in VERBS)
    assert good("-h") == text
    done = call()
    assert text.splitlines()[3:] == (done.out or done.err).splitlines()[3:], "no arguments: the help, readable"


def test_the_help_loads_neither_torch_nor_transformers() -> None:
    program = (
        "import sys\nfrom dokkai.cli import main\nsys.argv = ['dokkai', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n"
        "    print([name for name in ('torch', 'transformers', 'numpy', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_vocab(tmp_path: Path) -> None:
    words = [
        "vocab",
        EXAMPLES / "volcano.txt",
        "--size",
        200,
        "--cased",
        "--special",
        "[NAME]",
        "--out",
        tmp_path / "v",
    ]
    facts = json.loads(good(*words, "--json"))
    assert facts == {"directory": str(tmp_path / "v"), "vocab_size": facts["vocab_size"], "lowercase": False}
    assert facts["vocab_size"] % 64 == 0
    assert "[NAME]" in (tmp_path / "v" / "vocab.txt").read_text(encoding="utf-8").splitlines()


def test_prepare_again_says_what_is_there(runs: Runs) -> None:
    words = ["prepare", EXAMPLES / "passages.txt", "--tokenizer", runs.vocab, "--out", runs.data, "--processes", 1]
    facts = json.loads(good(*words, "--heldout", 0.2, "--json"))
    assert {key: value for key, value in facts.items() if key.startswith("num_")}
    assert "num_tokens" in good(*words, "--heldout", 0.2)


def test_pretrain_prints_its_metrics_and_says_when_it_is_finished(runs: Runs) -> None:
    words = ["pretrain", "demo-pretrain", "--data", runs.data, "--out", runs.encoder, *SMALL, "train.steps=3"]
    done = call(*words, "--json")
    facts = json.loads(done.out)
    assert facts["run"] == str(runs.encoder)
    assert len(facts) > 1
    assert done.err == f"{runs.encoder}: this run is finished already\n"


def test_pretrain_goes_on_from_other_weights(runs: Runs, tmp_path: Path) -> None:
    words = ["--data", runs.data, "--init", runs.encoder, "--out", tmp_path / "run", "--device", "cpu"]
    done = call("pretrain", "demo-pretrain", *words, *SMALL[2:], "train.steps=1", "--json")
    assert done.code == 0, done.err
    assert f"starting from {runs.encoder}" in done.err
    json.loads(done.out)


def test_finetune_with_random_weights(runs: Runs, tmp_path: Path) -> None:
    words = ["--from", runs.encoder, "--train", EXAMPLES / "topics-train.csv", "--random-weights", "--json"]
    done = call("finetune", "my-classes", *words, "train.steps=1", "task.max_length=32", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"run": str(tmp_path / "run")}
    assert "random weights" in done.err


def test_ask(runs: Runs) -> None:
    words = ["ask", "Who built it?", EXAMPLES / "lighthouse.txt", EXAMPLES / "volcano.txt", "--model", runs.reader]
    found = json.loads(good(*words, "--json"))
    assert set(found) >= {"question", "answer", "file", "line", "start", "end", "sentence", "confidence"}
    text = Path(found["file"]).read_text(encoding="utf-8")
    assert text[found["start"] : found["end"]] == found["answer"]
    assert "confidence" in good(*words)


def test_ask_standard_input(runs: Runs) -> None:
    answer = good("ask", "Who?", "-", "--model", runs.reader, "--json", stdin="Ann built it.\n")
    assert json.loads(answer)["file"] == "-"


def test_fill_mask(runs: Runs) -> None:
    words = ["fill-mask", "The [MASK] of the [MASK].", "--model", runs.encoder, "--top", 3]
    masks = json.loads(good(*words, "--json"))
    assert [len(mask) for mask in masks] == [3, 3]
    assert all(0 <= item["probability"] <= 1 for mask in masks for item in mask)
    lines = good(*words).splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("mask 1")


@pytest.mark.parametrize(
    ("run", "file", "metric"), [("reader", "dev.json", "f1"), ("sorter", "topics-dev.csv", "accuracy")]
)
def test_evaluate(runs: Runs, tmp_path: Path, run: str, file: str, metric: str) -> None:
    directory = getattr(runs, run)
    scores = json.loads(good("evaluate", directory, EXAMPLES / file, "--json", "--predictions", tmp_path / "p.json"))
    trained = json.loads((directory / "run.json").read_text(encoding="utf-8"))["metrics"]
    assert scores == pytest.approx(trained), "the same as at the end of the training"
    assert metric in scores
    assert isinstance(json.loads((tmp_path / "p.json").read_text(encoding="utf-8")), list)
    assert metric in good("evaluate", directory, EXAMPLES / file)


def test_evaluate_an_encoder_on_what_was_held_out(runs: Runs) -> None:
    assert json.loads(good("evaluate", runs.encoder, runs.data, "--json"))


def test_predict_keeps_order_and_ids_and_skips_blank_lines(runs: Runs, tmp_path: Path) -> None:
    records = [{"text": f"Text number {i}.", "id": f"n{i}"} for i in range(5)]
    lines = "\n\n".join(json.dumps(record) for record in records)
    found = [json.loads(line) for line in good("predict", runs.sorter, stdin=lines).splitlines()]
    assert [item["id"] for item in found] == ["n0", "n1", "n2", "n3", "n4"]
    (tmp_path / "in.jsonl").write_text(lines, encoding="utf-8")
    again = [json.loads(line) for line in good("predict", runs.sorter, tmp_path / "in.jsonl").splitlines()]
    assert found == again


def test_predict_questions(runs: Runs) -> None:
    record = {"id": "é", "question": "Who?", "context": "Ann built it."}
    assert json.loads(good("predict", runs.reader, stdin=json.dumps(record)))["id"] == "é"


def test_predict_and_embed_nothing(runs: Runs, tmp_path: Path) -> None:
    assert good("predict", runs.sorter) == ""
    assert good("embed", runs.encoder) == ""
    good("embed", runs.encoder, "--out", tmp_path / "none.npy")
    assert np.load(tmp_path / "none.npy").shape == (0, 64)


def test_embed(runs: Runs, tmp_path: Path) -> None:
    text = "A first text.\nA second one.\n"
    rows = [json.loads(line) for line in good("embed", runs.encoder, stdin=text).splitlines()]
    assert [row["text"] for row in rows] == text.splitlines()
    good("embed", runs.encoder, "--out", tmp_path / "vectors.npy", stdin=text)
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), [row["vector"] for row in rows], atol=1e-5)
    both = json.loads(good("embed", runs.encoder, "--layers", "-1,0", "--pooling", "cls", stdin="One.\n"))
    assert len(both["vector"]) == 128
    each = json.loads(good("embed", runs.encoder, "--pooling", "none", stdin="One.\n"))
    assert each["tokens"][0] == "[CLS]"
    assert np.shape(each["vectors"]) == (len(each["tokens"]), 64)


def test_embed_cuts_what_is_longer_than_the_model(runs: Runs) -> None:
    each = json.loads(good("embed", runs.encoder, "--pooling", "none", stdin="a long text " * 50))
    assert np.shape(each["vectors"]) == (64, 64)


def test_recipes_settings_doctor() -> None:
    assert "squad2" in json.loads(good("recipes", "--json"))
    assert "squad2" in good("recipes")
    assert {"name", "default", "description"} == set(json.loads(good("settings", "train", "--json"))[0])
    assert "train.seed" in good("settings")
    findings = json.loads(good("doctor", "--json"))
    assert {"system", "cores", "torch", "GPU"} <= {item["name"] for item in findings}
    assert "computes on" in good("doctor")


def test_a_full_device_at_the_end_of_a_pipe_is_one_line() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    with open("/dev/full", "w", encoding="utf-8") as full:
        words = [sys.executable, "-m", "dokkai.cli", "recipes"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "dokkai: cannot write the results: No space left on device\n"
