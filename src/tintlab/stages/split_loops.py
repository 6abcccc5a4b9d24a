"""The loops of the search for near-duplicates, compiled by numba: 0.1 ns a comparison where the CPU counts bits.

Import this module through `split_twins`, which knows whether numba is there.
"""

# mypy: disable-error-code="untyped-decorator,no-any-return"

import numba
import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

_POOL = 4096
"""Hashes that are compared at once: they stay in the first cache."""

_PAIRS, _FOURS, _BYTES, _SUM, _ONE, _TWO, _FOUR, _TOP = (
    np.uint64(value)
    for value in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x0101010101010101, 1, 2, 4, 56)
)

_compiled = numba.njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def _count_bits(x: np.uint64) -> np.uint64:
    """The compiler knows this form and uses the CPU's own instruction, on vectors where it can."""
    x = x - ((x >> _ONE) & _PAIRS)
    x = (x & _FOURS) + ((x >> _TWO) & _FOURS)
    return (((x + (x >> _FOUR)) & _BYTES) * _SUM) >> _TOP


@_compiled
def _count_near(pool: Hashes, phash: np.uint64, distance: np.uint64) -> int:
    near = 0
    for other in range(len(pool)):
        near += int(_count_bits(phash ^ pool[other]) <= distance)
    return near


@_compiled
def _compare(
    phash: np.uint64, place: int, pool: Hashes, places: Places, distance: np.uint64, found: Places
) -> int:
    """Write the near pairs of one hash and a pool to `found`; how many there are."""
    count = 0
    if _count_near(pool, phash, distance):
        for other in range(len(pool)):
            if _count_bits(phash ^ pool[other]) <= distance:
                if count < len(found):
                    found[count, 0], found[count, 1] = place, places[other]
                count += 1
    return count


@_compiled
def join_buckets(hashes: Hashes, starts: Places, flips: Places, distance: np.uint64, found: Places) -> int:
    """Find the near pairs within buckets, and of those whose numbers differ by one of `flips`.

    Args:
        hashes: sorted by bucket, `(n,)`.
        starts: where each bucket begins, and the end of the last, `(buckets + 1,)`.
        flips: bits by which the numbers of two buckets may differ, `(k,)`; not 0.
        distance: the most bits by which two near hashes differ.
        found: takes pairs of places in `hashes`, `(m, 2)`.

    Returns:
        The number of pairs. If it is more than m, only m of them were written.
    """
    pool, places = np.empty(_POOL, np.uint64), np.empty(_POOL, np.int64)
    everyone = np.arange(len(hashes))
    count = 0
    for bucket in range(len(starts) - 1):
        begin, end = starts[bucket], starts[bucket + 1]
        if begin == end:
            continue
        for place in range(begin, end - 1):
            after = slice(place + 1, end)
            count += _compare(hashes[place], place, hashes[after], everyone[after], distance, found[count:])
        filled = 0
        for flip in flips:
            other = bucket ^ flip
            if other < bucket:  # the other bucket saw these pairs
                continue
            for near in range(starts[other], starts[other + 1]):
                if filled == _POOL:
                    for place in range(begin, end):
                        count += _compare(hashes[place], place, pool, places, distance, found[count:])
                    filled = 0
                pool[filled], places[filled] = hashes[near], near
                filled += 1
        for place in range(begin, end):
            count += _compare(hashes[place], place, pool[:filled], places[:filled], distance, found[count:])
    return count
