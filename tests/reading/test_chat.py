"""A conversation, from a pipe and from a terminal."""

import os
import pty
import subprocess
import sys
from types import MappingProxyType, SimpleNamespace

import pytest

from command_line import EXAMPLES, dokkai, make_home
from dokkai.errors import UserError
from dokkai.reading import chat


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


@pytest.fixture
def heard(monkeypatch):
    """Let standard input be these lines; returns a function that gives the pairs that were asked."""

    def listen(*lines, refuse=(), answers=MappingProxyType({})):
        pairs, listen.answered = [], []

        def answer(question, earlier, answered):
            pairs.append((question, earlier))
            listen.answered.append(answered)
            if question in refuse:
                raise UserError("not that one")
            return answers.get(question, "")

        monkeypatch.setattr(chat, "read_lines", lambda path: iter(lines))
        chat.converse(answer)
        return pairs

    return listen


def test_each_question_knows_the_one_before(heard):
    assert heard("Who?", "", "  And when? ", "Where?") == [("Who?", ""), ("And when?", "Who?"), ("Where?", "And when?")]


def test_each_question_knows_the_last_answer(heard):
    heard("Who?", "Why?", "Whom?", "When?", answers={"Who?": "Ada", "Whom?": "Bob"})
    assert heard.answered == ["", "Ada", "Ada", "Bob"]


def test_quit_ends(heard):
    assert heard("Who?", ":quit", "When?") == [("Who?", "")]


def test_commands(heard, capsys):
    assert heard(":help", ":quot", "Who?") == [("Who?", "")]
    said = capsys.readouterr().err
    assert ":quit   leave" in said and "no command :quot; did you mean ':quit'?" in said


def test_a_mistake_is_said_and_the_next_question_is_asked(heard, capsys):
    assert len(heard("one", "two", refuse=["one"])) == 2
    assert capsys.readouterr().err == "not that one\n"


def test_questions_from_a_pipe(home):
    words = ["ask", "--chat", EXAMPLES / "lighthouse.txt", EXAMPLES / "volcano.txt", "--model", home / "reader"]
    done = dokkai(*words, "--always-answer", stdin="Who kept the light?\nAnd when?\n:quit\nWhy?\n")
    assert done.code == 0 and done.out.count("confidence") == 2
    done = dokkai(*words, "--json", stdin="Who kept the light?\n\n")
    assert len(done.out.splitlines()) == 1 and done.out.startswith('[{"question": "Who kept the light?"')


def test_the_history_is_kept(tmp_path, monkeypatch):
    """On a terminal; a later conversation can call it back."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    code = "from dokkai.reading.chat import converse\nconverse(lambda *pair: print('ASKED', *pair) or '')"
    for typed, expected in ((b"Who?\nWhen?\n\x04", b"ASKED When? Who?"), (b"\x1b[A\n:quit\n", b"ASKED When? ")):
        main, other = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=other, stdout=other, stderr=other, env=os.environ | {"TERM": "xterm"}
        )
        os.close(other)
        seen = b""
        while b"? " not in seen:
            seen += os.read(main, 1024)
        os.write(main, typed)
        while process.poll() is None or b"ASKED" not in seen:
            try:
                seen += os.read(main, 1024)
            except OSError:  # the terminal is closed
                break
        os.close(main)
        assert process.wait(timeout=60) == 0
        assert expected in seen, seen
    assert chat.history_path() == tmp_path / "dokkai" / "questions"
    assert chat.history_path().read_text(encoding="utf-8").splitlines()[:2] == ["Who?", "When?"]


def test_a_question_is_kept_at_once(tmp_path, monkeypatch):
    """Also where a second conversation goes on meanwhile, or the terminal is closed; for the user alone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, two = chat._history(), chat._history()
    for keep, question in ((one, "Who?"), (two, "Wo ist \u00e4,\u2028 \udcff?"), (one, " "), (one, "When?")):
        keep(question)
    assert chat._recall(chat.history_path()) == ["Who?", "Wo ist \u00e4,\u2028 \udcff?", "When?"]
    assert chat.history_path().parent.stat().st_mode & 0o777 == 0o700
    chat.history_path().write_text("".join(f"{number}\n" for number in range(1010)))
    chat._history()("last")
    kept = chat.history_path().read_text().splitlines()
    assert (kept[0], kept[-1], len(kept)) == ("10", "last", 1001)
    chat.history_path().write_bytes(b"Who?\n\0\nWhere")  # as a crashed disk leaves
    chat._history()("When?")
    assert chat._recall(chat.history_path()) == ["Who?", "\0", "Where", "When?"]
    chat.history_path().unlink()
    chat.history_path().mkdir()
    one("lost")


def test_a_history_that_cannot_be_kept(tmp_path, monkeypatch, capsys):
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    chat._history()
    assert "the questions are not kept: cannot write" in capsys.readouterr().err


def test_without_a_home_nothing_is_kept(monkeypatch, capsys):
    """As in a container whose user has no entry in its list of users."""

    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(chat.Path, "home", home)
    chat._history()
    said = capsys.readouterr().err
    assert said == "the questions are not kept: there is no home directory; set XDG_STATE_HOME to a folder\n"


def test_an_answer_that_is_given_up(monkeypatch, capsys):
    """Ctrl-C while it is looked for: on a terminal the next question is asked, else the run ends."""
    asked = []

    def answer(question, earlier, answered):
        asked.append(question)
        raise KeyboardInterrupt

    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(chat, "_typed", lambda: iter(["one", "two"]))
    monkeypatch.setattr(chat, "read_lines", lambda path: iter(["one", "two"]))
    with pytest.raises(KeyboardInterrupt):
        chat.converse(answer)
    monkeypatch.setattr(chat, "sys", SimpleNamespace(stdin=terminal, stdout=terminal))
    chat.converse(answer)
    assert asked == ["one", "one", "two"] and capsys.readouterr().err.endswith("given up\ngiven up\n")
