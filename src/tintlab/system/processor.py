"""Find out which instruction sets the processor has, without importing torch."""

import functools
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@functools.cache
def flags() -> frozenset[str]:
    """Linux's names of the instruction sets, such as `avx512_bf16`; empty on other systems."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def multiplies_bf16() -> bool:
    """Whether it multiplies bfloat16 in hardware: AVX-512 BF16, or AMX."""
    return bool(flags() & {"avx512_bf16", "amx_bf16"})


def has_amx() -> bool:
    """Whether it multiplies tiles of bfloat16, about eight times as fast as float32."""
    return "amx_bf16" in flags()
