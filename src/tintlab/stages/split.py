"""split: decide for ever which photographs train, which choose the best weights and which judge."""

import hashlib
import itertools

import numpy as np
import pandas as pd

from tintlab import paths, program
from tintlab.params import SplitParams, load_params
from tintlab.tables import SPLIT_COLUMNS, read_table, write_table

RANK = {"test": 0, "val": 1, "train": 2}


def split_of(sha256: str, params: SplitParams) -> str:
    """The split of a photograph, from its content alone: u = sha256(salt + sha256) as a number in [0, 1)."""
    u = int(hashlib.sha256((params.salt + sha256).encode()).hexdigest(), 16) / 2**256
    if u < params.test:
        return "test"
    return "val" if u < params.test + params.val else "train"


def twin_pairs(phashes: pd.Series, distance: int) -> list[tuple[int, int]]:
    """Pairs of positions `i < j` whose 64-bit perceptual hashes differ in at most `distance` bits.

    Exact for any distance, and far below n² comparisons: hashes that differ in d bits agree in one of d + 1
    segments, so only photographs that share a segment are compared.
    """
    hashes = np.array([int(text, 16) for text in phashes], dtype=np.uint64)
    edges = np.linspace(0, 64, distance + 2).astype(int) if distance < 63 else np.array([0, 0])
    pairs: set[tuple[int, int]] = set()
    for low, high in itertools.pairwise(edges):
        segment = (hashes >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        for _, positions in pd.Series(segment).groupby(segment).groups.items():
            members = np.sort(np.asarray(positions))
            for at, first in enumerate(members[:-1]):
                others = members[at + 1 :]
                near = others[np.bitwise_count(hashes[others] ^ hashes[first]) <= distance]
                pairs.update((int(first), int(other)) for other in near)
    return sorted(pairs)


def assign_splits(photos: pd.DataFrame, params: SplitParams) -> pd.DataFrame:
    """Assign every readable photograph its split; exclude near-duplicates of higher-ranked splits.

    A photograph keeps its split whatever arrives later, and the order of rows does not matter. Twins within
    a split stay and share a cluster.

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
    """Run the stage on the files that dvc.yaml names."""
    splits = assign_splits(read_table(paths.PHOTOS), load_params().split)
    write_table(splits, paths.SPLITS)
    counts = splits.loc[splits["excluded"] == "", "split"].value_counts()
    twins = int((splits["excluded"] != "").sum())
    print(", ".join(f"{counts.get(name, 0)} {name}" for name in RANK) + f", {twins} near-duplicates excluded")


if __name__ == "__main__":
    program.run_stage(main)
