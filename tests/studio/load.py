"""Eight clients at once, with photographs of several sizes and hostile files.

`python -m tests.studio.load SECONDS [MODEL]`. Each answer must be 200, 4xx with a reason, or 503 that says when
to come again; the server's memory must not grow.
"""

import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from tests.conftest import encode, make_picture
from tests.hostile import corpus

CLIENTS = 8
SIZES = ((320, 240), (800, 600), (1600, 1200), (2400, 1600))
_WARM = 0.25  # of the time: what the server takes until then is no growth


@dataclass
class Load:
    """What came of it.

    Attributes:
        statuses: how often each was answered; `lost` is no answer.
        seconds: until each answer of 200.
        megabytes: of the server, once a second.
        faults: answers that must not be.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """The last quarter's mean memory over that of the quarter after the start, less 1."""
        quarter = max(1, len(self.megabytes) // 4)
        start = int(_WARM * len(self.megabytes))
        first, last = self.megabytes[start : start + quarter], self.megabytes[-quarter:]
        return float(np.mean(last) / np.mean(first) - 1)

    def line(self) -> str:
        """In a line."""
        counts = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        p50, p95 = np.percentile(self.seconds, [50, 95]) if self.seconds else (0.0, 0.0)
        return (
            f"{sum(self.statuses.values())} requests ({counts}); p50 {p50:.2f} s, p95 {p95:.2f} s; "
            f"memory {max(self.megabytes):.0f} MB at the most, growth {100 * self.growth:+.1f} %"
        )


def photographs() -> list[bytes]:
    """Of several sizes."""
    return [encode(make_picture(*size, seed=number), "JPEG", quality=90) for number, size in enumerate(SIZES)]


def hostile() -> list[bytes]:
    """A few broken, odd and large files."""
    makers = (corpus.flipped, corpus.gigapixels, corpus.misnamed, corpus.with_broken_metadata)
    files = [data for maker in makers for number, (_, data) in enumerate(maker()) if number % 10 == 0]
    return [data for data in files if data]


def put_load(address: str, pid: int, seconds: float) -> Load:
    """Send requests for so long."""
    load, ending = Load(), threading.Event()
    good, bad = photographs(), hostile()
    clients = [
        threading.Thread(target=_client, args=(address, load, ending, good, bad, n)) for n in range(CLIENTS)
    ]
    server = psutil.Process(pid)
    for client in clients:
        client.start()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        load.megabytes.append(server.memory_info().rss / 1e6)
        time.sleep(1)
    ending.set()
    for client in clients:
        client.join()
    return load


def _client(
    address: str, load: Load, ending: threading.Event, good: list[bytes], bad: list[bytes], seed: int
) -> None:
    chance = random.Random(seed)
    with httpx.Client(base_url=address, trust_env=False, timeout=300) as client:
        while not ending.is_set():
            began = time.monotonic()
            try:
                answer = _ask(client, chance, good, bad)
            except httpx.HTTPError as error:
                load.statuses["lost"] += 1
                load.faults.append(repr(error))
                continue
            load.statuses[str(answer.status_code)] += 1
            if answer.status_code == 200:
                load.seconds.append(time.monotonic() - began)
            elif answer.status_code == 503:
                time.sleep(float(answer.headers["Retry-After"]) * chance.uniform(0.5, 1))
            elif not (400 <= answer.status_code < 500 and answer.json()["detail"]):
                load.faults.append(f"{answer.status_code} {answer.text[:200]}")


def _ask(client: httpx.Client, chance: random.Random, good: list[bytes], bad: list[bytes]) -> httpx.Response:
    kind = chance.random()
    if kind < 0.2:
        return client.post("/v1/colorize", content=chance.choice(bad))
    photo = chance.choice(good)
    if kind < 0.5:
        return client.post("/v1/colorize?format=jpeg", files={"image": photo})
    if kind < 0.6:
        return client.post(f"/v1/colorize?variant={chance.randint(1, 40)}", content=photo)
    added = client.post("/v1/photos", content=photo)
    if added.status_code != 200:
        return added
    photo_id = added.json()["id"]
    asked: dict[str, Any] = {"look": {"variant": chance.randint(0, 9)}, "side": chance.choice((400, 1200))}
    answer = client.post(f"/v1/photos/{photo_id}/preview", json=asked)
    client.delete(f"/v1/photos/{photo_id}")
    return answer


def main() -> None:
    """Put load on a server that this starts."""
    import subprocess
    import tempfile

    model = ["--model", sys.argv[2]] if len(sys.argv) > 2 else []
    command = [sys.executable, "-m", "tintlab.cli", "studio", "--port", "0", *model]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(folder))
        assert server.stdout is not None
        load = put_load(server.stdout.readline().split()[1], server.pid, float(sys.argv[1]))
        server.terminate()
        server.wait()
    print(load.line())
    sys.exit("\n".join(load.faults[:20]) or None)


if __name__ == "__main__":
    main()
