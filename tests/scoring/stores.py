"""Archives from s3 to s3, past kills and a store that is busy, and how fast that is beside a disk.

`python -m tests.scoring.stores 2000 --kills 5` says what was found.
"""

import argparse
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from tests.scoring.object_store import (
    client_of,
    command,
    count_pictures,
    empty_buckets,
    environment,
    keys_of,
    run_proxy,
    run_store,
)

SOURCE, TARGET = "s3://archive/scans", "s3://coloured/all"


@dataclass(frozen=True)
class Found:
    """What a scoring left in the store.

    Attributes:
        last: the run that ended by itself.
        progress: files in the store at each kill.
        seconds: of all runs together.
        asked: requests.
        times: how many times the store took each coloured file.
        pictures: the coloured files.
        uploads: uploads in parts that nobody ended.
        rows: the manifest.
    """

    last: subprocess.CompletedProcess[str]
    progress: list[int]
    seconds: float
    asked: int
    times: Counter[str]
    pictures: dict[str, bytes]
    uploads: int
    rows: Any

    def summary(self) -> str:
        """What was found, in lines."""
        return "\n".join(
            [
                self.last.stdout.strip() or self.last.stderr.strip(),
                f"files at the kills: {self.progress}",
                f"{len(self.pictures)} files; written so many times: {dict(Counter(self.times.values()))}",
                f"{self.uploads} uploads left; {self.asked} requests in {self.seconds:.0f} s",
            ]
        )

    def check(self, total: int) -> None:
        """Each photograph is there whole, was written once, and has a row; no upload was left."""
        assert self.last.returncode == 0, self.last.stderr
        assert f"{total} photographs coloured" in self.last.stdout
        assert len(self.pictures) == len(self.rows) == total
        assert set(self.times.values()) == {1}, Counter(self.times.values())
        assert self.uploads == 0
        assert set(self.rows["output"]) == {key.removeprefix("all/") for key in self.pictures}
        for data in self.pictures.values():
            with Image.open(BytesIO(data)) as image:
                image.load()


def fill(store: str, photos: Path) -> int:
    """Put photographs into a bucket, beside an empty one for the coloured ones; how many there are."""
    client = client_of(store)
    empty_buckets(client)
    paths = sorted(photos.rglob("*.jpg"))
    for path in paths:
        client.upload_file(str(path), "archive", f"scans/{path.relative_to(photos)}")
    return len(paths)


def kill_and_resume(store: str, photos: Path, model: Path, state: Path, kills: int) -> Found:
    """Score from one bucket to another, kill the process, start it again, and look."""
    total = fill(store, photos)
    chance, progress, began = random.Random(0), [0], time.monotonic()
    with run_proxy(store, busy_every=10) as proxy:
        env = os.environ | environment(proxy.url, state)
        run = command(model, SOURCE, TARGET)
        while len(progress) <= kills:
            process = subprocess.Popen(run, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wanted = progress[-1] + chance.randint(1, max(1, total // (kills + 2)))
            while count_pictures(proxy) < wanted and process.poll() is None:
                time.sleep(0.005)
            assert process.poll() is None, "it ended before it was killed"
            process.send_signal(signal.SIGKILL)
            process.wait()
            progress.append(count_pictures(proxy))
        last = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
        return look(store, last, progress[1:], time.monotonic() - began, proxy.asked, proxy.written)


def look(
    store: str,
    last: subprocess.CompletedProcess[str],
    progress: list[int],
    seconds: float,
    asked: int,
    written: Counter[str],
) -> Found:
    """Fetch all that is in the store now."""
    client = client_of(store)
    files = {
        key: client.get_object(Bucket="coloured", Key=key)["Body"].read()
        for key in keys_of(client, "coloured")
    }
    uploads = len(client.list_multipart_uploads(Bucket="coloured").get("Uploads", ()))
    rows = pq.read_table(BytesIO(files["all/manifest.parquet"])).to_pandas()
    times = Counter({name: count for name, count in written.items() if name.endswith(".png")})
    pictures = {key: data for key, data in files.items() if key.endswith(".png")}
    return Found(last, progress, seconds, asked, times, pictures, uploads, rows)


def main() -> None:
    """By hand: the whole archive, and its rate beside a local disk's."""
    from tests.scoring.conftest import make_model
    from tests.scoring.test_kills import make_archive

    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=int, nargs="?", default=2000)
    parser.add_argument("--kills", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, run_store() as store:
        folder = Path(place)
        for name in ("model", "scans"):
            (folder / name).mkdir()
        model, photos = make_model(folder / "model"), folder / "scans"
        make_archive(photos, Path(), asked.photos, 0)
        found = kill_and_resume(store, photos, model, folder / "state", asked.kills)
        print(found.summary())
        found.check(asked.photos)
        for source, target in ((SOURCE, "s3://coloured/again"), (str(photos), str(folder / "local"))):
            began = time.monotonic()
            env = os.environ | environment(store, folder / "state")
            subprocess.run(command(model, source, target), env=env, capture_output=True, check=True)
            rate = asked.photos / (time.monotonic() - began)
            print(f"{source.split(':')[0] if '://' in source else 'disk'}: {rate:.1f} photographs a second")


if __name__ == "__main__":
    main()
