"""Remove from DVC: old experiments, and cached objects that nothing refers to.

An object stays if a commit of any branch or tag, the workspace, the clone of scheduled retrainings or a remaining
experiment refers to it: `dvc gc --workspace --all-commits`, plus those experiments.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tintlab.operations.gc.items import Item, Rules, day, size_of
from tintlab.system import paths
from tintlab.system.console import one_line
from tintlab.system.errors import TintlabError


@dataclass(frozen=True)
class Experiment:
    """A DVC experiment of one repository."""

    repo: Any
    ref: Any
    commit: str
    time: float


@contextmanager
def lock_repositories() -> Iterator[list[Any]]:
    """Lock this repository, and the clone of scheduled retrainings if there is one, against `dvc repro`.

    Raises:
        TintlabError: this is no DVC repository, or DVC is running.
    """
    from dvc.exceptions import NotDvcRepoError
    from dvc.lock import LockError
    from dvc.repo import Repo, lock_repo

    folders = [Path(), *([paths.workspace()] if (paths.workspace() / ".dvc").is_dir() else [])]
    with ExitStack() as stack:
        repos = []
        for folder in folders:
            try:
                repo = stack.enter_context(Repo(str(folder)))
                stack.enter_context(lock_repo(repo))
            except NotDvcRepoError:
                raise TintlabError("this is no DVC repository: run this in the repository's folder") from None
            except LockError:
                raise TintlabError(f"DVC is running in {folder.absolute()}: try again later") from None
            repos.append(repo)
        # It warns about each commit whose stages have not run.
        logging.getLogger("dvc").setLevel(logging.ERROR)
        yield repos


def sort_experiments(
    repos: list[Any], rules: Rules, needed: set[str]
) -> tuple[list[Item], dict[str, set[str]]]:
    """The experiments to remove, and the commits of the others by the repository's folder.

    Args:
        repos: see `lock_repositories`.
        rules: which count as new.
        needed: names of experiments that always stay.
    """
    found = sorted(
        (one for repo in repos for one in _experiments(repo)), key=lambda one: one.time, reverse=True
    )
    # The experiments of the clone are here too, under the same names.
    newest = set(list(dict.fromkeys(one.ref.name for one in found))[: rules.keep]) | needed
    stay: dict[str, set[str]] = {repo.root_dir: set() for repo in repos}
    going: dict[str, list[Experiment]] = {}
    for one in found:
        if one.ref.name in newest or rules.young(one.time):
            stay[one.repo.root_dir].add(one.commit)
        else:
            going.setdefault(one.ref.name, []).append(one)
    items = [
        Item("experiment", name, f"of {day(some[0].time)}", 0, partial(_remove_experiments, some))
        for name, some in going.items()
    ]
    return items, stay


def unused_objects(repos: list[Any], experiments_that_stay: dict[str, set[str]]) -> Iterator[Item]:
    """The unreferenced objects of DVC's cache, as one item; none if others may use the same cache."""
    if _is_shared(repos):
        return
    unused = _unused(repos, experiments_that_stay)
    if unused:
        remove = partial(_remove_unused, repos, experiments_that_stay)
        yield Item("DVC cache", "unused objects", f"{len(unused)} objects", size_of(unused), remove)


def note(repos: list[Any]) -> str | None:
    """Why DVC's cache is left unchanged, or None."""
    if not _is_shared(repos):
        return None
    return (
        f"DVC's cache in {repos[0].cache.local_cache_dir} lies outside this repository, so others may use it: "
        "clean it with `dvc gc --projects`"
    )


def _is_shared(repos: list[Any]) -> bool:
    here = Path(repos[0].root_dir).resolve(), paths.state().resolve()
    return not any(Path(repos[0].cache.local_cache_dir).resolve().is_relative_to(own) for own in here)


def _experiments(repo: Any) -> Iterator[Experiment]:
    from dvc.repo.experiments.utils import exp_refs

    for ref in exp_refs(repo.scm):
        commit = repo.scm.get_ref(str(ref))
        yield Experiment(repo, ref, commit, float(repo.scm.resolve_commit(commit).commit_time))


def _remove_experiments(some: list[Experiment]) -> None:
    from dvc.repo.experiments.utils import remove_exp_refs

    for one in some:
        remove_exp_refs(one.repo.scm, [one.ref])


def _used(repos: list[Any], experiments_that_stay: dict[str, set[str]]) -> set[Any]:
    from dvc.exceptions import DvcException

    used: set[Any] = set()
    for repo in repos:
        commits = sorted(experiments_that_stay[repo.root_dir])
        try:
            found = repo.used_objs(all_commits=True, revs=commits, force=True)
        except DvcException as error:
            raise TintlabError(
                f"DVC can't tell what is in use ({one_line(error)}): its cache can't be cleaned"
            ) from error
        used.update(*found.values())
    return used


def _unused(repos: list[Any], experiments_that_stay: dict[str, set[str]]) -> list[Path]:
    names = {(one.name, one.value) for one in _used(repos, experiments_that_stay)}
    return [
        Path(store.oid_to_path(object_id))
        for store in _stores(repos[0])
        for object_id in store.all()
        if (store.hash_name, object_id) not in names
    ]


def _remove_unused(repos: list[Any], experiments_that_stay: dict[str, set[str]]) -> None:
    from dvc_data.hashfile.gc import gc as collect

    used = _used(repos, experiments_that_stay)
    for store in _stores(repos[0]):
        collect(store, used)


def _stores(repo: Any) -> list[Any]:
    """The stores of the local cache: of DVC 3 and of earlier versions."""
    stores = {store.path: store for _, store in repo.cache.by_scheme() if store}
    return list(stores.values())
