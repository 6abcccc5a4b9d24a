"""Find out which checkout of the project a process works in, and whether it runs that checkout's code."""

import filecmp
from pathlib import Path

from tintlab.system.errors import TintlabError

_TEMPORARY_COPIES = (".dvc", "tmp", "exps")
_CODE = Path("src") / "tintlab"
_CARRIED = Path("system") / "project"


def origin_of_copy() -> Path | None:
    """The checkout that DVC made this folder from, in a temporary copy of `dvc exp run --temp` or `--queue`.

    Such a copy lacks the files that git ignores, such as data/inbox and the state folder. Returns None in an
    ordinary checkout.
    """
    parts = Path.cwd().parts
    length = len(_TEMPORARY_COPIES)
    for place in range(1, len(parts) - length):
        if parts[place : place + length] == _TEMPORARY_COPIES:
            return Path(*parts[:place])
    return None


def code_in_use() -> Path:
    """The folder of the package that this process has imported."""
    return Path(__file__).resolve().parents[1]


def has_other_code() -> bool:
    """Whether the folder in use holds source code of this package that differs from the code that runs.

    This happens in a checkout that was copied or moved together with its `.venv`. It also happens in a
    temporary copy that DVC made before the code changed.
    """
    here = _CODE.resolve()
    if not (here / "__init__.py").is_file() or here == code_in_use():
        return False
    names = {file.relative_to(root) for root in (here, code_in_use()) for file in root.rglob("*.py")}
    # The wheel also holds the files for `tintlab init`, which are not code of the package: see
    # `project_files`.
    return any(
        _differ(here / name, code_in_use() / name) for name in names if not name.is_relative_to(_CARRIED)
    )


def refuse_other_code() -> None:
    """Refuse to run a stage with other code than DVC tracks as its dependency.

    Raises:
        TintlabError: the code that runs is another checkout's.
    """
    if has_other_code():
        advice = (
            "the code has changed since the experiment was queued; queue it again"
            if origin_of_copy()
            else "run `make run`, or `pip install -e .` here"
        )
        raise TintlabError(f"the code that runs is {code_in_use()}, not {_CODE.resolve()}: {advice}")


def _differ(file: Path, other: Path) -> bool:
    try:
        return not filecmp.cmp(file, other, shallow=False)
    except OSError:
        return True
