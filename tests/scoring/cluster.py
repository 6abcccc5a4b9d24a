"""A Dask cluster whose workers share nothing but a store: each has a namespace of mounts of its own.

`python -m tests.scoring.cluster 2000` scores so many photographs with three workers, kills one, and looks.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

from tests.flows.conftest import free_ports
from tests.processes import wait_for
from tests.scoring.object_store import Proxy, count_pictures, environment, run_proxy, run_store
from tests.scoring.stores import SOURCE, TARGET, Found, fill, look

REPOSITORY = Path(__file__).resolve().parents[2]
FLOW = "import sys; from flows.score import score; state = score({!r}, {!r}, model={!r}, working_size=32, "
FLOW += (
    "chunk_size={}, dask={!r}, return_state=True); print(state.message); sys.exit(not state.is_completed())"
)


NAMES = ("one", "two", "three")


class Cluster:
    """Servers on this machine: Prefect's, Dask's scheduler, and workers."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        api, dask = free_ports(2)
        self.address = f"tcp://127.0.0.1:{dask}"
        self._common = os.environ | {
            "PREFECT_API_URL": f"http://127.0.0.1:{api}/api", "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "WARNING",
            "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        python, here = sys.executable, ["--host", "127.0.0.1", "--port"]
        self._run(
            "prefect", [python, "-m", "prefect", "server", "start", "--no-services", *here, str(api)], {}
        )
        dask_scheduler = [python, "-m", "dask", "scheduler", "--no-dashboard", *here, str(dask)]
        self.scheduler = self._run("scheduler", dask_scheduler, {})
        wait_for(lambda: self._is_up(f"http://127.0.0.1:{api}/api/health"), 120, "Prefect's server")

    def start_workers(self, names: tuple[str, ...], endpoint: str) -> "list[subprocess.Popen[bytes]]":
        """Start workers, and wait until they are there; see `start_worker`."""
        workers = [self.start_worker(name, endpoint) for name in names]
        wait_for(lambda: all("Starting established" in self.log(name) for name in names), 120, "workers")
        return workers

    def start_worker(self, name: str, endpoint: str) -> "subprocess.Popen[bytes]":
        """A worker that sees no folder of the flow and of other workers, and they none of its own."""
        dask = [sys.executable, "-m", "dask", "worker", self.address, "--no-nanny", "--nthreads", "1"]
        dask += ["--no-dashboard", "--local-directory", str(self.folder / f"dask-{name}"), "--name", name]
        if has_namespaces():
            mount = f"mount -t tmpfs -o size=200m tmpfs '{self.folder}' && cd '{self.folder}' && exec \"$@\""
            dask = ["unshare", "-rm", "sh", "-c", mount, "sh", *dask]
        return self._run(name, dask, environment(endpoint, self.folder / name))

    def score(self, model: Path, endpoint: str, chunk_size: int) -> "subprocess.Popen[str]":
        """The flow, on a machine of its own too."""
        code = FLOW.format(SOURCE, TARGET, str(model), chunk_size, self.address)
        env = self._common | environment(endpoint, self.folder / "flow/state")
        command, pipe = [sys.executable, "-c", code], subprocess.PIPE
        return subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True, cwd=self.folder)

    def log(self, name: str) -> str:
        """What a process has said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _run(self, name: str, command: list[str], more: dict[str, str]) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                command, env=self._common | more, stdout=log, stderr=log, cwd=self.folder
            )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def _is_up(self, url: str) -> bool:
        try:
            return requests.get(url, timeout=5).ok
        except requests.RequestException:
            return False


def has_namespaces() -> bool:
    """Whether processes may have mounts of their own here."""
    if not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0


@contextmanager
def run_cluster(folder: Path) -> Iterator[Cluster]:
    """Start the servers; all processes end with the block."""
    with ExitStack() as stack:
        yield Cluster(folder, stack)


def lose_a_worker(store: str, photos: Path, model: Path, folder: Path, chunk_size: int) -> Found:
    """Score with three workers, kill one after a quarter, and look."""
    total = fill(store, photos)
    began = time.monotonic()
    with run_proxy(store) as proxy, run_cluster(folder) as cluster:
        workers = cluster.start_workers(NAMES, proxy.url)
        flow = cluster.score(model, proxy.url, chunk_size)
        progress = wait_for_pictures(proxy, flow, total // 4)
        workers[0].kill()
        last = end_of(flow)
        fetched = [times for name, times in proxy.fetched.items() if "/model/" in name]
        print(f"each file of the model was fetched {fetched} times by {len(NAMES)} workers")
        assert fetched
        assert max(fetched) <= len(NAMES)
        return look(store, last, [progress], time.monotonic() - began, proxy.asked, proxy.written)


def lose_the_scheduler(store: str, photos: Path, model: Path, folder: Path, chunk_size: int) -> Found:
    """Score with three workers, kill Dask's scheduler after a quarter, start another cluster, and look."""
    total = fill(store, photos)
    began = time.monotonic()
    with run_proxy(store) as proxy:
        (folder / "first").mkdir()
        with run_cluster(folder / "first") as cluster:
            cluster.start_workers(NAMES, proxy.url)
            flow = cluster.score(model, proxy.url, chunk_size)
            progress = wait_for_pictures(proxy, flow, total // 4)
            cluster.scheduler.kill()
            last = end_of(flow)
            print(f"without its scheduler the flow ended with {last.returncode}: {last.stdout.strip()[:300]}")
        (folder / "second").mkdir()
        with run_cluster(folder / "second") as cluster:
            cluster.start_workers(NAMES, proxy.url)
            last = end_of(cluster.score(model, proxy.url, chunk_size))
        return look(store, last, [progress], time.monotonic() - began, proxy.asked, proxy.written)


def wait_for_pictures(proxy: Proxy, flow: "subprocess.Popen[str]", count: int) -> int:
    """Wait for so many coloured files, or the flow's end; how many there are."""
    wait_for(lambda: count_pictures(proxy) >= count or flow.poll() is not None, 400, "some files")
    return count_pictures(proxy)


def end_of(flow: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    """Wait for the end of a flow."""
    out, err = flow.communicate(timeout=500)
    return subprocess.CompletedProcess(flow.args, flow.returncode, out, err)


def main() -> None:
    """By hand: the whole archive."""
    from tests.scoring.conftest import make_model
    from tests.scoring.test_kills import make_archive

    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=int, nargs="?", default=2000)
    parser.add_argument("--lose", choices=["worker", "scheduler"], default="worker")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, run_store() as store:
        folder = Path(place)
        for name in ("model", "scans"):
            (folder / name).mkdir()
        model = make_model(folder / "model")
        make_archive(folder / "scans", Path(), asked.photos, 0)
        lose = lose_a_worker if asked.lose == "worker" else lose_the_scheduler
        found = lose(store, folder / "scans", model, folder, max(10, asked.photos // 20))
        print(found.summary())
        found.check(asked.photos)


if __name__ == "__main__":
    main()
