"""The clone of the repository for scheduled retrainings, which never touch the user's own tree.

The clone lives in the state folder and is reused. It shares DVC's cache with the user's tree, and the data of a
failed retraining stays there for inspection. Each retraining sets it to the user's last commit and copies
data/inbox.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tintlab.sources import lock as sources_lock
from tintlab.sources.archives import list_files
from tintlab.system import code_lock, paths, urls
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder, read_json, write_json
from tintlab.system.locks import exclusive
from tintlab.system.params import load_params
from tintlab.system.programs import ask, git_identity, run_git
from tintlab.tracking import lineage


@dataclass(frozen=True)
class Workspace:
    """The clone, ready for a retraining.

    Attributes:
        folder: its path.
        repository: the user's tree.
        commit: the commit that it was set to.
        left_out: uncommitted changes of the user's source and parameters, as git lists them.
    """

    folder: Path
    repository: Path
    commit: str
    left_out: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """For programs that run in the clone: the commit's source, the user's state folder."""
        return {
            "PYTHONPATH": str(self.folder / "src"),
            "TINTLAB_STATE": str(paths.state()),
        }


@contextmanager
def hold_lock() -> Iterator[None]:
    """Hold the lock of the only retraining.

    Raises:
        HeldError: another one is running; the message has its process and its start.
    """
    with exclusive(paths.retrain_lock(), "another retraining"):
        yield


def prepare(repository: Path) -> Workspace:
    """Set the clone to the last commit of `repository`, with its present sources and inbox.

    Raises:
        TintlabError: `repository` is not a git repository with a commit, or a source can't be linked.
    """
    commit = run_git(repository, "rev-parse", "--verify", "HEAD", advice="commit something there first")
    folder = paths.workspace()
    if not (folder / ".git" / "HEAD").exists():
        with atomic_folder(folder) as new:
            run_git(repository, "clone", "--quiet", "--no-checkout", str(repository), str(new))
    _follow(repository, folder, commit)
    _share_cache(repository, folder)
    _link_sources(repository, folder)
    _snapshot(repository / paths.INBOX, folder / paths.INBOX)
    _record_inbox(folder)
    changed = run_git(repository, "status", "--porcelain", "--", *map(str, lineage.DECIDING)).splitlines()
    return Workspace(folder, repository, commit, tuple(line.strip() for line in changed))


def inputs_digest(workspace: Workspace, settings: Mapping[str, Any]) -> str:
    """Hash all inputs of a retraining: commit, settings, inbox and recorded sources."""
    digest = hashlib.sha256()
    for part in (
        workspace.commit,
        sources_lock.compute_digest(workspace.folder / paths.INBOX),
        (workspace.folder / paths.SOURCES_LOCK).read_text(encoding="utf-8"),
        *_installed_code(workspace.folder),
        *(f"{key}={value}" for key, value in sorted(settings.items())),
    ):
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()


def read_last_retraining() -> dict[str, Any]:
    """Read what `record_retraining` wrote; empty before the first retraining."""
    with suppress(FileNotFoundError, TintlabError):
        record: dict[str, Any] = read_json(paths.retrain_record())
        return record
    return {}


def record_retraining(digest: str, repeats: int, experiment: str) -> None:
    """Record a finished retraining.

    Args:
        digest: see `inputs_digest`.
        repeats: number of trainings of the same inputs with another seed.
        experiment: the name of its DVC experiment.
    """
    write_json(paths.retrain_record(), {"digest": digest, "repeats": repeats, "experiment": experiment})


def fetch_experiment(workspace: Workspace, experiment: str) -> bool:
    """Copy a DVC experiment to the user's repository, as `dvc exp pull` would. Returns False if there is none.

    Only a reference and its objects are copied. The files and the index of the user's tree do not change.
    """
    listed = run_git(workspace.folder, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    found = [name for name in listed if name.rpartition("/")[2] == experiment]
    for name in found:
        run_git(
            workspace.repository,
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head"),
            *(str(workspace.folder), f"+{name}:{name}"),
        )
    return bool(found)


def _installed_code(folder: Path) -> Sequence[str]:
    """Digests of the installed package, in a project whose code it is; elsewhere the commit has the code."""
    return list(code_lock.compute().values()) if (folder / paths.CODE_LOCK).exists() else []


def _follow(repository: Path, folder: Path, commit: str) -> None:
    # A killed git leaves its lock. Only one retraining works here, so the lock is stale.
    for lock in (folder / ".git").glob("*.lock"):
        lock.unlink()
    for key, value in git_identity(repository).items():
        run_git(folder, "config", key, value)
    run_git(folder, "fetch", "--quiet", "--no-tags", "--force", str(repository), "HEAD")
    run_git(folder, "checkout", "--quiet", "--force", "--detach", commit)
    run_git(folder, "reset", "--quiet", "--hard", commit)


def _share_cache(repository: Path, folder: Path) -> None:
    """Copy the user's local DVC settings, and use the same cache."""
    local = Path(".dvc/config.local")
    if (repository / local).exists():
        shutil.copyfile(repository / local, folder / local)
    else:
        (folder / local).unlink(missing_ok=True)
    cache = ask([sys.executable, "-m", "dvc", "cache", "dir"], repository, "is it a DVC repository?")
    # Written with git, which has the same format: DVC would take seconds.
    run_git(folder, "config", "--file", str(local), "cache.dir", str((repository / cache).resolve()))


def _link_sources(repository: Path, folder: Path) -> None:
    """Link the sources that have a path relative to the repository and are not in git."""
    for source in load_params(folder / paths.PARAMS).fetch.sources:
        path = Path(source.path)
        if path.is_absolute() or urls.is_url(source.path):
            continue
        if ".." in path.parts:
            raise TintlabError(
                f"fetch.sources names {source.path}, outside the repository: "
                "give its absolute path, because scheduled runs work in a clone"
            )
        link = folder / path
        if link.is_symlink() or not link.exists():
            link.unlink(missing_ok=True)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(repository / path)


def _snapshot(inbox: Path, target: Path) -> None:
    """Copy the inbox, so that later arrivals wait for the next retraining."""
    inbox.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target) as new:
        for path in list_files(inbox, with_hidden=True):
            name = path.relative_to(inbox)
            if path.is_file():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # removed in the meantime
                    _copy_or_keep(path, target / name, new / name)


def _record_inbox(folder: Path) -> None:
    """Record the snapshot as the inbox of this retraining, in place of the one that the commit has recorded."""
    lock = folder / paths.SOURCES_LOCK
    recorded = read_json(lock) if lock.exists() else {}
    now = sources_lock.record_inbox(recorded, folder / paths.INBOX)
    if now != recorded:
        write_json(lock, now)


def _copy_or_keep(path: Path, earlier: Path, copy: Path) -> None:
    """Copy a file, or link the earlier copy if it has the same size and time."""
    now = path.stat()
    with suppress(OSError):
        then = earlier.stat()
        if (then.st_size, then.st_mtime_ns) == (now.st_size, now.st_mtime_ns):
            os.link(earlier, copy)
            return
    shutil.copy2(path, copy)
