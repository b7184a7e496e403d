"""What keeps processes apart; that files are whole or not there is tested where they are written."""

import errno
import fcntl
import os

import pytest

from dokkai.files import lock


def test_a_second_process_is_kept_out(tmp_path):
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))  # as in two processes
    lock(first, tmp_path)
    with pytest.raises(BlockingIOError):
        lock(second, tmp_path)
    os.close(first)
    lock(second, tmp_path)
    os.close(second)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_trusted(tmp_path, monkeypatch, capsys, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock(0, tmp_path)
    assert capsys.readouterr().err == (
        f"note: {tmp_path} is on a file system without locks; see to it that no other process writes there\n"
    )
