"""split: assign each photograph for ever to training, to choosing the best weights, or to judging."""

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tintlab.stages.split_twins import Hashes, find_twins
from tintlab.system import entry_point, paths
from tintlab.system.params import SplitParams, load_params
from tintlab.system.tables import SPLIT_COLUMNS, read_pieces, write_table

RANK = {"test": 0, "val": 1, "train": 2}

Places = NDArray[np.int32]
"""Positions of photographs."""


def split_of(sha256: str, params: SplitParams) -> str:
    """The split of a photograph, from its content alone: u = sha256(salt + sha256) as a number in [0, 1)."""
    u = int(hashlib.sha256((params.salt + sha256).encode()).hexdigest(), 16) / 2**256
    if u < params.test:
        return "test"
    return "val" if u < params.test + params.val else "train"


def assign_splits(pieces: Iterable[pd.DataFrame], params: SplitParams) -> pd.DataFrame:
    """Assign a split to every readable photograph; exclude near-duplicates of higher-ranked splits.

    A photograph keeps its split when others arrive, and the order of rows does not matter. Twins within a split
    stay and share a cluster.

    Args:
        pieces: the table of photographs, in one or several parts: columns `photo`, `sha256` and `phash`. Rows
            with an empty `photo` are left out.
        params: shares, salt and the distance that makes two photographs twins.

    Returns:
        Columns `photo`, `split`, `cluster`, `excluded` (empty, or `near-duplicate of …`), sorted by photo.
    """
    names, ranks, hashes = _read_facts(pieces, params)
    higher, clusters = relate_twins(hashes, ranks, params.twin_distance)
    splits = pd.array(list(RANK), dtype="str")
    excluded = np.flatnonzero(higher >= 0)
    twins = higher[excluded]
    reasons = [
        f"near-duplicate of {name} in {split}"
        for name, split in zip(names.take(twins), splits.take(ranks[twins]), strict=True)
    ]
    numbers = np.zeros(len(names), np.int32)
    numbers[excluded] = np.arange(1, len(reasons) + 1)
    columns = [
        names.array,
        splits.take(ranks),
        names.array.take(clusters),
        pd.array(["", *reasons], dtype="str").take(numbers),
    ]
    return pd.DataFrame(dict(zip(SPLIT_COLUMNS, columns, strict=True)))


def _read_facts(
    pieces: Iterable[pd.DataFrame], params: SplitParams
) -> tuple["pd.Series[str]", NDArray[np.int8], Hashes]:
    """Names, ranks of splits and hashes of all readable photographs, sorted by name."""
    names, ranks, hashes = [pd.Series([], dtype="str")], [np.empty(0, np.int8)], [np.empty(0, np.uint64)]
    for piece in pieces:
        known = piece[piece["photo"] != ""]
        names.append(known["photo"])
        ranks.append(np.array([RANK[split_of(sha256, params)] for sha256 in known["sha256"]], np.int8))
        hashes.append(np.array([int(text, 16) for text in known["phash"]], np.uint64))
    in_order = pd.concat(names, ignore_index=True).sort_values()
    order = in_order.index.to_numpy()
    return in_order.reset_index(drop=True), np.concatenate(ranks)[order], np.concatenate(hashes)[order]


def relate_twins(hashes: Hashes, ranks: NDArray[np.int8], distance: int) -> tuple[Places, Places]:
    """Find each photograph's twin in a split of higher rank, and its cluster.

    Args:
        hashes: perceptual hashes, `(n,)`.
        ranks: of the splits, 0 is the highest, `(n,)`.
        distance: twins' hashes differ in at most so many bits.

    Returns:
        The first twin of a higher rank, or -1, `(n,)`; and the first photograph of the cluster: those of the same
        split that are connected by twins, `(n,)`.
    """
    # Photographs of the same hash and split have the same twins: a node for each hash and split.
    values, groups = np.unique(hashes, return_inverse=True)
    nodes = groups * len(RANK) + ranks
    nobody = len(hashes)
    firsts = np.full((len(values), len(RANK)), nobody, np.int32)
    firsts.ravel()[nodes[::-1]] = np.arange(nobody, dtype=np.int32)[::-1]  # the last that is written stays
    pairs = np.concatenate([np.empty((0, 2), np.int64), *find_twins(values, distance)])
    higher, clusters = (find(firsts, pairs, nobody) for find in (_find_higher, _find_clusters))
    return higher.ravel()[nodes], clusters.ravel()[nodes]


def _find_higher(firsts: Places, pairs: NDArray[np.int64], nobody: int) -> Places:
    """For each node its first twin of a higher rank; -1 where there is none."""
    higher = np.full_like(firsts, nobody)
    higher[:, 1:] = np.minimum.accumulate(firsts, axis=1)[:, :-1]
    found = higher.copy()
    for one, other in (pairs.T, pairs.T[::-1]):
        np.minimum.at(found, one, higher[other])
    return np.where(found == nobody, -1, found)


def _find_clusters(firsts: Places, pairs: NDArray[np.int64], nobody: int) -> Places:
    """For each node the first photograph of its cluster."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    sides = [(side[:, None] * len(RANK) + np.arange(len(RANK))).ravel().astype(np.int32) for side in pairs.T]
    who = firsts.ravel()
    there = np.logical_and(*(who[side] < nobody for side in sides))
    one, other = (side[there] for side in sides)
    edges = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(len(who), len(who)))
    _, labels = connected_components(edges, directed=False)
    found = np.full(len(who), nobody, np.int32)
    np.minimum.at(found, labels, who)
    clusters: Places = found[labels].reshape(firsts.shape)
    return clusters


def main() -> None:
    """Run the stage on the files in dvc.yaml."""
    columns = ["photo", "sha256", "phash"]
    splits = assign_splits(read_pieces(paths.PHOTOS, columns), load_params().split)
    write_table(splits, paths.SPLITS)
    counts = splits.loc[splits["excluded"] == "", "split"].value_counts()
    twins = int((splits["excluded"] != "").sum())
    print(", ".join(f"{counts.get(name, 0)} {name}" for name in RANK) + f", {twins} near-duplicates excluded")


if __name__ == "__main__":
    entry_point.run_stage(main)
