"""Programs that answer on their standard output, as git does."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def read_output(command: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float) -> str:
    """What a program prints, run in a folder; its messages are in English, and it can't ask for anything.

    Args:
        command: the program and its arguments.
        folder: to run it in.
        environment: all of its environment but the language.
        seconds: after which it is ended.

    Raises:
        OSError: it can't be started.
        subprocess.SubprocessError: it failed, with what it printed as bytes, or took too long.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        check=True,
    )
    return done.stdout.decode("utf-8", "replace")
