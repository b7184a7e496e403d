"""`dokkai ask` on files and folders: what it prints, what it refuses, and what it does not load."""

import json
import re

import pytest
from office_files import pdf

from command_line import EXAMPLES, dokkai, external, fails, make_home, works

HEAVY = ["sklearn", "scipy", "datasets", "pyarrow", "pandas", "matplotlib", "tensorboard", "seqeval", "jinja2"]
HEAVY += ["huggingface_hub", "transformers", "pypdf", "docx", "lxml", "torch._dynamo", "torch._inductor", "tqdm.auto"]


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("Ann built it.\n\nBob paid.\n", encoding="utf-8")
    (tmp_path / "notes" / "b.pdf").write_bytes(pdf(["The bridge is old."], ["Cid built the bridge in 1698."]))
    (tmp_path / "notes" / "c.html").write_text("<h1>Dora</h1>\n<p>She mended the tower.</p>", encoding="utf-8")
    return tmp_path / "notes"


def test_json_is_a_list_of_answers(home, folder):
    words = ["ask", "Who built the bridge?", folder, "--model", home / "reader", "--json", "--always-answer"]
    (best,) = json.loads(works(*words))
    several = json.loads(works(*words, "--n-best", 5))
    assert several[0] == best and 1 < len(several) <= 5
    assert [item["confidence"] for item in several] == sorted((item["confidence"] for item in several), reverse=True)
    for item in several:
        assert item["answer"] in item["sentence"] and item["file"].startswith(str(folder))
        assert (item["page"] is not None) == item["file"].endswith(".pdf")
        if item["file"].endswith(".txt"):
            text = (folder / "a.txt").read_text(encoding="utf-8")
            assert text[item["start"] : item["end"]] == item["answer"]
            assert text[item["sentence_start"] :].startswith(item["sentence"])
    (alone,) = json.loads(works(*words, "--passages", 1))
    assert alone["file"].endswith("b.pdf") and alone["page"] in (1, 2)


def test_what_is_printed(home, folder):
    words = ["ask", "Who built the bridge?", folder / "b.pdf", "--model", home / "reader", "--always-answer"]
    answer, sentence, place = works(*words).splitlines()
    assert f"[{answer}]" in sentence
    assert place.startswith(f"  {folder / 'b.pdf'}, page ") and place.endswith("%")
    lines = works(*words[:2], EXAMPLES / "lighthouse.txt", *words[3:], "--n-best", 2).splitlines()
    assert len(lines) == 6 and all("lighthouse.txt, line 1 · confidence " in line for line in lines[2::3])


def test_what_steers_a_terminal_is_not_shown(home, tmp_path):
    """Nor is a line without end shown whole; JSON has all of both."""
    (tmp_path / "a.txt").write_text("\x1b[31mred\x07 " + "word " * 400 + "and so on", encoding="utf-8")
    words = ["ask", "What is red?", tmp_path / "a.txt", "--model", home / "reader", "--always-answer"]
    answer, sentence, _ = works(*words).splitlines()
    assert answer and len(sentence) < 2 * 400 + 300 and "..." in sentence
    assert not {"\x1b", "\x07"} & set(answer + sentence)
    (found,) = json.loads(works(*words, "--json"))
    assert found["sentence"] == (tmp_path / "a.txt").read_text(encoding="utf-8")


def test_a_question_that_is_cut(home, folder):
    words = ["ask", "Who was it who " + "really " * 80 + "built it?", folder, "--model", home / "reader"]
    said = dokkai(*words).err
    assert re.search(r"the question has \d+ tokens; only the first \d+ are read, so ask in fewer words\n", said)
    assert "tokens" not in dokkai("ask", "Who built it?", *words[2:]).err


def test_no_answer(home, folder, tmp_path):
    """A threshold far below says that no text holds an answer."""
    import shutil

    shutil.copytree(home / "reader", tmp_path / "careful")
    task = json.loads((home / "reader" / "task.json").read_text(encoding="utf-8"))
    task["task"]["null_threshold"] = -99.0
    (tmp_path / "careful" / "task.json").write_text(json.dumps(task), encoding="utf-8")
    words = ["ask", "Who?", folder, "--model", tmp_path / "careful"]
    assert works(*words) == "The text does not hold an answer (confidence 100%).\n"
    assert "What comes closest:\n" in works(*words, "--n-best", 2)
    (found,) = json.loads(works(*words, "--json"))
    assert (found["answer"], found["file"], found["line"], found["confidence"]) == ("", None, None, 1.0)
    assert "not hold an answer" not in works(*words, "--always-answer")


def test_a_bad_file_in_a_folder_is_left_out_and_a_named_one_is_an_error(home, folder):
    (folder / "d.pdf").write_bytes(b"%PDF-1.4")
    done = dokkai("ask", "Who?", folder, "--model", home / "reader")
    assert done.code == 0 and f"left out: {folder / 'd.pdf'}: a damaged PDF" in done.err
    assert "d.pdf: a damaged PDF" in fails("ask", "Who?", folder / "d.pdf", "--model", home / "reader")


def test_mistakes(home, folder, tmp_path):
    model = ["--model", home / "reader"]
    assert fails("ask", "Who?", *model) == "no file to read; name at least one file or folder, or - for standard input"
    assert "--chat standard input holds the questions" in fails("ask", "--chat", "-", *model)
    (tmp_path / "empty").mkdir()
    assert "no file in this folder can be read" in fails("ask", "Who?", tmp_path / "empty", *model)
    line = "the question comes first, then the files"
    assert fails("ask", folder / "a.txt", "Who?", *model) == f"'{folder / 'a.txt'}' is a file, not a question; {line}"
    assert fails("ask", "-", folder, *model) == f"'-' is no question; {line}"
    assert "x: no such file" in fails("ask", "Who?" * 100, tmp_path / "x", *model)
    assert fails("ask", " ", "-", *model) == fails("ask", "", tmp_path / "x", *model) == "the question is empty"
    assert "Invalid value for '--n-best'" in fails("ask", "Who?", folder, *model, "--n-best", 0)


def test_nothing_heavy_is_loaded(home):
    """Starting is most of the time of a short text; what is not needed for the answer must not be imported."""
    check = (
        f"import atexit, sys\nheavy = {set(HEAVY)!r}\n"
        "atexit.register(lambda: print('LOADED', sorted(heavy & set(sys.modules)), 'torch' in sys.modules))"
    )
    done = external("ask", "Who?", EXAMPLES / "lighthouse.txt", "--model", home / "reader", code=check)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("LOADED [] True")
