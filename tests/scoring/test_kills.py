"""An archive of 2,000 photographs and a program that is killed again and again; the measured limits of memory."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tintlab.scoring import manifest
from tintlab.scoring.threads import cpus

SIDE = 64
KILLS = 5

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """2,000 small crops of the starter photographs in a tree, and 50 that are broken in several ways."""
    return make_archive(tmp_path_factory.mktemp("archive"), repository, 2000, 50)


def make_archive(folder: Path, repository: Path, good: int, broken: int) -> Path:
    random_ = np.random.default_rng(0)
    with zipfile.ZipFile(repository / "data/starter-photos.zip") as starter:
        names = [name for name in starter.namelist() if name.lower().endswith((".webp", ".jpg", ".png"))]
        pictures = [Image.open(starter.open(name)).convert("L") for name in names[::10]]
    pictures = [picture.resize((SIDE * 3, SIDE * 2)) for picture in pictures]
    for number in range(good):
        picture = pictures[number % len(pictures)]
        left, top = random_.integers(0, SIDE * 2), random_.integers(0, SIDE)
        crop = picture.crop((left, top, left + SIDE, top + SIDE))
        path = folder / f"{number % 7}" / f"{number:04}.jpg"
        path.parent.mkdir(exist_ok=True)
        crop.save(path, quality=85)
    whole = (folder / "0/0000.jpg").read_bytes()
    for number in range(broken):
        kinds = (b"", whole[: 20 + 12 * number], b"no picture", bytes(500), b"GIF89a" + whole[:50])
        (folder / f"{number % 7}" / f"broken{number:02}.jpg").write_bytes(kinds[number % len(kinds)])
    return folder


class Watcher(threading.Thread):
    """Opens every coloured file as soon as it has its name, and decodes it: a half-written one would fail."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.seen, self.faults = folder, dict[Path, int](), list[str]()
        self.rewritten = 0
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.is_set():
            self.look()

    def look(self) -> None:
        for place, folders, files in os.walk(self.folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                path = Path(place) / name
                if path.suffix == ".png" and not name.startswith("."):
                    self._check(path)
            time.sleep(0.005)

    def _check(self, path: Path) -> None:
        changed = path.stat().st_mtime_ns
        if self.seen.get(path) == changed:
            return
        self.rewritten += path in self.seen
        try:
            with Image.open(path) as image:
                image.load()
                if image.size != (SIDE, SIDE):
                    self.faults.append(f"{path}: {image.size}")
        except Exception as error:
            self.faults.append(f"{path}: {error}")
        self.seen[path] = changed

    def end(self) -> None:
        self._ending.set()
        self.join()
        self.look()


def command(source: Path, output: Path, model: Path) -> list[str]:
    arguments = ["score", str(source), str(output), "--model", str(model), "--working-size", "32"]
    return [sys.executable, "-m", "tintlab.cli", *arguments]


def journaled(output: Path) -> Counter[str]:
    """How often each photograph was coloured, over all parts and journals."""
    parts = manifest.parts_folder(output)
    names: Counter[str] = Counter()
    for path in parts.glob("*.parquet"):
        table = pq.read_table(path).to_pandas()
        names.update(table.loc[table["outcome"] == "coloured", "input"])
    return names


def test_killed_five_times_every_good_photograph_once(archive: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    watcher = Watcher(output)
    watcher.start()
    chance = random.Random(0)
    progress, killed = [0], 0
    while killed < KILLS:
        process = subprocess.Popen(
            command(archive, output, model), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # So many more files than before, at an unforeseen moment.
        wanted = progress[-1] + chance.randint(1, 300)
        while len(watcher.seen) < wanted and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.1))
        assert process.poll() is None, "it ended before it was killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
        progress.append(len(watcher.seen))
    last = subprocess.run(command(archive, output, model), capture_output=True, text=True, check=False)
    watcher.end()
    assert last.returncode == 2, last.stderr
    assert "2000 photographs coloured, 50 files can't be used" in last.stdout
    assert "going on" in last.stderr
    assert watcher.faults == []
    assert len(watcher.seen) == 2000

    table = pq.read_table(output / manifest.MANIFEST).to_pandas()
    assert table["outcome"].value_counts().to_dict() == {"coloured": 2000, "quarantined": 50}
    assert table["input"].is_unique
    assert table.loc[table["outcome"] == "quarantined", "input"].str.contains("broken").all()
    coloured = table[table["outcome"] == "coloured"]
    assert {output / name for name in coloured["output"]} == set(watcher.seen)
    assert ((output / coloured["output"].iloc[0]).stat().st_size) == coloured["output_bytes"].iloc[0]
    again = {name: times for name, times in journaled(output).items() if times > 1}
    print(
        f"files at the kills {progress[1:]}, coloured twice {watcher.rewritten}, recorded twice {len(again)}"
    )
    assert not again
    # In flight, and written already, may be one photograph a worker.
    assert watcher.rewritten <= KILLS * (cpus() + 1)
    left = [path for path in output.rglob("*") if ".tintlab.part" in path.name]
    assert left == []


def test_memory_is_flat_from_200_to_2000(archive: Path, model: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    photos = sorted(archive.rglob("[0-9]*.jpg"))
    few.write_text("\n".join(map(str, photos[:200])))
    peaks = [peak_of(command(few, tmp_path / "a", model)), peak_of(command(archive, tmp_path / "b", model))]
    print(f"peak memory of 200 and of 2,000 photographs: {peaks} MB")
    assert peaks[1] < peaks[0] + 60


@pytest.mark.parametrize("depth", [8, 16])
def test_a_scan_of_100_megapixels_in_4_gb(depth: int, model: Path, tmp_path: Path) -> None:
    row = np.linspace(0, 65535, 12_500).astype(np.uint16)
    scan = np.broadcast_to(row, (8000, 12_500)) + np.arange(8000, dtype=np.uint16)[:, None] // 8
    path = tmp_path / "scan.tif"
    Image.fromarray(scan if depth == 16 else (scan >> 8).astype(np.uint8)).save(path)
    peak = peak_of([*command(path, tmp_path / "out", model), "--depth", str(depth)])
    print(f"100 megapixels, {depth} bits: {peak} MB")
    assert peak < 4000
    assert (tmp_path / "out/scan.png").stat().st_size > 1_000_000


def peak_of(arguments: list[str]) -> int:
    """Peak resident memory of a program in MB."""
    code = "import resource, subprocess, sys; status = subprocess.call(sys.argv[1:]); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, status)"
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    ).stdout.split()
    assert answer[-1] in ("0", "2"), answer
    return int(answer[-2]) // 1024
