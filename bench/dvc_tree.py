"""What DVC does with the list of a directory's files, at sizes that a disk of small files can't show quickly.

    python bench/dvc_tree.py [--files 100000 1000000]

DVC keeps one list of all files with their hashes for each tracked directory. This makes such lists without the
files: it writes one as JSON, reads it, and compares it with one that has a single file more, as `dvc status`,
`dvc add` and `dvc push` do after they have looked at the files themselves.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from typing import Any

from dvc_data.hashfile.diff import diff
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta
from dvc_data.hashfile.tree import Tree


class EmptyCache:
    """A cache without files, which `diff` asks after each."""

    def check(self, oid: str) -> None:
        """None of them is there."""
        raise FileNotFoundError(oid)


def make_tree(files: int) -> Tree:
    """A directory of files with made-up hashes."""
    tree = Tree()
    for place in range(files):
        tree.add((f"photograph-{place:07}.jpg",), Meta(), HashInfo("md5", f"{place:032x}"))
    tree.digest()
    return tree


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of some work, and what it returned."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, nargs="+", default=[100_000, 1_000_000])
    arguments = parser.parse_args()
    print("| files | make and hash | JSON | read | compare | peak memory |\n|---|---|---|---|---|---|")
    for files in sorted(arguments.files):
        made, tree = timed(lambda files=files: make_tree(files))
        text = tree.as_bytes()
        read, _ = timed(lambda text=text: Tree.from_list(json.loads(text), hash_name="md5"))
        longer = make_tree(files + 1)
        compared, found = timed(lambda tree=tree, longer=longer: diff(tree, longer, EmptyCache()))
        assert len(found.added) == 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"| {files:,} | {made:.1f} s | {len(text) / 1e6:.0f} MB | {read:.1f} s | {compared:.1f} s "
            f"| {peak:.0f} MB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
