"""Find the files of a project: those at the top of the repository that the wheel also contains.

`project/FILES` lists them. In a checkout they lie where they are used. setup.py copies them into the wheel,
beside that list. So `tintlab init` makes a project from the same files that the repository uses.
"""

from collections.abc import Iterator
from pathlib import Path

from tintlab.system import checkout

README = "README.md"
"""The readme of a project. It differs from the repository's, so the list does not contain it."""


def folder() -> Path:
    """The folder in the package: it holds the list, the readme and, in a wheel, the files themselves."""
    return Path(__file__).parent / "project"


def root() -> Path:
    """The folder that the listed files are relative to: `folder()` in the wheel, otherwise the checkout."""
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
