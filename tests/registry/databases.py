"""A PostgreSQL server of the test's own, from Debian's package, run by an unprivileged user on a socket."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import wait_for

_FAST = ["-c", "fsync=off", "-c", "listen_addresses="]


@contextmanager
def postgresql() -> Iterator[str]:
    """The URI of an empty database; the test is skipped where there is no server to start."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("PostgreSQL's server is not installed: `apt-get install postgresql`")
    pytest.importorskip("psycopg2", reason="psycopg2-binary is not installed")
    # Not pytest's folder: another user could not get there. A socket's path is short, too.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    user = _unprivileged()
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    make = [programs[-1] / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"]
    subprocess.run(make, user=user, check=True, capture_output=True, cwd=folder)
    serve = [programs[-1] / "postgres", "-D", data, "-k", folder, *_FAST]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(serve, user=user, cwd=folder, stdout=log, stderr=log)
    try:
        ask = ["psql", "-h", folder, "-U", "postgres", "-qc", "create database mlflow"]
        wait_for(
            lambda: subprocess.run(ask, capture_output=True, check=False).returncode == 0, 60, "PostgreSQL"
        )
        yield f"postgresql+psycopg2://postgres@/mlflow?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)  # SIGTERM would wait for those who are connected
        server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> str | None:
    """Root may not run the server; others run it as themselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
