"""The pages hold: the README's code runs, command lines parse, links lead somewhere, and the map of files is whole."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from dokkai.cli import app

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = typer.main.get_command(app).commands


def blocks(text, *languages):
    """The insides of fenced blocks in these languages."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [body for language, body in found if language in languages]


def command_lines():
    """``(page, arguments)`` of each command line: ``sh`` blocks whole, of ``console`` blocks the lines with ``$``."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        lines = [line for body in blocks(text, "sh") for line in body.splitlines()]
        console = [line for body in blocks(text, "console") for line in body.splitlines()]
        lines += [line.removeprefix("$ ") for line in console if line.startswith("$ ")]
        for line in lines:
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>")
            lexer.whitespace_split = True
            words = list(lexer)
            while "dokkai" in words:
                words = words[words.index("dokkai") + 1 :]
                end = next((i for i, word in enumerate(words) if word in ("|", "<", ">", ">>")), len(words))
                yield pytest.param(words[:end], id=f"{page.stem}: {' '.join(words[:end])}")


def mapped_files():
    """The paths in the annotated map of the README; indentation says what lies in which folder."""
    (body,) = blocks(README[README.index("## The files") :], "text")
    folders: list[str] = []
    for line in body.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name, remark = line.strip().split(maxsplit=1) if " " in line.strip() else (line.strip(), "")
        assert remark or name.endswith("/"), f"{name} has no remark"
        folders[depth:] = [name]
        yield "".join(folders)


def test_python_blocks_run(tmp_path, monkeypatch):
    """In the order of the pages, in one namespace, in a folder with the examples; the guide goes on from the README."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    guide = (ROOT / "docs" / "guide" / "python.md").read_text(encoding="utf-8")
    for page, text in (("README.md", README), ("python.md", guide)):
        found = blocks(text, "python")
        assert found
        for body in found:
            exec(compile(body, page, "exec"), names)
    assert (tmp_path / "runs" / "reader" / "model.safetensors").exists()


@pytest.mark.parametrize("words", list(command_lines()))
def test_command_lines_parse(words):
    if words in ([], ["--help"]):
        return
    verb, *arguments = words
    assert verb in COMMANDS
    if "--help" not in arguments:
        COMMANDS[verb].make_context(verb, arguments)  # raises on what the verb does not know or misses


def test_verbs_of_the_table():
    table = README[README.index("## Verbs") : README.index("## What training gives")]
    assert re.findall(r"^\| \[`([\w-]+)`\]", table, flags=re.MULTILINE) == list(COMMANDS)


def test_every_verb_has_an_example_in_the_pages():
    used = {words.values[0][0] for words in command_lines() if words.values[0]}
    assert used >= set(COMMANDS)


def test_map_of_files():
    mapped = list(mapped_files())
    assert len(mapped) == len(set(mapped))
    for path in mapped:
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path
    package = ROOT / "src" / "dokkai"
    files = {path.relative_to(ROOT).as_posix() for suffix in ("py", "toml") for path in package.rglob(f"*.{suffix}")}
    assert files <= set(mapped)


def test_tests_named_in_the_pages_exist():
    """``tests/data/test_order.py::test_name``, with the parameters left out."""
    for page in PAGES:
        for path, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", page.read_text(encoding="utf-8")):
            assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{page.name}: {path}::{name}"


def test_tests_named_in_the_page_on_fidelity_exist():
    text = (ROOT / "docs" / "guide" / "fidelity.md").read_text(encoding="utf-8")
    files = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", text)
    assert len(named) > 50
    assert [name for name in named if f"\ndef {name}(" not in files] == []
    for path in re.findall(r"`(tests/[\w./]+)`", text):
        assert (ROOT / path).exists(), path


def test_tests_named_by_a_letter_exist():
    """``docs/guide/paper.md`` says once which letter stands for which file."""
    text = (ROOT / "docs" / "guide" / "paper.md").read_text(encoding="utf-8")
    files = {letter: (ROOT / path).read_text() for path, letter in re.findall(r"`(tests/[\w/]+\.py)` \((\w)\)", text)}
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(files) == 7 and len(rows) > 20
    for row in rows:
        named = re.findall(r"(\w) `(test_\w+)`", row.rsplit("|", 2)[1])
        assert named, row
        for letter, name in named:
            assert f"\ndef {name}(" in files[letter], row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
