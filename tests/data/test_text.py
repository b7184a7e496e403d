"""Reading text: file formats, encodings, documents."""

import gzip
import io
import lzma
import os
import random
import sys
from types import SimpleNamespace

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dokkai.data.text import estimate_size, open_text, read_documents, read_lines, read_parts
from dokkai.errors import UserError

TEXT = "Ein Satz.\nzweite Zeile äöü 読解 😀\n\nnext document\n"
COMPRESS = {
    "a.txt": lambda data: data,
    "a.gz": gzip.compress,
    "a.TXT.GZ": gzip.compress,
    "a.xz": lzma.compress,
    "a.zst": zstandard.compress,
}


@pytest.mark.parametrize("name", COMPRESS)
def test_every_format_gives_the_same_lines(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(COMPRESS[name](TEXT.encode()))
    assert list(read_lines(path)) == TEXT.splitlines()
    with open_text(path) as stream:
        assert stream.read() == TEXT.encode()


@pytest.mark.parametrize("name", ["a.gz", "a.xz", "a.zst"])
def test_several_frames_in_one_file(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"".join(COMPRESS[name](line.encode()) for line in TEXT.splitlines(keepends=True)))
    assert list(read_lines(path)) == TEXT.splitlines()


@pytest.mark.parametrize("name", ["a.gz", "a.xz", "a.zst"])
def test_damaged_compressed_file(tmp_path, name):
    path = tmp_path / name
    data = COMPRESS[name](os.urandom(50_000).hex().encode())
    path.write_bytes(data[:-20])
    with pytest.raises(UserError, match=rf"{name}: damaged compressed file \(.+\); fetch or compress it again"):
        list(read_lines(path))
    path.write_bytes(b"plain text under a wrong name\n" * 10)
    with pytest.raises(UserError, match="damaged compressed file"):
        list(read_lines(path))


@pytest.mark.parametrize("name", ["a.gz", "a.xz", "a.zst"])
def test_what_cannot_be_read_behind_a_frame_is_not_passed_over(tmp_path, name):
    """Two files joined by ``cat``, and the beginning of the second is damaged."""
    (tmp_path / name).write_bytes(COMPRESS[name](b"one\n") + b"?" + COMPRESS[name](b"two\n")[1:])
    with pytest.raises(UserError, match=rf"{name}: damaged compressed file"):
        list(read_lines(tmp_path / name))


def test_long_zstd_file_comes_out_whole(tmp_path):
    data = b"".join(b"line %d\n" % i for i in range(200_000))
    (tmp_path / "a.zst").write_bytes(zstandard.compress(data))
    with open_text(tmp_path / "a.zst") as stream:
        assert stream.read() == data


def test_standard_input_is_read_and_left_open(monkeypatch):
    given = io.BytesIO(TEXT.encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=given))
    assert list(read_lines("-")) == TEXT.splitlines()
    assert not given.closed


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "empty.txt").touch()
    with pytest.raises(UserError, match="no such file"):
        open_text(tmp_path / "missing.txt")
    with pytest.raises(UserError, match=r"empty\.txt is empty"):
        open_text(tmp_path / "empty.txt")
    with pytest.raises(UserError, match="is a directory"):
        open_text(tmp_path)


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_the_first_byte_that_is_not_utf8_is_named(tmp_path, name, bom):
    before = bom + "erste Zeile ä\nzw".encode()
    (tmp_path / name).write_bytes(COMPRESS[name](before + b"\xfcrich\n"))
    message = rf"{name}: not UTF-8 at byte {len(before)} of its text \(0xfc\); convert it to UTF-8"
    with pytest.raises(UserError, match=message):
        list(read_lines(tmp_path / name))


def test_not_utf8_on_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\xff\xfea\0")))
    with pytest.raises(UserError, match="standard input: not UTF-8 at byte 0"):
        list(read_lines("-"))


def test_byte_order_mark_and_line_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\xef\xbb\xbftwo\r\n\r\nthree")
    assert list(read_lines(path)) == ["one", "\ufefftwo", "", "three"]


def test_only_line_feeds_end_lines(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a\u2028b\x0cc\x85d\n", newline="")
    assert list(read_lines(path)) == ["a\u2028b\x0cc\x85d"]


def test_documents(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n  one \ntwo\n \t \n\nthree")
    (tmp_path / "b.txt").write_text("four\n")
    assert list(read_documents([tmp_path / "a.txt", tmp_path / "b.txt"])) == [["one", "two"], ["three"], ["four"]]


def test_no_text_at_all(tmp_path):
    (tmp_path / "a.txt").write_text(" \n\n")
    (tmp_path / "b.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(UserError, match=r"no text in .*a\.txt, .*b\.gz; give files with UTF-8 text"):
        list(read_documents([tmp_path / "a.txt", tmp_path / "b.gz"]))
    with pytest.raises(UserError, match="no text in no files"):
        list(read_documents([]))


@given(st.lists(st.lists(st.text("ab", min_size=1, max_size=9), min_size=1), min_size=1), st.integers(1, 30))
def test_parts_of_documents_are_short_and_join_to_the_documents(tmp_path_factory, documents, max_characters):
    path = tmp_path_factory.mktemp("parts") / "a.txt"
    path.write_text("\n\n".join("\n".join(lines) for lines in documents))
    joined, is_open = [], False
    for lines, goes_on in read_parts([path], max_characters):
        assert len(lines) == 1 or sum(map(len, lines)) <= max_characters
        joined = [*joined[:-1], joined[-1] + lines] if is_open else [*joined, lines]
        is_open = goes_on
    assert joined == documents
    assert not is_open


@pytest.mark.data
def test_real_text(data):
    path = data / "corpus/en/wiki-1.txt.xz"
    with open_text(path) as stream:
        assert len(stream.read(2_000_000).decode("utf-8", errors="ignore")) > 1_900_000


@pytest.mark.parametrize("ending", ["", ".gz", ".xz", ".zst"])
def test_how_much_text_there_is(tmp_path, ending):
    """Exact for small files; judged by the first four million bytes for larger ones."""
    compress = COMPRESS[f"a{ending or '.txt'}"]
    rng = random.Random(0)
    for repeats, share in ((10, 0.0), (500_000, 0.1)):
        text = " ".join(rng.choice(("tower", "Müller", "読解", "sea")) for _ in range(repeats))
        path = tmp_path / f"{repeats}.txt{ending}"
        path.write_bytes(compress(text.encode()))
        size = estimate_size([path])
        assert size.num_bytes == pytest.approx(len(text.encode()), rel=share)
        assert size.num_characters == pytest.approx(len(text), rel=share)
    if ending:
        path = tmp_path / f"frames.txt{ending}"
        path.write_bytes(compress(b"many small files, joined by cat\n") * 10_000)
        assert estimate_size([path]).num_bytes == pytest.approx(320_000, rel=0.1)
    (tmp_path / "broken.xz").write_bytes(b"no such thing")
    assert estimate_size([tmp_path / "broken.xz"]) is estimate_size(["-"]) is None
