"""A project from nothing: a new environment, everything in it from the package index, no checkout in sight.

    python -m tests.package.from_nothing

Downloads about 1 GB, so no test does it; tests/package/test_init.py does the rest with the packages at hand.
"""

import os
import re
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from tests.package.conftest import backend
from tests.pipeline.conftest import ROOT, clone_of_the_working_tree

COMMANDS = (
    "tintlab init x",
    "cd x && tintlab repro --preset smoke",
    "cd x && tintlab register",
    "cd x && tintlab models",
)
KEPT = re.compile(r"PIP_|SSL_|.*_proxy$|TERM$", re.IGNORECASE)


def main() -> None:
    """Build the wheel, install it, run the commands, and say how long each took."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        wheel = build_wheel(place)
        home = place / "home"
        home.mkdir()
        environment = {name: value for name, value in os.environ.items() if KEPT.match(name)}
        environment |= {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin"}
        run("python3 -m venv env", home, environment)
        constraints = ROOT / "constraints.txt"
        run(f"env/bin/python -m pip install -q -c {constraints} {wheel}", home, environment)
        environment["PATH"] = f"{home}/env/bin:{environment['PATH']}"
        for name in ("name", "email"):
            run(f"git config --global user.{name} someone@localhost", home, environment)
        run("python -c 'import tintlab; print(tintlab.__file__)'", home, environment)
        for command in COMMANDS:
            run(command, home, environment)
        run("du -sh env x/.dvc/cache", home, environment)


def build_wheel(place: Path) -> Path:
    """The wheel of the working tree, built from its source archive."""
    for name in ("source", "archives", "unpacked"):
        (place / name).mkdir()
    clone_of_the_working_tree(place / "source")
    with tarfile.open(backend(place / "source", "build_sdist", place / "archives")) as archive:
        archive.extractall(place / "unpacked", filter="data")
    (unpacked,) = (place / "unpacked").iterdir()
    return backend(unpacked, "build_wheel", place / "archives")


def run(command: str, folder: Path, environment: dict[str, str]) -> None:
    """Run a line of shell; its last lines of output and its time."""
    start = time.monotonic()
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    print(f"$ {command}   [{time.monotonic() - start:.0f} s, status {done.returncode}]", flush=True)
    print("\n".join(f"  {line}" for line in done.stdout.splitlines()[-6:]), flush=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])


if __name__ == "__main__":
    main()
