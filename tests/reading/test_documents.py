"""Files and folders to documents; what cannot be read is an error if it was named, and else said and left out."""

import gzip
import io
import os
from types import SimpleNamespace

import pytest
from office_files import pdf, word

from dokkai.errors import UserError
from dokkai.reading.documents import read_documents


@pytest.fixture
def folder(tmp_path):
    """All kinds, in a folder and a folder in it, with what is to be left out."""
    root = tmp_path / "notes"
    (root / "deep" / "er").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "a.txt").write_text("one\ntwo", encoding="utf-8")
    (root / "deep" / "b.MD").write_text("# b", encoding="utf-8")
    (root / "deep" / "c.txt.gz").write_bytes(gzip.compress(b"three\n"))
    (root / "deep" / "d.html").write_text("<p>four", encoding="utf-8")
    (root / "deep" / "er" / "e.pdf").write_bytes(pdf(["five"], ["six"]))
    (root / "f.docx").write_bytes(word("seven"))
    for hidden in (".hidden.txt", ".git/config.txt", "g.png", "h.zip", "deep/i.png", "Makefile"):
        (root / hidden).write_text("left out", encoding="utf-8")
    return root


def test_a_folder(folder, capsys):
    found = {document.name.removeprefix(f"{folder}/"): document.text.strip() for document in read_documents([folder])}
    assert found == {
        "a.txt": "one\ntwo",
        "f.docx": "seven",
        "deep/b.MD": "# b",
        "deep/c.txt.gz": "three",
        "deep/d.html": "four",
        "deep/er/e.pdf": "five six",
    }
    assert list(found)[:2] == ["a.txt", "f.docx"]
    said = capsys.readouterr().err
    assert said == "left out: 4 files of other kinds (.png 2, without an ending 1, .zip 1)\n"


def test_a_file_is_read_once(folder):
    names = [document.name for document in read_documents([folder / "a.txt", folder, folder / "deep"])]
    assert names[0] == f"{folder}/a.txt" and len(names) == len(set(names)) == 6


def test_places(folder):
    text, *_, last = read_documents([folder / "a.txt", folder / "deep" / "er" / "e.pdf"])
    assert [(text.line(offset), text.page(offset)) for offset in (0, 3, 4)] == [(1, None), (1, None), (2, None)]
    assert [last.page(last.text.index(word)) for word in ("five", "six")] == [1, 2]


@pytest.mark.parametrize("make", [lambda: b" \n<!DOCTYPE html><html><p>six</html>", lambda: pdf(["six"])])
def test_a_slow_pipe_is_read_as_a_quick_one(monkeypatch, make):
    """What it holds is not judged by the few bytes that came first."""

    class Slow(io.RawIOBase):
        parts = io.BytesIO(make())

        def readable(self):
            return True

        def readinto(self, buffer):
            part = self.parts.read(3)
            buffer[: len(part)] = part
            return len(part)

    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BufferedReader(Slow())))
    (found,) = read_documents(["-"])
    assert found.text.strip() == "six"


def test_standard_input(monkeypatch):
    for content, expected in ((b"\xef\xbb\xbfone\r\ntwo\r\n", "one\ntwo"), (pdf(["six"]), "six")):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        (found,) = read_documents(["-"])
        assert (found.name, found.text.strip()) == ("standard input", expected)


@pytest.mark.parametrize(
    "page",
    [
        "<html><p>caf\u00e9 &amp; bar</p>",
        "\ufeff \n<?xml version='1.0'?><!-- a --><!-- <b> -->\n<!DOCTYPE HTML>\n<p>caf\u00e9 &amp; bar",
    ],
)
def test_a_page_without_a_name_is_known_by_its_head(page, tmp_path, monkeypatch):
    """On standard input, and in a file of no ending that is read; one called text is text."""
    content = page.encode()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    (tmp_path / "page").write_bytes(content)
    (tmp_path / "page.txt").write_bytes(content)
    typed, named, text = read_documents(["-", tmp_path / "page", tmp_path / "page.txt"])
    assert typed.text.strip() == named.text.strip() == "caf\u00e9 & bar"
    assert "&amp;" in text.text


def test_a_word_file_on_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(word("seven"))))
    assert read_documents(["-"])[0].text == "seven"


def test_a_head_that_is_hard_to_judge_is_judged_at_once(tmp_path):
    """Comments without end, and nothing but white space: no time that grows with the square of the length."""
    for content in (b"<!-- a -->" * 800, b" " * 8000 + b"x", b"<!--" * 2000):
        (tmp_path / "odd").write_bytes(content)
        assert read_documents([tmp_path / "odd"])[0].text == content.decode()


def test_what_cannot_be_read_in_a_folder_is_named(folder, capsys):
    bad = {"bad.txt": b"caf\xe9", "bad.pdf": b"%PDF-", "bad.docx": b"PK", "bad.md": b"", "blank.txt": b" \n"}
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    assert len(read_documents([folder])) == 6
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(bad) + 1
    for name in bad:
        assert sum(line.startswith(f"left out: {folder / name}") for line in said) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"caf\xe9", "a.txt: not UTF-8 at byte 3"),
        (
            "a.png",
            b"\x89PNG\r\n\x00\x00",
            "a.png: a binary file, not text; what can be read is text, .html,",
        ),
        ("a.txt", "café".encode("utf-16"), "a.txt: text in UTF-16; convert it to UTF-8"),
        ("a.txt", b"", "a.txt is empty"),
        ("a.html", b"<p></p>", "a.html: there is no text in it"),
        ("a.pdf", b"no PDF", "a.pdf: a damaged PDF"),
        ("a.docx", b"no Word", "a.docx: not a Word file"),
        ("a.txt.gz", b"no gzip", "a.txt.gz: damaged compressed file"),
    ],
)
def test_a_file_that_is_named_must_be_readable(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        read_documents([tmp_path / name])
    assert message in str(error.value)


def test_a_folder_must_hold_something(tmp_path):
    for name in (None, ".hidden.txt", "a.png"):
        if name:
            (tmp_path / name).write_text("x", encoding="utf-8")
        with pytest.raises(UserError, match=r"no file in this folder can be read; it needs \.txt, .* or \.docx"):
            read_documents([tmp_path])
    with pytest.raises(UserError, match="no file to read; name at least one file or folder"):
        read_documents([])
    with pytest.raises(UserError, match="one of the paths is empty; name a file or folder"):
        read_documents([""])


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "a.txt")
    (tmp_path / "b.txt").write_text("two", encoding="utf-8")
    assert [document.text for document in read_documents([tmp_path])] == ["two"]
    assert capsys.readouterr().err == f"left out: {tmp_path / 'a.txt'}: no regular file\n"


def test_folders_that_may_not_be_opened(folder, monkeypatch, capsys):
    opened = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return opened(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert {document.text for document in read_documents([folder])} == {"one\ntwo", "seven"}
    assert f"left out: {folder / 'deep'}: Permission denied\n" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"deep: Permission denied$"):
        read_documents([folder / "deep"])


def test_links_that_go_round(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("one", encoding="utf-8")
    (tmp_path / "again").symlink_to(tmp_path)
    assert len(read_documents([tmp_path])) == 1
    said = f"left out: {tmp_path / 'again'}: a link to a folder; name it, to read it too\n"
    assert capsys.readouterr().err == said
    assert len(read_documents([tmp_path / "again"])) == 1
