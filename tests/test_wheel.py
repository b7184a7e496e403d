"""The built wheel, alone in an empty environment, runs every verb from another folder."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
SMALL = ["model.shape=L2-H64", "model.max_position_embeddings=256", "train.steps=2"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: what an earlier build left in the tree must not get into the wheel
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--no-build-isolation", "-q", "-w", "."]
    subprocess.run(build, cwd=folder, check=True, env=ENVIRONMENT)
    (built,) = folder.glob("dokkai-*.whl")
    return built


@pytest.fixture(scope="module", params=["linked", pytest.param("downloaded", marks=pytest.mark.slow)])
def installed(wheel: Path, request: pytest.FixtureRequest) -> Path:
    """The ``bin`` folder of a new environment that holds the wheel and the dependencies it declares, nothing else.

    ``linked``: pip installs the wheel, and links of this environment's packages stand for the declared ones.
    ``downloaded``: pip fetches them, as for a user.
    """
    home = wheel.parent / request.param
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", wheel]
    if request.param == "downloaded":
        subprocess.run([*install, "-c", ROOT / "constraints.txt"], check=True, env=ENVIRONMENT)
        return home / "bin"
    subprocess.run([*install, "--no-deps", "--no-index"], check=True, env=ENVIRONMENT)
    probe = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    libraries = Path(subprocess.run(probe, capture_output=True, text=True, check=True, env=ENVIRONMENT).stdout.strip())
    (own,) = distributions(name="dokkai", path=[str(libraries)])
    for package in declared(own):
        for place in {Path(str(file)).parts[0] for file in package.files or [] if ".." not in file.parts}:
            if place != "__pycache__" and not (libraries / place).exists():
                (libraries / place).symlink_to(Path(str(package.locate_file(place))))
    return home / "bin"


def declared(root: Distribution) -> list[Distribution]:
    """What a package needs, and what that needs: without extras but those asked for, for this Python and system."""
    found: dict[tuple[str, str], Distribution] = {}
    queue = [(root, "")]
    while queue:
        package, extra = queue.pop()
        for line in package.requires or []:
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                for wanted in ("", *sorted(need.extras)):
                    key = (canonicalize_name(need.name), wanted)
                    if key not in found:
                        found[key] = distribution(need.name)
                        queue.append((found[key], wanted))
    return list(found.values())


def test_only_what_is_declared_is_there(installed: Path) -> None:
    """Packages that the tests use and dokkai does not declare are missing, so a forgotten dependency would be, too."""
    for name in ("pytest", "transformers", "hypothesis"):
        found = subprocess.run([installed / "python", "-c", f"import {name}"], capture_output=True, env=ENVIRONMENT)
        assert found.returncode != 0, f"{name} came along"


OFFLINE = """
import socket, sys
def refuse(*words, **more):
    sys.exit(f"a connection was tried: {words}")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from dokkai.cli import main
main()
"""


def test_the_models_that_ship_answer_with_the_network_off(installed: Path, tmp_path: Path) -> None:
    """Not a test of how well they read: a wrong vocabulary, weights or threshold would give other words."""

    def dokkai(*words: str, stdin: str = "") -> str:
        command = [installed / "python", "-c", OFFLINE, *words]
        done = subprocess.run(command, cwd=tmp_path, input=stdin, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    lighthouse = str(ROOT / "examples" / "lighthouse.txt")
    (found,) = json.loads(dokkai("ask", "Who built a lighthouse on the Eddystone rocks?", lighthouse, "--json"))
    assert found["answer"] == "John Smeaton" and found["confidence"] > 0.4
    (none,) = json.loads(dokkai("ask", "Who painted the ceiling of the chapel?", lighthouse, "--json"))
    assert none["answer"] == "" and none["confidence"] > 0.5
    guesses = json.loads(dokkai("fill-mask", "The capital of France is [MASK].", "--json"))
    assert "paris" in [guess["token"] for guess in guesses[0]]
    vector = json.loads(dokkai("embed", stdin="a text\n"))["vector"]
    assert len(vector) == 384 and 0.01 < sum(x * x for x in vector) ** 0.5 < 1000


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
    answer = dokkai(
        "ask", "What is glass?", str(examples / "volcano.txt"), "--model", "reader", "--json", "--always-answer"
    )
    assert json.loads(answer)[0]["file"].endswith("volcano.txt")
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
