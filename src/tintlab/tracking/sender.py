"""Run the sender, a process that delivers a stage's records to MLflow.

While a stage records, its `Recorder` appends lines to a file and does not call MLflow. The sender delivers
the lines in batches whenever the store can be reached. The next sender, or `sync`, delivers the rest.

The sender is a process and not a thread for three reasons. MLflow's client draws from Python's global random
numbers (names, pauses between retries), which would change the course of a training. It blocks the
interpreter for seconds while it creates its database. And it can't be stopped during a request.
"""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tintlab.system import paths
from tintlab.tracking.delivery import Deliverer, backlog
from tintlab.tracking.recorder import Recorder
from tintlab.tracking.store import TrackingUnavailableError, shown_uri

LINGER_SECONDS = 4.0
"""Seconds for which a sender may go on after its stage has ended."""

_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 8.0


@contextmanager
def start_recording(fingerprint: str) -> Iterator[Recorder]:
    """Yield a recorder, and run a sender meanwhile. At the end, the sender gets `LINGER_SECONDS` to finish.

    The sender also delivers the records that earlier stages left.
    """
    with Recorder(fingerprint) as recorder:
        sender = _start_sender()
        try:
            yield recorder
        finally:
            recorder.close()
            _dismiss(sender)
            left = sum(backlog().values())
            if left:
                sys.stderr.write(
                    f"{left} records wait for MLflow at {shown_uri()}: the next stage sends them, "
                    "or run `tintlab sync`\n"
                )


def _start_sender() -> subprocess.Popen[bytes]:
    paths.spool().mkdir(parents=True, exist_ok=True)
    with (paths.spool() / "sender.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tintlab.tracking.sender", str(os.getpid())],
            env=os.environ | {"TINTLAB_STATE": str(paths.state())},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )


def _dismiss(sender: subprocess.Popen[bytes]) -> None:
    """Ask the sender to end, and kill it if it does not."""
    assert sender.stdin is not None
    try:
        with suppress(OSError):
            # A byte and not only a closed pipe: other children of this process may hold the pipe open.
            sender.stdin.write(b"\n")
            sender.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            sender.wait(LINGER_SECONDS + 1)
    finally:
        sender.kill()
        sender.wait()


def _keep_delivering(asked_to_end: threading.Event) -> None:
    deliverer = Deliverer()
    pause = _PAUSE_SECONDS
    while True:
        last = asked_to_end.is_set()
        try:
            deliverer.deliver_all()
            pause = _PAUSE_SECONDS
        except TrackingUnavailableError as error:
            deliverer = Deliverer()
            print(error, flush=True)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        if last:
            return
        asked_to_end.wait(pause)


def _send_for(owner: int) -> None:
    """Deliver until the owner ends or asks this process to end; then go on for `LINGER_SECONDS` at most."""
    # The owner handles Ctrl-C, and then asks this process to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(10)
    asked_to_end = threading.Event()
    delivery = threading.Thread(target=_keep_delivering, args=[asked_to_end], daemon=True)
    delivery.start()
    while delivery.is_alive() and os.getppid() == owner:
        if select.select([sys.stdin], [], [], 0.25)[0]:
            break
    asked_to_end.set()
    delivery.join(LINGER_SECONDS)
    # This abandons a running request; the next sender asks the store how much of it was stored.
    os._exit(0)


if __name__ == "__main__":
    _send_for(int(sys.argv[1]))
