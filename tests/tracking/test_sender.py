"""Tracking against real stores: SQLite, and a real `mlflow server` that is killed and started again.

What a store holds is read from its database by SQL, not by the client that wrote it.
"""

import json
import math
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.tracking import delivery, load, sender, spool, store
from tintlab.tracking.recorder import Recorder

NAME = "0123456789abcdef"


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and nothing of ours: making one takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINTLAB_STATE", str(tmp_path_factory.mktemp("empty")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store.prepare_store()
        return paths.tracking_database()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own, without a store."""
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state folder"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return paths.state()


@pytest.fixture
def database(state: Path, empty_store: Path) -> Path:
    """The database of the default store in the test's own state folder."""
    state.mkdir()
    shutil.copyfile(empty_store, paths.tracking_database())
    return paths.tracking_database()


# -- what arrives ------------------------------------------------------------------------------------


def test_a_training_arrives_whole(database: Path, tmp_path: Path) -> None:
    grid = tmp_path / "grid.png"
    model = tmp_path / "generator"
    (model / "deep").mkdir(parents=True)
    (model / "deep/weights").write_bytes(b"w")
    before = time.time_ns() // 1_000_000
    with Recorder(NAME) as recorder:
        recorder.start("train-1", {"train.rate": 0.1, "train.betas": [0.5, 0.999]}, {"git.commit": "c0ffee"})
        for step in (10, 20):
            recorder.metrics({"loss_G": 1 / step, "loss_D": float("nan")}, step)
            grid.write_text(f"step {step}")
            recorder.artifact(grid, f"samples/{step}")
        recorder.artifact(model, "model")
        recorder.finish()
    after = time.time_ns() // 1_000_000 + 10  # no two records bear the same millisecond
    grid.write_text("changed after it was recorded")
    time.sleep(0.02)
    assert delivery.sync() == 7

    run = only_run(database)
    assert (run["name"], run["status"]) == ("train-1", "FINISHED")
    assert before <= run["start_time"] <= run["end_time"] <= after
    assert params(database) == {"train.rate": "0.1", "train.betas": "[0.5, 0.999]"}
    assert tags(database)["git.commit"] == "c0ffee"
    assert tags(database)[store.FINGERPRINT_TAG] == NAME
    assert delivery.find_run(NAME) == run["run_uuid"]
    assert steps(database) == {"loss_G": [10, 20], "loss_D": [10, 20]}
    assert values(database, "loss_G") == [0.1, 0.05]
    assert all(math.isnan(value) for value in values(database, "loss_D"))
    assert all(before <= moment <= after for moment in moments(database))
    stored = artifacts(run)
    assert stored == {
        "samples/10/grid.png": b"step 10",
        "samples/20/grid.png": b"step 20",
        "model/deep/weights": b"w",
    }
    assert spools() == []
    assert delivery.backlog() == {}


def test_artifacts_lie_in_the_state_folder(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Recorder(NAME) as recorder:
        recorder.start("train", {}, {})
    monkeypatch.chdir(tmp_path)
    delivery.sync()
    assert only_run(database)["artifact_uri"].startswith(paths.tracking_artifacts().as_uri())
    assert list(tmp_path.iterdir()) == [paths.state()]


def test_mlflows_pages_take_the_experiment_for_one_of_trainings(database: Path) -> None:
    with store.connect() as client:
        experiment = client.get_experiment(store.experiment_id(client))
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_more_than_mlflow_takes_at_once_arrives(database: Path) -> None:
    many = {f"key{number:03d}": number for number in range(150)}
    with Recorder(NAME) as recorder:
        recorder.start("train", many, dict.fromkeys(many, "x"))
        for step in range(30):
            recorder.metrics(many, step)
    delivery.sync()
    assert (len(params(database)), len(steps(database))) == (150, 150)
    assert set(tags(database)) >= set(many)
    assert all(found == list(range(30)) for found in steps(database).values())


def test_a_summary_is_repeated_only_where_it_changed(database: Path) -> None:
    for psnr in (21.4, 21.4, 22.0):
        with Recorder(NAME) as recorder:
            recorder.summary({"test.psnr": psnr, "test.fid": float("nan")})
        delivery.sync()
    assert values(database, "test.psnr") == [21.4, 22.0]
    assert steps(database) == {"test.psnr": [0, 1], "test.fid": [0]}


def test_a_later_stage_adds_to_the_run(database: Path) -> None:
    with Recorder(NAME) as recorder:
        recorder.start("train", {}, {})
        recorder.finish()
    delivery.sync()
    assert spools() == []
    with Recorder(NAME) as recorder:
        recorder.summary({"test.psnr": 21.4})
    assert delivery.sync() == 1
    assert only_run(database)["status"] == "FINISHED"
    assert values(database, "test.psnr") == [21.4]
    assert spools() == []


def test_a_summary_of_nothing_holds_up_nothing(database: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("page")
    with Recorder(NAME) as recorder:
        recorder.start("train", {}, {})
        recorder.finish()
    delivery.sync()
    with Recorder(NAME) as recorder:
        recorder.summary({})
        recorder.artifact(tmp_path / "page.html", "pages")
    delivery.sync()
    assert spools() == []


def test_nothing_to_send_asks_no_store(state: Path) -> None:
    assert delivery.sync() == 0
    assert not paths.tracking_database().exists()


# -- once and no more --------------------------------------------------------------------------------


@pytest.mark.parametrize("delivered_before", [True, False])
def test_a_resumed_training_repeats_no_step(database: Path, delivered_before: bool) -> None:
    def train(first: int, last: int) -> None:
        recorder.start("train", {"rate": 1, "workers": first}, {"attempt": str(first)})
        for step in range(first, last + 1):
            recorder.metrics({"loss": step / 7}, step)
            recorder.sample({"system/cpu": step})

    with Recorder(NAME) as recorder:
        train(1, 8)
    if delivered_before:
        delivery.sync()
    with Recorder(NAME) as recorder:
        train(5, 12)
        recorder.finish()
    delivery.sync()
    assert only_run(database)["status"] == "FINISHED"
    assert steps(database) == {"loss": list(range(1, 13)), "system/cpu": list(range(16))}
    assert values(database, "loss") == [step / 7 for step in range(1, 13)]
    # Parameters can't change in MLflow; tags can.
    assert params(database) == {"rate": "1", "workers": "1"}
    assert tags(database)["attempt"] == "5"


def test_a_training_that_was_stopped_and_goes_on_is_one_run(database: Path) -> None:
    states = []
    for first, status in ((1, "KILLED"), (3, "FINISHED")):
        with Recorder(NAME) as recorder:
            recorder.start("train", {}, {})
            delivery.sync()
            states.append(only_run(database)["status"])
            for step in range(first, first + 4):
                recorder.metrics({"loss": step}, step)
            recorder.sample({"system/cpu": first})
            recorder.finish(status)  # type: ignore[arg-type]
        delivery.sync()
        states.append(only_run(database)["status"])
    assert states == ["RUNNING", "KILLED", "RUNNING", "FINISHED"]
    assert steps(database) == {"loss": [1, 2, 3, 4, 5, 6], "system/cpu": [0, 1]}


def test_sending_all_again_changes_nothing(database: Path) -> None:
    """As after a sender that was killed between sending and remembering that it had sent."""
    with Recorder(NAME) as recorder:
        recorder.start("train", {"rate": 1}, {})
        for step in range(5):
            recorder.metrics({"loss": step}, step)
            recorder.sample({"system/cpu": 50})
            recorder.summary({"test.psnr": step % 2})
        delivery.sync()
        before = dump(database)
        (paths.spool() / NAME / "delivered.json").unlink()
        assert delivery.sync() == 16
    assert dump(database) == before


def test_senders_at_once_make_one_store_and_one_run(state: Path) -> None:
    """Also the very first use, when each finds no database."""
    record_steps(range(3000))
    senders = [start_sync() for _ in range(3)]
    assert [sender.wait(60) for sender in senders] == [0, 0, 0]
    assert steps(paths.tracking_database()) == {"loss": list(range(3000))}
    only_run(paths.tracking_database())
    assert spools() == []


def test_a_sender_waits_for_another_of_the_same_spool(database: Path) -> None:
    record_steps(range(3))
    assert delivery.find_run(NAME) is None  # loads what takes seconds
    sender = threading.Thread(target=delivery.sync)
    with spool.hold_lock(paths.spool() / NAME):
        sender.start()
        sender.join(3)
        assert sender.is_alive()
        assert count_metrics(database) == 0
    sender.join(60)
    assert steps(database) == {"loss": [0, 1, 2]}


def test_a_killed_sender_loses_and_doubles_nothing(database: Path) -> None:
    record_steps(range(10_000))
    killed = 0
    for target in (1, 3_000):
        sender = start_sync()
        while sender.poll() is None and count_metrics(database) < target:
            time.sleep(0.005)
        sender.kill()
        killed += sender.wait() == -signal.SIGKILL
    assert killed == 2
    assert 3_000 <= count_metrics(database) < 10_000
    delivery.sync()
    assert steps(database) == {"loss": list(range(10_000))}
    only_run(database)


def any_content(files: Iterable[Path]) -> bool:
    """Whether one of the files has content; SQLite's journals come and go meanwhile."""
    with suppress(FileNotFoundError):
        return any(file.stat().st_size for file in files)
    return True


def test_the_default_store_is_whole_or_absent(state: Path) -> None:
    """MLflow's migrations are no transaction: killed in their midst, they leave what can't be opened."""
    database = paths.tracking_database()
    record_steps(range(3))
    sender = start_sync()
    deadline = time.monotonic() + 60
    while not any_content(state.glob(".mlflow.db.*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    sender.kill()
    sender.wait()
    assert not database.exists()
    assert delivery.sync() == 5
    assert steps(database) == {"loss": [0, 1, 2]}


# -- what goes wrong ---------------------------------------------------------------------------------


def test_a_torn_last_line_is_cut_off(database: Path) -> None:
    with Recorder(NAME) as recorder:
        recorder.start("train", {}, {})
        recorder.metrics({"loss": 1}, 1)
    records = paths.spool() / NAME / "records.jsonl"
    with records.open("ab") as file:
        file.write(b'{"kind": "metrics", "time": 17, "val')
    assert delivery.sync() == 2
    assert delivery.backlog() == {}
    with Recorder(NAME) as recorder:
        recorder.metrics({"loss": 2}, 2)
        recorder.finish()
    assert delivery.sync() == 2
    assert steps(database) == {"loss": [1, 2]}
    assert spools() == []


def test_a_spool_stays_while_someone_writes_to_it(database: Path) -> None:
    with Recorder(NAME) as recorder:
        recorder.summary({"test.psnr": 1})
        assert delivery.sync() == 1
        assert spools() == [NAME]
        recorder.summary({"test.psnr": 2})
    assert delivery.sync() == 1
    assert values(database, "test.psnr") == [1, 2]
    assert spools() == []


def test_a_training_that_did_not_end_keeps_its_spool(database: Path) -> None:
    record_steps(range(3), finish=False)
    delivery.sync()
    assert spools() == [NAME]
    assert delivery.backlog() == {}
    assert only_run(database)["status"] == "RUNNING"


def test_refused_records_are_kept_aside_and_the_rest_arrives(database: Path) -> None:
    with Recorder(NAME) as recorder:
        recorder.start("train", {}, {})
        recorder.metrics({"loss": 1}, 1)
        recorder.metrics({"loss": 2, "what?!": 2}, 2)
        recorder.metrics({"loss": 3}, 3)
        recorder.finish()
    delivery.sync()
    assert steps(database) == {"loss": [1, 3]}
    assert only_run(database)["status"] == "FINISHED"
    assert delivery.backlog() == {NAME: 1}
    refused = json.loads((paths.spool() / NAME / "refused.jsonl").read_text())
    assert "what?!" in refused["reason"]
    assert refused["record"]["step"] == 2


def test_a_damaged_line_does_not_hold_up_those_after_it(database: Path) -> None:
    with Recorder(NAME) as recorder:
        recorder.start("train", {}, {})
        (paths.spool() / NAME / "records.jsonl").open("ab").write(b"\x00\x00\xff\n")
        recorder.metrics({"loss": 1}, 1)
    delivery.sync()
    assert steps(database) == {"loss": [1]}
    assert delivery.backlog() == {NAME: 1}


def test_a_store_that_was_lost_gets_all_that_the_spool_has(database: Path, empty_store: Path) -> None:
    with Recorder(NAME) as recorder:
        recorder.start("train", {"rate": 1}, {})
        recorder.metrics({"loss": 1}, 1)
        delivery.sync()
        shutil.copyfile(empty_store, database)
        recorder.metrics({"loss": 2}, 2)
    # In a process of its own: ours holds the lost database open.
    assert start_sync().wait(60) == 0
    assert (steps(database), params(database)) == ({"loss": [1, 2]}, {"rate": "1"})


@pytest.mark.parametrize("same_sender", [True, False])
def test_a_run_deleted_while_it_is_fed_is_made_anew(database: Path, same_sender: bool) -> None:
    from mlflow import MlflowClient

    sender = delivery.Deliverer()
    with Recorder(NAME) as recorder:
        recorder.start("train", {"rate": 1}, {})
        recorder.metrics({"loss": 1}, 1)
        sender.deliver_all()
        first = delivery.find_run(NAME)
        assert first is not None
        MlflowClient(store.tracking_uri()).delete_run(first)
        recorder.metrics({"loss": 2}, 2)
        if not same_sender:
            sender = delivery.Deliverer()
        # One pass to find out, one to send.
        sender.deliver_all()
        sender.deliver_all()
    second = delivery.find_run(NAME)
    assert second not in (None, first)
    assert sql(database, "select step from metrics where run_uuid = ?", second) == [(1,), (2,)]
    assert delivery.backlog() == {}


def test_a_full_disk_leaves_whole_lines(state: Path) -> None:
    with Recorder(NAME) as recorder:
        recorder.metrics({"loss": 1}, 1)
        records = paths.spool() / NAME / "records.jsonl"
        before = records.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                recorder.metrics({"loss": 2}, 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert records.read_bytes() == before
        recorder.metrics({"loss": 3}, 3)
    assert delivery.backlog() == {NAME: 2}


def test_an_absent_server_is_one_clear_line_without_its_password(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{free_port()}")
    record_steps(range(2))
    for ask in (delivery.sync, lambda: delivery.find_run(NAME)):
        started = time.monotonic()
        with pytest.raises(TintlabError, match="can't be reached") as caught:
            ask()
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)
        assert time.monotonic() - started < 5
    assert delivery.backlog() == {NAME: 4}
    assert "secret" not in "".join(path.read_text() for path in state.rglob("*.json*"))


# -- restoring ---------------------------------------------------------------------------------------

LOSSES = pd.DataFrame({"iteration": [10, 20], "loss_G": [0.5, 0.25], "loss_G_KL": [float("nan"), 0.125]})
VALIDATION = pd.DataFrame({"epoch": [1], "iteration": [20], "val_score": [0.75]})


def restore(page: Path, psnr: float = 21.4) -> str:
    return delivery.restore_run(
        NAME,
        {"rate": 1},
        {"git.commit": "c0ffee"},
        [LOSSES, VALIDATION],
        {"test.psnr": psnr},
        [(page, "evaluation")],
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "index.html"
    path.write_text("<p>page")
    return path


def test_a_missing_run_is_restored_once(database: Path, page: Path) -> None:
    assert delivery.find_run(NAME) is None
    run_id = restore(page)
    run = only_run(database)
    assert (run["run_uuid"], run["status"]) == (run_id, "FINISHED")
    assert tags(database)["restored"] == "true"
    assert params(database) == {"rate": "1"}
    assert steps(database) == {"loss_G": [10, 20], "loss_G_KL": [20], "val_score": [20], "test.psnr": [0]}
    assert values(database, "loss_G") == [0.5, 0.25]
    assert artifacts(run) == {"evaluation/index.html": b"<p>page"}
    before = dump(database)
    assert restore(page, psnr=1.0) == run_id
    assert dump(database) == before
    assert spools() == []


def test_an_original_run_is_left_as_it_is(database: Path, page: Path) -> None:
    record_steps(range(3))
    # Also where it has not been delivered yet.
    with Recorder(NAME) as recorder:
        recorder.restore("restored", {"rate": 1}, {}, [LOSSES], {"test.psnr": 1}, [(page, "evaluation")])
    delivery.sync()
    run = only_run(database)
    assert (run["name"], artifacts(run)) == ("train", {})
    assert "restored" not in tags(database)
    assert (steps(database), params(database)) == ({"loss": [0, 1, 2]}, {})
    assert restore(page) == run["run_uuid"]
    assert spools() == []


def test_figures_that_came_first_are_filled_up(database: Path, page: Path) -> None:
    with Recorder(NAME) as recorder:
        recorder.summary({"test.psnr": 21.4})
    delivery.sync()
    restore(page)
    assert only_run(database)["status"] == "FINISHED"
    assert steps(database) == {"loss_G": [10, 20], "loss_G_KL": [20], "val_score": [20], "test.psnr": [0]}


def test_what_cannot_be_restored_now_is_restored_later(
    database: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Recorder(NAME) as recorder:
        recorder.restore("restored", {"rate": 1}, {}, [LOSSES], {}, [(page, "evaluation")])
    page.unlink()
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
        with pytest.raises(store.TrackingUnavailableError):
            delivery.sync()
    delivery.sync()
    assert artifacts(only_run(database)) == {"evaluation/index.html": b"<p>page"}
    assert steps(database) == {"loss_G": [10, 20], "loss_G_KL": [20]}


# -- the sender --------------------------------------------------------------------------------------

TRAIN = """
import random, sys, time
from tintlab.tracking import delivery, sender
random.seed(0)
with sender.start_recording(sys.argv[1]) as recorder:
    recorder.start("train", {}, {})
    for step in range(20):
        recorder.metrics({"loss": step}, step)
        time.sleep(0.05)
    recorder.finish()
    while delivery.backlog():  # on a busy machine a sender needs long to start
        time.sleep(0.1)
    print(random.random(), "mlflow" in sys.modules, flush=True)
"""


def test_recording_delivers_and_leaves_the_training_alone(database: Path) -> None:
    """MLflow's client draws from the global random numbers; here it is never even imported."""
    done = subprocess.run([sys.executable, "-c", TRAIN, NAME], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0.8444218515250481", "False"]  # random.seed(0); random.random()
    assert done.stderr == ""
    assert steps(database) == {"loss": list(range(20))}
    assert only_run(database)["status"] == "FINISHED"
    assert spools() == []


def test_a_stage_sends_what_an_earlier_one_left(database: Path) -> None:
    record_steps(range(3))
    with sender.start_recording("fedcba9876543210"):
        wait_for(lambda: not delivery.backlog())
    assert steps(database) == {"loss": [0, 1, 2]}


@pytest.mark.parametrize("deed", [signal.SIGKILL, signal.SIGINT])
def test_the_sender_goes_with_its_owner(database: Path, deed: signal.Signals) -> None:
    forever = TRAIN.replace("range(20)", "range(100_000)")
    # A worker of the training that outlives it holds the pipe to the sender open.
    forever = forever.replace(
        "    for step", "    if os.fork() == 0:\n        time.sleep(60)\n    for step", 1
    )
    # Who runs the tests in the background has them ignore Ctrl-C.
    heeding = "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    owner = subprocess.Popen([sys.executable, "-c", heeding + forever, NAME], stderr=subprocess.DEVNULL)
    wait_for(lambda: len(psutil.Process(owner.pid).children()) == 2 and backlog_size() > 5)
    sender, worker = sorted(psutil.Process(owner.pid).children(), key=lambda child: child.pid)
    try:
        owner.send_signal(deed)
        assert owner.wait(10) != 0
        wait_for(lambda: not sender.is_running() or sender.status() == psutil.STATUS_ZOMBIE, seconds=5)
        assert worker.is_running()
    finally:
        worker.kill()
        owner.kill()
    delivery.sync()
    (found,) = steps(database).values()
    assert found == list(range(len(found)))


def test_a_server_that_never_answers_delays_nothing(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with sender.start_recording(NAME) as recorder:
            recorder.start("train", {}, {})
            wait_for(lambda: (silent.settimeout(60), silent.accept())[1] is not None)
            started = time.monotonic()
            for step in range(1000):
                recorder.metrics({"loss": step}, step)
            assert time.monotonic() - started < 1
            started = time.monotonic()
        assert time.monotonic() - started < 6
    assert delivery.backlog() == {NAME: 1001}


def test_load_is_sampled_under_mlflows_names(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor

    monitor = CPUMonitor()
    monitor.collect_metrics()
    theirs = {f"system/{name}": value for name, value in monitor.aggregate_metrics().items()}
    ours = load.system_load()
    assert set(theirs) <= set(ours)
    assert ours["system/system_memory_usage_megabytes"] == pytest.approx(
        theirs["system/system_memory_usage_megabytes"], rel=0.2
    )
    monkeypatch.setattr(load, "SAMPLE_SECONDS", 0.05)
    with Recorder(NAME) as recorder, load.sample_load(recorder):
        time.sleep(0.5)
    delivery.sync()
    found = steps(database)
    assert set(found) == set(ours)
    count = len(found["system/cpu_utilization_percentage"])
    assert count >= 3
    assert all(listed == list(range(count)) for listed in found.values())


# -- a real server -----------------------------------------------------------------------------------


class Server:
    """`mlflow server` on loopback with a database and an artifact folder that outlive it."""

    def __init__(self, folder: Path, database: Path) -> None:
        self.database = folder / "server.db"
        shutil.copyfile(database, self.database)
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the server, wait until it answers, kill it with all its children at the end."""
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.database}"]
        command += ["--artifacts-destination", str(self.folder / "served")]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_TRACKING_URI": ""}
        with (self.folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_for(self._answers, seconds=120)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                return b" 200 " in connection.recv(100)
        except OSError:
            return False


@pytest.mark.slow
def test_a_server_that_is_down_now_and_then(
    state: Path,
    empty_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = Server(tmp_path, empty_store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    grid = tmp_path / "grid.png"
    longest = 0.0

    def train(first: int, last: int) -> None:
        nonlocal longest
        for step in range(first, last):
            started = time.monotonic()
            recorder.metrics({"loss_G": 1 / (1 + step), "loss_D": step}, step)
            longest = max(longest, time.monotonic() - started)
        grid.write_text(f"{last}")
        recorder.artifact(grid, f"samples/{last}")

    with sender.start_recording(NAME) as recorder:
        recorder.start("train", {"rate": 1}, {"git.commit": "c0ffee"})
        train(0, 100)
        with server.running():
            wait_for(lambda: count_metrics(server.database) >= 200)
            train(100, 2000)
            # Killed while it takes them.
            wait_for(lambda: count_metrics(server.database) > 300)
        train(2000, 3000)
        time.sleep(2)
        train(3000, 3100)
        recorder.finish()
    assert longest < 0.1
    assert re.search(r"^\d+ records wait for MLflow at http.*tintlab sync", capsys.readouterr().err)
    assert delivery.backlog()[NAME] > 1000

    with server.running():
        delivery.sync()
    assert steps(server.database) == {"loss_G": list(range(3100)), "loss_D": list(range(3100))}
    assert values(server.database, "loss_G") == [1 / (1 + step) for step in range(3100)]
    run = only_run(server.database)
    assert (run["status"], params(server.database)) == ("FINISHED", {"rate": "1"})
    served = {file.parent.name: file.read_text() for file in (tmp_path / "served").rglob("grid.png")}
    assert served == {str(last): str(last) for last in (100, 2000, 3000, 3100)}
    assert not paths.tracking_database().exists()
    assert spools() == []


# -- helpers -----------------------------------------------------------------------------------------


def record_steps(numbers: range, finish: bool = True) -> None:
    with Recorder(NAME) as recorder:
        recorder.start("train", {}, {})
        for step in numbers:
            recorder.metrics({"loss": step}, step)
        if finish:
            recorder.finish()


def start_sync() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", "from tintlab.tracking import delivery; delivery.sync()"],
        stderr=subprocess.DEVNULL,
    )


def spools() -> list[str]:
    return sorted(path.name for path in paths.spool().glob("*") if path.is_dir())


def backlog_size() -> int:
    records = paths.spool() / NAME / "records.jsonl"
    return records.read_bytes().count(b"\n") if records.exists() else 0


def sql(database: Path, query: str, *arguments: Any) -> list[Any]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(query, arguments).fetchall()


def only_run(database: Path) -> dict[str, Any]:
    columns = ["run_uuid", "name", "status", "start_time", "end_time", "artifact_uri"]
    (row,) = sql(database, f"select {', '.join(columns)} from runs")
    return dict(zip(columns, row, strict=True))


def params(database: Path) -> dict[str, str]:
    return dict(sql(database, "select key, value from params"))


def tags(database: Path) -> dict[str, str]:
    return dict(sql(database, "select key, value from tags"))


def steps(database: Path) -> dict[str, list[int]]:
    """Every step of every metric, with its repetitions."""
    found: dict[str, list[int]] = {}
    for key, step in sql(database, "select key, step from metrics order by step"):
        found.setdefault(key, []).append(step)
    return found


def values(database: Path, key: str) -> list[float]:
    rows = sql(database, "select value, is_nan from metrics where key = ? order by step", key)
    return [math.nan if is_nan else value for value, is_nan in rows]


def moments(database: Path) -> list[int]:
    return [moment for (moment,) in sql(database, "select timestamp from metrics")]


def count_metrics(database: Path) -> int:
    return int(sql(database, "select count(*) from metrics")[0][0])


def dump(database: Path) -> list[list[Any]]:
    return [
        sorted(sql(database, f"select * from {table}")) for table in ("runs", "metrics", "params", "tags")
    ]


def artifacts(run: dict[str, Any]) -> dict[str, bytes]:
    """The content of each artifact of a run in the default store."""
    folder = paths.tracking_artifacts() / run["run_uuid"] / "artifacts"
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
