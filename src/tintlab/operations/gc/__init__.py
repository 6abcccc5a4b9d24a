"""`tintlab gc`: remove unused data; keep everything that history and rollback need.

An item is removed in steps. After each step every other command sees it either complete or gone. So an
interrupted removal breaks nothing, and the next one finishes it. Nothing is examined or removed during a
training, a `dvc repro`, a retraining or a registration, and none of them can start during a removal.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tintlab.operations import dvc_repair
from tintlab.operations.gc import dvc_cache, registry, state
from tintlab.operations.gc.items import Item, Rules
from tintlab.system import paths
from tintlab.system.console import aligned, printable
from tintlab.system.errors import TintlabError
from tintlab.system.locks import exclusive
from tintlab.tracking import delivery, store

__all__ = ["Item", "Plan", "Rules", "carry_out", "plan", "text"]


@dataclass(frozen=True)
class Plan:
    """The items to remove, in order, and notes about what stays."""

    items: tuple[Item, ...]
    notes: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Bytes that it frees, as far as known."""
        return sum(item.bytes for item in self.items)


def plan(rules: Rules) -> Plan:
    """Find the items that can be removed. Nothing is removed.

    Raises:
        TintlabError: a training or the like is running, MLflow can't be reached, or this is no DVC repository.
    """
    with _found(rules) as found:
        return found


def carry_out(rules: Rules, shown: Plan, say: Callable[[str], None]) -> int:
    """Remove the items of a plan that are still unused. Returns the number of bytes.

    Args:
        rules: as for `plan`.
        shown: the plan that the user agreed to.
        say: called with a line for each item before its removal.

    Raises:
        TintlabError: see `plan`.
    """
    agreed = {item.key for item in shown.items}
    freed = 0
    with _found(rules) as found:
        for item in found.items:
            if item.key in agreed:
                say(f"{item.kind} {printable(item.name)}")
                item.remove()
                freed += item.bytes
    return freed


def text(found: Plan) -> str:
    """A plan as text: one line per item, the sum, notes."""
    rows = [
        (item.kind, printable(item.name), printable(item.about), _megabytes(item.bytes))
        for item in found.items
    ]
    lines = aligned(rows, right=[3])
    count = f"{len(rows)} items" if len(rows) > 1 else "1 item"
    lines.append(f"{count}, {_megabytes(found.bytes)}" if rows else "nothing to remove")
    return "\n".join([*lines, *found.notes])


@contextmanager
def _found(rules: Rules) -> Iterator[Plan]:
    """Find the items that can be removed, and keep everything that could use them from starting."""
    if not paths.DVC_FILE.exists():  # before the locks, which are files
        raise TintlabError("this is no DVC repository: run this in the repository's folder")
    with _alone(), dvc_cache.lock_repositories() as repos:
        delivery.sync()
        clone = paths.workspace() / paths.PARENT_LOCK
        parents = registry.read_parents(paths.PARENT_LOCK) | registry.read_parents(clone)
        continued = state.find_continued(rules)
        with store.connect() as client:
            needs = registry.find_needed(client, rules, parents)
            items = [
                *registry.unused_versions(client, needs),
                *registry.unused_runs(client, needs, state.find_tracked(continued), rules),
            ]
        experiments, stay = dvc_cache.sort_experiments(repos, rules, needs.experiments)
        items += [
            *experiments,
            *dvc_cache.unused_objects(repos, stay),
            *state.unused_checkpoints(continued),
            *state.unused_spools(continued, rules),
            *state.unused_downloads(needs.models),
            *state.unused_engines(rules),
            *state.unused_explorations(needs.weights, rules),
            *state.unused_verdicts(rules),
        ]
        note = dvc_cache.note(repos)
        yield Plan(tuple(items), (note,) if note else ())


@contextmanager
def _alone() -> Iterator[None]:
    with (
        exclusive(paths.training_lock(), "a training"),
        exclusive(paths.retrain_lock(), "a retraining"),
        exclusive(paths.registering_lock(), "a registration"),
    ):
        if working := dvc_repair.held_locks():
            raise TintlabError(f"DVC is running ({working[0]}): try again later")
        yield


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count else ""
