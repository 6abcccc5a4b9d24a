"""Run other programs, such as git, and read their standard output."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tintlab.system.errors import TintlabError

_ANSWER_SECONDS = 600
_UNNAMED = {"user.name": "tintlab", "user.email": "tintlab@localhost"}
_OF_A_HOOK = {"GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"}


def read_output(command: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float) -> str:
    """Run a program in a folder and return its output. Its messages are in English; it can't ask for input.

    Args:
        command: the program and its arguments.
        folder: to run it in.
        environment: its whole environment except the language.
        seconds: the time after which it is killed.

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


def ask(command: Sequence[str], folder: Path, advice: str) -> str:
    """Run a program in a folder and return its output, stripped; git works on that folder's repository.

    Args:
        command: the program and its arguments.
        folder: to run it in.
        advice: what to do if it fails.

    Raises:
        TintlabError: it is missing or failed, with its message and the advice.
    """
    # Otherwise git, started from a hook, would work on the hook's repository.
    environment = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    try:
        answer = read_output(command, folder, environment | {"GIT_TERMINAL_PROMPT": "0"}, _ANSWER_SECONDS)
    except FileNotFoundError:
        raise TintlabError(f"{command[0]} is missing: install it") from None
    except subprocess.CalledProcessError as error:
        words = " ".join(error.stderr.decode("utf-8", "replace").split()) or f"status {error.returncode}"
        called = " ".join(command[:2] if command[0] == "git" else command[1:4])
        raise TintlabError(f"`{called}` failed in {folder} ({words}): {advice}") from None
    return answer.strip()


def run_git(folder: Path, *arguments: str, advice: str = "see git's message") -> str:
    """Run git in a folder; see `ask`."""
    return ask(["git", *arguments], folder, advice)


def git_identity(folder: Path) -> dict[str, str]:
    """Name and address for commits in a repository, by git's keys: the user's, or ours if git has none."""
    return {
        key: run_git(folder, "config", "--default", "", "--get", key) or otherwise
        for key, otherwise in _UNNAMED.items()
    }
