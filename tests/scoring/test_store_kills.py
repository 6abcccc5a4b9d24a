"""Scoring to a store: kills, a full disk and a lost worker, each photograph written once."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.scoring.cluster import has_namespaces, lose_a_worker
from tests.scoring.conftest import make_model
from tests.scoring.object_store import command, count_pictures, environment, run_proxy, run_store
from tests.scoring.stores import SOURCE, TARGET, fill, kill_and_resume
from tests.scoring.test_kills import make_archive

COUNT = 60

pytestmark = pytest.mark.slow


@pytest.fixture
def photos(tmp_path: Path, repository: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    return make_archive(folder, repository, COUNT, 0)


@pytest.mark.skipif(not has_namespaces(), reason="mounts of one's own are not allowed here")
def test_a_full_disk_loses_nothing(model: Path, tmp_path: Path, photos: Path) -> None:
    state = tmp_path / "small"
    (state / "stores").mkdir(parents=True)
    run = command(model, SOURCE, TARGET)
    mount = f"mount -t tmpfs -o size=64k tmpfs '{state}/stores' && exec \"$@\""
    with run_store() as store, run_proxy(store) as proxy:
        fill(store, photos)
        env = os.environ | environment(proxy.url, state)
        small = ["unshare", "-rm", "sh", "-c", mount, "sh", *run]
        full = subprocess.run(small, env=env, capture_output=True, text=True, check=False)
        assert full.returncode == 1
        (line,) = [line for line in full.stderr.splitlines() if "error" in line]
        assert "No space left on device" in line
        assert 0 < count_pictures(proxy) < COUNT
        last = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
        assert f"{COUNT} photographs coloured" in last.stdout, last.stderr
        assert {times for name, times in proxy.written.items() if name.endswith(".png")} == {1}


def test_a_cluster_that_shares_only_a_store_loses_a_worker(tmp_path: Path, photos: Path) -> None:
    pytest.importorskip("prefect_dask")
    (tmp_path / "model").mkdir()
    model = make_model(tmp_path / "model")
    with run_store() as store:
        found = lose_a_worker(store, photos, model, tmp_path, 10)
    found.check(COUNT)


def test_killed_every_photograph_once(model: Path, tmp_path: Path, photos: Path) -> None:
    with run_store() as store:
        found = kill_and_resume(store, photos, model, tmp_path / "state", 1)
    found.check(COUNT)
    assert "going on" in found.last.stderr
    assert "hidden-key" not in found.last.stderr + found.last.stdout
