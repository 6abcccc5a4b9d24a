"""split: assign each photograph for ever to training, to choosing the best weights, or to judging."""

import hashlib
import itertools
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tintlab.system import entry_point, paths
from tintlab.system.params import SplitParams, load_params
from tintlab.system.tables import SPLIT_COLUMNS, read_table, write_table

RANK = {"test": 0, "val": 1, "train": 2}

Places = NDArray[np.int64]
"""Positions of photographs."""

_SEGMENTS, _SEGMENT_BITS = 4, 16
_PAIRS_AT_ONCE = 1 << 22


def split_of(sha256: str, params: SplitParams) -> str:
    """The split of a photograph, from its content alone: u = sha256(salt + sha256) as a number in [0, 1)."""
    u = int(hashlib.sha256((params.salt + sha256).encode()).hexdigest(), 16) / 2**256
    if u < params.test:
        return "test"
    return "val" if u < params.test + params.val else "train"


def twin_pairs(phashes: pd.Series, distance: int) -> list[tuple[int, int]]:
    """Pairs of positions `i < j` whose 64-bit perceptual hashes differ in at most `distance` bits, sorted.

    Exact for any distance, with far fewer than n² comparisons for small ones (multi-index hashing, Norouzi et al.
    2014, arXiv 1307.2982): two hashes that differ in d bits differ in at most d / 4 bits in one of four segments.
    So only photographs are compared that share an entry in a table of segments.
    """
    hashes = np.array([int(text, 16) for text in phashes], dtype=np.uint64)
    radius = distance // _SEGMENTS
    flips = sum(math.comb(_SEGMENT_BITS, bits) for bits in range(radius + 1))
    few = flips * _SEGMENTS < len(hashes)
    found = [np.empty(0, np.int64)]
    for left, right in _alike_in_a_segment(hashes, radius) if few else _all_pairs(len(hashes)):
        near = (left < right) & (np.bitwise_count(hashes[left] ^ hashes[right]) <= distance)
        found.append(left[near] * len(hashes) + right[near])
    first, second = np.divmod(np.unique(np.concatenate(found)), max(len(hashes), 1))
    return list(zip(first.tolist(), second.tolist(), strict=True))


def _alike_in_a_segment(hashes: NDArray[np.uint64], radius: int) -> Iterator[tuple[Places, Places]]:
    """Pairs, in both orders, whose hashes differ in at most `radius` bits of one of the four segments."""
    values = 1 << _SEGMENT_BITS
    for low in range(0, 64, _SEGMENT_BITS):
        segments = (hashes >> np.uint64(low)).astype(np.int64) & (values - 1)
        order = np.argsort(segments, kind="stable")
        starts = np.searchsorted(segments[order], np.arange(values + 1))
        for bits in range(radius + 1):
            for flipped in itertools.combinations(range(_SEGMENT_BITS), bits):
                wanted = segments ^ sum(1 << bit for bit in flipped)
                yield from _joined(starts[wanted], starts[wanted + 1], order)


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


def assign_splits(photos: pd.DataFrame, params: SplitParams) -> pd.DataFrame:
    """Assign a split to every readable photograph; exclude near-duplicates of higher-ranked splits.

    A photograph keeps its split when others arrive, and the order of rows does not matter. Twins within a split
    stay and share a cluster.

    Args:
        photos: columns `photo`, `sha256` and `phash`; rows with an empty `photo` are left out.
        params: shares, salt and the distance that makes two photographs twins.

    Returns:
        Columns `photo`, `split`, `cluster`, `excluded` (empty, or `near-duplicate of …`), sorted by photo.
    """
    known = photos[photos["photo"] != ""].sort_values("photo", ignore_index=True)
    names = known["photo"].tolist()
    splits = [split_of(sha256, params) for sha256 in known["sha256"]]
    excluded = [""] * len(names)
    cluster = list(range(len(names)))

    def root(position: int) -> int:
        while cluster[position] != position:
            position = cluster[position]
        return position

    for first, second in twin_pairs(known["phash"], params.twin_distance):
        if splits[first] == splits[second]:
            low, high = sorted((root(first), root(second)))
            cluster[high] = low
            continue
        higher, lower = sorted((first, second), key=lambda position: RANK[splits[position]])
        excluded[lower] = excluded[lower] or f"near-duplicate of {names[higher]} in {splits[higher]}"
    clusters = [names[root(position)] for position in range(len(names))]
    columns = dict(zip(SPLIT_COLUMNS, [names, splits, clusters, excluded], strict=True))
    return pd.DataFrame(columns, dtype="str")


def main() -> None:
    """Run the stage on the files in dvc.yaml."""
    splits = assign_splits(read_table(paths.PHOTOS), load_params().split)
    write_table(splits, paths.SPLITS)
    counts = splits.loc[splits["excluded"] == "", "split"].value_counts()
    twins = int((splits["excluded"] != "").sum())
    print(", ".join(f"{counts.get(name, 0)} {name}" for name in RANK) + f", {twins} near-duplicates excluded")


if __name__ == "__main__":
    entry_point.run_stage(main)
