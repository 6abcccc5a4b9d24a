"""Set what the C library does with freed memory. Works with glibc; elsewhere the functions do nothing."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8  # of mallopt(3)


def keep_freed_memory() -> None:
    """Keep small freed buffers in this process, instead of returning them to the kernel at once.

    Otherwise each pass over a photograph gets newly zeroed memory, which takes a tenth of the run time.
    Buffers of large photographs are still returned.
    """
    _set({_TRIM_THRESHOLD: 256 << 20, _MMAP_THRESHOLD: 32 << 20})


def keep_all_freed_memory() -> None:
    """Like `keep_freed_memory`, for buffers of any size; meant for repetitive work such as a training.

    The steps of a large network free and allocate gigabytes; zeroing them in the kernel takes a sixth of the
    run time.
    """
    _set({_TRIM_THRESHOLD: (1 << 31) - 1, _MMAP_MAX: 0})


def share_arenas(count: int) -> None:
    """Let all threads share `count` heaps: memory that is freed in one heap can't be reused by the others."""
    _set({_ARENA_MAX: count})


def _set(options: dict[int, int]) -> None:
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in options.items():
            libc.mallopt(option, value)
