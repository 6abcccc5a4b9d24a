"""The process that delivers to MLflow what a stage records.

A stage never calls MLflow: a `Recorder` appends lines to a file, and a process of its own, the sender,
delivers them in batches whenever the store can be reached. What it leaves, the next sender or `sync` takes.
The sender is a process and not a thread because MLflow's client draws from Python's global random numbers
(names, pauses between retries), which would change a training's course, holds the interpreter for seconds
while it makes its database, and can't be stopped within a request.
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
"""How long a sender may go on after its stage has ended."""

_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 8.0


@contextmanager
def start_recording(fingerprint: str) -> Iterator[Recorder]:
    """Record, while a sender of its own delivers; at the end it gets `LINGER_SECONDS` and leaves the rest.

    The sender delivers what earlier stages left, too.
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
    """Ask the sender to end; a sender that does not is killed."""
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
    """Deliver until the owner ends, says so, or is killed; then for `LINGER_SECONDS` at most."""
    # Ctrl-C is for the owner, which then asks us to end.
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
    # Leaves a request that is under way behind: what it did is asked for next time.
    os._exit(0)


if __name__ == "__main__":
    _send_for(int(sys.argv[1]))
