"""Host memory for CPU training: keep freed pages instead of asking the kernel for fresh ones at every step."""

import ctypes
import sys

# glibc's mallopt parameters (malloc.h)
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def reuse_host_memory(pad: int = 2**28) -> bool:
    """Tells glibc's malloc to serve large buffers from one heap that never shrinks.

    XLA's CPU client allocates all temporaries of a program anew at every call; by default glibc maps them freshly and
    unmaps them after, so a train step of a small model takes over 100,000 page faults (measured: 6 blocks of width 64,
    225 tokens, batch 32: 932 ms of CPU a step with them, 538 ms without). The process keeps its peak memory
    until it ends.

    Call it before the first JAX computation; threads that exist already keep their own heaps.

    Args:
        pad: bytes by which the heap grows at least.

    Returns:
        whether the allocator took the settings; False on systems without glibc, where nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, pad))
    return all([mallopt(name, value) == 1 for name, value in settings])
