"""The files that a project consists of: those at the top of the repository, which the wheel carries along.

`project/FILES` lists them. In a checkout they lie where they are used; setup.py copies them into the wheel,
beside that list. So the repository and `tintlab init` have one source.
"""

from collections.abc import Iterator
from pathlib import Path

from tintlab.system import checkout

README = "README.md"
"""The readme of a project. It is not the repository's, so it is no part of the list."""


def folder() -> Path:
    """The folder in the package: it holds the list, the readme and, in a wheel, the files themselves."""
    return Path(__file__).parent / "project"


def root() -> Path:
    """The folder that the listed files are relative to: in the wheel its own, else the checkout's."""
    carried = folder()
    return carried if (carried / "dvc.yaml").exists() else checkout.code_in_use().parents[1]


def list_files() -> Iterator[Path]:
    """List the files of a project, relative to `root`, in order.

    Raises:
        FileNotFoundError: one is missing; the installation is damaged.
    """
    for pattern in (folder() / "FILES").read_text(encoding="utf-8").split():
        found = sorted(path for path in root().glob(pattern) if path.is_file())
        if not found:
            raise FileNotFoundError(f"{root() / pattern} is missing: install tintlab again")
        yield from (path.relative_to(root()) for path in found)
