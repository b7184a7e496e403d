"""What the C library does with large pieces of memory, in a process of its own: the choice holds for all of it."""

import ctypes
import subprocess
import sys

import pytest

from dokkai.training import memory

_SCRIPT = """
import ctypes, importlib.util, sys
spec = importlib.util.spec_from_file_location("memory", sys.argv[1])
memory = importlib.util.module_from_spec(spec)
spec.loader.exec_module(memory)
c = ctypes.CDLL(None)
c.malloc.restype = c.sbrk.restype = ctypes.c_void_p
c.malloc.argtypes, c.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
SIZE = 256 << 20
def grown():  # what stays with the process after a large piece came and went
    piece = c.malloc(SIZE)
    in_heap = piece < c.sbrk(0)
    c.free(piece)
    return in_heap, c.malloc(SIZE) == piece
before = grown()
assert memory.keep_freed_memory()
low = c.sbrk(0)
print(before[0], *grown(), c.sbrk(0) - low >= SIZE)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="of glibc alone")
def test_freed_memory_stays():
    command = [sys.executable, "-c", _SCRIPT, memory.__file__]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "True", "True", "True"]


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", None)  # not even asked
    assert memory.keep_freed_memory() is False


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert memory.keep_freed_memory() is False
