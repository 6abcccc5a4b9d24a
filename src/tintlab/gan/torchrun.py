"""Start a training on several devices of this machine with `torchrun`."""

import os
import subprocess
import sys

from tintlab.system import processes
from tintlab.system.errors import TintlabError


def process_count() -> int:
    """The number of training processes on this machine: `TINTLAB_TRAIN_PROCESSES`, by default one.

    Raises:
        TintlabError: the variable is not a whole number above 0.
    """
    text = os.environ.get("TINTLAB_TRAIN_PROCESSES") or "1"
    if not text.isdecimal() or int(text) < 1:
        raise TintlabError(f"TINTLAB_TRAIN_PROCESSES must be a number from 1 up, got {text!r}")
    return int(text)


def run_torchrun(module: str, count: int) -> None:
    """Run a module under `torchrun` in `count` processes, and wait for it.

    Raises:
        TintlabError: it failed; its own messages are on stderr.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    # torchrun gives each process its own session, so the processes find their owner through the environment.
    environment = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
    with subprocess.Popen(
        [sys.executable, *launcher, "-m", module], env=environment | processes.ownership()
    ) as torchrun:
        try:
            status = torchrun.wait()
        except BaseException:
            torchrun.terminate()
            raise
    if status:
        raise TintlabError(f"training in {count} processes failed with status {status}: see above")
