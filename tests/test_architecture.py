"""The architecture shows in the imports: rooms lie in rows, and nobody imports upward or sideways."""

import ast
import shutil
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "dokkai"
ROWS = (  # bottom to top; rooms of one row do not know each other
    {"errors", "files", "progress", "hub", "shipped"},
    {"settings", "tokenization", "evaluation.metrics", "evaluation.calibration", "recipes"},
    {"model", "data"},
    {"tasks"},
    {"pipeline", "reporting"},
    {"training"},
    {"reading", "evaluating", "predicting", "embedding", "converting", "doctor", "exits", "printing"},
    {"cli"},
)
FOUNDATION = ROWS[0]  # small files that may use one another


def room_of(module: str) -> str:
    """``dokkai.data.text`` -> ``data``; ``evaluation`` is cut in two."""
    parts = module.split(".")[1:]
    return ".".join(parts[:2]) if parts[:1] == ["evaluation"] else (parts[0] if parts else "")


def imports(path: Path) -> set[str]:
    """Every module of dokkai imported anywhere in a file, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name for name in found if name.split(".")[0] == "dokkai"}


def violations(source: Path) -> list[str]:
    """Imports that go upward, or sideways between rooms of one row."""
    height = {room: number for number, row in enumerate(ROWS) for room in row}
    wrong = []
    for path in sorted(source.rglob("*.py")):
        module = ".".join(["dokkai", *path.relative_to(source).with_suffix("").parts]).removesuffix(".__init__")
        room = room_of(module)
        if room in ("", "evaluation"):
            continue  # the public names, and an empty package
        assert room in height, f"{path}: the room '{room}' stands in no row"
        for name in imports(path):
            other = room_of(name)
            same = other == room or {room, other} <= FOUNDATION
            if other and not same and height[other] >= height[room]:
                wrong.append(f"{module} imports {name}")
    return wrong


def test_nobody_imports_upward_or_sideways() -> None:
    assert violations(SOURCE) == []


def test_an_upward_import_is_found(tmp_path: Path) -> None:
    copy = tmp_path / "dokkai"
    shutil.copytree(SOURCE, copy)
    with (copy / "tokenization" / "tokens.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef late() -> None:\n    from dokkai.training.loop import train\n")
    with (copy / "data" / "order.py").open("a", encoding="utf-8") as file:
        file.write("\nimport dokkai.model.config\n")
    assert violations(copy) == [
        "dokkai.data.order imports dokkai.model.config",
        "dokkai.tokenization.tokens imports dokkai.training.loop",
    ]


def test_tokenization_and_data_know_no_torch() -> None:
    for path in [*(SOURCE / "tokenization").glob("*.py"), *(SOURCE / "data").glob("*.py")]:
        assert "import torch" not in path.read_text(encoding="utf-8"), path
        assert "from torch" not in path.read_text(encoding="utf-8"), path


def test_files_have_one_topic() -> None:
    for path in SOURCE.rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, f"{path} is long: two topics?"
        assert path.stem not in {"utils", "util", "common", "helpers", "core", "misc"}, path
