"""What the C library does with freed memory: glibc only; elsewhere nothing happens."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8  # of mallopt(3)


def keep_freed_memory() -> None:
    """From now on this process keeps small freed buffers instead of giving them back to the kernel at once.

    Otherwise each pass over a photograph gets newly zeroed memory, a tenth of all time. Buffers of large
    photographs are given back as ever.
    """
    _set({_TRIM_THRESHOLD: 256 << 20, _MMAP_THRESHOLD: 32 << 20})


def keep_all_freed_memory() -> None:
    """As `keep_freed_memory`, but buffers of any size: for what does the same again and again, as a training.

    The steps of a large network free and ask for gigabytes; the kernel's zeroing of these is a sixth of all time.
    """
    _set({_TRIM_THRESHOLD: (1 << 31) - 1, _MMAP_MAX: 0})


def share_arenas(count: int) -> None:
    """From now on all threads share so many heaps: each heap keeps what was freed in it from the others."""
    _set({_ARENA_MAX: count})


def _set(options: dict[int, int]) -> None:
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in options.items():
            libc.mallopt(option, value)
