"""Memory between updates: on Linux the C library is asked to keep what was freed."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_... of malloc.h


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for the next update; whether the C library could be asked (glibc alone can).

    Else each large tensor is fetched from the system and given back again, in every update, and the system clears
    it page by page in between. The same as the environment's ``MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1``.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not (hasattr(library, "mallopt") and hasattr(library, "gnu_get_libc_version")):  # musl has neither
        return False
    return bool(library.mallopt(_MMAP_MAX, 0)) and bool(library.mallopt(_TRIM_THRESHOLD, -1))
