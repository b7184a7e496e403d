"""The built wheel, alone in an empty environment, runs every verb from another folder."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
SMALL = ["model.shape=L2-H64", "model.max_position_embeddings=256", "train.steps=2"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of a new environment: the wheel is installed, its dependencies are borrowed from here."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: what an earlier build left in the tree must not get into the wheel
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--no-build-isolation", "-q", "-w", "."]
    subprocess.run(build, cwd=folder, check=True, env=ENVIRONMENT)
    (wheel,) = folder.glob("dokkai-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    libraries = sysconfig.get_path("purelib")
    probe = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    home = Path(subprocess.run(probe, capture_output=True, text=True, check=True, env=ENVIRONMENT).stdout.strip())
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, env=ENVIRONMENT)
    (home / "borrowed.pth").write_text(f"{libraries}\n")  # a plain path: editable installs in it are not followed
    return folder / "venv" / "bin"


def test_every_verb_runs_from_another_folder(installed: Path, tmp_path: Path) -> None:
    def dokkai(*words: str, stdin: str = "") -> str:
        command = [installed / "dokkai", *words]
        done = subprocess.run(command, cwd=tmp_path, input=stdin, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    where = [installed / "python", "-c", "import dokkai; print(dokkai.__file__)"]
    place = subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, check=True).stdout
    assert str(installed.parent) in place, "the wheel is tested, not the source tree"

    examples = ROOT / "examples"
    questions = ["--train", str(examples / "train.json"), "--limit", "8", *SMALL[2:]]
    dokkai("vocab", str(examples / "passages.txt"), "--size", "1024", "--out", "vocab")
    dokkai("prepare", str(examples / "passages.txt"), "--tokenizer", "vocab", "--out", "data", "--processes", "1")
    dokkai("pretrain", "demo-pretrain", "--data", "data", "--out", "encoder", *SMALL)
    dokkai("finetune", "squad2", "--from", "encoder", "--out", "reader", *questions, "task.max_length=128")
    answer = dokkai("ask", "What is glass?", str(examples / "volcano.txt"), "--model", "reader", "--json")
    assert json.loads(answer)["file"].endswith("volcano.txt")
    assert "f1" in json.loads(dokkai("evaluate", "reader", str(examples / "dev.json"), "--json"))
    record = json.dumps({"id": "a", "question": "Who?", "context": "Ann built it."})
    assert json.loads(dokkai("predict", "reader", stdin=record + "\n"))["id"] == "a"
    assert len(json.loads(dokkai("embed", "encoder", stdin="a text\n"))["vector"]) == 64
    assert len(json.loads(dokkai("fill-mask", "A [MASK].", "--model", "encoder", "--json"))[0]) == 5
    dokkai("convert", "reader", "--format", "tensorflow", "--out", "google")
    assert json.loads(dokkai("convert", "google", "--out", "again", "--json"))["architecture"].endswith("Answering")
    assert "squad" in json.loads(dokkai("recipes", "--json"))
    assert "train.seed" in dokkai("settings", "train")
    assert "cores" in dokkai("doctor")
