"""Near-duplicates, split and validate on tables of 100,000 and 1,000,000 rows, without photographs.

The hashes are random; every fiftieth is a copy of another one with 0 to 12 bits flipped. The memory of the search
is what it adds to the process, that of a stage what `stage_timer.py` notes.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from measuring import Report, Row, command, conclude, machine, parser
from scale import write_params
from stage_timer import own_memory
from tintlab.stages.split_twins import COMPILED_FROM, find_twins
from tintlab.stages.validate import sample_photos
from tintlab.system import paths
from tintlab.system.tables import read_table, write_table

DISTANCE = 10
STEEPEST = 1.1
BRUTE = 20_000


def make_hashes(count: int) -> NDArray[np.uint64]:
    """Random hashes, every fiftieth near another one."""
    random = np.random.default_rng(count)
    hashes = random.integers(0, 2**64, count, np.uint64)
    for place in range(0, count, 50):
        phash = hashes[random.integers(0, count)]
        for bit in random.choice(64, random.integers(0, 13), replace=False):
            phash ^= np.uint64(1 << int(bit))
        hashes[place] = phash
    return hashes


def search(count: int) -> tuple[float, float, int]:
    """CPU seconds and megabytes of a search, and the number of pairs."""
    hashes = make_hashes(count)
    before, peak, ended = own_memory(), [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            peak[0] = max(peak[0], own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.process_time()
    pairs = sum(len(found) for found in find_twins(hashes, DISTANCE))
    taken = time.process_time() - began
    ended.set()
    watcher.join()
    return taken, peak[0] - before, pairs


def is_exact(count: int) -> bool:
    """Whether the search finds what comparing all pairs finds."""
    hashes = make_hashes(count)
    found = {(int(one), int(other)) for pairs in find_twins(hashes, DISTANCE) for one, other in pairs}
    compared: set[tuple[int, int]] = set()
    for place in range(count):
        near = np.flatnonzero(np.bitwise_count(hashes[place + 1 :] ^ hashes[place]) <= DISTANCE)
        compared |= {(place, place + 1 + int(other)) for other in near}
    return found == compared and len(found) > count // 100


def make_table(count: int, path: Path) -> None:
    """A table of photographs as fetch writes it."""
    random = np.random.default_rng(0)
    sha256 = random.bytes(32 * count).hex()
    digests = [sha256[64 * place : 64 * place + 64] for place in range(count)]
    facts = {
        "photo": [f"photograph-{place:07}-{digest[:8]}.jpeg" for place, digest in enumerate(digests)],
        "origin": [f"inbox/{place // 1000:04}/photograph-{place:07}.jpg" for place in range(count)],
        "category": [f"{place // 1000:04}" for place in range(count)],
        "sha256": digests,
        "phash": [f"{phash:016x}" for phash in make_hashes(count).tolist()],
    }
    table = pd.DataFrame(facts, dtype="str").assign(
        bytes=100_000, copies=0, format="JPEG", mode="RGB", width=640, height=480, problem=""
    )
    for column in ("colourfulness", "l_low", "l_high", "a_low", "a_high", "b_low", "b_high"):
        low = 60 if column == "l_high" else 10
        table[column] = random.uniform(low, low + 20, count)
    write_table(table, path)


def add_shown_photographs(folder: Path) -> None:
    """The photographs that validate shows on its page: some of training, and the first that are quarantined."""
    splits = read_table(folder / paths.SPLITS)
    taken = splits["excluded"] == ""
    shown = [*sample_photos(splits[taken]), *splits.loc[~taken, "photo"].head(100)]
    (folder / paths.RAW).mkdir()
    for name in shown:
        Image.new("RGB", (64, 48), (200, 120, 40)).save(folder / paths.RAW / name)


def stages(count: int) -> dict[str, dict[str, float]]:
    """Seconds and memory of split and validate on a table of `count` rows."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_params(folder)
        make_table(count, folder / paths.PHOTOS)
        found = {}
        for name in ("split", "validate"):
            if name == "validate":
                add_shown_photographs(folder)
            timer = [sys.executable, str(Path(__file__).with_name("stage_timer.py"))]
            done = subprocess.run(
                [*timer, f"{name}.json", f"tintlab.stages.{name}"],
                cwd=folder,
                env=os.environ | {"TINTLAB_STATE": str(folder / "state")},
                check=False,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                sys.exit(done.stdout + done.stderr)
            found[name] = json.loads((folder / f"{name}.json").read_text())
    return found


def grown_rows(name: str, counts: list[int], seconds: list[float], megabytes: list[float]) -> list[Row]:
    """Exponent, seconds and memory of one thing at several sizes."""
    slope = float(np.polyfit(np.log(counts), np.log(seconds), 1)[0])
    added = 1e6 * (megabytes[-1] - megabytes[0]) / (counts[-1] - counts[0])
    largest = f"{counts[-1]:,} rows"
    return [
        Row(f"{name}, exponent of time", "", [slope], [], "", "ours", at_most=STEEPEST),
        Row(f"{name}, CPU seconds for {largest}", "s", [seconds[-1]], [], "", "ours"),
        Row(f"{name}, most memory for {largest}", "MB", [megabytes[-1]], [], "", "ours"),
        Row(f"{name}, memory that a row adds", "bytes", [added], [], "", "ours", at_most=1024),
    ]


def main() -> None:
    """Measure and write the report."""
    made = parser("rows", "Near-duplicates, split and validate on tables without photographs.", 1)
    made.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000], help="at least two sizes")
    made.add_argument("--only-search", action="store_true", help="without the stages")
    options = made.parse_args()
    report = Report(command("rows"), machine())
    counts: list[int] = sorted(options.rows)
    if not is_exact(BRUTE):
        sys.exit(f"the search does not find what comparing all pairs of {BRUTE} finds")
    print(f"equal to comparing all pairs of {BRUTE:,}")
    search(max(1000, COMPILED_FROM))  # compiles
    found = [search(count) for count in counts]
    seconds, megabytes = [one[0] for one in found], [one[1] for one in found]
    report.rows += grown_rows("near-duplicates", counts, seconds, megabytes)
    report.details["pairs"] = {str(count): one[2] for count, one in zip(counts, found, strict=True)}
    if not options.only_search:
        start, *sized = (stages(count) for count in (1000, *counts))
        for name in ("split", "validate"):
            seconds = [one[name]["cpu_seconds"] - start[name]["cpu_seconds"] for one in sized]
            megabytes = [one[name]["peak_megabytes"] for one in sized]
            report.rows += grown_rows(name, counts, seconds, megabytes)
        report.details["stages"] = dict(zip(map(str, (1000, *counts)), [start, *sized], strict=True))
    conclude(report, options.json)


if __name__ == "__main__":
    main()
