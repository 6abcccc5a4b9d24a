"""`tintlab init`: a project in a folder of its own, without a clone of tintlab's repository."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tintlab.system import code_lock, paths, project_files
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder, write_json, write_text
from tintlab.system.programs import git_identity, run_git

_PLAIN_COMMIT = ("-c", "commit.gpgsign=false", "commit", "--quiet", "--no-verify")


def make_project(folder: Path) -> str:
    """Write a new project: pipeline, parameters, presets, flows and photographs, in a repository with a commit.

    Args:
        folder: a new or an empty folder.

    Returns:
        What is there, and what to run next.

    Raises:
        TintlabError: the folder is not empty, or git is missing.
    """
    with _new_content(folder) as place:
        write_files(place)
        _commit(place)
    go = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    return f"{folder} is a project now; try `{go}tintlab repro --preset smoke`, then read README.md there"


def write_files(place: Path) -> None:
    """Write the files of a project into an empty folder, without git."""
    root = project_files.root()
    for name in project_files.list_files():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, place / name)
    shutil.copyfile(project_files.folder() / project_files.README, place / project_files.README)
    write_text(
        place / paths.DVC_FILE, code_lock.dvc_yaml((root / paths.DVC_FILE).read_text(encoding="utf-8"))
    )
    write_json(place / paths.CODE_LOCK, code_lock.compute())
    write_json(place / paths.SOURCES_LOCK, {})


@contextmanager
def _new_content(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill. Nothing stays in `folder` on failure."""
    if folder.exists() and not folder.is_dir():
        raise TintlabError(f"{folder} is a file: name a new folder")
    if not folder.exists():
        with atomic_folder(folder) as new:
            yield new
        return
    if any(folder.iterdir()):
        raise TintlabError(f"{folder} is not empty: name a new folder")
    # Not replaced: it may be the working directory.
    try:
        yield folder
    except BaseException:
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        raise


def _commit(place: Path) -> None:
    """Make it a git repository with one commit, which DVC's experiments need."""
    run_git(place, "init", "--quiet")
    run_git(place, "add", "--all")
    identity = [part for key, value in git_identity(place).items() for part in ("-c", f"{key}={value}")]
    run_git(place, *identity, *_PLAIN_COMMIT, "--message", "A new tintlab project")
