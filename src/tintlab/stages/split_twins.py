"""The search for near-duplicates: all pairs of 64-bit perceptual hashes that differ in a few bits, exactly.

Multi-index hashing (Norouzi et al. 2014, arXiv 1307.2982): two hashes that differ in d bits differ in few bits in
one of four segments. So only those are compared whose segments are alike, in one of four tables of buckets.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]
"""Positions of photographs."""

COMPILED_FROM = 50_000
"""Hashes for which loading numba pays: it compiles for some seconds once on a machine."""

_SEGMENTS = 4
_PAIRS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Segment:
    """A part of the bits of all hashes.

    Attributes:
        low: number of its lowest bit.
        width: number of its bits.
        radius: two near hashes differ in at most so many bits of some segment.
    """

    low: int
    width: int
    radius: int

    @property
    def flips(self) -> Places:
        """All values of up to `radius` bits, 0 first."""
        chosen = (
            bits
            for count in range(self.radius + 1)
            for bits in itertools.combinations(range(self.width), count)
        )
        return np.array([sum(1 << bit for bit in bits) for bits in chosen], np.int64)


def cut_segments(distance: int) -> list[Segment]:
    """Cut 64 bits into segments of which at least one is near in each near pair.

    The distance is 4 q + r. If r + 1 segments differ in q + 1 bits or more and the others in q bits or more, the
    pair differs in 4 q + r + 1 bits or more. So r + 1 segments get the radius q, the others q - 1. The former are
    wider, as more of their values count as alike.
    """
    radius, rest = divmod(distance, _SEGMENTS)
    wide = rest + 1
    narrow = _SEGMENTS - wide
    widths = [17 if narrow else 16] * wide
    widths += [len(bits) for bits in np.array_split(np.arange(64 - sum(widths)), narrow)] if narrow else []
    lows = [0, *itertools.accumulate(widths)]
    radii = [radius] * wide + [radius - 1] * narrow
    # The others suffice where a radius is negative.
    return [Segment(*one) for one in zip(lows, widths, radii, strict=False) if one[2] >= 0]


def find_twins(hashes: Hashes, distance: int) -> Iterator[NDArray[np.int64]]:
    """All pairs of positions whose hashes differ in at most `distance` bits, each at least once.

    Yields:
        Pairs `(k, 2)`, in each the smaller position first.
    """
    segments = cut_segments(distance)
    if not _is_worth_cutting(segments, len(hashes)):
        yield from _near(hashes, distance, _all_pairs(len(hashes)))
        return
    loops = _compiled_loops() if len(hashes) >= COMPILED_FROM else None
    for segment in segments:
        buckets = (hashes >> np.uint64(segment.low)).astype(np.int64) & ((1 << segment.width) - 1)
        order = np.argsort(buckets, kind="stable")
        counts = np.bincount(buckets, minlength=1 << segment.width)
        starts = np.concatenate([[0], np.cumsum(counts)])
        if loops is None:
            yield from _near(hashes, distance, _alike(buckets, order, starts, segment.flips))
        else:
            del buckets, counts
            pairs = _join(loops, hashes[order], starts, segment.flips[1:], distance)
            yield np.sort(order[pairs], axis=1)


def _is_worth_cutting(segments: list[Segment], count: int) -> bool:
    """Whether a hash is compared with fewer buckets than there are hashes."""
    return sum(math.comb(one.width, bits) for one in segments for bits in range(one.radius + 1)) < count


def _compiled_loops() -> ModuleType | None:
    try:
        from tintlab.stages import split_loops
    except (ImportError, RuntimeError, OSError):
        # Not installed, another numpy than numba knows, or no folder where numba could keep what it compiles.
        return None
    return split_loops


def _join(loops: ModuleType, hashes: Hashes, starts: Places, flips: Places, distance: int) -> Places:
    room = max(1024, len(hashes) // 16)
    while True:
        found = np.empty((room, 2), np.int64)
        count = loops.join_buckets(hashes, starts, flips, np.uint64(distance), found)
        if count <= room:
            return found[:count]
        room = count


# --- without numba


def _alike(buckets: Places, order: Places, starts: Places, flips: Places) -> Iterator[tuple[Places, Places]]:
    """Pairs whose buckets' numbers differ by one of `flips`."""
    within = np.empty_like(order)
    within[order] = np.arange(len(order))
    for flip in flips:
        other = buckets ^ flip
        # Each pair of buckets once; in a bucket, each with those after it.
        begins = starts[other] if flip else within + 1
        ends = np.where(other >= buckets, starts[other + 1], begins)
        yield from _joined(begins, ends, order)


def _joined(begins: Places, ends: Places, order: Places) -> Iterator[tuple[Places, Places]]:
    """Pairs of each position i with those of `order[begins[i] : ends[i]]`, some millions at a time."""
    counts = ends - begins
    before = np.concatenate([[0], np.cumsum(counts)])
    cuts = np.searchsorted(before, np.arange(0, before[-1] + _PAIRS_AT_ONCE, _PAIRS_AT_ONCE))
    for start, stop in itertools.pairwise(np.unique([*np.minimum(cuts, len(counts)), len(counts)]).tolist()):
        left = np.repeat(np.arange(start, stop), counts[start:stop])
        within = np.arange(len(left)) + before[start] - before[left]
        yield left, order[begins[left] + within]


def _all_pairs(count: int) -> Iterator[tuple[Places, Places]]:
    everyone = np.arange(count)
    yield from _joined(everyone + 1, np.full(count, count), everyone)


def _near(hashes: Hashes, distance: int, pairs: Iterator[tuple[Places, Places]]) -> Iterator[Places]:
    for left, right in pairs:
        near = np.bitwise_count(hashes[left] ^ hashes[right]) <= distance
        yield np.sort(np.stack([left[near], right[near]], axis=1), axis=1)
