"""Memory: how the C library hands large blocks out and takes them back while a network trains."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Mapping

# The parameters of glibc's mallopt (malloc.h).
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
NEVER = -1

USERS_OWN = (
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_",
)
TUNABLES, MALLOC_TUNABLE = "GLIBC_TUNABLES", "glibc.malloc."


def keep_freed_memory(environment: Mapping[str, str]) -> bool:
    """Let this process keep the memory of large tensors that it frees, and use it again.

    By default glibc takes each large block from the kernel and gives it back at once; every step
    of a training then pays for fresh, zeroed pages of the same few tensors. Holds from now on for
    the whole process, whatever was allocated before. The process never shrinks below its peak.

    Args:
        environment: the process's variables; any of glibc's own for malloc in it wins.

    Returns:
        Whether the allocator was told so: False under another C library or by the user's wish.
    """
    if any(name in environment for name in USERS_OWN):
        return False
    if MALLOC_TUNABLE in environment.get(TUNABLES, "") or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
