"""Every verb of the command line works, with nothing but results on standard output."""

import gc
import json

import numpy as np
import pytest

from command_line import EXAMPLES, SMALL, dokkai, external, make_home, tree, works
from dokkai.exits import quick_imports


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


VERBS = [
    "ask",
    "fill-mask",
    "vocab",
    "prepare",
    "pretrain",
    "finetune",
    "evaluate",
    "predict",
    "embed",
    "convert",
    "recipes",
    "settings",
    "doctor",
]


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb):
    assert f"Example: dokkai {verb}" in " ".join(works(verb, "--help").split())


def test_the_help_names_every_verb_and_loads_nothing_heavy():
    check = (
        "import atexit, sys\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pydantic'}\n"
        "atexit.register(lambda: print('LOADED', sorted(heavy & set(sys.modules))))"
    )
    done = external("--help", code=check)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.rstrip().endswith("LOADED []")
    assert all(f"\n  {verb} " in done.stdout for verb in VERBS)


def test_the_list_of_verbs_says_whole_what_each_does():
    done = external("--help")
    assert "..." not in done.stdout.partition("Commands:")[2]


def test_without_arguments_the_help_is_shown():
    done = dokkai()
    assert done.code in (0, 2)
    assert len((done.out + done.err).splitlines()) > len(VERBS)


def test_vocab_and_prepare_say_what_they_made(home, tmp_path):
    facts = json.loads(works("vocab", EXAMPLES / "passages.txt", "--size", 300, "--out", tmp_path / "v", "--json"))
    made = {"directory": str(tmp_path / "v"), "vocab_size": 320, "lowercase": True, "behaviour": "huggingface"}
    assert facts == made
    words = ["--size", 300, "--behaviour", "original", "--out", tmp_path / "2018", "--json"]
    assert json.loads(works("vocab", EXAMPLES / "passages.txt", *words))["behaviour"] == "original"
    saved = json.loads((tmp_path / "2018" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert saved["dokkai_behaviour"] == "original"
    words = ["--tokenizer", tmp_path / "v", "--out", tmp_path / "data", "--processes", 1, "--json"]
    assert json.loads(works("prepare", EXAMPLES / "passages.txt", *words))["num_documents"] > 0


def test_training_verbs_print_the_metrics_and_a_finished_run_is_left_alone(home):
    words = ["pretrain", "demo-pretrain", "--data", home / "data", "--out", home / "encoder", *SMALL, "train.steps=3"]
    before = tree(home / "encoder")
    done = dokkai(*words, "--json")
    assert done.code == 0 and "finished already" in done.err
    assert json.loads(done.out)["masked_lm_loss"] > 0
    assert tree(home / "encoder") == before


def test_finetune_prints_json(home, tmp_path):
    table = EXAMPLES / "topics-train.csv"
    words = ["--from", home / "encoder", "--train", table, "--dev", EXAMPLES / "topics-dev.csv", "--random-weights"]
    short = ["train.steps=1", "task.max_length=32"]
    facts = json.loads(works("finetune", "my-classes", *words, "--out", tmp_path / "run", *short, "--json"))
    assert 0 <= facts["accuracy"] <= 1


def test_ask(home):
    words = ["ask", "Who kept the light?", EXAMPLES / "lighthouse.txt", "--model", home / "reader"]
    (found,) = json.loads(works(*words, "--json", "--always-answer"))
    assert {"answer", "file", "line", "start", "end", "sentence", "confidence"} <= found.keys()
    text = (EXAMPLES / "lighthouse.txt").read_text(encoding="utf-8")
    assert text[found["start"] : found["end"]] == found["answer"]
    assert works(*words)
    assert works("ask", "Who built it?", "-", "--model", home / "reader", stdin="Ann built it.\n")


def test_fill_mask(home):
    words = ["fill-mask", "The [MASK] is a [MASK].", "--model", home / "encoder", "--top", 3]
    masks = json.loads(works(*words, "--json"))
    assert [len(mask) for mask in masks] == [3, 3]
    assert all(0 <= item["probability"] <= 1 for mask in masks for item in mask)
    assert len(works(*words).splitlines()) == 6


def test_evaluate_writes_predictions(home, tmp_path):
    words = ["evaluate", home / "reader", home / "dev.json", "--json", "--predictions", tmp_path / "p.json"]
    assert {"exact", "f1"} <= json.loads(works(*words)).keys()
    assert json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    assert "accuracy" in works("evaluate", home / "sorter", EXAMPLES / "topics-dev.csv")
    assert "masked_lm_loss" in works("evaluate", home / "encoder", home / "data")


def test_predict_keeps_order_and_ids(home):
    records = [{"id": f"n{number}", "text": "A volcano. " * (number % 7 + 1)} for number in range(20)]
    stdin = "\n\n".join(map(json.dumps, records)) + "\n"
    found = [json.loads(line) for line in works("predict", home / "sorter", stdin=stdin).splitlines()]
    assert [item["id"] for item in found] == [record["id"] for record in records]
    assert all(item["probabilities"][item["label"]] == item["probability"] for item in found)


def test_embed(home, tmp_path):
    lines = [json.loads(line) for line in works("embed", home / "encoder", stdin="one\ntwo words\n").splitlines()]
    assert [(item["text"], len(item["vector"])) for item in lines] == [("one", 64), ("two words", 64)]
    both = works("embed", home / "encoder", "--layers=-1,-2", "--pooling", "none", stdin="one\n")
    item = json.loads(both)
    assert len(item["tokens"]) == len(item["vectors"]) and len(item["vectors"][0]) == 128
    assert works("embed", home / "encoder", "--out", tmp_path / "v.npy", stdin="one\ntwo words\n") == ""
    array = np.load(tmp_path / "v.npy")
    assert array.shape == (2, 64)
    np.testing.assert_allclose(array[1], lines[1]["vector"], atol=1e-5)


def test_recipes_settings_and_doctor():
    assert "squad" in json.loads(works("recipes", "--json")) and "squad" in works("recipes")
    assert {"name", "default", "description"} == json.loads(works("settings", "train", "--json"))[0].keys()
    assert "train.seed" in works("settings")
    rows = zip(works("settings", "probe").splitlines(), json.loads(works("settings", "probe", "--json")), strict=True)
    assert len({line.rindex(row["description"]) for line, row in rows}) == 1  # also behind the longest default
    assert {"name", "value", "is_good", "install"} == json.loads(works("doctor", "--json"))[0].keys()
    assert "torch" in works("doctor")


def test_quick_imports_leave_the_collector_as_it_was():
    """It is off inside, on again behind, also after an error."""
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled() and gc.get_freeze_count() > 0
    with pytest.raises(ImportError), quick_imports():
        raise ImportError
    assert gc.isenabled()
    gc.unfreeze()
