"""`tintlab gc`: what nobody needs any more goes; what history and rollback need stays.

Each thing goes in steps that leave it whole or gone for every other command, so that an interrupted pruning
breaks nothing, and the next one finishes it. Nothing is looked at or removed while a training, a `dvc repro`,
a retraining or a registration is under way, and none of them starts meanwhile.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tintlab.operations import dvc_repair
from tintlab.operations.gc import dvc_cache, registry, state
from tintlab.operations.gc.items import Item, Rules
from tintlab.system import paths
from tintlab.system.console import printable
from tintlab.system.errors import TintlabError
from tintlab.system.locks import exclusive
from tintlab.tracking import delivery, store

__all__ = ["Item", "Plan", "Rules", "carry_out", "plan", "text"]


@dataclass(frozen=True)
class Plan:
    """What goes, in the order in which it goes, and what is to be known of what stays."""

    items: tuple[Item, ...]
    notes: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """What it frees, as far as it is known."""
        return sum(item.bytes for item in self.items)


def plan(rules: Rules) -> Plan:
    """Look for what can go; nothing is removed.

    Raises:
        TintlabError: something is under way, MLflow can't be reached, or this is no DVC repository.
    """
    with _found(rules) as found:
        return found


def carry_out(rules: Rules, shown: Plan, say: Callable[[str], None]) -> int:
    """Remove what was shown, unless it is needed by now; the number of bytes.

    Args:
        rules: as for `plan`.
        shown: what someone agreed to.
        say: told of each thing before it goes.

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
    """A plan for people: a line a thing, sums by kind, notes."""
    rows = [
        (item.kind, printable(item.name), printable(item.about), _megabytes(item.bytes))
        for item in found.items
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines = [
        "  ".join(f"{cell:{'>' if column == 3 else '<'}{widths[column]}}" for column, cell in enumerate(row))
        for row in rows
    ]
    count = f"{len(rows)} things" if len(rows) > 1 else "1 thing"
    lines.append(f"{count}, {_megabytes(found.bytes)}" if rows else "nothing to prune")
    return "\n".join([*lines, *found.notes])


@contextmanager
def _found(rules: Rules) -> Iterator[Plan]:
    """What can go, while nothing that could need it starts."""
    if not paths.DVC_FILE.exists():  # before the locks, which are files
        raise TintlabError("this is no DVC repository: run this in the repository's folder")
    with _alone(), dvc_cache.locked_repositories() as repos:
        delivery.sync()
        clone = paths.workspace() / paths.PARENT_LOCK
        parents = registry.recorded_parents(paths.PARENT_LOCK) | registry.recorded_parents(clone)
        continued = state.continued(rules)
        with store.connect() as client:
            needs = registry.needed(client, rules, parents)
            items = [
                *registry.versions(client, needs),
                *registry.runs(client, needs, state.tracked(continued), rules),
            ]
        experiments, stay = dvc_cache.experiments(repos, rules, needs.experiments)
        items += [
            *experiments,
            *dvc_cache.cache(repos, stay),
            *state.checkpoints(continued),
            *state.idle_spools(continued, rules),
            *state.downloads(needs.models),
            *state.explorations(needs.weights, rules),
            *state.judgements(rules),
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
            raise TintlabError(f"DVC is at work ({working[0]}): try again when it has ended")
        yield


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count else ""
